"""Pictures: there, not blank, and the same bytes for the same numbers."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from sarjepa.reports import figures
from sarjepa.reports.formats import figure_bytes


def shots_plot() -> Figure:
    lines = [figures.Line("a", ((10, 30, 28, 32), (20, 40, 38, 42))), figures.Line("paper", ((10, 67, 67, 67),), True)]
    return figures.accuracy_against_shots({"mstar": lines, "saracd": lines[:1]}, {"mstar": 10, "saracd": 20})


PICTURES = {
    "shots": shots_plot,
    "confusion": lambda: figures.confusion(np.eye(10, dtype=int) * 30, [f"class {i}" for i in range(10)], "title"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_same_numbers_same_bytes_and_something_to_see(name: str) -> None:
    first, second = (figure_bytes(PICTURES[name]()) for _ in range(2))
    assert first == second
    pixels = np.asarray(Image.open(io.BytesIO(first)).convert("L"))
    assert min(pixels.shape) > 200 and len(np.unique(pixels)) > 20


def test_the_word_for_chance_stands_inside_and_hides_no_bar() -> None:
    figure = figures.accuracy_against_shots(
        {"mstar": [figures.Line("a", ((10, 15, 5, 25), (20, 18, 8, 28)))]}, {"mstar": 10}
    )
    figure_bytes(figure)
    [axes] = figure.axes
    [word] = axes.texts
    box = word.get_window_extent()
    first, last = (axes.transData.transform((shots, 10))[0] for shots in (10, 20))
    assert first + 5 < box.x0 < box.x1 < last - 5


@pytest.mark.parametrize("num_classes", [41, 300])
def test_a_confusion_matrix_of_many_classes_is_no_larger_and_names_some(num_classes: int) -> None:
    few = figures.confusion(np.eye(20, dtype=int), [f"class {i}" for i in range(20)], "title")
    many = figures.confusion(np.eye(num_classes, dtype=int), [f"class {i}" for i in range(num_classes)], "title")
    assert many.get_size_inches().tolist() == few.get_size_inches().tolist()
    assert not many.axes[0].texts and len(many.axes[0].get_xticklabels()) <= 40
    assert many.axes[0].get_xticklabels()[1].get_text() == f"class {-(-num_classes // 40)}"
