"""Where an encoder looks: attention distance, class-token maps, rollout.

The attention distance of a head is the mean over query patches of sum_j attention(i, j) * distance(i, j), the distance
between patch centres in pixels: small for heads that look nearby, large for those that look across the chip.
The class token is left out of rows and columns. Its column takes a part of each row's weight, so the remaining weights
sum to less than one. By default they stay so (the definition in the paper's figure 6), and a head that attends to the
class token alone has distance 0; `renormalise=True` divides by their sum, which gives a true mean distance. The
distance of uniform attention, `uniform_distance`, is about half of the picture's side: a head with that distance does
not look far.

Rollout (Abnar & Zuidema, 2020) multiplies the blocks' attention, averaged over heads and mixed half and half with the
identity for the residual path. It estimates how much of each patch reached the class token.

Shapes: B images, H heads, N patches (tokens 1 + N, class token first).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def patch_distances(rows: int, columns: int, patch_size: int) -> Tensor:
    """(N, N) distances (px) between the centres of the patches of a grid, row-major.

    Example:
        >>> patch_distances(rows=1, columns=3, patch_size=8)[0]
        tensor([ 0.,  8., 16.])
    """
    row_N = torch.arange(rows).repeat_interleave(columns).float()
    column_N = torch.arange(columns).repeat(rows).float()
    return torch.hypot(row_N[:, None] - row_N[None], column_N[:, None] - column_N[None]) * patch_size


def head_distances(attention: Tensor, distance_NN: Tensor, renormalise: bool = False) -> Tensor:
    """The attention distance of each image's heads.

    Args:
        attention: (B, H, 1 + N, 1 + N), rows sum to one.
        distance_NN: result of `patch_distances`.
        renormalise: whether to divide each row by the sum of its weights of patches.

    Returns:
        (B, H) pixels.

    Example:
        >>> own, uniform = torch.eye(3), torch.full((3, 3), 1 / 3)
        >>> attention = torch.stack([own, uniform])[None]  # of two heads, on a class token and two patches
        >>> head_distances(attention, patch_distances(1, 2, patch_size=8))
        tensor([[0.0000, 2.6667]])
        >>> head_distances(attention, patch_distances(1, 2, patch_size=8), renormalise=True)  # without the class token
        tensor([[0., 4.]])
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

    Example:
        >>> own, uniform = torch.eye(3)[None, None], torch.full((1, 1, 3, 3), 1 / 3)
        >>> mean_distances([own, uniform], grid=(1, 2), patch_size=8).round(2)  # two blocks of one head
        array([[0.  ],
               [2.67]], dtype=float32)
    """
    distance_NN = patch_distances(*grid, patch_size)
    return np.stack([head_distances(block, distance_NN, renormalise).mean(dim=0).cpu().numpy() for block in attentions])


def uniform_distance(grid: tuple[int, int], patch_size: int, renormalise: bool = False) -> float:
    """The attention distance (px) of uniform attention, which gives every token the same weight.

    Example:
        >>> round(uniform_distance((1, 2), 8), 2)
        2.67
    """
    num_patches = grid[0] * grid[1]
    patch_share = 1.0 if renormalise else num_patches / (1 + num_patches)
    return patch_share * float(patch_distances(*grid, patch_size).mean())


def brightest_patch(image_HW: Tensor, patch_size: int) -> tuple[int, int]:
    """Row and column, from 0, of the patch with the largest mean amplitude; the first of equals.

    Example:
        >>> image = torch.zeros(4, 6)
        >>> image[1, 5] = 1.0
        >>> brightest_patch(image, patch_size=2)
        (0, 2)
    """
    mean_RC = functional.avg_pool2d(image_HW[None, None].float(), patch_size)[0, 0]
    row, column = divmod(int(mean_RC.argmax()), mean_RC.shape[1])
    return row, column


def relative_to_uniform(maps: Tensor) -> Tensor:
    """Maps (..., rows, columns) over their mean: 1 where a patch gets as much as under uniform attention.

    Maps of several heads, chips and grids can then share one scale.

    Example:
        >>> relative_to_uniform(torch.tensor([[0.1, 0.3]]))
        tensor([[0.5000, 1.5000]])
    """
    return maps / maps.mean(dim=(-2, -1), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)


def token_maps(attention: Tensor, grid: tuple[int, int], token: int = 0) -> Tensor:
    """Maps of the attention that one token gives to each patch.

    Args:
        attention: (B, H, 1 + N, 1 + N) of one block.
        grid: rows and columns of the patches.
        token: number of the token: 0 for the class token, 1 + n for patch n.

    Returns:
        (B, H, rows, columns).

    Example:
        >>> attention = torch.tensor([[0.2, 0.7, 0.1], [0.0, 0.4, 0.6], [1.0, 0.0, 0.0]])[None, None]
        >>> token_maps(attention, grid=(1, 2)), token_maps(attention, grid=(1, 2), token=1)
        (tensor([[[[0.7000, 0.1000]]]]), tensor([[[[0.4000, 0.6000]]]]))
    """
    return attention[:, :, token, 1:].unflatten(-1, grid)


def rollout(attentions: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
    """The class token's attention rollout after each block.

    Args:
        attentions: one (B, H, 1 + N, 1 + N) per block, L of them.
        grid: rows and columns of the patches.

    Returns:
        (B, L, rows, columns), each map summing to one; the last is the rollout over all blocks.

    Example:
        >>> first = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])  # patch 0 reads patch 1
        >>> second = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])  # the class token reads patch 0
        >>> rollout([first[None, None], second[None, None]], grid=(1, 2))[0, 1]  # patch 1 reached it by way of patch 0
        tensor([[0.5000, 0.5000]])
    """
    first = attentions[0]
    identity = torch.eye(first.shape[-1], device=first.device)
    reach_BNN, maps = identity.expand(first.shape[0], -1, -1), []
    for attention in attentions:
        reach_BNN = (0.5 * attention.float().mean(dim=1) + 0.5 * identity) @ reach_BNN
        maps.append(reach_BNN[:, 0, 1:])
    map_BLN = torch.stack(maps, dim=1)
    return (map_BLN / map_BLN.sum(dim=-1, keepdim=True)).unflatten(-1, grid)
