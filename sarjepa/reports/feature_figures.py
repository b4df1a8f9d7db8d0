"""Pictures of a feature space: its plane of most variance, and the nearest chips of a few queries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from sarjepa.reports.chips import PAPER_WIDTH, SMALL, TINY, ShownChip, show_chip, tight_grid
from sarjepa.reports.figures import MARKERS, SERIES_COLORS, new_figure, style

NO_LABEL = "no label"
_NUM_NAMED = 20  # names that fit into a panel; rarer ones stay grey
_FAINT = "#bbbbbb"
_DIFFERENT = "#D55E00"


def feature_map(
    point_N2: np.ndarray, share_2: np.ndarray, classes: Sequence[str], sources: Sequence[str], heading: str
) -> Figure:
    """Chips in the plane of most variance: a panel per source, coloured by class, and one coloured by source.

    Up to eight classes are named in a legend, more at the median of their chips.

    Args:
        point_N2: coordinates of N chips.
        share_2: share of the variance along each axis, 0 to 1.
        classes: class names of the chips, "" for a chip without label.
        sources: sources of the chips.
        heading: line above the figure.

    Example:
        >>> points = np.array([[0.0, 0.0], [4.0, 1.0], [2.0, 3.0]])
        >>> figure = feature_map(points, np.array([0.6, 0.2]), ["ship", "tank", ""], ["toy", "toy", "own"], "toy chips")
        >>> [axes.get_title() for axes in figure.axes]
        ['own, by class', 'toy, by class', 'all, by source']
    """
    class_N, source_N = np.array([name or NO_LABEL for name in classes]), np.array(sources)
    different = sorted(set(sources))
    panels = [(f"{source}, by class", np.where(source_N == source, class_N, "")) for source in different]
    if len(different) > 1:
        panels.append(("all, by source", source_N))
    columns = 3 if len(panels) == 3 else min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    width = PAPER_WIDTH if columns > 1 else 4.6
    aspect = float(np.clip(_spread(point_N2[:, 1]) / _spread(point_N2[:, 0]), 0.45, 1))
    figure = new_figure(width, rows * (width / columns * aspect + 0.75) + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, (title, names) in zip(grid.flat, panels, strict=False):
        _scatter(axes, point_N2, names)
        axes.set_title(title, fontsize=8)
        axes.set_aspect("equal", adjustable="datalim")
        axes.tick_params(labelsize=TINY)
        style(axes)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    figure.supxlabel(f"first component ({100 * share_2[0]:.1f}% of the variance)", fontsize=SMALL)
    figure.supylabel(f"second ({100 * share_2[1]:.1f}%)", fontsize=SMALL)
    figure.suptitle(heading, fontsize=8)
    return figure


def _spread(values: np.ndarray) -> float:
    return max(float(np.ptp(values)), 1e-9)


def _scatter(axes: Axes, point_N2: np.ndarray, name_N: np.ndarray) -> None:
    """Draw points, with a colour and marker per name; points without name or label and of the rarest names are grey."""
    counts = Counter(name for name in name_N.tolist() if name and name != NO_LABEL)
    named = sorted(sorted(sorted(counts), key=lambda name: -counts[name])[:_NUM_NAMED])
    faint_N = ~np.isin(name_N, named)
    if faint_N.any():
        axes.scatter(point_N2[faint_N, 0], point_N2[faint_N, 1], s=5, color=_FAINT, linewidths=0)
    for number, name in enumerate(named):
        color = SERIES_COLORS[number % len(SERIES_COLORS)]
        marker = MARKERS[(number // len(SERIES_COLORS)) % len(MARKERS)]
        at_M2 = point_N2[name_N == name]
        axes.scatter(at_M2[:, 0], at_M2[:, 1], s=11, color=color, marker=marker, linewidths=0, alpha=0.8, label=name)
        if len(named) > len(SERIES_COLORS):
            axes.annotate(
                name, np.median(at_M2, axis=0), fontsize=TINY, fontweight="bold", color=color, ha="center",
                va="center", path_effects=[withStroke(linewidth=1.8, foreground="white")],
            )  # fmt: skip
    if named and len(named) <= len(SERIES_COLORS):
        axes.legend(fontsize=TINY, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.16), ncols=4,
                    handletextpad=0.1, columnspacing=0.8, markerscale=1.3)  # fmt: skip


@dataclass(frozen=True)
class Neighbour:
    """A chip near a query: its distance (1 - cosine), and whether its class is known to differ."""

    chip: ShownChip
    distance: float
    differs: bool


def neighbour_grid(
    queries: Sequence[ShownChip], rows: Sequence[Sequence[Neighbour]], heading: str, note: str
) -> Figure:
    """One row per query: the query, then its neighbours with class and distance, framed where the class differs.

    Args:
        queries: chips, one per row.
        rows: neighbours of each query, nearest first, as many for every query.
        heading: line above the figure.
        note: small print below the heading.

    Example:
        >>> ship, tank = (ShownChip(np.ones((8, 8)), name, size_px=(64, 64)) for name in ("ship", "tank"))
        >>> near = [Neighbour(ship, 0.012, differs=False), Neighbour(tank, 0.0124, differs=True)]
        >>> [axes.get_title() for axes in neighbour_grid([ship], [near], "toy", "1 - cosine").axes]
        ['query: ship', 'ship  0.0120', 'tank  0.0124']
    """
    shown = [[query, *(near.chip for near in neighbours)] for query, neighbours in zip(queries, rows, strict=True)]
    tallest = [max((chip.size_px for chip in chips), key=lambda size: size[0] / size[1]) for chips in shown]
    figure, axes_RC, _ = tight_grid(tallest, max(map(len, shown)), 0.5, 0.32)
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    for axes_C, query, neighbours in zip(axes_RC, queries, rows, strict=True):
        show_chip(axes_C[0], query)
        axes_C[0].set_title(f"query: {query.title}", fontsize=TINY, fontweight="bold", pad=2)
        decimals = _decimals([neighbour.distance for neighbour in neighbours])
        for axes, neighbour in zip(axes_C[1:], neighbours, strict=True):
            _show_neighbour(axes, neighbour, decimals)
        for axes in axes_C:
            axes.set_anchor("N")  # aligns the titles of chips of different heights
    figure.suptitle(f"{heading}\n{note}", fontsize=SMALL)
    return figure


def _decimals(distances: Sequence[float]) -> int:
    """The number of decimals, two to six, at which the distances of a row differ."""
    num_different = len(set(distances))
    return next((n for n in range(2, 6) if len({f"{distance:.{n}f}" for distance in distances}) == num_different), 6)


def _show_neighbour(axes: Axes, neighbour: Neighbour, decimals: int) -> None:
    show_chip(axes, neighbour.chip)
    name, *source = neighbour.chip.title.split("\n")
    words = "\n".join([f"{name}  {neighbour.distance:.{decimals}f}", *source])
    axes.set_title(words, fontsize=TINY, pad=2, color=_DIFFERENT if neighbour.differs else "black")
    if neighbour.differs:
        for spine in axes.spines.values():
            spine.set(edgecolor=_DIFFERENT, linewidth=2.2)
        axes.text(0.96, 0.94, "x", transform=axes.transAxes, ha="right", va="top", fontsize=8, color="white",
                  fontweight="bold", bbox={"facecolor": _DIFFERENT, "edgecolor": "none", "pad": 1.2})  # fmt: skip
