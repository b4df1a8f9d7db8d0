"""A chip on paper is in proportion, and its scale bar is as long as it says."""

from __future__ import annotations

import numpy as np
import pytest

from sarjepa.reports.chips import PAPER_WIDTH, ShownChip, grey_of, show_chip, tight_grid
from sarjepa.reports.figures import new_figure


def bar_of(chip: ShownChip) -> tuple[str, float] | None:
    """What the bar says, and its length in pixels of the chip before it was resampled."""
    axes = new_figure(2, 2).subplots()
    show_chip(axes, chip)
    if not axes.lines:
        return None
    [line], [text] = axes.lines, axes.texts
    return text.get_text(), float(np.ptp(line.get_xdata()))


@pytest.mark.parametrize(
    ("size_px", "resolution_m", "words", "length_px"),
    [
        ((128, 128), 0.3, "10 m", 10 / 0.3),
        ((60, 150), 1.0, "50 m", 50),  # made square for the encoder: the bar is of the chip as it was
        ((4000, 9000), 1.0, "2000 m", 2000),
    ],
)
def test_the_bar_is_as_long_as_it_says(
    size_px: tuple[int, int], resolution_m: float, words: str, length_px: float
) -> None:
    assert bar_of(ShownChip(np.ones((64, 64)), "", size_px, resolution_m)) == (words, pytest.approx(length_px))


@pytest.mark.parametrize("resolution_m", [None, 0.01])
def test_without_a_known_or_a_round_length_there_is_no_bar(resolution_m: float | None) -> None:
    assert bar_of(ShownChip(np.ones((64, 64)), "", (64, 64), resolution_m)) is None


def test_a_chip_that_was_made_square_is_drawn_in_its_own_proportions() -> None:
    axes = new_figure(2, 2).subplots()
    show_chip(axes, ShownChip(np.ones((64, 64)), "", (60, 150), 1.0))
    assert np.ptp(axes.get_xlim()) == 150 and np.ptp(axes.get_ylim()) == 60 and axes.get_aspect() == 1


def test_one_bright_pixel_does_not_darken_a_chip() -> None:
    image = np.full((40, 40), 0.1)
    image[0, 0] = 1
    assert grey_of(image)[1, 1] == 1
    assert not grey_of(np.zeros((8, 8))).any()


@pytest.mark.parametrize("num_columns", [2, 5, 17])
def test_no_page_is_wider_than_a_paper(num_columns: int) -> None:
    figure, axes_RC, cell = tight_grid([(64, 64), (10, 100), (300, 100)], num_columns, 0.5)
    assert figure.get_figwidth() <= PAPER_WIDTH + 1e-6 and axes_RC.shape == (3, num_columns) and cell > 0.3
