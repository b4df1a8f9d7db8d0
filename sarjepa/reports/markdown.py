"""The Markdown of our own data cards as HTML elements.

A card is kept as it was written when the data were built, so the page shows that file and not today's knowledge of the
same source. Cards use headings, paragraphs, bullet lists, pipe tables, pictures, **bold** and `code`, and so little is
read here; whatever else stands in one (a folder of one's own may be called anything) is shown as the text it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import groupby
from xml.etree.ElementTree import Element

from sarjepa.reports.elements import bullets, element, table_element
from sarjepa.results.tables import Table

_INLINE = re.compile(r"(\*\*.+?\*\*|`[^`]+`)")
_PICTURE = re.compile(r"!\[([^]]*)]\(([^)]+)\)")
_HEADING = re.compile(r"(#+) (.*)")
_CELL_EDGE = re.compile(r"(?<!\\)\|")


def card_elements(text: str, picture: Callable[[str, str], Element | None], level: int = 3) -> list[Element]:
    """The elements of a card.

    Args:
        text: of CARD.md.
        picture: gets a picture's alternative text and file name, returns what stands in its place.
        level: of the card's first heading in the page; the ones below it follow.
    """
    return [made for kind, lines in _blocks(text) for made in _block(kind, lines, picture, level) if made is not None]


def _kind(line: str) -> str:
    if not line.strip():
        return "blank"
    for kind, start in (("heading", "#"), ("picture", "!["), ("item", "- "), ("table", "|")):
        if line.startswith(start):
            return kind
    return "text"


def _blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Neighbouring lines of one kind."""
    for kind, lines in groupby(text.splitlines(), key=_kind):
        if kind != "blank":
            yield kind, list(lines)


def _block(
    kind: str, lines: list[str], picture: Callable[[str, str], Element | None], level: int
) -> Iterator[Element | None]:
    if kind == "item":
        yield bullets(element("span", *inline(line[2:])) for line in lines)
    elif kind == "table":
        yield table_element(_table(lines))
    elif kind == "text":
        yield from (element("p", *inline(line)) for line in lines)
    else:
        for line in lines:
            heading, found = _HEADING.fullmatch(line), _PICTURE.fullmatch(line.strip())
            if found:
                yield picture(found[1], found[2])
            elif heading:
                yield element(f"h{min(6, level + len(heading[1]) - 1)}", *inline(heading[2]))
            else:
                yield element("p", *inline(line))


def inline(line: str) -> list[Element | str]:
    """Bold and code of one line as elements, the rest as text."""
    parts: list[Element | str] = []
    for part in _INLINE.split(line):
        if part.startswith("**") and part.endswith("**") and len(part) > 4:
            parts.append(element("strong", part[2:-2]))
        elif part.startswith("`") and part.endswith("`") and len(part) > 2:
            parts.append(element("code", part[1:-1]))
        else:
            parts.append(part)
    return parts


def _table(lines: list[str]) -> Table:
    """A pipe table: the first line names the columns, the second is the rule."""
    rows = [
        tuple(cell.strip().replace("\\|", "|") for cell in _CELL_EDGE.split(line.strip())[1:-1])
        for line in (lines[0], *lines[2:])
    ]
    width = len(rows[0])
    return Table("", rows[0], tuple((*row, *[""] * width)[:width] for row in rows[1:]))
