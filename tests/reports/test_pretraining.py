"""Curves of a log: bins that lose no spike, words that tell the ends, any finite numbers, the same bytes again."""

from __future__ import annotations

import numpy as np
import pytest

from sarjepa.reports.figures import figure_bytes
from sarjepa.reports.pretraining import Curve, binned, curve_figure, curve_of, curves_figure, curves_of


def test_bins_keep_the_mean_and_every_spike() -> None:
    value = np.ones(5000)
    value[4321] = 50.0
    _, mean, low, high = binned(Curve("loss", np.arange(1.0, 5001.0), value))
    assert len(mean) == 80 and high.max() == 50.0 and low.min() == 1.0
    sizes = [len(members) for members in np.array_split(np.arange(5000), 80)]
    assert np.average(mean, weights=sizes) == pytest.approx(value.mean())


def test_few_points_are_drawn_as_they_are() -> None:
    curve = Curve("knn", np.array([1.0, 5.0]), np.array([2.0, 3.0]))
    step, mean, _, high = binned(curve)
    assert step.tolist() == [1, 5] and mean.tolist() == high.tolist() == [2, 3]
    [line] = curve_figure(curve).axes[0].lines
    assert line.get_marker() == "o" and list(line.get_xdata()) == [1, 5]  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [[0.5], [3.0, 3.0, 3.0], [0.0, 0.0], [-1e-9, 1e9, 5.0], [1e-7, 2e-7]])
def test_any_finite_numbers_can_be_drawn_and_give_the_same_bytes_again(value: list[float]) -> None:
    curve = Curve("images/s", np.arange(1.0, len(value) + 1), np.array(value))
    drawn = figure_bytes(curve_figure(curve), "svg")
    assert drawn == figure_bytes(curve_figure(curve), "svg") and b"nan" not in drawn


def test_the_ends_are_told_in_words() -> None:
    curve = Curve("loss", np.array([1.0, 2.0, 9.0]), np.array([0.5, 0.125, 0.25]))
    words = "First 0.5 at step 1, last 0.25 at step 9; lowest 0.125 at step 2, highest 0.5 at step 1."
    assert curve.in_words() == words


def test_a_log_gives_every_number_that_it_holds_and_leaves_out_what_is_none() -> None:
    first: dict = {"step": 1, "epoch": 0, "loss": 1.0, "lr": 0.1, "wait": 0.0, "other": 2}
    records = [first, {"step": 2, "epoch": 0, "loss": float("nan"), "lr": 0.2, "knn": 30.0, "note": "x"}]
    assert [curve.key for curve in curves_of(records)] == ["loss", "lr", "knn", "other"]
    assert curve_of(records, "loss").step_N.tolist() == [1]
    assert [axes.get_title() for axes in curves_figure(records).axes] == [
        "loss", "learning rate", "online kNN probe, accuracy (%)"
    ]  # fmt: skip
