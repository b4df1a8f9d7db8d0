"""Figures of accuracy: against shots, a quantity or a disturbance, by class, over epochs, over pre-trainings.

Training loss and test accuracy have no common unit, so each has a panel of its own over the same epochs: in one panel
with two axes the crossing of the lines would depend on the ranges. Figures of a reproduced table draw every
pre-training, since the spread over pre-trainings matters.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sarjepa.reports.figures import MARKERS, SERIES_COLORS, marks_of, new_figure, style
from sarjepa.results.tables import counted

_NUM_NAMED = 40  # largest number of classes that a confusion matrix names and prints numbers of
_FEW = 50  # largest number of epochs that have a dot each
_PANELS_A_ROW = 3
_PUBLISHED = "--"
_DASHES = ("-", ":", "-.", (0, (8, 2, 2, 2, 2, 2)), (0, (2, 2)), (0, (10, 2, 4, 2)))  # of the lines of a series
Values = Mapping[int, Sequence[float]]  # {shots: accuracies (%), one per pre-training}
Row = tuple[str, Values]
Point = tuple[float, Values]


@dataclass(frozen=True)
class Line:
    """One line of a plot.

    Attributes:
        label: entry in the legend.
        points: (x, y, low, high) each.
        series: what colour and marker stand for, the label if empty. Lines of one series differ in their dashes.
        published: whether the numbers are of a paper: without intervals, in a style of dashes that no other line has.
    """

    label: str
    points: tuple[tuple[float, float, float, float], ...]
    series: str = ""
    published: bool = False


def accuracy_against_shots(panels: Mapping[str, Sequence[Line]], chance: Mapping[str, float]) -> Figure:
    """Accuracy against shots, one panel per data set, with 95% intervals.

    Args:
        panels: {title: lines}, x in shots, y in percent.
        chance: {title: accuracy (%) of guessing}.

    Example:
        >>> line = Line("mae", ((10, 60.0, 57.0, 63.0), (40, 75.0, 73.0, 77.0)))  # shots, accuracy, its interval
        >>> axes = accuracy_against_shots({"mstar": [line]}, chance={"mstar": 10.0}).axes[0]
        >>> axes.get_xscale(), [label.get_text() for label in axes.get_xticklabels()]
        ('log', ['10', '40'])
    """
    lines_of_labels = {line.label: line for lines in panels.values() for line in lines}
    num_rows = math.ceil(len(panels) / _PANELS_A_ROW)
    num_columns = math.ceil(len(panels) / num_rows)
    marks = marks_of(line.series or line.label for line in lines_of_labels.values())
    has_dashes = len(marks) < len(lines_of_labels)
    handle_length = 6 if has_dashes else 3  # letters of 0.11 inches at 8 points
    entry_width = 0.4 + 0.11 * handle_length + 0.07 * max(map(len, lines_of_labels))  # inches, in the legend
    width = max(3.4 * num_columns + 0.6, entry_width)
    entries_a_row = max(1, min(len(lines_of_labels), int(width / entry_width)))
    figure = new_figure(width, 3.4 * num_rows + 0.2 * math.ceil(len(lines_of_labels) / entries_a_row))
    grid = figure.subplots(num_rows, num_columns, squeeze=False)
    handles: dict[str, Any] = {}
    dashes = _dashes(lines_of_labels.values())
    for axes, (title, lines) in zip(grid.flat, panels.items(), strict=False):
        for place, line in enumerate(lines):
            color, marker = marks[line.series or line.label]
            dash, turns = dashes[line.label]
            x, y, low, high = np.array(line.points, dtype=float).reshape(-1, 4).T
            handles[line.label] = axes.errorbar(
                x * (1 + 0.012 * (place - (len(lines) - 1) / 2)),  # side by side, so that no bar hides another
                y,
                yerr=None if line.published else [y - low, high - y],
                color=color,
                marker=MARKERS[(MARKERS.index(marker) + turns) % len(MARKERS)],
                linestyle=dash,
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
        axes.set_ylim(min(low, chance[title] - 0.08 * (high - low)), high)  # space for the word below the line
        ticks = sorted({x for line in lines for x, *_ in line.points})
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set(title=title, xlabel="shots (training chips per class)")
        style(axes)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("accuracy (%); bars: 95% interval")
    figure.legend(
        [handles[label] for label in lines_of_labels], list(lines_of_labels), loc="outside lower center",
        ncols=entries_a_row, fontsize=8, frameon=False, handlelength=handle_length,
        numpoints=2 if has_dashes else 1,
    )  # fmt: skip
    return figure


def _dashes(lines: Iterable[Line]) -> dict[str, tuple[Any, int]]:
    """The dashes of each line by its label, and how often its series had all of them: then the marker changes."""
    dashes: dict[str, tuple[Any, int]] = {}
    so_far: Counter[str] = Counter()
    for line in lines:
        turns, place = divmod(so_far[line.series], len(_DASHES))
        dashes[line.label] = (_PUBLISHED if line.published else _DASHES[place], turns)
        so_far[line.series] += bool(line.series)
    return dashes


def confusion(counts: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """A confusion matrix: colour and number are the percent of the true class.

    The picture stops growing at 20 classes. Beyond 40 it has colours alone and names some of the classes.

    Args:
        counts: (C, C) rows true, columns predicted.
        classes: C names.
        title: line above the figure.

    Example:
        >>> axes = confusion(np.array([[3, 1], [0, 8]]), ["ship", "tank"], "toy").axes[0]
        >>> [text.get_text() for text in axes.texts]  # percent of the true class; a zero has no number
        ['75', '25', '100']
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


def finetuning_curves(curves: Mapping[str, Mapping[str, np.ndarray]], title: str) -> Figure:
    """Training loss and test accuracy against epochs: a line per encoder, the mean of its seeds, with their range.

    Args:
        curves: {data set: {encoder: (S, E, 2)}}, loss and accuracy (%) of S seeds after each of E epochs.
        title: line above the figure.

    Example:
        >>> first, second = [[1.0, 60.0], [0.5, 70.0]], [[3.0, 50.0], [0.7, 64.0]]  # loss and accuracy by epoch
        >>> left, right = finetuning_curves({"mstar": {"mae": np.array([first, second])}}, "two seeds").axes
        >>> right.lines[0].get_ydata()  # mean accuracy
        array([55., 67.])
    """
    figure = new_figure(7.4, 2.7 * len(curves) + 0.7)
    grid = figure.subplots(len(curves), 2, squeeze=False)
    for (left, right), (dataset, encoders) in zip(grid, curves.items(), strict=True):
        for name, (color, _) in marks_of(encoders).items():
            for axes, of_SE in zip((left, right), np.moveaxis(encoders[name], 2, 0), strict=True):
                epoch = np.arange(1, of_SE.shape[1] + 1)
                marker = "o" if len(epoch) <= _FEW else ""
                axes.plot(epoch, of_SE.mean(axis=0), "-", marker=marker, color=color, linewidth=1.4, markersize=2.5,
                          label=name)  # fmt: skip
                axes.fill_between(epoch, of_SE.min(axis=0), of_SE.max(axis=0), color=color, alpha=0.18, linewidth=0)
        left.set_ylim(0, 1.05 * max(float(curve_SE2[..., 0].max()) for curve_SE2 in encoders.values()))
        left.set_ylabel(f"{dataset}: training loss", fontsize=8)
        right.set_ylabel(f"{dataset}: test accuracy (%)", fontsize=8)
        for axes in (left, right):
            axes.set_xlabel("epoch", fontsize=8)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            style(axes)
    _legend_below(figure, grid[0, 0])
    figure.suptitle(title, fontsize=10)
    return figure


def accuracy_of_rows(panels: Mapping[str, Sequence[Row]], title: str) -> Figure:
    """One panel per data set and feature: rows as in the table, a colour for each number of shots.

    Args:
        panels: {title: rows}, each with its accuracies by shots.
        title: line above the figure.

    Example:
        >>> rows = [("mae", {10: [60.0, 64.0]}), ("lomar", {})]
        >>> axes = accuracy_of_rows({"mstar, class token": rows}, "Methods").axes[0]
        >>> [label.get_text() for label in axes.get_yticklabels()]
        ['mae', 'lomar (not run)']
    """
    num_rows = max(len(rows) for rows in panels.values())
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure = new_figure(3.6 * columns + 0.8, lines * (0.34 * num_rows + 1.05) + 0.5)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=len({len(rows) for rows in panels.values()}) == 1)
    axes_P = grid.ravel()
    for axes, (name, rows) in zip(axes_P, panels.items(), strict=False):
        _dots(axes, rows)
        axes.set_title(_wrapped(name, 46), fontsize=8)
        axes.set_xlabel("accuracy (%)", fontsize=8)
        axes.tick_params(axis="x", labelsize=8)
        style(axes)
    for axes in axes_P[len(panels) :]:
        axes.set_visible(False)
    _legend_below(figure, axes_P[0])
    figure.suptitle(f"{title}\none dot per pre-training; bars: their means", fontsize=9)
    return figure


def _dots(axes: Axes, rows: Sequence[Row]) -> None:
    shots = sorted({num for _, values in rows for num in values})
    for number, num in enumerate(shots):
        color, marker = SERIES_COLORS[number % len(SERIES_COLORS)], MARKERS[number % len(MARKERS)]
        for place, (_, values) in enumerate(rows):
            accuracy_S = np.array(values.get(num, ()))
            axes.plot(accuracy_S, np.full(len(accuracy_S), place), marker, color=color, alpha=0.45, markersize=4,
                      markeredgewidth=0)  # fmt: skip
            if len(accuracy_S):
                axes.plot([accuracy_S.mean()] * 2, [place - 0.28, place + 0.28], "-", color=color, linewidth=1.8)
        axes.plot([], [], marker, color=color, markersize=4, label=counted(num, "shot"))
    labels = [name if any(values.values()) else f"{name} (not run)" for name, values in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)


def accuracy_against(axes_of_groups: Mapping[str, Mapping[str, Sequence[Point]]], title: str) -> Figure:
    """Scaling: a column per quantity (log axis, straight up to the first above 0), a row per data set, lines of means.

    Args:
        axes_of_groups: {data set: {quantity: points}}, a point being (quantity, accuracies by shots).
        title: line above the figure.

    Example:
        >>> points = [(300, {10: [62.0, 64.0]}), (75, {10: [58.0]})]  # epochs, accuracies of each pre-training by shots
        >>> axes = accuracy_against({"mstar": {"epochs": points}}, "Longer pre-training").axes[0]
        >>> axes.lines[0].get_xydata()  # means, in ascending order
        array([[ 75.,  58.],
               [300.,  63.]])
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
        line[0].set_ylabel(f"{_wrapped(dataset, 36)}\naccuracy (%)", fontsize=8)
    _legend_below(figure, grid[0, 0])
    figure.suptitle(title, fontsize=10)
    return figure


def accuracy_under(panels: Mapping[str, Sequence[tuple[str, Mapping[str, Sequence[float]]]]], title: str) -> Figure:
    """Accuracy against the strength of a disturbance: a panel per kind, a line per row, a dot per pre-training.

    Args:
        panels: {kind: its strengths in order}, each with its name and the accuracies (%) of each row.
        title: line above the figure.

    Example:
        >>> strengths = [("none", {"mae": [60.0, 64.0]}), ("1", {"mae": [40.0, 44.0]})]
        >>> axes = accuracy_under({"looks of speckle": strengths}, "Under speckle").axes[0]
        >>> [label.get_text() for label in axes.get_xticklabels()], axes.lines[0].get_ydata()
        (['none', '1'], array([62., 42.]))
    """
    figure = new_figure(2.7 * len(panels) + 0.8, 4.4)
    axes_P = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (kind, strengths) in zip(axes_P, panels.items(), strict=True):
        for row, (color, marker) in marks_of(strengths[0][1]).items():
            accuracies = [rows[row] for _, rows in strengths]
            axes.plot([float(np.mean(accuracy_S)) for accuracy_S in accuracies], "-", color=color, linewidth=1.4,
                      marker=marker, markersize=5, label=row)  # fmt: skip
            for place, accuracy_S in enumerate(accuracies):
                axes.plot([place] * len(accuracy_S), accuracy_S, marker, color=color, alpha=0.4, markersize=3)
        axes.set_xticks(range(len(strengths)), [name for name, _ in strengths])
        axes.set_xlim(-0.3, len(strengths) - 0.7)
        axes.set_xlabel(kind, fontsize=8)
        style(axes)
    axes_P[0].set_ylabel("accuracy (%)", fontsize=8)
    _legend_below(figure, axes_P[0])
    figure.suptitle(title, fontsize=10)
    return figure


def _wrapped(text: str, width: int) -> str:
    return "\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, width))


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    width = 0.7 + 0.07 * max(map(len, labels), default=0)  # inches an entry takes: its mark, its letters, the gap
    columns = max(1, min(len(labels), int(figure.get_figwidth() / width)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)


def _scaling(axes: Axes, points: Sequence[Point]) -> None:
    at = [place for place, _ in points]
    for number, num in enumerate(sorted({num for _, values in points for num in values})):
        color, marker = SERIES_COLORS[number % len(SERIES_COLORS)], MARKERS[number % len(MARKERS)]
        axes.plot(at, [float(np.mean(values[num])) for _, values in points], "-", color=color, linewidth=1.3,
                  marker=marker, markersize=5, label=counted(num, "shot"))  # fmt: skip
        for place, values in points:
            axes.plot([place] * len(values[num]), values[num], marker, color=color, alpha=0.4, markersize=3)
    if at and at[0] == 0:  # no logarithm: a straight piece up to the first quantity above
        axes.set_xscale("symlog", linthresh=at[1], linscale=0.5)
    else:
        axes.set_xscale("log")
    axes.set_xticks(at, [f"{place:g}" for place in at])
    axes.minorticks_off()
