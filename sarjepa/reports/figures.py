"""What all figures share: readable at the width of a paper's column, the same bytes for the same numbers.

Series have colours of Okabe & Ito's palette, which the colour-blind can tell apart, and a marker each; quantities have
perceptually uniform maps. Figures are built without pyplot, so they need no display and change nothing global.

Files are PNG for the screen, PDF and SVG for print. Matplotlib writes dates, its own version and random identifiers
into them. Here they are left out or fixed, so a figure under version control changes only with its numbers. PDF text is
TrueType (journals refuse Type 3 fonts), SVG text is drawn as outlines (a reader's machine may lack the font).
"""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Iterable

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

SERIES_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS = "osD^vPX*"
_PLACES = {"sar-jepa, then views": 0, "sar-jepa": 1, "untrained": 2, "log-pixels": 3}  # the same in every figure
PICTURE_DPI = 240  # of PNG, and of the images inside PDF and SVG

_NO_TRACES: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, whose layout keeps labels apart.

    Example:
        >>> new_figure(3.5, 2.0).get_size_inches()
        array([3.5, 2. ])
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def style(axes: Axes) -> None:
    """Give axes a light grid and no box.

    Example:
        >>> axes = new_figure(3.5, 2.0).subplots()
        >>> style(axes)
        >>> [side for side, spine in axes.spines.items() if spine.get_visible()]
        ['left', 'bottom']
    """
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def marks_of(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The colour and the marker of each series by its name; what stands in most figures has the same ones in all.

    Example:
        >>> marks_of(["mae", "sar-jepa", "pgca"])["sar-jepa"], marks_of(["sar-jepa"])["sar-jepa"]
        (('#D55E00', 's'), ('#D55E00', 's'))
    """
    names = list(dict.fromkeys(names))
    taken = {_PLACES[name] for name in names if name in _PLACES}
    free = (place for place in itertools.count() if place not in taken)
    places = [_PLACES[name] if name in _PLACES else next(free) for name in names]
    colors, shapes = len(SERIES_COLORS), len(MARKERS)  # once all colours are used, each comes with another marker
    return {
        name: (SERIES_COLORS[place % colors], MARKERS[(place + place // colors) % shapes])
        for name, place in zip(names, places, strict=True)
    }


def figure_bytes(figure: Figure, file_format: str = "png") -> bytes:
    """The file of a figure; formats are "png", "pdf" and "svg".

    Example:
        >>> first, second = (figure_bytes(new_figure(3.5, 2.0), "svg") for _ in range(2))
        >>> first == second, b"date" in first
        (True, False)
    """
    buffer = io.BytesIO()
    # PDF and SVG would merge images that touch, and draw a half-transparent map darker than in PNG.
    settings = rc_context(
        {"svg.hashsalt": "sarjepa", "svg.fonttype": "path", "pdf.fonttype": 42, "image.composite_image": False}
    )
    with settings, warnings.catch_warnings():
        # Matplotlib's own font has no Asian letters. The picture shows a box for each; tables have the whole name.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(buffer, format=file_format, dpi=PICTURE_DPI, metadata=_NO_TRACES[file_format])
    return buffer.getvalue()
