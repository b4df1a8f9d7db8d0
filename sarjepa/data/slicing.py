"""Slicing: large scenes to chips.

Tiles stand on a regular grid; where the last one would run over the border it is shifted inward, so every tile is full
of real pixels and every pixel is in some tile (padding would put an edge where there is none, which a gradient target
would learn). A scene smaller than a tile is kept as it is.

A tile is empty, and left out, when at least EMPTY_SHARE of its pixels have one and the same value: no-data borders and
constant fill. Speckle never does that.
"""

from __future__ import annotations

import numpy as np

EMPTY_SHARE = 0.95


def tile_starts(length: int, size: int, overlap: float = 0.0) -> list[int]:
    """First pixels of the tiles along one axis.

    Args:
        length: pixels there are.
        size: pixels of a tile.
        overlap: share of a tile that its neighbour repeats, 0 <= overlap < 1; the last tile may overlap more.

    Example:
        >>> tile_starts(10, 4)
        [0, 4, 6]
    """
    if length <= size:
        return [0]
    step = max(1, round(size * (1 - overlap)))
    starts = list(range(0, length - size, step))
    return [*starts, length - size]


def tiles(shape: tuple[int, int], size: int, overlap: float = 0.0) -> list[tuple[int, int]]:
    """(row, column) of every tile of an image of this shape, row by row; each covers size x size, cut at the image.

    Example:
        >>> tiles((6, 4), 4)
        [(0, 0), (2, 0)]
    """
    rows, columns = tile_starts(shape[0], size, overlap), tile_starts(shape[1], size, overlap)
    return [(row, column) for row in rows for column in columns]


def middle(image: np.ndarray, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The middle size x size of (H, W), or all of an axis that is shorter, and its first (row, column).

    Example:
        >>> middle(np.arange(15).reshape(3, 5), 3)[1]
        (0, 1)
    """
    row, column = max(0, (image.shape[0] - size) // 2), max(0, (image.shape[1] - size) // 2)
    return image[row : row + size, column : column + size], (row, column)


def is_empty(image: np.ndarray) -> bool:
    """Whether a tile shows nothing: nearly all of its pixels have one value.

    Example:
        >>> is_empty(np.zeros((8, 8))), is_empty(np.eye(8))
        (True, False)
    """
    flat = image.ravel()
    # The median is the commonest value wherever one value holds the majority.
    commonest = np.partition(flat, len(flat) // 2)[len(flat) // 2]
    return bool((flat == commonest).mean() >= EMPTY_SHARE)
