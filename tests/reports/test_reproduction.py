"""Figures of the reproduced tables: they draw every pre-training, and the same numbers give the same bytes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from sarjepa.reports import reproduction
from sarjepa.reports.formats import figure_bytes

ROWS = [("pixel", {10: (50.0, 52.0), 20: (60.0, 61.0)}), ("ratio", {10: (55.0,), 20: (66.0,)}), ("missing", {})]
POINTS = [(1.0, {10: (50.0, 51.0)}), (0.25, {10: (40.0, 44.0)})]
DRAWINGS: dict[str, Callable[[], Figure]] = {
    "rows": lambda: reproduction.accuracy_of_rows({"mstar\nclass token": ROWS, "saracd\nclass token": ROWS}, "T"),
    "scaling": lambda: reproduction.accuracy_against({"mstar": {"share": POINTS, "epochs": POINTS}}, "T"),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_same_numbers_give_the_same_picture(name: str) -> None:
    first, second = (figure_bytes(DRAWINGS[name]()) for _ in range(2))
    assert first.startswith(b"\x89PNG") and first == second


def test_every_pretraining_is_a_dot() -> None:
    axes = DRAWINGS["rows"]().axes[0]
    dots = sorted(x for line in axes.lines if line.get_linestyle() == "None" for x in np.atleast_1d(line.get_xdata()))
    assert dots == [50.0, 52.0, 55.0, 60.0, 61.0, 66.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["pixel", "ratio", "missing (not run)"]


def test_scaling_is_drawn_from_small_to_large() -> None:
    axes = DRAWINGS["scaling"]().axes[0]
    mean = next(line for line in axes.lines if line.get_label() == "10 shots")
    assert list(mean.get_xdata()) == [0.25, 1.0] and list(mean.get_ydata()) == [42.0, 50.5]
