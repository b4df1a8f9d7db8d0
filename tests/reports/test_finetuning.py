"""Curves of fine-tuning: a line per encoder, through the mean of its seeds."""

from __future__ import annotations

import numpy as np
import pytest

from sarjepa.reports.finetuning import finetuning_curves
from sarjepa.reports.formats import figure_bytes


@pytest.mark.parametrize("num_epochs", [1, 60])
@pytest.mark.parametrize("num_seeds", [1, 3])
def test_lines_are_means_over_seeds(num_seeds: int, num_epochs: int) -> None:
    curve_SE2 = np.random.default_rng(0).random((num_seeds, num_epochs, 2))
    figure = finetuning_curves({"mstar": {"mae": curve_SE2, "pgca": curve_SE2 + 1}}, "title")
    loss, accuracy = figure.axes
    assert [label.get_text() for label in figure.legends[0].get_texts()] == ["mae", "pgca"]
    np.testing.assert_allclose(loss.lines[0].get_ydata(), curve_SE2[..., 0].mean(axis=0))
    np.testing.assert_allclose(accuracy.lines[1].get_ydata(), curve_SE2[..., 1].mean(axis=0) + 1)
    assert list(loss.lines[0].get_xdata()) == list(range(1, num_epochs + 1)) and loss.get_ylim()[0] == 0


def test_same_numbers_same_bytes() -> None:
    curves = {"mstar": {"mae": np.arange(12.0).reshape(2, 3, 2)}}
    first, second = (figure_bytes(finetuning_curves(curves, "title")) for _ in range(2))
    assert first == second
