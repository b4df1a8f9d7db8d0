"""Leaks between sources: chips of one data set that are changed copies of chips of another.

SAMPLE's measured half is MSTAR data: the same recordings, turned by a quarter and mirrored, moved by a few pixels, cut
to another size, in decibels instead of amplitude. Pre-training on one and testing on the other measures memory.
The groups of `duplicates` do not see through such changes; this check does, for two sources at a time:

1. a window of 63 px about the target (the middle of its brightest pixels), so that shifts and crops cancel;
2. reduced to the ranks of the medians of 21 x 21 cells, so that any monotonic change of scale cancels;
3. compared in all eight orientations of a square by correlation, above 0.82.

Measured on MSTAR chips changed in all these ways: 98 copies in 100 are found, and no false pair (different chips
of one vehicle reach 0.79). So it tells that sources overlap and roughly by how much; it is not an exclusion list.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

WINDOW = 63  # px; odd, so that a turned window has the same middle
SIDE = 21  # cells of 3 px
NUM_BRIGHT = 200  # pixels that say where the target is
SEARCHED_PX = 96  # the middle of a chip in which they are looked for
TARGET_PX = 16  # bright pixels farther from their median are not of the target
THRESHOLD = 0.82
BLOCK = 1024


@dataclass(frozen=True)
class Match:
    """Chip `left` of one source is chip `right` of the other."""

    left: int
    right: int


def signature(image: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE) float32 of zero mean and unit norm: ranks of the cells about the target; zeros if all are equal.

    Args:
        image: (H, W) of any real type.

    Example:
        >>> from sarjepa.data.simulator import SimulatedChip, simulate
        >>> image, _ = simulate(SimulatedChip(0, "tank", "train", 0))
        >>> np.array_equal(signature(image), signature(20 * np.log10(image + 1.0)))  # decibels rank as amplitudes do
        True
    """
    from scipy.ndimage import median_filter

    smooth = median_filter(image.astype(np.float32), 3, mode="nearest")
    row, column = _target(smooth) if min(image.shape) >= WINDOW else (image.shape[0] // 2, image.shape[1] // 2)
    half = WINDOW // 2
    padded = np.pad(smooth, half, mode="edge")
    cells = padded[row + 1 : row + WINDOW : 3, column + 1 : column + WINDOW : 3].ravel()
    if (
        cells.min() == cells.max()
    ):  # a flat chip is a copy of nothing, though the order of its cells is that of any other
        return np.zeros((SIDE, SIDE), np.float32)
    ranks = np.argsort(np.argsort(cells, kind="stable"), kind="stable").astype(np.float32)
    ranks -= ranks.mean()
    return (ranks / np.linalg.norm(ranks)).reshape(SIDE, SIDE)


def _target(smooth: np.ndarray) -> tuple[int, int]:
    """Row and column of the target: the mean position of the brightest smoothed pixels without those far off."""
    margins = [max(0, (length - SEARCHED_PX) // 2) for length in smooth.shape]
    middle = smooth[margins[0] : smooth.shape[0] - margins[0], margins[1] : smooth.shape[1] - margins[1]]
    num = min(NUM_BRIGHT, middle.size)
    least = np.partition(middle.ravel(), -num)[-num]
    bright_N2 = np.argwhere(middle >= least)
    near = np.abs(bright_N2 - np.median(bright_N2, axis=0)).max(axis=1) <= TARGET_PX
    row, column = np.rint(bright_N2[near].mean(axis=0)).astype(int) if near.any() else np.array(middle.shape) // 2
    return int(row) + margins[0], int(column) + margins[1]


def signatures(images: Iterable[np.ndarray]) -> np.ndarray:
    """(N, SIDE, SIDE) signatures of chips.

    Example:
        >>> from sarjepa.data.simulator import SimulatedChip, simulate
        >>> chips = [simulate(SimulatedChip(0, "tank", "train", index))[0] for index in range(3)]
        >>> matches(signatures(chips), signatures([np.rot90(chips[1])]))
        [Match(left=1, right=0)]
    """
    stacked = [signature(image) for image in images]
    return np.stack(stacked) if stacked else np.zeros((0, SIDE, SIDE), np.float32)


def matches(left_NSS: np.ndarray, right_MSS: np.ndarray, threshold: float = THRESHOLD) -> list[Match]:
    """For each chip of the left source that is in the right one, its best match.

    Args:
        left_NSS, right_MSS: signatures of the two sources.
        threshold: correlation above which two chips count as one.

    Example:
        >>> left_NSS = np.random.default_rng(0).normal(size=(3, SIDE, SIDE)) / SIDE  # norms of about 1
        >>> matches(left_NSS, np.rot90(left_NSS[1:2], axes=(1, 2)))
        [Match(left=1, right=0)]
    """
    turned = [np.rot90(right_MSS, turns, axes=(1, 2)) for turns in range(4)]
    turned += [np.swapaxes(view, 1, 2) for view in turned]
    views = [np.ascontiguousarray(view.reshape(len(right_MSS), -1)) for view in turned]
    pairs = []
    for start in range(0, len(left_NSS), BLOCK):
        rows = left_NSS[start : start + BLOCK].reshape(-1, SIDE * SIDE)
        best, partner = np.full(len(rows), -1.0, np.float32), np.zeros(len(rows), dtype=np.int64)
        for view in views:
            for other in range(0, len(view), 16 * BLOCK):
                correlation = rows @ view[other : other + 16 * BLOCK].T
                candidate = correlation.argmax(axis=1)
                value = correlation[np.arange(len(rows)), candidate]
                better = value > best
                best[better], partner[better] = value[better], candidate[better] + other
        for row in np.flatnonzero(best > threshold):
            pairs.append(Match(start + int(row), int(partner[row])))
    return pairs
