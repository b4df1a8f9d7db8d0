"""Gradient by ratio on a CPU without convolutions: box sums in a few dozen passes over memory.

A sum over 2r+1 pixels need not be computed from scratch at every pixel. The textbook method is an integral image, two
subtractions a box; but it subtracts large numbers that are nearly equal, so in float32 it loses the digits that matter
(the box beside a bright target, the lower end of a large scene), and one NaN spoils all sums after it. Here sums grow
by doubling, as a power is computed by squaring, and longer windows grow from shorter ones:

    w1 = a,   w2n(x) = wn(x) + wn(x+n),   wm+n(x) = wm(x) + wn(x+m)

so that the windows of 6, 10, 14 and 18 pixels (r + 1 for the four radii) take six additions together. All four halves
of a scale are two overlapping squares of r + 1 pixels per side, less the line through the pixel, which is in both:

    left = square above + square below - row,   up = square left + square right - column

This one subtraction is harmless: the line is no larger than either square, so at least half of what it is taken from
remains. (Halves without the centre line are two squares of r and the line between them: no subtraction at all.) Every
partial sum is thus at most twice the sum of magnitudes inside the window; the relative error is at most some twenty
roundings of the dtype whatever is elsewhere in the image, and a NaN stays within its windows.

M_right(x) is M_left(x + r), so one sum gives both halves; means need no division by the weights, as the ratio cancels
it. Tiles are stored flat, so that a step down is an offset of one row length and every pass runs through contiguous
memory; sums that wrap around a row's end are never read. numpy does the passes, outside the interpreter's lock, with a
group of tiles per thread. (numpy rather than torch for its logarithm: 0.26 ns per value against 0.81 with AVX-512.
Logarithms and square roots are a third of the time of this path, the sums two fifths.)

The Gaussian kernel has no running sums, but its half-plane means are separable: taps along one axis, then along the
other, are 8r multiply-adds per pixel in place of 4 (2r+1)^2.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sarjepa.ops.ratio_conv import half_profile, profile, reflect_pad

_TILE = 256  # px, the longest side of a tile without its halo
# Passing the interpreter's lock between threads costs about as much as a pass over a tile: below this many pixels two
# threads were no faster than one.
_WORTH_A_THREAD = 2**22
_GROUP = 70_000  # pixels of the tiles that are worked on together: a dozen arrays of 0.3 MB in float32 are in use


class Scratch:
    """Flat arrays, reused by name for the next tiles: new memory pages cost more than a pass of sums."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def take(self, name: str, size: int, dtype: np.dtype) -> np.ndarray:
        """An uninitialised flat array of `size` in the memory of the last array of this name."""
        if name not in self._arrays or self._arrays[name].size < size:
            self._arrays[name] = np.empty(size, dtype)
        return self._arrays[name][:size]


def window_sum(source_N: np.ndarray, length: int, step: int, scratch: Scratch, name: str) -> np.ndarray:
    """The sum of `length` values, `step` apart, from each value on for which they fit.

    Args:
        source_N: (N,) values.
        length, step: length of the window, and distance of its elements: 1 along a row, the row length down a column.
        scratch, name: store and key of the sum, which takes two arrays, as a sum cannot overwrite its own terms.

    Returns:
        (N - (length - 1) step,) sums; the source itself for a length of 1.

    Example:
        >>> window_sum(np.arange(5.0), length=3, step=1, scratch=Scratch(), name="row")
        array([3., 6., 9.])
    """
    total, reach = source_N, 1
    for turn, bit in enumerate(f"{length:b}"[1:]):
        size = total.size - reach * step
        out = scratch.take(f"{name}{turn % 2}", size, source_N.dtype)
        total, reach = np.add(total[:size], total[reach * step :], out=out), 2 * reach
        if bit == "1":
            size = total.size - step
            total, reach = np.add(total[:size], source_N[reach * step :], out=total[:size]), reach + 1
    return total


def growing_sums(
    source_N: np.ndarray, lengths: Iterable[int], step: int, scratch: Scratch, name: str
) -> Iterator[np.ndarray]:
    """Window sums of increasing length, each grown from the one before, which it overwrites.

    The arguments are those of `window_sum`, with `lengths` ascending from 1 up; each sum is as `window_sum` returns it.

    Example:
        >>> [sums.tolist() for sums in growing_sums(np.arange(5.0), [2, 4], step=1, scratch=Scratch(), name="row")]
        [[1.0, 3.0, 5.0, 7.0], [6.0, 10.0]]
    """
    doubled, total, reach = [source_N], source_N, 0
    for length in lengths:
        for power in (k for k in reversed(range(length.bit_length())) if (length - reach) >> k & 1):
            while len(doubled) <= power:
                size = source_N.size - ((1 << len(doubled)) - 1) * step
                out = scratch.take(f"{name} {len(doubled)}", size, source_N.dtype)
                doubled.append(np.add(doubled[-1][:size], doubled[-1][-size:], out=out))
            size = source_N.size - (reach + (1 << power) - 1) * step
            out = scratch.take(name, size, source_N.dtype)
            total = np.add(total[:size], doubled[power][-size:], out=out) if reach else doubled[power]
            reach += 1 << power
        yield total


@dataclass(frozen=True)
class _Setting:
    """The arguments of a call, equal for all its tiles; `margin` (px), the largest radius, is the halo of a tile."""

    radii: tuple[int, ...]
    kernel: str
    eps: float
    centre: bool

    @property
    def margin(self) -> int:
        return max(self.radii)


Halves = Iterator[tuple[int, np.ndarray, np.ndarray]]


def _box_halves(tile_N: np.ndarray, pitch: int, setting: _Setting, scratch: Scratch) -> Halves:
    """Radius and half-window sums left and right of each pixel, then above and below it; smallest radius first."""
    shared, radii = int(setting.centre), sorted(setting.radii)
    lengths = [radius + shared for radius in radii]
    rows = growing_sums(tile_N, lengths, 1, scratch, "row")
    columns = growing_sums(tile_N, lengths, pitch, scratch, "column")
    for radius, row, column in zip(radii, rows, columns, strict=True):
        square = window_sum(row, radius + shared, pitch, scratch, "square")
        for line, across, along in ((row, pitch, 1), (column, 1, pitch)):
            far = (radius + 1 - shared) * across
            half = np.add(square[:-far], square[far:], out=scratch.take("half", square.size - far, square.dtype))
            middle = line[radius * across :][: half.size]  # in both squares, or in neither
            (np.subtract if shared else np.add)(half, middle, out=half)
            yield radius, half, half[(radius + 1 - shared) * along :]


def _weighted(source_N: np.ndarray, weights: np.ndarray, step: int, scratch: Scratch, name: str) -> np.ndarray:
    """The sum of weights[k] * source[i + k step], for every i where it fits."""
    size = source_N.size - (len(weights) - 1) * step
    total, term = (scratch.take(key, size, source_N.dtype) for key in (name, "term"))
    np.multiply(source_N[:size], weights[0], out=total)
    for k, weight in enumerate(weights[1:], start=1):
        np.multiply(source_N[k * step :][:size], weight, out=term)
        np.add(total, term, out=total)
    return total


def _gaussian_halves(tile_N: np.ndarray, pitch: int, setting: _Setting, scratch: Scratch) -> Halves:
    """As `_box_halves`, with Gaussian weights along both axes."""
    for radius in sorted(setting.radii):
        weights = profile(radius, "gaussian").astype(tile_N.dtype)
        taps = half_profile(radius, "gaussian", setting.centre)[: radius + setting.centre].astype(tile_N.dtype)
        for across, along in ((pitch, 1), (1, pitch)):
            wide = _weighted(tile_N, weights, across, scratch, "wide")
            before = _weighted(wide, taps, along, scratch, "before")
            after = _weighted(wide, taps[::-1], along, scratch, "after")
            yield radius, before, after[(radius + 1 - setting.centre) * along :]


def _ratio_tiles(tiles_THW: np.ndarray, out_TRHW: np.ndarray, setting: _Setting, scratch: Scratch) -> None:
    """Write all scales of some tiles of one size, given with their halos, to `out_TRHW`."""
    num, rows, pitch = tiles_THW.shape
    height, width = out_TRHW.shape[2:]
    tile_N = scratch.take("tile", num * rows * pitch, tiles_THW.dtype)
    np.add(tiles_THW, tiles_THW.dtype.type(setting.eps), out=tile_N.reshape(num, rows, pitch))
    damaged = not np.isfinite(tile_N.sum())
    if damaged:
        tile_N[~np.isfinite(tile_N)] = np.nan

    run = (height - 1) * pitch + width  # from a tile's first output pixel to its last
    buffer = scratch.take("logs", 2 * num * height * pitch, tile_N.dtype).reshape(2, num, height * pitch)
    logs, squares_THW = buffer[:, :, :run], buffer[0].reshape(num, height, pitch)[:, :, :width]

    def runs(flat: np.ndarray, row: int) -> np.ndarray:
        """Each tile's run (num, run) in a flat array of sums, in which pixel (0, 0) has its sum at (row, row)."""
        strides = (rows * pitch * flat.itemsize, flat.itemsize)
        return np.ndarray((num, run), flat.dtype, flat, row * (pitch + 1) * flat.itemsize, strides)

    halves = _gaussian_halves if setting.kernel == "gaussian" else _box_halves
    for turn, (radius, before, after) in enumerate(halves(tile_N, pitch, setting, scratch)):
        start = setting.margin - radius
        log_ratio = np.divide(runs(before, start), runs(after, start), out=logs[turn % 2])
        np.log(log_ratio, out=log_ratio)
        np.multiply(log_ratio, log_ratio, out=log_ratio)
        if turn % 2:
            np.add(logs[0], logs[1], out=logs[0])
            np.sqrt(squares_THW, out=out_TRHW[:, setting.radii.index(radius)])
    if damaged and not setting.centre:  # the one pixel that neither half sees counts as seen, as it does by convolution
        logs[0] = runs(tile_N, setting.margin)
        out_TRHW += 0 * squares_THW[:, None]


def _spans(size: int, longest: int) -> list[slice]:
    """Cut a line into nearly equal spans of at most `longest`."""
    num = -(-size // longest)
    return [slice(k * size // num, (k + 1) * size // num) for k in range(num)]


def ratio_box(image_NHW: Tensor, radii: Sequence[int], kernel: str, eps: float, centre: bool) -> Tensor:
    """Gradient by ratio by sums that share their terms, on the CPU.

    At most as many threads as torch has (`torch.set_num_threads`) take groups of tiles; small batches take one.

    Args:
        image_NHW: (N, H, W) float32 or float64 on the CPU.
        radii, kernel, eps, centre: as in `ratio.gradient_by_ratio`.

    Returns:
        (N, len(radii), H, W) of the image's dtype.

    Example:
        >>> line = torch.ones(1, 1, 9)
        >>> line[0, 0, 4] = torch.nan  # stays within the windows that hold it
        >>> ratio_box(line, radii=[2], kernel="linear", eps=0.0, centre=True)[0, 0]
        tensor([[0., 0., nan, nan, nan, nan, nan, 0., 0.]])
    """
    num, height, width = image_NHW.shape
    setting = _Setting(tuple(dict.fromkeys(radii)), kernel, eps, centre)
    halo = 2 * setting.margin
    padded_NHW = reflect_pad(image_NHW, setting.margin).numpy()
    strengths = torch.empty((num, len(setting.radii), height, width), dtype=image_NHW.dtype)
    out_NRHW = strengths.numpy()

    threads = torch.get_num_threads()
    area = (min(height, _TILE) + halo) * (min(width, _TILE) + halo)
    together = max(1, min(-(-num // threads), _GROUP // area))
    groups = list(itertools.product(_spans(num, together), _spans(height, _TILE), _spans(width, _TILE)))

    def work(share: Sequence[tuple[slice, slice, slice]]) -> None:
        scratch = Scratch()
        with np.errstate(all="ignore"):  # 0/0 and overflow are meant: they give NaN and infinite strength
            for planes, down, across in share:
                rows, columns = slice(down.start, down.stop + halo), slice(across.start, across.stop + halo)
                out_TRHW = out_NRHW[planes, :, down, across]
                _ratio_tiles(padded_NHW[planes, rows, columns], out_TRHW, setting, scratch)

    workers = min(threads, len(groups), num * height * width // _WORTH_A_THREAD + 1)
    if workers > 1:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, [groups[first::workers] for first in range(workers)]))
    else:
        work(groups)
    return strengths if len(radii) == len(setting.radii) else strengths[:, [setting.radii.index(r) for r in radii]]
