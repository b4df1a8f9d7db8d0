"""Masks: which patches an encoder does not see.

Masks are drawn for each image from (seed, epoch, image index), never for a batch, so that a result does not depend on
the batch size, and no window is paired with the wrong image.

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
    """The keys of a batch's draws, and which of its images are near-duplicates.

    Attributes:
        seed, epoch: seed of the run, and epoch.
        indices: (B,) indices of the images in the data set.
        groups: (B,) int64, equal for near-duplicates; default: there are none.
        pair_weight: (B,) for a method of optical images: 0 for an image without one, else the number of the step's
            images over that of its images with one. A mean over images with this weight is the mean over pairs of the
            whole step, however the step is cut into parts and ranks.
    """

    seed: int
    epoch: int
    indices: np.ndarray
    groups: np.ndarray = None  # type: ignore[assignment]
    pair_weight: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Without groups, each image is its own group."""
        if self.groups is None:
            object.__setattr__(self, "groups", self.indices)


def take(tokens_BND: torch.Tensor, position_Bn: torch.Tensor) -> torch.Tensor:
    """The tokens at some positions of each image, (B, n, D).

    Example:
        >>> take(torch.tensor([[[10.0], [11.0], [12.0]]]), torch.tensor([[2, 0]]))
        tensor([[[12.],
                 [10.]]])
    """
    return tokens_BND.gather(1, position_Bn[:, :, None].expand(-1, -1, tokens_BND.shape[2]))


@dataclass(frozen=True)
class LocalWindows:
    """Square windows of patches, each a sequence of its own.

    Attributes:
        image_S: (S,) int64, number in the batch of each window's image.
        patch_Sn: (S, n) int64, positions on the grid of each window's patches, row by row.
        masked_Sn: (S, n) bool, whether a patch is masked; as many in every window.
        side: side of a window in patches; n = side * side.
    """

    image_S: torch.Tensor
    patch_Sn: torch.Tensor
    masked_Sn: torch.Tensor
    side: int

    def to(self, device: torch.device) -> LocalWindows:
        """The same on another device."""
        return LocalWindows(self.image_S.to(device), self.patch_Sn.to(device), self.masked_Sn.to(device), self.side)


def local_windows(
    keys: ImageKeys, rows: int, columns: int, *, num_windows: int = 4, side: int = 7, mask_ratio: float = 0.8
) -> LocalWindows:
    """Windows anywhere on the grid, a share of each masked (LoMaR, Chen et al. 2022).

    No two windows of an image start in the same row or in the same column, as published; where there are more windows
    than starts, each start is used before one is used again.

    Args:
        keys: keys of the draws.
        rows, columns: size of the grid.
        num_windows, side: number of windows per image, and a window's side in patches.
        mask_ratio: share of masked patches; int(mask_ratio * side^2) are masked, 39 of 49.

    Raises:
        InputError: the window is larger than the grid, or it would mask no patch or every patch.

    Example:
        >>> windows = local_windows(ImageKeys(0, 1, np.array([7])), 8, 8, num_windows=2, side=2, mask_ratio=0.5)
        >>> windows.patch_Sn
        tensor([[21, 22, 29, 30],
                [ 8,  9, 16, 17]])
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
    """Start rows or columns of all images' windows, (B * num_windows,): the first of each image's permutation."""
    num_rounds = -(-num_windows // num_starts)
    draws = uniforms(keys.seed, stream, keys.epoch, keys.indices, num_rounds * num_starts)
    order = draws.reshape(-1, num_rounds, num_starts).argsort(axis=2, kind="stable")
    return order.reshape(len(draws), -1)[:, :num_windows].reshape(-1)


@dataclass(frozen=True)
class GlobalMask:
    """A split of the whole grid.

    Attributes:
        visible_Bn, masked_Bm: positions on the grid, int64; together they hold every position once.
    """

    visible_Bn: torch.Tensor
    masked_Bm: torch.Tensor

    def to(self, device: torch.device) -> GlobalMask:
        """The same on another device."""
        return GlobalMask(self.visible_Bn.to(device), self.masked_Bm.to(device))


def global_mask(keys: ImageKeys, rows: int, columns: int, *, mask_ratio: float = 0.75) -> GlobalMask:
    """A random share of the grid (MAE, He et al. 2022): int(mask_ratio * N) patches are masked, 147 of 196.

    Raises:
        InputError: the share would mask no patch or every patch.

    Example:
        >>> mask = global_mask(ImageKeys(0, 1, np.array([7])), rows=2, columns=2)
        >>> mask.visible_Bn, mask.masked_Bm
        (tensor([[0]]), tensor([[3, 2, 1]]))
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
    """Blocks to predict, and the visible context.

    Attributes:
        context_Bn: positions of the context on the grid, int64.
        filler_Bn: bool, True where a position is padding and not of the context.
        target_BTm: positions of each block, row by row, none of them in the context.
    """

    context_Bn: torch.Tensor
    filler_Bn: torch.Tensor
    target_BTm: torch.Tensor

    def to(self, device: torch.device) -> TargetBlocks:
        """The same on another device."""
        return TargetBlocks(self.context_Bn.to(device), self.filler_Bn.to(device), self.target_BTm.to(device))


_TARGET_SCALE, _TARGET_RATIO, _CONTEXT_SCALE = (0.15, 0.2), (0.75, 1.5), (0.85, 1.0)
# Four blocks leave 46% of the grid to the context on average. In the rare case that they leave less than this share,
# all five blocks are drawn again.
_LEAST_CONTEXT = 0.1
_BLOCK_ATTEMPTS = 8


def target_blocks(keys: ImageKeys, rows: int, columns: int, *, num_targets: int = 4) -> TargetBlocks:
    """Multi-block masks (I-JEPA, Assran et al. 2023): target blocks, cut out of a large context block.

    Blocks cover 0.15 to 0.2 of the grid with height / width 0.75 to 1.5, the context block 0.85 to 1.0. Their sizes are
    drawn for the epoch, so that the images of a batch agree in shape (as published they are drawn once a batch, and so
    depend on the batch size); their positions are drawn for each image. A context is its block without the targets, so
    contexts differ in length and are padded to the longest of the batch.

    Raises:
        InputError: the grid is too small for blocks.

    Example:
        >>> blocks = target_blocks(ImageKeys(0, 1, np.array([7])), rows=14, columns=14)
        >>> blocks.context_Bn.shape, blocks.target_BTm.shape
        (torch.Size([1, 105]), torch.Size([1, 4, 30]))
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
    corner[:, -1, 1:] = corner[:, -1, 1:2]  # last resort: all targets at one position leave enough context
    target_BATm = _positions(corner[:, :, 1:], block, rows, columns)
    free_BAN = np.zeros((batch, _BLOCK_ATTEMPTS, num_patches), dtype=bool)
    np.put_along_axis(free_BAN, _positions(corner[:, :, 0], context, rows, columns), True, axis=2)
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


def _positions(corner: np.ndarray, block: tuple[int, int], rows: int, columns: int) -> np.ndarray:
    """Positions on the grid of blocks with a drawn corner: (..., 2) uniform numbers to (..., height * width)."""
    height, width = block
    top = (corner[..., :1] * (rows - height + 1)).astype(np.int64)
    left = (corner[..., 1:] * (columns - width + 1)).astype(np.int64)
    inside = (np.arange(height)[:, None] * columns + np.arange(width)).reshape(-1)
    return top * columns + left + inside
