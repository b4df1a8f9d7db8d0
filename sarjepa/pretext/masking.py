"""Which patches an encoder does not see.

Masks are drawn for each image from (seed, epoch, image index), never for a batch: a result then does not depend on the
batch size, and no window is paired with the wrong image.

Shapes: B images, W windows an image, S = B * W sequences (image-major), n patches a window, N patches a grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sarjepa.draws import uniforms
from sarjepa.errors import InputError


@dataclass(frozen=True)
class ImageKeys:
    """What the draws of a batch belong to: seed, epoch and the images' indices (B,)."""

    seed: int
    epoch: int
    indices: np.ndarray


@dataclass(frozen=True)
class LocalWindows:
    """Square windows of patches, each a sequence of its own.

    Attributes:
        image_S: (S,) int64, the image in the batch a window belongs to.
        patch_Sn: (S, n) int64, its patches as positions on the grid, row by row.
        masked_Sn: (S, n) bool, the same number in every window.
        side: n = side * side.
    """

    image_S: torch.Tensor
    patch_Sn: torch.Tensor
    masked_Sn: torch.Tensor
    side: int


def local_windows(
    keys: ImageKeys, rows: int, columns: int, *, num_windows: int = 4, side: int = 7, mask_ratio: float = 0.8
) -> LocalWindows:
    """Windows anywhere on the grid, a share of each masked (LoMaR, Chen et al. 2022).

    Args:
        keys: the images.
        rows, columns: of the grid.
        num_windows, side: windows an image, and a window's side in patches.
        mask_ratio: int(mask_ratio * side^2) patches are masked: 39 of 49.

    Raises:
        InputError: the window is larger than the grid, or nothing would be masked.
    """
    if side > min(rows, columns):
        raise InputError(
            "the window is larger than the grid",
            where="window-size",
            expected=f"at most {min(rows, columns)}",
            got=side,
        )
    size = side * side
    num_masked = int(mask_ratio * size)
    if not 0 < num_masked < size:
        raise InputError(
            "nothing or everything would be masked", where="mask-ratio", got=f"{num_masked} of {size} patches"
        )
    batch = len(keys.indices)
    draws = uniforms(keys.seed, "local-windows", keys.epoch, keys.indices, num_windows * (2 + size))
    draws = draws.reshape(batch * num_windows, 2 + size)
    top = (draws[:, 0] * (rows - side + 1)).astype(np.int64)
    left = (draws[:, 1] * (columns - side + 1)).astype(np.int64)
    offset = np.arange(side)
    inside = (offset[:, None] * columns + offset[None, :]).reshape(-1)
    masked = np.zeros((batch * num_windows, size), dtype=bool)
    np.put_along_axis(masked, draws[:, 2:].argsort(axis=1, kind="stable")[:, :num_masked], True, axis=1)
    return LocalWindows(
        image_S=torch.arange(batch).repeat_interleave(num_windows),
        patch_Sn=torch.from_numpy((top * columns + left)[:, None] + inside[None, :]),
        masked_Sn=torch.from_numpy(masked),
        side=side,
    )
