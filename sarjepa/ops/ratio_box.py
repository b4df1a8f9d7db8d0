"""Gradient by ratio on a CPU, without convolving: box sums in a few dozen passes over memory.

A sum over 2r+1 pixels need not be taken from scratch at every pixel. The textbook answer is an integral image, two
subtractions a box; but it subtracts large numbers that are nearly equal, so in float32 it loses the digits that matter
(the box beside a bright target, the lower end of a large scene), and one NaN spoils everything behind it. Here sums
are only ever added, by doubling,

    p1(x) = a(x),   p2(x) = p1(x) + p1(x+1),   p4(x) = p2(x) + p2(x+2),   ...

and a window of n pixels is the sum of as many of them as n has binary digits set: 11 = 1 + 2 + 8. Every partial sum is
a sum of magnitudes inside the window, so the relative error is at most some ten roundings of the dtype whatever stands
elsewhere in the image, and what is not a number stays where it is. A window of n costs about log2(n) additions; across
the scales they share: the window of radius 9 is that of radius 5 and a p4 at either end.

M_right(x) is M_left(x + r), so one box sum gives both halves; G_H and G_V are one routine with the axes exchanged;
means need no division by the weights, as the ratio cancels it. A tile is held flat, so that a step down is an offset of
one row length and every pass is one run through contiguous memory: sums that wrap around a row's end are never read.
Tiles of a few hundred kilobytes stay in the cache of the core that works on them, one thread a tile, numpy outside the
interpreter's lock. (numpy rather than torch for its logarithm: 0.37 ns a value against 1.0 with AVX-512, and half of
the time of this path is logarithms.)

The Gaussian kernel has no running sums; its half-plane means are separable, and that is what is used: taps along one
axis, then along the other, 8r multiply-adds a pixel in place of 4 (2r+1)^2.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sarjepa.ops.ratio_conv import half_profile, profile, reflect_pad

_TILE = 256  # px: with the halo of radius 17, a float32 tile is 336 kB and a worker's three or four live ones fit in L2


class Scratch:
    """Flat arrays handed out by name and used again for the next tile: fresh pages cost more than a pass of sums."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def take(self, name: str, size: int, dtype: np.dtype) -> np.ndarray:
        """An uninitialised flat array of `size`; what stood under this name is overwritten."""
        if name not in self._arrays or self._arrays[name].size < size:
            self._arrays[name] = np.empty(size, dtype)
        return self._arrays[name][:size]


class WindowSums:
    """Sums over n successive pixels of a flat array, n at choice, by doubling; the powers of two are shared.

    Args:
        source: (N,) what is summed.
        step: distance in memory from one pixel of a window to the next (1 along a row, the row length down a column).
        scratch, name: where the powers are kept.
    """

    def __init__(self, source: np.ndarray, step: int, scratch: Scratch, name: str) -> None:
        self._powers, self._step, self._scratch, self._name = [source], step, scratch, name

    def power(self, exponent: int) -> np.ndarray:
        """The window of 2^exponent pixels, starting at each pixel where it fits."""
        while len(self._powers) <= exponent:
            last, shift = self._powers[-1], self._step << (len(self._powers) - 1)
            out = self._scratch.take(f"{self._name}{len(self._powers)}", last.size - shift, last.dtype)
            self._powers.append(np.add(last[:-shift], last[shift:], out=out))
        return self._powers[exponent]

    def __call__(self, length: int, name: str) -> np.ndarray:
        """The window of `length` pixels; in the scratch array `name`, or a power itself where that is all it is."""
        exponents = [bit for bit in range(length.bit_length()) if length >> bit & 1]
        total, reach = self.power(exponents[0]), 1 << exponents[0]
        for exponent in exponents[1:]:
            piece = self.power(exponent)[reach * self._step :]
            home = total if reach & (reach - 1) else self._scratch.take(name, piece.size, piece.dtype)
            total, reach = np.add(total[: piece.size], piece, out=home[: piece.size]), reach + (1 << exponent)
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


def _box_halves(tile_N: np.ndarray, across: int, along: int, setting: _Setting, scratch: Scratch):
    """The half-window sums before and after each pixel, smallest radius first; `across`, `along` are steps."""
    edges, previous, wide = WindowSums(tile_N, across, scratch, "edge"), 0, tile_N
    for turn, radius in enumerate(sorted(set(setting.radii))):
        growth, size = radius - previous, tile_N.size - 2 * radius * across
        edge = edges(growth, "edge")
        out = scratch.take(f"wide{turn % 2}", size, tile_N.dtype)
        far = (2 * radius + 1 - growth) * across
        np.add(wide[growth * across :][:size], edge[:size], out=out)
        wide, previous = np.add(out, edge[far : far + size], out=out), radius
        half = WindowSums(wide, along, scratch, "half")(radius + setting.centre, "half")
        yield radius, half, half[(radius + 1 - setting.centre) * along :]


def _weighted(source_N: np.ndarray, weights: np.ndarray, step: int, scratch: Scratch, name: str) -> np.ndarray:
    """The sum of weights[k] * source[i + k step], for every i where it fits."""
    size = source_N.size - (len(weights) - 1) * step
    total, term = (scratch.take(key, size, source_N.dtype) for key in (name, "term"))
    np.multiply(source_N[:size], weights[0], out=total)
    for k, weight in enumerate(weights[1:], start=1):
        np.multiply(source_N[k * step :][:size], weight, out=term)
        np.add(total, term, out=total)
    return total


def _gaussian_halves(tile_N: np.ndarray, across: int, along: int, setting: _Setting, scratch: Scratch):
    """As `_box_halves`, with Gaussian weights across and along."""
    for radius in sorted(set(setting.radii)):
        wide = _weighted(tile_N, profile(radius, "gaussian").astype(tile_N.dtype), across, scratch, "wide")
        taps = half_profile(radius, "gaussian", setting.centre)[: radius + setting.centre].astype(tile_N.dtype)
        before = _weighted(wide, taps, along, scratch, "before")
        after = _weighted(wide, taps[::-1], along, scratch, "after")
        yield radius, before, after[(radius + 1 - setting.centre) * along :]


def _ratio_tile(tile_HW: np.ndarray, out_RHW: np.ndarray, setting: _Setting, scratch: Scratch) -> None:
    """All scales of one tile that comes with its halo, written to `out_RHW`."""
    rows, pitch = tile_HW.shape
    height, width = out_RHW.shape[1:]
    tile_N = scratch.take("tile", rows * pitch, tile_HW.dtype)
    np.add(tile_HW, tile_HW.dtype.type(setting.eps), out=tile_N.reshape(rows, pitch))
    damaged = not np.isfinite(tile_N.sum())
    if damaged:
        tile_N[~np.isfinite(tile_N)] = np.nan

    def view(flat: np.ndarray, row: int) -> np.ndarray:
        """The tile's pixels in a flat array of sums, whose window of pixel (0, 0) starts at (row, row)."""
        offset, strides = row * (pitch + 1) * flat.itemsize, (pitch * flat.itemsize, flat.itemsize)
        return np.ndarray((height, width), flat.dtype, flat, offset, strides)

    halves = _gaussian_halves if setting.kernel == "gaussian" else _box_halves
    logs_HW = scratch.take("logs", height * width, tile_N.dtype).reshape(height, width)
    for across, along in ((pitch, 1), (1, pitch)):
        for radius, before, after in halves(tile_N, across, along, setting, scratch):
            start = setting.margin - radius
            np.divide(view(before, start), view(after, start), out=logs_HW)
            np.log(logs_HW, out=logs_HW)
            strength_HW = out_RHW[setting.radii.index(radius)]
            if along == 1:
                np.multiply(logs_HW, logs_HW, out=strength_HW)
                continue
            np.multiply(logs_HW, logs_HW, out=logs_HW)
            np.add(strength_HW, logs_HW, out=strength_HW)
            np.sqrt(strength_HW, out=strength_HW)
    if damaged and not setting.centre:  # the one pixel that neither half sees counts as seen, as it does by convolution
        out_RHW += 0 * view(tile_N, setting.margin)


def _spans(size: int) -> list[tuple[int, int]]:
    """A line cut into equal spans of at most `_TILE` pixels: (first, behind the last)."""
    num = -(-size // _TILE)
    return [(k * size // num, (k + 1) * size // num) for k in range(num)]


def ratio_box(image_NHW: Tensor, radii: Sequence[int], kernel: str, eps: float, centre: bool) -> Tensor:
    """Gradient by ratio by sums that share their terms, on the CPU.

    As many threads as torch has (`torch.set_num_threads`) take a tile each.

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
    tiles = list(itertools.product(range(num), _spans(height), _spans(width)))

    def work(share: Sequence[tuple[int, tuple[int, int], tuple[int, int]]]) -> None:
        scratch = Scratch()
        with np.errstate(all="ignore"):  # 0/0 and overflow have their meaning here: NaN and infinite strength
            for plane, (top, bottom), (left, right) in share:
                tile_HW = padded_NHW[plane, top : bottom + halo, left : right + halo]
                _ratio_tile(tile_HW, out_NRHW[plane, :, top:bottom, left:right], setting, scratch)

    workers = min(torch.get_num_threads(), len(tiles))
    if workers > 1:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, [tiles[first::workers] for first in range(workers)]))
    else:
        work(tiles)
    return strengths if len(radii) == len(setting.radii) else strengths[:, [setting.radii.index(r) for r in radii]]
