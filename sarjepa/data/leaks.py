"""Leaks between sources: chips of one data set that are chips of another, in other clothes.

SAMPLE's measured half is MSTAR data: the same recordings, turned by a quarter and mirrored, moved by a few pixels, cut
to another size, in decibels instead of amplitude. Whoever pre-trains on one and tests on the other measures memory.
The groups of `duplicates` do not see through such changes; this check does, for two sources at a time:

1. a window of 64 px about the target (the median place of the brightest pixels), so that shifts and crops cancel;
2. averaged to 24 x 24 cells and replaced by ranks, so that any monotonic change of scale cancels;
3. compared in all eight orientations of a square by correlation, above 0.85.

Measured on MSTAR chips changed in these ways: about three in four copies are found, and no pair that is none (different
chips of one vehicle reach 0.82). So it tells that sources overlap and roughly by how much; it is not an exclusion list.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

WINDOW = 64  # px
SIDE = 24
NUM_BRIGHT = 200  # pixels that say where the target is
SEARCHED_PX = 96  # the middle of a chip in which they are looked for
THRESHOLD = 0.85
BLOCK = 1024


@dataclass(frozen=True)
class Match:
    """Chip `left` of one source is chip `right` of the other, by this correlation."""

    left: int
    right: int
    correlation: float


def signature(image: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE) float32 of zero mean and unit norm: ranks of the cells about the target.

    Args:
        image: (H, W) of any real type.
    """
    row, column = _target(image) if min(image.shape) >= WINDOW else (image.shape[0] // 2, image.shape[1] // 2)
    half = WINDOW // 2
    padded = np.pad(image.astype(np.float32), half, mode="reflect" if min(image.shape) > half else "edge")
    window = padded[row : row + WINDOW, column : column + WINDOW]
    cells = np.asarray(Image.fromarray(window).resize((SIDE, SIDE), Image.Resampling.BOX)).ravel()
    ranks = np.argsort(np.argsort(cells, kind="stable"), kind="stable").astype(np.float32)
    ranks -= ranks.mean()
    return (ranks / np.linalg.norm(ranks)).reshape(SIDE, SIDE)


def _target(image: np.ndarray) -> tuple[int, int]:
    """The median row and column of the brightest smoothed pixels in the middle of a chip."""
    from scipy.ndimage import uniform_filter

    margins = [max(0, (length - SEARCHED_PX) // 2) for length in image.shape]
    smooth = uniform_filter(image.astype(np.float32), 3, mode="nearest")
    middle = smooth[margins[0] : image.shape[0] - margins[0], margins[1] : image.shape[1] - margins[1]]
    num = min(NUM_BRIGHT, middle.size)
    least = np.partition(middle.ravel(), -num)[-num]
    rows, columns = np.nonzero(middle >= least)
    return round(float(np.median(rows))) + margins[0], round(float(np.median(columns))) + margins[1]


def signatures(images: Iterable[np.ndarray]) -> np.ndarray:
    """(N, SIDE, SIDE) signatures of chips."""
    found = [signature(image) for image in images]
    return np.stack(found) if found else np.zeros((0, SIDE, SIDE), np.float32)


def matches(left_NSS: np.ndarray, right_MSS: np.ndarray, threshold: float = THRESHOLD) -> list[Match]:
    """For each chip of the left source that is in the right one, its best match.

    Args:
        left_NSS, right_MSS: signatures of the two sources.
        threshold: correlation from which two chips count as one.
    """
    turned = [np.rot90(right_MSS, turns, axes=(1, 2)) for turns in range(4)]
    turned += [np.swapaxes(view, 1, 2) for view in turned]
    views = [np.ascontiguousarray(view.reshape(len(right_MSS), -1)) for view in turned]
    found = []
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
            found.append(Match(start + int(row), int(partner[row]), float(best[row])))
    return found
