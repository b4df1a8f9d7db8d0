"""Figures of the reproduced tables: what matters is the spread over pre-trainings, so every one of them is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sarjepa.reports.figures import MARKERS, SERIES_COLORS, new_figure, style

Values = Mapping[int, Sequence[float]]  # shots: one accuracy (%) a pre-training
Row = tuple[str, Values]


def accuracy_of_rows(panels: Mapping[str, Sequence[Row]], title: str) -> Figure:
    """One panel per data set and feature: rows as in the table, a colour for each number of shots.

    Args:
        panels: {title: rows}, each with its accuracies by shots.
        title: above everything.
    """
    num_rows = max(len(rows) for rows in panels.values())
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure = new_figure(3.6 * columns + 0.8, lines * (0.34 * num_rows + 0.95) + 0.5)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=len({len(rows) for rows in panels.values()}) == 1)
    axes_P = grid.ravel()
    for axes, (name, rows) in zip(axes_P, panels.items(), strict=False):
        _dots(axes, rows)
        axes.set_title(name, fontsize=8)
        axes.set_xlabel("accuracy (%)", fontsize=8)
        axes.tick_params(axis="x", labelsize=8)
        style(axes)
    for axes in axes_P[len(panels) :]:
        axes.set_visible(False)
    handles, labels = axes_P[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8, frameon=False)
    figure.suptitle(f"{title}\none dot per pre-training; bars: their means", fontsize=9)
    return figure


def _dots(axes: Axes, rows: Sequence[Row]) -> None:
    shots = sorted({num for _, values in rows for num in values})
    for number, num in enumerate(shots):
        color, marker = SERIES_COLORS[number % len(SERIES_COLORS)], MARKERS[number % len(MARKERS)]
        for place, (_, values) in enumerate(rows):
            found = np.array(values.get(num, ()))
            axes.plot(found, np.full(len(found), place), marker, color=color, alpha=0.45, markersize=4,
                      markeredgewidth=0)  # fmt: skip
            if len(found):
                axes.plot([found.mean()] * 2, [place - 0.28, place + 0.28], "-", color=color, linewidth=1.8)
        axes.plot([], [], marker, color=color, markersize=4, label=f"{num} shots")
    labels = [name if any(values.values()) else f"{name} (not run)" for name, values in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)


Point = tuple[float, Values]


def accuracy_against(axes_of_groups: Mapping[str, Mapping[str, Sequence[Point]]], title: str) -> Figure:
    """Scaling: one column per quantity (log axis), one row per data set; a line through the means.

    Args:
        axes_of_groups: {data set: {quantity: points}}, a point being (quantity, accuracies by shots).
        title: above everything.
    """
    datasets = list(axes_of_groups)
    groups = list(dict.fromkeys(group for own in axes_of_groups.values() for group in own))
    figure = new_figure(2.7 * len(groups) + 0.8, 2.5 * len(datasets) + 0.8)
    grid = figure.subplots(len(datasets), len(groups), squeeze=False, sharey="row")
    for line, dataset in zip(grid, datasets, strict=True):
        for axes, group in zip(line, groups, strict=True):
            _scaling(axes, sorted(axes_of_groups[dataset].get(group, ()), key=lambda point: point[0]))
            axes.set_xlabel(group, fontsize=8)
            style(axes)
        line[0].set_ylabel(f"{dataset}\naccuracy (%)", fontsize=8)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def _scaling(axes: Axes, points: Sequence[Point]) -> None:
    at = [place for place, _ in points]
    for number, num in enumerate(sorted({num for _, values in points for num in values})):
        color, marker = SERIES_COLORS[number % len(SERIES_COLORS)], MARKERS[number % len(MARKERS)]
        axes.plot(at, [float(np.mean(values[num])) for _, values in points], "-", color=color, linewidth=1.3,
                  marker=marker, markersize=5, label=f"{num} shots")  # fmt: skip
        for place, values in points:
            axes.plot([place] * len(values[num]), values[num], marker, color=color, alpha=0.4, markersize=3)
    axes.set_xscale("log")
    axes.set_xticks(at, [f"{place:g}" for place in at])
    axes.minorticks_off()
