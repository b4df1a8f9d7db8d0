"""Chips in figures: grey, in their true proportions, with a scale bar where the length of a pixel is known.

A chip is shown as the encoder gets it, that is resampled, but drawn in the proportions that it had before: an
aircraft's chip of 60 x 150 px, made square for the encoder, has its shape again, and a bar of 10 m is right along rows
and columns. The grey is the root of the amplitude up to the chip's own 99.5% quantile, so that clutter and shadow
differ visibly beside a few bright scatterers; greys of two chips must not be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from sarjepa.reports.figures import new_figure

PAPER_WIDTH = 7.2  # inches: two columns of a journal
SMALL, TINY = 7.0, 6.0  # points, the smallest that print well
_LOWEST_ROW = 0.5  # inches, enough for the name beside a long scene
_BARS_M = (5000, 2000, 1000, 500, 200, 100, 50, 20, 10, 5, 2, 1)
_OUTLINE = withStroke(linewidth=2.2, foreground="black")


@dataclass(frozen=True)
class ShownChip:
    """A chip to draw.

    Attributes:
        image_HW: magnitude in [0, 1], as the encoder gets it.
        title: text beside the chip, one or two lines.
        size_px: rows and columns before resampling, in which the axes count.
        resolution_m: length (m) of a pixel before resampling; None if it is not known.
    """

    image_HW: np.ndarray
    title: str
    size_px: tuple[int, int]
    resolution_m: float | None = None

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of the picture, for `imshow`."""
        return 0, self.size_px[1], self.size_px[0], 0


def tight_grid(
    sizes_px: Sequence[tuple[int, ...]], num_columns: int, margin: float, above: float = 0.03
) -> tuple[Figure, np.ndarray, float]:
    """A page of chips side by side, at most as wide as two columns of a journal, each row as high as its chip.

    Args:
        sizes_px: rows and columns of the chip of each row.
        num_columns: pictures per row.
        margin: height (inches) of the text above and below the grid.
        above: space (inches) between rows.

    Returns:
        The figure, its axes (rows, columns), and the width of a picture in inches.

    Example:
        >>> figure, axes_RC, cell = tight_grid([(128, 128)], num_columns=8, margin=0.5)
        >>> axes_RC.shape, cell, figure.get_size_inches().round(2)  # narrower pictures, so that the page stays 7.2 wide
        ((1, 8), 0.85, array([7.2 , 1.38]))
    """
    cell = min(1.25, (PAPER_WIDTH - 0.4) / num_columns)
    heights = [max(_LOWEST_ROW, cell * min(2.0, size[0] / size[1])) for size in sizes_px]
    figure = new_figure(cell * num_columns + 0.4, sum(heights) + above * len(heights) + margin)
    figure.set_layout_engine("constrained", w_pad=0.015, h_pad=0.03, wspace=0, hspace=0)
    axes_RC = figure.subplots(len(heights), num_columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    return figure, axes_RC, cell


def grey_of(image_HW: np.ndarray, top: float | None = None) -> np.ndarray:
    """Root amplitude, 0 to 1, up to `top`; default: the image's own 99.5% quantile.

    Example:
        >>> grey_of(np.array([[0.0, 0.25, 1.0]]), top=1.0)
        array([[0. , 0.5, 1. ]])
    """
    top = max(1e-3, float(np.quantile(image_HW, 0.995)) if top is None else top)
    return np.sqrt(np.clip(image_HW / top, 0, 1))


def show_chip(axes: Axes, chip: ShownChip, scale_bar: bool = True) -> None:
    """Draw a chip, with a scale bar if its resolution is known.

    Example:
        >>> axes = new_figure(2, 2).subplots()
        >>> show_chip(axes, ShownChip(np.ones((64, 64)), "aircraft", size_px=(60, 150), resolution_m=0.3))  # 45 m wide
        >>> axes.images[0].get_extent(), axes.texts[0].get_text()
        ([0, 150, 60, 0], '10 m')
    """
    axes.imshow(grey_of(chip.image_HW), cmap="gray", vmin=0, vmax=1, extent=chip.extent, interpolation="nearest")
    bare(axes)
    if scale_bar and chip.resolution_m:
        _scale_bar(axes, chip.size_px, chip.resolution_m)


def bare(axes: Axes) -> None:
    """Remove the ticks and thin the frame.

    Example:
        >>> axes = new_figure(2, 2).subplots()
        >>> bare(axes)
        >>> len(axes.get_xticks()), axes.spines["left"].get_linewidth()
        (0, 0.5)
    """
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_linewidth(0.5)


def _scale_bar(axes: Axes, size_px: tuple[int, int], resolution_m: float) -> None:
    """Draw the longest round length that fits into 40% of the width; none for a picture of less than 2.5 m."""
    height, width = size_px
    length_m = next((length for length in _BARS_M if length <= 0.4 * width * resolution_m), None)
    if length_m is None:
        return
    left, bottom = 0.06 * width, 0.93 * height
    bar = {"color": "white", "linewidth": 1.4, "solid_capstyle": "butt", "path_effects": [_OUTLINE]}
    axes.plot([left, left + length_m / resolution_m], [bottom, bottom], **bar)  # type: ignore[arg-type]
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.annotate(
        f"{length_m} m", (left, bottom), (0, 2.5), textcoords="offset points", color="white", fontsize=TINY,
        va="bottom", path_effects=[withStroke(linewidth=1.6, foreground="black")],
    )  # fmt: skip
