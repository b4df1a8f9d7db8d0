"""Which patches an encoder does not see.

Masks are drawn for each image from (seed, epoch, image index), never for a batch: a result then does not depend on the
batch size, and no window is paired with the wrong image.

Shapes: B images, W windows per image, S = B * W sequences (image-major), n patches in a window, N patches in a grid;
n visible and m masked patches of a grid, T target blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sarjepa.draws import uniforms
from sarjepa.errors import InputError


@dataclass(frozen=True)
class ImageKeys:
    """What the draws of a batch belong to, and which of its images are near-duplicates.

    Attributes:
        seed, epoch: seed of the run, and epoch.
        indices: (B,) of the images.
        groups: (B,) int64, equal for near-duplicates; default: there are none.
        pair_weight: (B,) of images that come with an optical one: 0 where there is none, else the step's images over
            those that have one. A mean over images so weighted is the mean over pairs of the whole step, however the
            step is cut into parts and ranks.
    """

    seed: int
    epoch: int
    indices: np.ndarray
    groups: np.ndarray = None  # type: ignore[assignment]
    pair_weight: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Without groups each image is its own."""
        if self.groups is None:
            object.__setattr__(self, "groups", self.indices)


def take(tokens_BND: torch.Tensor, place_Bn: torch.Tensor) -> torch.Tensor:
    """The tokens at some places of each image, (B, n, D)."""
    return tokens_BND.gather(1, place_Bn[:, :, None].expand(-1, -1, tokens_BND.shape[2]))


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

    def to(self, device: torch.device) -> LocalWindows:
        """The same on a device."""
        return LocalWindows(self.image_S.to(device), self.patch_Sn.to(device), self.masked_Sn.to(device), self.side)


def local_windows(
    keys: ImageKeys, rows: int, columns: int, *, num_windows: int = 4, side: int = 7, mask_ratio: float = 0.8
) -> LocalWindows:
    """Windows anywhere on the grid, a share of each masked (LoMaR, Chen et al. 2022).

    No two windows of an image start in the same row or in the same column, as published; where there are more windows
    than starts, each start serves before one serves again.

    Args:
        keys: the images.
        rows, columns: size of the grid.
        num_windows, side: windows per image, and a window's side in patches.
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
    draws = uniforms(keys.seed, "local-windows", keys.epoch, keys.indices, num_windows * size)
    draws = draws.reshape(batch * num_windows, size)
    top = _distinct_starts(keys, "window-rows", rows - side + 1, num_windows)
    left = _distinct_starts(keys, "window-columns", columns - side + 1, num_windows)
    offset = np.arange(side)
    inside = (offset[:, None] * columns + offset[None, :]).reshape(-1)
    masked = np.zeros((batch * num_windows, size), dtype=bool)
    np.put_along_axis(masked, draws.argsort(axis=1, kind="stable")[:, :num_masked], True, axis=1)
    return LocalWindows(
        image_S=torch.arange(batch).repeat_interleave(num_windows),
        patch_Sn=torch.from_numpy((top * columns + left)[:, None] + inside[None, :]),
        masked_Sn=torch.from_numpy(masked),
        side=side,
    )


def _distinct_starts(keys: ImageKeys, stream: str, num_starts: int, num_windows: int) -> np.ndarray:
    """Starts of the windows of all images, (B * num_windows,): the first of a permutation for each image."""
    num_rounds = -(-num_windows // num_starts)
    draws = uniforms(keys.seed, stream, keys.epoch, keys.indices, num_rounds * num_starts)
    order = draws.reshape(-1, num_rounds, num_starts).argsort(axis=2, kind="stable")
    return order.reshape(len(draws), -1)[:, :num_windows].reshape(-1)


@dataclass(frozen=True)
class GlobalMask:
    """A split of the whole grid.

    Attributes:
        visible_Bn, masked_Bm: places on the grid, int64; together every place once.
    """

    visible_Bn: torch.Tensor
    masked_Bm: torch.Tensor

    def to(self, device: torch.device) -> GlobalMask:
        """The same on a device."""
        return GlobalMask(self.visible_Bn.to(device), self.masked_Bm.to(device))


def global_mask(keys: ImageKeys, rows: int, columns: int, *, mask_ratio: float = 0.75) -> GlobalMask:
    """A random share of the grid (MAE, He et al. 2022): int(mask_ratio * N) patches are masked, 147 of 196.

    Raises:
        InputError: the share would mask no patch or every patch.
    """
    num_patches = rows * columns
    num_masked = int(mask_ratio * num_patches)
    if not 0 < num_masked < num_patches:
        raise InputError(
            "nothing or everything would be masked", where="mask-ratio", got=f"{num_masked} of {num_patches} patches"
        )
    draws = uniforms(keys.seed, "global-mask", keys.epoch, keys.indices, num_patches)
    order = torch.from_numpy(draws.argsort(axis=1, kind="stable"))
    return GlobalMask(visible_Bn=order[:, num_masked:], masked_Bm=order[:, :num_masked])


@dataclass(frozen=True)
class TargetBlocks:
    """Blocks to predict, and what is seen of the rest.

    Attributes:
        context_Bn: places on the grid, int64.
        filler_Bn: bool, True where a place is not of the context and only fills up its row.
        target_BTm: places of each block, row by row, none of them in the context.
    """

    context_Bn: torch.Tensor
    filler_Bn: torch.Tensor
    target_BTm: torch.Tensor

    def to(self, device: torch.device) -> TargetBlocks:
        """The same on a device."""
        return TargetBlocks(self.context_Bn.to(device), self.filler_Bn.to(device), self.target_BTm.to(device))


_TARGET_SCALE, _TARGET_RATIO, _CONTEXT_SCALE = (0.15, 0.2), (0.75, 1.5), (0.85, 1.0)
# What four blocks leave of the context block is 46% of the grid on average; where it is less than this, which is rare,
# all five are drawn again.
_LEAST_CONTEXT = 0.1
_BLOCK_ATTEMPTS = 8


def target_blocks(keys: ImageKeys, rows: int, columns: int, *, num_targets: int = 4) -> TargetBlocks:
    """Multi-block masks (I-JEPA, Assran et al. 2023): target blocks, cut out of a large context block.

    Blocks cover 0.15 to 0.2 of the grid with height / width 0.75 to 1.5, the context block 0.85 to 1.0. Their sizes
    belong to the epoch, so that the images of a batch agree in shape (as published they are drawn once a batch, and so
    depend on the batch size); where they lie belongs to the image. A context is
    all that the targets leave of its block, so contexts differ in length and are filled up to the longest of the batch.

    Raises:
        InputError: the grid is too small for blocks.
    """
    if min(rows, columns) < 4:
        raise InputError("the grid is too small for target blocks", expected="at least 4 x 4", got=(rows, columns))
    num_patches, batch = rows * columns, len(keys.indices)
    (area, shape, context_area), *_ = uniforms(keys.seed, "block-sizes", keys.epoch, np.zeros(1), 3)
    low, high = np.log(_TARGET_RATIO)
    block = _block_size(_between(_TARGET_SCALE, area) * num_patches, np.exp(low + (high - low) * shape), rows, columns)
    context = _block_size(_between(_CONTEXT_SCALE, context_area) * num_patches, 1.0, rows, columns)

    draws = uniforms(keys.seed, "target-blocks", keys.epoch, keys.indices, _BLOCK_ATTEMPTS * (num_targets + 1) * 2)
    corner = draws.reshape(batch, _BLOCK_ATTEMPTS, num_targets + 1, 2)
    corner[:, -1, 1:] = corner[:, -1, 1:2]  # last resort: all targets in one place leave context enough
    target_BATm = _places(corner[:, :, 1:], block, rows, columns)
    free_BAN = np.zeros((batch, _BLOCK_ATTEMPTS, num_patches), dtype=bool)
    np.put_along_axis(free_BAN, _places(corner[:, :, 0], context, rows, columns), True, axis=2)
    np.put_along_axis(free_BAN, target_BATm.reshape(batch, _BLOCK_ATTEMPTS, -1), False, axis=2)

    image, chosen = np.arange(batch), (free_BAN.sum(axis=2) >= _LEAST_CONTEXT * num_patches).argmax(axis=1)
    free_BN = free_BAN[image, chosen]
    length_B = free_BN.sum(axis=1)
    context_Bn = (~free_BN).argsort(axis=1, kind="stable")[:, : length_B.max()]
    filler_Bn = np.arange(length_B.max()) >= length_B[:, None]
    return TargetBlocks(*map(torch.from_numpy, (context_Bn, filler_Bn, target_BATm[image, chosen])))


def _between(bounds: tuple[float, float], share: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * share


def _block_size(area: float, ratio: float, rows: int, columns: int) -> tuple[int, int]:
    """Height and width of a block, in patches, no larger than the grid."""
    return min(rows, round((area * ratio) ** 0.5)), min(columns, round((area / ratio) ** 0.5))


def _places(corner: np.ndarray, block: tuple[int, int], rows: int, columns: int) -> np.ndarray:
    """Places on the grid of blocks whose corner is drawn: (..., 2) uniform numbers to (..., height * width)."""
    height, width = block
    top = (corner[..., :1] * (rows - height + 1)).astype(np.int64)
    left = (corner[..., 1:] * (columns - width + 1)).astype(np.int64)
    inside = (np.arange(height)[:, None] * columns + np.arange(width)).reshape(-1)
    return top * columns + left + inside
