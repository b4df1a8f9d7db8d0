"""Elements escape what they are given; pictures are whole and inside the page."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from sarjepa.errors import InputError
from sarjepa.reports.elements import element, facts, picture, picture_or_notice, to_html

NASTY = "a<b>&\"c' </p><script>"


class Reader(HTMLParser):
    """Tags, attributes and text of a page, by another hand than the one that wrote it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def png(width: int = 8, height: int = 4, dpi: int | None = None) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, format="PNG", **({"dpi": (dpi, dpi)} if dpi else {}))
    return buffer.getvalue()


def test_text_and_attributes_come_back_as_they_were_given() -> None:
    read = Reader(to_html(element("p", NASTY, element("b", "x"), NASTY, title=NASTY, class_="note", aria_label="y")))
    assert read.tags == [("p", {"title": NASTY, "class": "note", "aria-label": "y"}), ("b", {})]
    assert read.text == NASTY + "x" + NASTY


def test_facts_keep_names_and_values_apart() -> None:
    read = Reader(to_html(facts({"a & b": "1 < 2"})))
    assert [tag for tag, _ in read.tags] == ["dl", "div", "dt", "dd"] and read.text == "a & b1 < 2"


def test_a_picture_is_a_data_address_of_the_same_bytes() -> None:
    read = Reader(to_html(picture(png(), NASTY, "caption")))
    shown = next(attributes for tag, attributes in read.tags if tag == "img")
    kind, _, data = str(shown["src"]).partition(",")
    assert kind == "data:image/png;base64" and base64.b64decode(data) == png()
    assert shown["alt"] == NASTY and (shown["width"], shown["height"]) == ("8", "4")


def test_a_picture_of_print_resolution_is_shown_at_its_size_on_paper() -> None:
    text = to_html(picture(png(320, 160, dpi=192), "a", "c"))
    assert 'width="160"' in text and 'class="wide"' in text


def test_an_svg_is_shown_at_its_size_in_points() -> None:
    figure = Figure(figsize=(3, 2))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    text = to_html(picture(buffer.getvalue(), "a", "c"))
    assert 'src="data:image/svg+xml;base64,' in text and 'width="288" height="192"' in text


def claiming(side: int) -> bytes:
    """A PNG whose header states another size than its content has."""
    header = b"IHDR" + struct.pack(">II", side, side) + png()[24:29]
    return png()[:12] + header + struct.pack(">I", zlib.crc32(header)) + png()[33:]


@pytest.mark.parametrize(
    "content",
    [b"", b"no picture", png()[:-20], png(64, 64)[:60], claiming(60_000), b"<svg width='1pt'", b"<p/>"],
)
def test_half_a_picture_is_no_picture(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a readable PNG or SVG"):
        picture(content, "a", "c", "x.png")
    (tmp_path / "x.png").write_bytes(content)
    shown = to_html(picture_or_notice(tmp_path / "x.png", "a", "c"))
    assert "img" not in [tag for tag, _ in Reader(shown).tags] and "x.png cannot be shown" in shown
    assert " at 0x" not in shown  # the same bytes on every run
