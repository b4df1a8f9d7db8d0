"""Figures that are readable at the width of a paper's column; `formats.figure_bytes` makes a file of one.

Colours: series from Okabe & Ito's palette, which the colour-blind tell apart, with a marker each; quantities from
perceptually uniform maps. Figures are built without pyplot, so nothing global is touched and no display is needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

SERIES_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS = "osD^vPX*"
_NUM_NAMED = 40  # classes that a confusion matrix can name, and print numbers of


@dataclass(frozen=True)
class Line:
    """One series of a plot: its label, and (x, y, low, high) points."""

    label: str
    points: tuple[tuple[float, float, float, float], ...]
    dashed: bool = False


def new_figure(width: float, height: float) -> Figure:
    """A figure in inches, laid out so that labels do not collide."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def style(axes: Axes) -> None:
    """Light grid, no box."""
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def accuracy_against_shots(panels: Mapping[str, Sequence[Line]], chance: Mapping[str, float]) -> Figure:
    """Accuracy against shots, one panel per data set, with 95% intervals.

    Args:
        panels: {title: lines}, x in shots, y in percent.
        chance: {title: percent} of guessing.
    """
    names = list(dict.fromkeys(line.label for lines in panels.values() for line in lines))
    entry_width = 0.6 + 0.07 * max(map(len, names), default=0)  # inches of a legend entry at 8 points
    width = max(3.4 * max(len(panels), 1) + 0.6, entry_width)
    columns = max(1, min(len(names), int(width / entry_width)))
    figure = new_figure(width, 3.4 + 0.2 * math.ceil(len(names) / columns))
    axes_P = figure.subplots(1, max(len(panels), 1), squeeze=False)[0]
    labels: dict[str, Any] = {}
    for axes, (title, lines) in zip(axes_P, panels.items(), strict=False):
        for place, line in enumerate(lines):
            number = names.index(line.label)
            x, y, low, high = np.array(line.points, dtype=float).reshape(-1, 4).T
            labels[line.label] = axes.errorbar(
                x * (1 + 0.012 * (place - (len(lines) - 1) / 2)),  # side by side, so that bars do not hide bars
                y,
                yerr=[y - low, high - y] if not line.dashed else None,
                color=SERIES_COLORS[number % len(SERIES_COLORS)],
                marker=MARKERS[(number + number // len(SERIES_COLORS)) % len(MARKERS)],
                linestyle="--" if line.dashed else "-",
                linewidth=1.3,
                markersize=4,
                capsize=2.5,
            )
        axes.axhline(chance[title], color="#888888", linewidth=0.9, linestyle=":")
        # To the right of the bars of the fewest shots.
        axes.annotate(
            "chance", (0.1, chance[title]), xycoords=("axes fraction", "data"), ha="left", va="top", fontsize=7,
            color="#666666",
        )  # fmt: skip
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, chance[title] - 0.08 * (high - low)), high)  # room for the word below its line
        ticks = sorted({x for line in lines for x, *_ in line.points})
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set(title=title, xlabel="shots (training chips per class)")
        style(axes)
    axes_P[0].set_ylabel("accuracy (%); bars: 95% interval")
    figure.legend(
        [labels[name] for name in names], names, loc="outside lower center", ncols=columns, fontsize=8, frameon=False
    )
    return figure


def confusion(counts: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """A confusion matrix: colour and number are the percent of the true class.

    The picture stops growing at 20 classes. Beyond 40 it has colours alone and names some of the classes.

    Args:
        counts: (C, C) rows true, columns predicted.
        classes: C names.
        title: above it.
    """
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    num_classes = len(classes)
    side = max(3.6, 0.5 * min(num_classes, 20) + 1.8)
    size = min(8.0, 240 / num_classes)  # points of the letters in a cell
    figure = new_figure(side + 0.6, side)
    axes = figure.subplots()
    image = axes.imshow(percent, cmap="cividis", vmin=0, vmax=100)
    ticks = range(0, num_classes, math.ceil(num_classes / _NUM_NAMED))
    names = [classes[tick] for tick in ticks]
    axes.set_xticks(ticks, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=max(7, size + 2))
    axes.set_yticks(ticks, names, fontsize=max(7, size + 2))
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(title, fontsize=10)
    for row, column in np.argwhere(percent >= 0.5) if num_classes <= _NUM_NAMED else ():
        value = percent[row, column]
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=size,
                  color="black" if value > 55 else "white", in_layout=False)  # fmt: skip
    figure.colorbar(image, ax=axes, shrink=0.8, label="% of the true class")
    return figure
