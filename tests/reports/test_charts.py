"""Charts: bins that lose no spike, marks inside the drawing, the same bytes for the same numbers."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sarjepa.reports.charts import HEIGHT, NUM_BINS, WIDTH, binned, line_chart
from sarjepa.reports.elements import to_html


def test_bins_keep_the_mean_and_every_spike() -> None:
    value = np.ones(5000)
    value[4321] = 50.0
    curve = binned(np.arange(1.0, 5001.0), value)
    assert len(curve.mean) == NUM_BINS and curve.high.max() == 50.0 and curve.low.min() == 1.0
    sizes = [len(place) for place in np.array_split(np.arange(5000), NUM_BINS)]
    assert np.average(curve.mean, weights=sizes) == pytest.approx(value.mean())


def test_few_points_are_drawn_as_they_are() -> None:
    curve = binned(np.array([1.0, 5.0]), np.array([2.0, 3.0]))
    assert curve.step.tolist() == [1, 5] and curve.mean.tolist() == curve.high.tolist() == [2, 3]
    assert to_html(line_chart("knn", np.array([1.0, 5.0]), np.array([2.0, 3.0]))).count("<circle") == 2


@pytest.mark.parametrize("value", [[0.5], [3.0, 3.0, 3.0], [0.0, 0.0], [-1e-9, 1e9, 5.0], [1e-7, 2e-7]])
def test_every_mark_is_a_number_inside_the_drawing(value: list[float]) -> None:
    text = to_html(line_chart("loss", np.arange(1.0, len(value) + 1), np.array(value), from_zero=True))
    assert "nan" not in text and "inf" not in text
    points = re.findall(r"(-?[\d.]+),(-?[\d.]+)", " ".join(re.findall(r'points="([^"]+)"', text)))
    assert points
    assert all(0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT for x, y in points)


def test_the_ends_are_told_in_words() -> None:
    text = to_html(line_chart("a < b", np.array([1.0, 2.0, 9.0]), np.array([0.5, 0.125, 0.25])))
    assert "First 0.5 at step 1, last 0.25 at step 9; lowest 0.125 at step 2, highest 0.5 at step 1." in text
    assert "a &lt; b" in text and "a < b against" not in text.replace('aria-label="a < b against', "")


def test_the_same_log_gives_the_same_drawing() -> None:
    step, value = np.arange(1.0, 301.0), np.random.default_rng(0).random(300)
    assert to_html(line_chart("loss", step, value)) == to_html(line_chart("loss", step, value.copy()))
