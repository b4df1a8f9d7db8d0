"""Files of figures: the same bytes for the same numbers, whatever the format, and nothing global touched."""

from __future__ import annotations

import re
import warnings

import matplotlib as mpl
import numpy as np
import pytest

from sarjepa.reports.figures import figure_bytes, new_figure


def figure_with_everything() -> mpl.figure.Figure:
    """Text, a clipped line, and a half-transparent image over another."""
    figure = new_figure(3, 2)
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 2], label="a line")
    left.legend()
    for alpha in (1.0, 0.5):
        right.imshow(np.arange(12.0).reshape(3, 4), alpha=alpha)
    figure.suptitle("title")
    return figure


@pytest.mark.parametrize(("file_format", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_same_figure_is_the_same_bytes(file_format: str, start: bytes) -> None:
    first, second = (figure_bytes(figure_with_everything(), file_format) for _ in range(2))
    assert first == second and first.startswith(start)
    assert not re.search(rb"CreationDate|<dc:date>|Matplotlib v|matplotlib\.org/\s", first)


def test_settings_are_as_before_afterwards() -> None:
    before = dict(mpl.rcParams)
    figure_bytes(figure_with_everything(), "svg")
    assert dict(mpl.rcParams) == before


def test_a_transparent_map_stays_apart_from_the_chip_below() -> None:
    """Merged into one image, SVG and PDF show it darker than PNG."""
    assert figure_bytes(figure_with_everything(), "svg").count(b"<image ") == 2


def test_a_name_in_letters_that_the_font_lacks_is_drawn_without_a_warning() -> None:
    figure = new_figure(3, 2)
    figure.subplots().set_title("テスト")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert figure_bytes(figure)
