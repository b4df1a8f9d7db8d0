"""Pictures of a feature space: its plane of most variance, and the nearest chips of a few queries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sarjepa.reports.chips import PAPER_WIDTH, SMALL, TINY, ShownChip, show_chip, tight_grid
from sarjepa.reports.figures import MARKERS, SERIES_COLORS, new_figure, style

NO_LABEL = "no label"
_NUM_NAMED = 20  # names that a legend can hold; the rarest beyond it become one
_LEGEND_COLUMNS = 4
_FAINT = "#bbbbbb"
_DIFFERENT = "#D55E00"


def feature_map(
    point_N2: np.ndarray, share_2: np.ndarray, classes: Sequence[str], sources: Sequence[str], heading: str
) -> Figure:
    """Chips in the plane of most variance, coloured by class and, beside it, by source.

    Args:
        point_N2: their places.
        share_2: the share of the variance along each axis, 0 to 1.
        classes: N names, "" where a chip has no label.
        sources: N names.
        heading: line above the figure.
    """
    height = 3.1 * float(np.clip(_spread(point_N2[:, 1]) / _spread(point_N2[:, 0]), 0.45, 1))
    num_names = min(_NUM_NAMED + 2, max(len(set(classes)), len(set(sources))))
    legend_height = 0.1 + 0.14 * math.ceil(num_names / _LEGEND_COLUMNS)
    figure = new_figure(PAPER_WIDTH, height + legend_height + 1.0)
    plots, legends = figure.subplots(2, 2, gridspec_kw={"height_ratios": [height, legend_height]})
    for axes, below, names, title in zip(
        plots, legends, ([name or NO_LABEL for name in classes], sources), ("by class", "by source"), strict=True
    ):
        _scatter(axes, point_N2, names)
        axes.set_title(title, fontsize=8)
        axes.set_xlabel(f"first component ({100 * share_2[0]:.1f}% of the variance)", fontsize=SMALL)
        axes.set_ylabel(f"second ({100 * share_2[1]:.1f}%)", fontsize=SMALL)
        axes.set_aspect("equal", adjustable="datalim")
        axes.tick_params(labelsize=TINY)
        style(axes)
        below.set_axis_off()
        below.legend(
            *axes.get_legend_handles_labels(), loc="upper center", ncols=_LEGEND_COLUMNS, fontsize=TINY, frameon=False,
            handletextpad=0.1, columnspacing=0.8, markerscale=1.3,
        )  # fmt: skip
    figure.suptitle(heading, fontsize=8)
    return figure


def _spread(values: np.ndarray) -> float:
    return max(float(np.ptp(values)), 1e-9)


def _scatter(axes: Axes, point_N2: np.ndarray, names: Sequence[str]) -> None:
    """Points, one colour and marker per name; the rarest of too many names share one grey."""
    counts = Counter(name for name in names if name != NO_LABEL)
    named = sorted(sorted(counts), key=lambda name: -counts[name])[:_NUM_NAMED]
    label_N = np.array([name if name in named else NO_LABEL if name == NO_LABEL else "other" for name in names])
    for faint in ("other", NO_LABEL):
        if (chosen := label_N == faint).any():
            axes.scatter(point_N2[chosen, 0], point_N2[chosen, 1], s=6, color=_FAINT, linewidths=0, label=faint)
    for number, name in enumerate(sorted(named)):
        color = SERIES_COLORS[number % len(SERIES_COLORS)]
        marker = MARKERS[(number // len(SERIES_COLORS)) % len(MARKERS)]
        x, y = point_N2[label_N == name].T
        axes.scatter(x, y, s=11, color=color, marker=marker, linewidths=0, alpha=0.8, label=name)


@dataclass(frozen=True)
class Neighbour:
    """A chip near a query: its distance (1 - cosine), and whether its class is known to be another."""

    chip: ShownChip
    distance: float
    differs: bool


def neighbour_grid(
    queries: Sequence[ShownChip], rows: Sequence[Sequence[Neighbour]], heading: str, note: str
) -> Figure:
    """One row per query: the query, then its neighbours with class and distance, framed where the class differs.

    Args:
        queries: the chips asked about.
        rows: the neighbours of each, nearest first, as many for every query.
        heading: line above the figure.
        note: small print below it.
    """
    shown = [[query, *(one.chip for one in found)] for query, found in zip(queries, rows, strict=True)]
    tallest = [max((chip.size_px for chip in chips), key=lambda size: size[0] / size[1]) for chips in shown]
    figure, axes_RC, _ = tight_grid(tallest, max(map(len, shown)), 0.5, 0.32)
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    for axes_C, query, found in zip(axes_RC, queries, rows, strict=True):
        show_chip(axes_C[0], query)
        axes_C[0].set_title(f"query: {query.title}", fontsize=TINY, fontweight="bold", pad=2)
        for axes, neighbour in zip(axes_C[1:], found, strict=True):
            _show_neighbour(axes, neighbour)
        for axes in axes_C:
            axes.set_anchor("N")  # titles of chips of different heights stand in one line
    figure.suptitle(f"{heading}\n{note}", fontsize=SMALL)
    return figure


def _show_neighbour(axes: Axes, neighbour: Neighbour) -> None:
    show_chip(axes, neighbour.chip)
    name, *source = neighbour.chip.title.split("\n")
    words = "\n".join([f"{name}  {neighbour.distance:.2f}", *source])
    axes.set_title(words, fontsize=TINY, pad=2, color=_DIFFERENT if neighbour.differs else "black")
    if neighbour.differs:
        for spine in axes.spines.values():
            spine.set(edgecolor=_DIFFERENT, linewidth=2.2)
        axes.text(0.96, 0.94, "x", transform=axes.transAxes, ha="right", va="top", fontsize=8, color="white",
                  fontweight="bold", bbox={"facecolor": _DIFFERENT, "edgecolor": "none", "pad": 1.2})  # fmt: skip
