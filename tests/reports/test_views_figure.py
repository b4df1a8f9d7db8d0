"""The picture of views can be read: captions under their views, one gain a row."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from sarjepa.reports.chips import ShownChip
from sarjepa.reports.pretraining import ViewRow, views_figure

WORDS = ("+10 -10 px, mirror", "-15°, scale 1.15", "gain 1.60, 8 looks", "ramp +6 -6 dB", "contrast 1.50")


def row(height: int = 80, width: int = 80) -> ViewRow:
    chip = np.random.default_rng(0).random((32, 32))
    window = (round(height / 1.25), round(width / 1.25))
    return ViewRow(ShownChip(chip, "chip 1", (height, width)), window, (chip, 0.5 * chip) * 3, (WORDS,) * 6)


def test_the_longest_captions_neither_meet_nor_leave_the_page() -> None:
    figure = views_figure([row(), row(60, 150), row(150, 60)], [f"epoch {i // 2}, view {i % 2 + 1}" for i in range(6)])
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    page = figure.bbox
    lines = [axes.xaxis.label.get_window_extent() for axes in figure.axes if axes.get_xlabel()]
    assert len(lines) == 18 and all(page.x0 <= box.x0 and box.x1 <= page.x1 and box.y0 >= page.y0 for box in lines)
    pictures = [axes.get_window_extent() for axes in figure.axes]
    for number, box in enumerate(lines):
        others = [*lines[:number], *lines[number + 1 :], *pictures]
        assert not any(box.overlaps(other) for other in others)


def test_a_view_at_half_the_gain_is_darker_than_the_one_at_full_gain() -> None:
    figure = views_figure([row()], [f"view {i}" for i in range(6)])
    full, half = (np.asarray(figure.axes[column].images[0].get_array()) for column in (1, 2))
    assert np.median(half) < 0.8 * np.median(full)
