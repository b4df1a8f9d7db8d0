"""Gradient by ratio on a CPU, without convolving: box sums in a few dozen passes over memory.

A sum over 2r+1 pixels need not be taken from scratch at every pixel. The textbook answer is an integral image, two
subtractions a box; but it subtracts large numbers that are nearly equal, so in float32 it loses the digits that matter
(the box beside a bright target, the lower end of a large scene), and one NaN spoils everything behind it. Here sums
are only ever added, by doubling, as a power is taken by squaring:

    w1 = a,   w2n(x) = wn(x) + wn(x+n),   w2n+1(x) = w2n(x) + a(x+2n)

Every partial sum is a sum of magnitudes inside the window, so the relative error is at most some ten roundings of the
dtype whatever stands elsewhere in the image, and what is not a number stays where it is. A window of n costs between
log2(n) and 2 log2(n) additions, and scales share: the window of radius 9 is that of radius 5 and a w4 at either end.

M_right(x) is M_left(x + r), so one box sum gives both halves; G_H and G_V are one routine with the axes exchanged;
means need no division by the weights, as the ratio cancels it. Tiles are held flat, so that a step down is an offset of
one row length and every pass is one run through contiguous memory: sums that wrap around a row's end are never read.
Passes are numpy's, outside the interpreter's lock, a group of tiles a thread. Groups are as large as the cache allows:
threads that ask for the lock every few microseconds would run one after the other. (numpy rather than torch for its
logarithm: 0.37 ns a value against 1.0 with AVX-512, and the logarithms are a third of the time of this path.)

The Gaussian kernel has no running sums; its half-plane means are separable, and that is what is used: taps along one
axis, then along the other, 8r multiply-adds a pixel in place of 4 (2r+1)^2.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sarjepa.ops.ratio_conv import half_profile, profile, reflect_pad

_TILE = 256  # px, the longest side of a tile without its halo
# Handing the interpreter's lock from thread to thread costs about as much as a pass over a tile: below this many pixels
# two threads were no faster than one (8 x 224 x 224: 9.0 ms with one, 10.9 with two; 4096 x 4096: 564 and 397).
_WORTH_A_THREAD = 2**22
_GROUP = 300_000  # pixels of the tiles that are worked on together: arrays of 1.2 MB in float32


class Scratch:
    """Flat arrays handed out by name and used again for the next tiles: fresh pages cost more than a pass of sums."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def take(self, name: str, size: int, dtype: np.dtype) -> np.ndarray:
        """An uninitialised flat array of `size`; what stood under this name is overwritten."""
        if name not in self._arrays or self._arrays[name].size < size:
            self._arrays[name] = np.empty(size, dtype)
        return self._arrays[name][:size]


def window_sum(source_N: np.ndarray, length: int, step: int, scratch: Scratch, name: str) -> np.ndarray:
    """The sum of `length` values, `step` apart, from each value on for which they fit.

    Args:
        source_N: (N,) what is summed.
        length, step: of the window; a step is 1 along a row and the row length down a column.
        scratch, name: where the sum is kept; two arrays, since a shifted sum cannot be written over its own terms.

    Returns:
        (N - (length - 1) step,); the source itself for a length of 1.
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


@dataclass(frozen=True)
class _Setting:
    """What stays the same over the tiles of a call; `margin` (px) is the largest radius, the halo of a tile."""

    radii: tuple[int, ...]
    kernel: str
    eps: float
    centre: bool

    @property
    def margin(self) -> int:
        return max(self.radii)


Halves = Iterator[tuple[int, np.ndarray, np.ndarray]]


def _box_halves(tile_N: np.ndarray, across: int, along: int, setting: _Setting, scratch: Scratch) -> Halves:
    """The half-window sums before and after each pixel, smallest radius first; `across`, `along` are steps."""
    wide_N, previous, growth = scratch.take("wide", tile_N.size, tile_N.dtype), 0, 0
    for radius in sorted(setting.radii):
        if radius - previous != growth:
            growth = radius - previous
            edge = window_sum(tile_N, growth, across, scratch, "edge")
        reach, far = radius * across, (radius + previous + 1) * across
        inner = slice(reach, tile_N.size - reach)
        sums = np.add((wide_N if previous else tile_N)[inner], edge[: tile_N.size - 2 * reach], out=wide_N[inner])
        np.add(sums, edge[far : far + sums.size], out=sums)
        half = window_sum(sums, radius + setting.centre, along, scratch, "half")
        yield radius, half, half[(radius + 1 - setting.centre) * along :]
        previous = radius


def _weighted(source_N: np.ndarray, weights: np.ndarray, step: int, scratch: Scratch, name: str) -> np.ndarray:
    """The sum of weights[k] * source[i + k step], for every i where it fits."""
    size = source_N.size - (len(weights) - 1) * step
    total, term = (scratch.take(key, size, source_N.dtype) for key in (name, "term"))
    np.multiply(source_N[:size], weights[0], out=total)
    for k, weight in enumerate(weights[1:], start=1):
        np.multiply(source_N[k * step :][:size], weight, out=term)
        np.add(total, term, out=total)
    return total


def _gaussian_halves(tile_N: np.ndarray, across: int, along: int, setting: _Setting, scratch: Scratch) -> Halves:
    """As `_box_halves`, with Gaussian weights across and along."""
    for radius in sorted(setting.radii):
        wide = _weighted(tile_N, profile(radius, "gaussian").astype(tile_N.dtype), across, scratch, "wide")
        taps = half_profile(radius, "gaussian", setting.centre)[: radius + setting.centre].astype(tile_N.dtype)
        before = _weighted(wide, taps, along, scratch, "before")
        after = _weighted(wide, taps[::-1], along, scratch, "after")
        yield radius, before, after[(radius + 1 - setting.centre) * along :]


def _ratio_tiles(tiles_THW: np.ndarray, out_TRHW: np.ndarray, setting: _Setting, scratch: Scratch) -> None:
    """All scales of some tiles of one size that come with their halos, written to `out_TRHW`."""
    num, rows, pitch = tiles_THW.shape
    height, width = out_TRHW.shape[2:]
    tile_N = scratch.take("tile", num * rows * pitch, tiles_THW.dtype)
    np.add(tiles_THW, tiles_THW.dtype.type(setting.eps), out=tile_N.reshape(num, rows, pitch))
    damaged = not np.isfinite(tile_N.sum())
    if damaged:
        tile_N[~np.isfinite(tile_N)] = np.nan

    run = (height - 1) * pitch + width  # from a tile's first output pixel to its last
    logs = scratch.take("logs", num * height * pitch, tile_N.dtype).reshape(num, height * pitch)
    logs_THW = logs.reshape(num, height, pitch)[:, :, :width]

    def runs(flat: np.ndarray, row: int) -> np.ndarray:
        """Each tile's run (num, run) in a flat array of sums, in which pixel (0, 0) has its sum at (row, row)."""
        strides = (rows * pitch * flat.itemsize, flat.itemsize)
        return np.ndarray((num, run), flat.dtype, flat, row * (pitch + 1) * flat.itemsize, strides)

    halves = _gaussian_halves if setting.kernel == "gaussian" else _box_halves
    for across, along in ((pitch, 1), (1, pitch)):
        for radius, before, after in halves(tile_N, across, along, setting, scratch):
            start = setting.margin - radius
            log_ratio = np.divide(runs(before, start), runs(after, start), out=logs[:, :run])
            np.log(log_ratio, out=log_ratio)
            np.multiply(log_ratio, log_ratio, out=log_ratio)
            strength_THW = out_TRHW[:, setting.radii.index(radius)]
            if along == 1:
                strength_THW[:] = logs_THW
            else:
                np.sqrt(np.add(strength_THW, logs_THW, out=logs_THW), out=strength_THW)
    if damaged and not setting.centre:  # the one pixel that neither half sees counts as seen, as it does by convolution
        logs[:, :run] = runs(tile_N, setting.margin)
        out_TRHW += 0 * logs_THW[:, None]


def _spans(size: int, longest: int) -> list[slice]:
    """A line cut into equal spans of at most `longest`."""
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
        with np.errstate(all="ignore"):  # 0/0 and overflow have their meaning here: NaN and infinite strength
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
