"""Gradient by ratio in one CUDA kernel, which reads the image from memory once and writes the result once.

A program computes a block of output rows and columns of one plane and keeps everything in registers. For each scale,
from the smallest radius up:

    down the columns   the rows above and below the block's rows are added as they are loaded, each scale going on where
                       the last one stopped: 2r+1 loads in all serve every scale (and all but the first find the line
                       in the L1 cache, as neighbouring rows load the same)
    along the rows     a tile is wider than its output by the halo, and windows are summed by doubling,
                       w(2n) = w(n) + w(n) shifted by n, w(2n+1) = w(2n) + the pixel behind it

Only pixels inside a window are summed, as in `ratio_box` and for the same reasons; 16-bit pixels are widened on loading
and summed in float32. The border is reflected in the row and column numbers, so nothing is padded in memory. The
Gaussian kernel weighs the same loads and the same shifts, tap by tap.

Trade-off: a shift is a gather inside the tile (warp shuffles, where a warp holds whole rows). About 17 of them per
pixel and scale bound the kernel's speed, not the device's memory. Triton has no cheaper way to reach a neighbour in a
tile; tensor cores (a product with a banded matrix) would let one NaN spoil a tile, and would round float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from sarjepa.errors import InputError
from sarjepa.ops.ratio_conv import gaussian_sigma

_ROWS = 16  # output rows of a block: with 128 columns 2048 pixels, 16 per thread of four warps


@triton.jit
def _reflect(index, size):
    """The row or column number inside the image that one outside is reflected to, several times if needed."""
    period = tl.maximum(2 * size - 2, 1)
    phase = tl.abs(index) % period
    return tl.minimum(phase, period - phase)


@triton.jit
def _shift(tile, by, COLUMNS: tl.constexpr):
    """The tile moved left by `by` columns; columns from beyond its right edge are never used."""
    column = tl.minimum(tl.arange(0, COLUMNS) + by, COLUMNS - 1)
    return tl.gather(tile, tl.broadcast_to(column[None, :], tile.shape), axis=1)


@triton.jit
def _window(tile, LENGTH: tl.constexpr, COLUMNS: tl.constexpr):
    """The sum of LENGTH columns from each column on."""
    if LENGTH == 1:
        total = tile
    else:
        half = _window(tile, LENGTH // 2, COLUMNS)
        total = half + _shift(half, LENGTH // 2, COLUMNS)
        if LENGTH % 2 == 1:
            total += _shift(tile, LENGTH - 1, COLUMNS)
    return total


@triton.jit
def _load(image, row, column, height, width, eps):
    """Pixels at the given rows and columns in the dtype of eps, raised by it, NaN where they are not finite."""
    address = _reflect(row, height)[:, None] * width + _reflect(column, width)[None, :]
    pixel = tl.load(image + address).to(eps.dtype)
    return tl.where(tl.abs(pixel) < float("inf"), pixel, float("nan")) + eps


@triton.jit
def _weight(offset, falloff, GAUSSIAN: tl.constexpr):
    """A line's weight at this distance from the centre; falloff is 1 / (2 s^2)."""
    if GAUSSIAN:
        weight = tl.exp(-falloff * offset * offset)
    else:
        weight = 1.0
    return weight


@triton.jit
def _strength(up, down, whole, falloff, RADIUS: tl.constexpr, GAUSSIAN: tl.constexpr, CENTRE: tl.constexpr):
    """Edge strength from the sums down the columns; column j is of the window that starts there."""
    COLUMNS: tl.constexpr = whole.shape[1]
    SIDE: tl.constexpr = RADIUS + 1 if CENTRE else RADIUS
    BEHIND: tl.constexpr = RADIUS if CENTRE else RADIUS + 1
    if GAUSSIAN:
        left, right = tl.zeros_like(whole), tl.zeros_like(whole)
        upper, lower = tl.zeros_like(whole), tl.zeros_like(whole)
        for tap in range(0, 2 * RADIUS + 1):
            weight = _weight(tap - RADIUS, falloff, GAUSSIAN)
            upper += weight * _shift(up, tap, COLUMNS)
            lower += weight * _shift(down, tap, COLUMNS)
            weighted = weight * _shift(whole, tap, COLUMNS)
            left += tl.where(tap < SIDE, weighted, 0.0)
            right += tl.where(tap >= BEHIND, weighted, 0.0)
    else:
        left = _window(whole, SIDE, COLUMNS)
        right = _shift(left, BEHIND, COLUMNS)
        upper = _window(up, 2 * RADIUS + 1, COLUMNS)
        lower = _window(down, 2 * RADIUS + 1, COLUMNS)
    across, along = tl.log(left / right), tl.log(upper / lower)
    return tl.sqrt(across * across + along * along)


@triton.jit(do_not_specialize=["height", "width"])  # a size of 1 would become a constant, of another type
def _ratio_kernel(
    image,
    strength,
    constants,
    height,
    width,
    RADII: tl.constexpr,
    PLACES: tl.constexpr,
    GAUSSIAN: tl.constexpr,
    CENTRE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """One block of all scales of one plane.

    RADII ascend, PLACES holds the output channel of each; `constants` holds eps and 1 / (2 s^2) of each radius.
    """
    MARGIN: tl.constexpr = RADII[len(RADII) - 1]
    OUTPUT_COLUMNS: tl.constexpr = COLUMNS - 2 * MARGIN
    blocks_across, blocks_down = tl.cdiv(width, OUTPUT_COLUMNS), tl.cdiv(height, ROWS)
    block = tl.program_id(0)
    plane = (block // (blocks_across * blocks_down)).to(tl.int64)
    first_row = block // blocks_across % blocks_down * ROWS
    first_column = block % blocks_across * OUTPUT_COLUMNS
    image += plane * height * width
    strength += plane * len(RADII) * height * width

    eps = tl.load(constants)
    row = first_row + tl.arange(0, ROWS)
    column = first_column - MARGIN + tl.arange(0, COLUMNS)
    centre_line = _load(image, row, column, height, width, eps)
    above, below = tl.zeros_like(centre_line), tl.zeros_like(centre_line)
    reached = 0
    for scale in tl.static_range(len(RADII)):
        falloff = tl.load(constants + 1 + scale)
        if GAUSSIAN:  # the weights change with the scale, so nothing can be carried over
            above, below = tl.zeros_like(centre_line), tl.zeros_like(centre_line)
            reached = 0
        for offset in range(reached + 1, RADII[scale] + 1):
            weight = _weight(offset, falloff, GAUSSIAN)
            above += weight * _load(image, row - offset, column, height, width, eps)
            below += weight * _load(image, row + offset, column, height, width, eps)
        reached = RADII[scale]
        whole = above + centre_line + below
        if CENTRE:
            result = _strength(above + centre_line, below + centre_line, whole, falloff, RADII[scale], GAUSSIAN, CENTRE)
        else:
            result = _strength(above, below, whole, falloff, RADII[scale], GAUSSIAN, CENTRE)
            # The one pixel that neither half sees counts as seen, as it does by convolution.
            result += 0.0 * _shift(centre_line, RADII[scale], COLUMNS)
        output = tl.arange(0, COLUMNS) - (MARGIN - RADII[scale])  # where a window starts -> the pixel it is centred on
        inside = (output >= 0) & (output < OUTPUT_COLUMNS) & (first_column + output < width)
        address = row[:, None].to(tl.int64) * width + (first_column + output)[None, :]
        mask = (row < height)[:, None] & inside[None, :]
        channel = strength + PLACES[scale] * height.to(tl.int64) * width
        tl.store(channel + address, result.to(strength.dtype.element_ty), mask=mask)


def ratio_triton(image_NHW: Tensor, radii: Sequence[int], kernel: str, eps: float, centre: bool) -> Tensor:
    """Gradient by ratio by one kernel launch.

    Args:
        image_NHW: (N, H, W) on a CUDA device; float64 is summed in float64, everything else in float32.
        radii, kernel, eps, centre: as in `ratio.gradient_by_ratio`.

    Returns:
        (N, len(radii), H, W) of the image's dtype.

    Raises:
        InputError: the installed triton is too old to reach a neighbour inside a tile.
    """
    if not hasattr(tl, "gather"):
        raise InputError("impl 'triton' needs triton 3.2 or later", got=triton.__version__, hint="take impl 'conv'")
    num, height, width = image_NHW.shape
    strength = image_NHW.new_empty((num, len(radii), height, width))
    order = sorted(range(len(radii)), key=lambda k: radii[k])
    ascending = tuple(radii[k] for k in order)
    accumulator = torch.promote_types(image_NHW.dtype, torch.float32)
    constants = [eps] + [1 / (2 * gaussian_sigma(radius) ** 2) for radius in ascending]
    columns = max(128, triton.next_power_of_2(2 * ascending[-1] + 32))
    num_blocks = num * triton.cdiv(height, _ROWS) * triton.cdiv(width, columns - 2 * ascending[-1])
    if num_blocks == 0:
        return strength
    with torch.cuda.device_of(image_NHW):
        _ratio_kernel[(num_blocks,)](
            image_NHW.contiguous(),
            strength,
            torch.tensor(constants, dtype=accumulator, device=image_NHW.device),
            height,
            width,
            RADII=ascending,
            PLACES=tuple(order),
            GAUSSIAN=kernel == "gaussian",
            CENTRE=centre,
            ROWS=_ROWS,
            COLUMNS=columns,
        )
    return strength
