"""Slicing: every pixel is covered, every tile is full."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sarjepa.data.slicing import is_empty, middle, tile_starts, tiles

SIDES = st.integers(1, 150)
OVERLAPS = st.floats(0, 0.8)
UNTIMED = settings(deadline=None)


@UNTIMED
@given(SIDES, SIDES, st.integers(8, 128), OVERLAPS)
def test_every_pixel_is_in_some_tile_and_every_tile_is_full(height: int, width: int, size: int, overlap: float) -> None:
    image = np.arange(height * width).reshape(height, width)
    seen = np.zeros(height * width, dtype=bool)
    for row, column in tiles(image.shape, size, overlap):
        tile = image[row : row + size, column : column + size]
        assert tile.shape == (min(size, height), min(size, width))
        seen[tile] = True
    assert seen.all()


@UNTIMED
@given(SIDES, st.integers(8, 128), OVERLAPS)
def test_tiles_are_distinct_and_overlap_at_least_as_asked(length: int, size: int, overlap: float) -> None:
    starts = tile_starts(length, size, overlap)
    assert starts == sorted(set(starts))
    step = max(1, round(size * (1 - overlap)))
    assert all(later - earlier <= step for earlier, later in pairwise(starts))


def test_last_tile_is_shifted_inward() -> None:
    assert tile_starts(100, 40) == [0, 40, 60]
    assert tile_starts(80, 40) == [0, 40]
    assert tile_starts(30, 40) == [0]


@UNTIMED
@given(SIDES, SIDES, st.integers(1, 200))
def test_the_middle_is_central_and_says_where_it_began(height: int, width: int, size: int) -> None:
    image = np.arange(height * width).reshape(height, width)
    crop, (row, column) = middle(image, size)
    assert crop.shape == (min(size, height), min(size, width))
    assert crop[0, 0] == image[row, column]
    assert abs((height - crop.shape[0] - row) - row) <= 1


def test_no_data_is_empty_and_speckle_is_not() -> None:
    random = np.random.default_rng(0)
    speckle = np.clip(random.gamma(1, 20, (64, 64)), 0, 255).astype(np.uint8)
    border = speckle.copy()
    border[:62] = 0
    assert is_empty(np.zeros((64, 64)))
    assert is_empty(np.full((64, 64), 7, np.uint16))
    assert is_empty(border)
    assert not is_empty(speckle)
