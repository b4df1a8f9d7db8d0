"""Contact sheet: one row per class, chips spread over the class, every image visible."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from sarjepa.reports.contact_sheet import CELL_PX, LABEL_PX, NUM_COLUMNS, NUM_ROWS, contact_sheet, pick_chips


def _cell(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    top, left = 28 + CELL_PX * row, LABEL_PX + CELL_PX * column
    return sheet[top + 20 : top + CELL_PX - 20, left + 20 : left + CELL_PX - 20]


def test_rows_are_classes_and_chips_spread_over_them() -> None:
    rows = pick_chips([0] * 100 + [1] * 5 + [-1] * 3, num_classes=3)
    assert [label for label, _ in rows] == [0, 1, -1]
    assert len(rows[0][1]) == NUM_COLUMNS
    assert (rows[0][1][0], rows[0][1][-1]) == (0, 99)
    assert rows[1][1] == [100, 101, 102, 103, 104]


def test_chips_without_classes_fill_the_page() -> None:
    rows = pick_chips(np.full(1000, -1), num_classes=0)
    assert sum(len(chosen) for _, chosen in rows) == 8 * NUM_COLUMNS
    assert len(pick_chips(np.arange(100), num_classes=100)) == NUM_ROWS


def test_every_chip_is_drawn_at_its_brightness() -> None:
    levels = [[50, 250], [150, 200]]
    rows = [
        (f"row {i}", [np.full((60, 30 + 20 * i), value, np.uint8) for value in row]) for i, row in enumerate(levels)
    ]
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet("title", rows, 255.0))))
    assert sheet.shape == (28 + 2 * CELL_PX, LABEL_PX + NUM_COLUMNS * CELL_PX)
    for i, row in enumerate(levels):
        for j, value in enumerate(row):
            assert abs(int(np.median(_cell(sheet, i, j))) - value) <= 1


def test_letters_beyond_ascii_are_drawn_each_as_itself() -> None:
    sheets = {contact_sheet("", [(name, [np.zeros((50, 50), np.uint8)])], 255.0) for name in "äüéß"}
    assert len(sheets) == 4


def test_a_dim_set_is_brightened_and_floats_are_drawn() -> None:
    rows = [("dim", [np.full((50, 50), 0.01, np.float32)])]
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet("title", rows, 1.0))))
    assert np.median(_cell(sheet, 0, 0)) > 120
