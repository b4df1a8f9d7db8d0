"""Contact sheet: a data set at a glance, one row of chips per class.

It shows what no count does: a class of empty sea, a set stored too dark, a colour map, a border. Chips are shown as
stored, all at one gain, which the caption states, and scaled to fit a cell without changing their shape.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL_PX = 96
LABEL_PX = 150
NUM_COLUMNS = 12
NUM_ROWS = 24  # classes shown; a user's folder may have hundreds
DIM = 0.35  # a set whose bright pixels stay below this is shown brighter


def pick_chips(labels: Sequence[int] | np.ndarray, num_classes: int) -> list[tuple[int, list[int]]]:
    """The chips to show: label and indices of each row, evenly spaced in the class; label -1: no label.

    Example:
        >>> pick_chips([0, 1, 0, -1], num_classes=2)
        [(0, [0, 2]), (1, [1]), (-1, [3])]
    """
    array = np.asarray(labels)
    rows = []
    for label in [*range(num_classes), -1]:
        members = np.flatnonzero(array == label)
        if len(members):
            spaced = np.linspace(0, len(members) - 1, min(NUM_COLUMNS, len(members))).round().astype(int)
            rows.append((label, members[spaced].tolist()))
    if len(rows) == 1:  # only one class, or none: fill several rows with it
        spaced = np.linspace(0, len(array) - 1, min(8 * NUM_COLUMNS, len(array))).round().astype(int)
        label = rows[0][0]
        rows = [(label, spaced[i : i + NUM_COLUMNS].tolist()) for i in range(0, len(spaced), NUM_COLUMNS)]
    return rows[:NUM_ROWS]


def contact_sheet(title: str, rows: Sequence[tuple[str, Sequence[np.ndarray]]], scale: float) -> bytes:
    """Draw a sheet, as PNG.

    Args:
        title: first words of the caption.
        rows: name and images (H, W), as stored, of each row.
        scale: divisor of stored values that gives [0, 1].

    Example:
        >>> dark = np.full((32, 64), 20, np.uint8)
        >>> sheet = Image.open(io.BytesIO(contact_sheet("toy", [("ship", [dark, dark])], scale=255.0)))
        >>> sheet.size, sheet.getpixel((LABEL_PX + CELL_PX // 2, 28 + CELL_PX // 2))  # brightened from 20
        ((1302, 124), 178)
    """
    bright = [float(np.percentile(image, 99.5)) / scale for _, images in rows for image in images]
    typical = float(np.median(bright)) if bright else 1.0
    gain = 1.0 if typical >= DIM or typical <= 0 else 0.7 / typical
    height = 28 + CELL_PX * len(rows)
    sheet = Image.new("L", (LABEL_PX + CELL_PX * NUM_COLUMNS, height), 255)
    draw = ImageDraw.Draw(sheet)
    # The font of matplotlib, since Pillow's own has no letters beyond ASCII. Every Pillow has the basic layout.
    font_file = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    font = ImageFont.truetype(str(font_file), 12, layout_engine=ImageFont.Layout.BASIC)
    caption = f"{title}   shown as stored" + (f", brightened {gain:.3g} times" if gain != 1 else "")
    draw.text((6, 6), caption, fill=0, font=font)
    for row, (name, images) in enumerate(rows):
        top = 28 + CELL_PX * row
        draw.text((6, top + CELL_PX // 2 - 8), name[:20], fill=0, font=font)
        for column, image in enumerate(images):
            cell = _cell(image, scale / gain)
            left = LABEL_PX + CELL_PX * column
            sheet.paste(cell, (left + (CELL_PX - cell.width) // 2, top + (CELL_PX - cell.height) // 2))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def _cell(image: np.ndarray, scale: float) -> Image.Image:
    """One chip, at most CELL_PX - 2 on its longer side."""
    grey = np.clip(image.astype(np.float32) / scale * 255, 0, 255).astype(np.uint8)
    factor = (CELL_PX - 2) / max(grey.shape)
    size = (max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[0] * factor)))
    return Image.fromarray(grey).resize(size, Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.BILINEAR)
