"""Figures as the bytes of a file: PNG to look at, PDF and SVG to print, the same bytes for the same numbers.

Matplotlib writes dates, its own version and random identifiers into files. Here they are left out or fixed, so a figure
under version control changes when its numbers change. PDF text is TrueType (journals refuse Type 3 fonts), SVG text is
drawn as outlines (a reader's machine need not have the font).
"""

from __future__ import annotations

import io

from matplotlib import rc_context
from matplotlib.figure import Figure

PICTURE_DPI = 240  # of PNG, and of the images inside PDF and SVG

_NO_TRACES: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
}


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
