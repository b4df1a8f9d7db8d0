"""Where an encoder looks: attention distance, class-token maps, rollout.

The attention distance of a head is the mean over query patches of sum_j attention(i, j) * distance(i, j), the distance
between patch centres in pixels: small for heads that look nearby, large for those that look across the chip.
The class token is left out of both sides. Its column takes a part of each row's weight, so the rest sums to less than
one: by default it is left so (the definition in the paper's figure 6), a head that attends to the class token alone has
distance 0; `renormalise=True` divides by what the patches keep and gives a true mean distance. Uniform attention has
`uniform_distance`: roughly half of the picture's side, and no sign that a head looks far.

Rollout (Abnar & Zuidema, 2020) multiplies the blocks' attention, averaged over heads and mixed half and half with the
identity for the residual path: how much of each patch may have reached the class token.

Shapes: B images, H heads, N patches (tokens 1 + N, class token first).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def patch_distances(rows: int, columns: int, patch_size: int) -> Tensor:
    """(N, N) distances (px) between the centres of the patches of a grid, row-major."""
    row_N = torch.arange(rows).repeat_interleave(columns).float()
    column_N = torch.arange(columns).repeat(rows).float()
    return torch.hypot(row_N[:, None] - row_N[None], column_N[:, None] - column_N[None]) * patch_size


def head_distances(attention: Tensor, distance_NN: Tensor, renormalise: bool = False) -> Tensor:
    """The attention distance of each image's heads.

    Args:
        attention: (B, H, 1 + N, 1 + N), rows sum to one.
        distance_NN: result of `patch_distances`.
        renormalise: divide each row by what it gives to patches.

    Returns:
        (B, H) pixels.
    """
    patches_BHNN = attention[:, :, 1:, 1:].float()
    distance_BHN = (patches_BHNN * distance_NN.to(patches_BHNN)).sum(dim=-1)
    if renormalise:
        distance_BHN = distance_BHN / patches_BHNN.sum(dim=-1).clamp_min(torch.finfo(torch.float32).tiny)
    return distance_BHN.mean(dim=-1)


def mean_distances(
    attentions: Sequence[Tensor], grid: tuple[int, int], patch_size: int, renormalise: bool = False
) -> np.ndarray:
    """(blocks, heads) attention distances (px), averaged over a batch.

    Args:
        attentions: one (B, H, 1 + N, 1 + N) per block.
        grid: rows and columns of the patches.
        patch_size: px.
        renormalise: see `head_distances`.
    """
    distance_NN = patch_distances(*grid, patch_size)
    return np.stack([head_distances(block, distance_NN, renormalise).mean(dim=0).cpu().numpy() for block in attentions])


def uniform_distance(grid: tuple[int, int], patch_size: int, renormalise: bool = False) -> float:
    """The attention distance (px) of uniform attention: every token gets the same.

    Example:
        >>> round(uniform_distance((1, 2), 8), 2)
        2.67
    """
    num_patches = grid[0] * grid[1]
    kept = 1.0 if renormalise else num_patches / (1 + num_patches)
    return kept * float(patch_distances(*grid, patch_size).mean())


def brightest_patch(image_HW: Tensor, patch_size: int) -> tuple[int, int]:
    """Row and column, from 0, of the patch with the largest mean amplitude; the first of equals."""
    mean_RC = functional.avg_pool2d(image_HW[None, None].float(), patch_size)[0, 0]
    row, column = divmod(int(mean_RC.argmax()), mean_RC.shape[1])
    return row, column


def relative_to_uniform(maps: Tensor) -> Tensor:
    """Maps (..., rows, columns) in multiples of uniform attention: 1 where a patch gets what all get on average.

    Maps of several heads, chips and grids can then share one scale.
    """
    return maps / maps.mean(dim=(-2, -1), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)


def token_maps(attention: Tensor, grid: tuple[int, int], token: int = 0) -> Tensor:
    """Where one token looks, as maps.

    Args:
        attention: (B, H, 1 + N, 1 + N) of one block.
        grid: rows and columns of the patches.
        token: 0: the class token; 1 + n: patch n.

    Returns:
        (B, H, rows, columns).
    """
    return attention[:, :, token, 1:].unflatten(-1, grid)


def rollout(attentions: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
    """The class token's attention rollout after each block.

    Args:
        attentions: one (B, H, 1 + N, 1 + N) per block, L of them.
        grid: rows and columns of the patches.

    Returns:
        (B, L, rows, columns), each map summing to one; the last is the rollout over all blocks.
    """
    first = attentions[0]
    identity = torch.eye(first.shape[-1], device=first.device)
    reach_BNN, maps = identity.expand(first.shape[0], -1, -1), []
    for attention in attentions:
        reach_BNN = (0.5 * attention.float().mean(dim=1) + 0.5 * identity) @ reach_BNN
        maps.append(reach_BNN[:, 0, 1:])
    map_BLN = torch.stack(maps, dim=1)
    return (map_BLN / map_BLN.sum(dim=-1, keepdim=True)).unflatten(-1, grid)
