"""Pictures of attention: how far each head looks, and where.

Distances are dots, one per head, around their mean, with a dotted line for uniform attention: a distance on that line
shows no preference. Maps are laid over their chips, all on one logarithmic scale in multiples of uniform attention, so
that a head without preferences looks uniform; on a scale of its own its noise would look like interest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sarjepa.reports.chips import PAPER_WIDTH, SMALL, TINY, ShownChip, show_chip, tight_grid
from sarjepa.reports.figures import marks_of, new_figure, style

_PANELS_PER_ROW = 3
_MAP_COLORS, _MAP_ALPHA = "viridis", 0.62
_REACHES = (1.05, 1.1, 1.2, 1.5, 2.0, 4.0, 8.0, 16.0)  # widest factors off uniform attention that a scale may show


@dataclass(frozen=True)
class HeadDistances:
    """Attention distances (px) of one checkpoint, (blocks, heads), and the distance of uniform attention."""

    distance_LH: np.ndarray
    uniform_px: float | None = None


def attention_distance(distances: Mapping[str, HeadDistances], note: str = "") -> Figure:
    """Attention distance per head and block, one panel per checkpoint, with the mean over heads.

    Args:
        distances: distances by the name of the checkpoint.
        note: small print above the panels.

    Example:
        >>> heads = HeadDistances(np.array([[20.0, 40.0], [60.0, 70.0]]), uniform_px=55.0)  # two blocks of two heads
        >>> axes = attention_distance({"mae": heads}).axes[0]
        >>> {line.get_label(): line.get_ydata() for line in axes.lines}["mean of the block"]
        array([30., 65.])
    """
    columns = min(_PANELS_PER_ROW, len(distances))
    rows = math.ceil(len(distances) / columns)
    figure = new_figure({1: 4.4, 2: 6.0}.get(columns, PAPER_WIDTH), 2.6 * rows + 0.7)
    axes_RC = figure.subplots(rows, columns, squeeze=False, sharey=True)
    farthest = max(max(float(heads.distance_LH.max()), heads.uniform_px or 0) for heads in distances.values())
    top = 1.08 * farthest or 1.0  # an input of one patch has no distances
    for axes, (label, (color, _)) in zip(axes_RC.flat, marks_of(distances).items(), strict=False):
        _distance_panel(axes, distances[label], color)
        axes.set_title(label, fontsize=8)
        axes.set_ylim(0, top)
    for axes in axes_RC.flat[len(distances) :]:
        axes.set_axis_off()
    for axes in axes_RC[:, 0]:
        axes.set_ylabel("attention distance (px)", fontsize=8)
    handles, labels = axes_RC[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False)
    if note:
        figure.suptitle(note, fontsize=TINY, color="#555555")
    return figure


def _distance_panel(axes: Axes, heads: HeadDistances, color: str) -> None:
    block = np.arange(1, len(heads.distance_LH) + 1)
    dots = axes.plot(block, heads.distance_LH, "o", color=color, alpha=0.55, markersize=4, markeredgewidth=0)
    dots[0].set_label("a head")
    axes.plot(block, heads.distance_LH.mean(axis=1), "-", color="black", linewidth=1.3, label="mean of the block")
    if heads.uniform_px is not None:
        axes.axhline(heads.uniform_px, color="#777777", linewidth=1, linestyle=":", label="uniform attention")
    shown = block[:: math.ceil(len(block) / 12)]
    axes.set_xticks(shown)
    axes.set_xlim(0.6, len(block) + 0.4)
    axes.set_xlabel("block", fontsize=8)
    axes.tick_params(labelsize=SMALL)
    style(axes)


def map_grid(
    chips: Sequence[ShownChip],
    maps: Sequence[np.ndarray],
    titles: Sequence[str],
    heading: str,
    marked: Sequence[tuple[int, int] | None] | None = None,
) -> Figure:
    """Chips in the first column, their maps laid over them in the others.

    Args:
        chips: chips, one per row.
        maps: (K, rows, columns) per chip, in multiples of uniform attention.
        titles: K titles above the columns of maps.
        heading: line above the figure.
        marked: row and column of the patch to outline, per chip; None: no patch.

    Example:
        >>> chip = ShownChip(np.ones((32, 32)), "ship", size_px=(64, 64))
        >>> figure = map_grid([chip], [np.array([[[0.6, 1.4], [1.0, 1.0]]])], ["head 1"], "one head, 2 x 2 patches")
        >>> scale = figure.axes[1].images[1].norm
        >>> scale.vmin, scale.vmax  # symmetric about uniform attention
        (0.5, 2.0)
    """
    figure, axes_RC, cell = tight_grid([chip.size_px for chip in chips], 1 + len(titles), 1.0)
    norm = _map_scale(maps)
    for number, (axes_C, chip, maps_K) in enumerate(zip(axes_RC, chips, maps, strict=True)):
        show_chip(axes_C[0], chip)
        axes_C[0].set_ylabel(chip.title, fontsize=TINY)
        for axes, values in zip(axes_C[1:], maps_K, strict=True):
            show_chip(axes, chip, scale_bar=False)
            axes.imshow(values, cmap=_MAP_COLORS, norm=norm, alpha=_MAP_ALPHA, extent=chip.extent,
                        interpolation="nearest")  # fmt: skip
        if marked and (patch := marked[number]):
            for axes in axes_C:
                _mark(axes, chip, patch, maps_K.shape[1:])
    for axes, title in zip(axes_RC[0], ("input", *titles), strict=True):
        axes.set_title(title, fontsize=SMALL if cell > 0.6 else TINY, pad=2)
    _map_bar(figure, axes_RC, norm)
    figure.suptitle(heading, fontsize=8)
    return figure


def _map_scale(maps: Sequence[np.ndarray]) -> LogNorm:
    """A logarithmic scale about uniform attention that holds all but the outermost 2% of the values."""
    values = np.concatenate([part.ravel() for part in maps])
    away = float(np.quantile(np.exp(np.abs(np.log(np.clip(values, 1e-9, None)))), 0.98))
    reach = next((reach for reach in _REACHES if reach >= away), _REACHES[-1])
    return LogNorm(1 / reach, reach, clip=True)


def _map_bar(figure: Figure, axes_RC: np.ndarray, norm: LogNorm) -> None:
    assert norm.vmax is not None
    bar = figure.colorbar(
        ScalarMappable(norm, _MAP_COLORS), ax=axes_RC, location="bottom", shrink=0.6, aspect=45, pad=0.02,
        extend="both", alpha=_MAP_ALPHA,
    )  # fmt: skip
    above = [2.0**power for power in range(1, int(np.log2(norm.vmax)) + 1)] or [norm.vmax]
    bar.set_ticks(
        [*(1 / tick for tick in above[::-1]), 1, *above],
        labels=[*(f"1/{tick:g}" for tick in above[::-1]), "1", *(f"{tick:g}" for tick in above)],
    )
    bar.minorticks_off()
    bar.ax.tick_params(labelsize=TINY, length=2)
    bar.set_label("attention, in multiples of uniform attention", fontsize=TINY)


def _mark(axes: Axes, chip: ShownChip, patch: tuple[int, int], grid: tuple[int, ...]) -> None:
    """Outline a patch, white within black, so that the outline is visible on any grey."""
    height, width = chip.size_px[0] / grid[0], chip.size_px[1] / grid[1]
    corner = (patch[1] * width, patch[0] * height)
    for color, line in (("black", 1.5), ("white", 0.7)):
        axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=color, linewidth=line))
