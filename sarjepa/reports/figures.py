"""What all figures share: readable at the width of a paper's column, the same bytes for the same numbers.

Colours: series from Okabe & Ito's palette, which the colour-blind tell apart, with a marker each; quantities from
perceptually uniform maps. Figures are built without pyplot, so nothing global is touched and no display is needed.

Files are PNG to look at, PDF and SVG to print. Matplotlib writes dates, its own version and random identifiers into
them. Here they are left out or fixed, so a figure under version control changes when its numbers change. PDF text is
TrueType (journals refuse Type 3 fonts), SVG text is drawn as outlines (a reader's machine need not have the font).
"""

from __future__ import annotations

import io

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

SERIES_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS = "osD^vPX*"
PICTURE_DPI = 240  # of PNG, and of the images inside PDF and SVG

_NO_TRACES: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
}


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


def figure_bytes(figure: Figure, file_format: str = "png") -> bytes:
    """A figure as "png", "pdf" or "svg"."""
    buffer = io.BytesIO()
    # Images that touch are written one by one: merged into one, as PDF and SVG would have them, a half-transparent map
    # comes out darker than in PNG.
    settings = rc_context(
        {"svg.hashsalt": "sarjepa", "svg.fonttype": "path", "pdf.fonttype": 42, "image.composite_image": False}
    )
    with settings:
        figure.savefig(buffer, format=file_format, dpi=PICTURE_DPI, metadata=_NO_TRACES[file_format])
    return buffer.getvalue()
