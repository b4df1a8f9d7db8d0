"""HTML as a tree of elements: text stays text until the library writes the page, and is escaped there, once.

In strings that are joined, markup and text cannot be told apart: a class called `<b>` breaks the page, an `&amp;` is
escaped twice. ElementTree of the standard library keeps elements apart from their text and knows HTML's rules (void
elements, what is escaped where). It does not know which tags exist; the tests read the page back with another parser.
A page contains everything that it shows: pictures are `data:` addresses, and nothing is fetched.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from PIL import Image

from sarjepa.boundary import decoder_errors
from sarjepa.errors import InputError
from sarjepa.results.tables import Table

CSS_DPI = 96  # CSS pixels per inch; a picture that states its own resolution is shown at its size on paper
WIDE = 1.6  # width / height above which a picture scrolls on a narrow screen instead of shrinking


def element(tag: str, *content: Element | str, **attributes: object) -> Element:
    """An element with its content and attributes.

    Args:
        tag: name of the element.
        content: elements and text, in order.
        attributes: values by name; `class_` is `class`, `aria_label` is `aria-label`.

    Example:
        >>> to_html(element("p", "a < b", class_="note"))
        '<p class="note">a &lt; b</p>'
    """
    made = Element(tag, {key.rstrip("_").replace("_", "-"): str(value) for key, value in attributes.items()})
    last: Element | None = None
    for part in content:
        if isinstance(part, Element):
            made.append(part)
            last = part
        elif last is None:
            made.text = (made.text or "") + part
        else:  # ElementTree keeps the text behind an element with that element
            last.tail = (last.tail or "") + part
    return made


def to_html(content: Element) -> str:
    """An element as HTML text, escaped.

    Example:
        >>> to_html(element("p", "loss", element("br"), "a < b"))
        '<p>loss<br>a &lt; b</p>'
    """
    return ElementTree.tostring(content, encoding="unicode", method="html")


def scroll_box(content: Element, label: str) -> Element:
    """A box that scrolls, with the keyboard too, for content that may be wider than the page.

    Example:
        >>> to_html(scroll_box(element("pre", "a long line"), "log"))
        '<div class="scroll" tabindex="0" role="region" aria-label="log"><pre>a long line</pre></div>'
    """
    return element("div", content, class_="scroll", tabindex=0, role="region", aria_label=label)


def facts(pairs: Mapping[str, str]) -> Element:
    """Names and values as a description list.

    Example:
        >>> to_html(facts({"Band": "X"}))
        '<dl class="facts"><div><dt>Band</dt><dd>X</dd></div></dl>'
    """
    entries = [element("div", element("dt", name), element("dd", value)) for name, value in pairs.items()]
    return element("dl", *entries, class_="facts")


def bullets(items: Iterable[Element | str]) -> Element:
    """An unordered list.

    Example:
        >>> to_html(bullets(["mstar", element("strong", "saracd")]))
        '<ul><li>mstar</li><li><strong>saracd</strong></li></ul>'
    """
    return element("ul", *(element("li", item) for item in items))


def code_block(text: str) -> Element:
    """Commands to copy.

    Example:
        >>> to_html(code_block("sarjepa pretrain && sarjepa report"))
        '<pre><code>sarjepa pretrain &amp;&amp; sarjepa report</code></pre>'
    """
    return element("pre", element("code", text))


def notice(*content: Element | str) -> Element:
    """A paragraph that stands out, on something that is missing or misleading.

    Example:
        >>> to_html(notice("No curves; see ", element("code", "log.jsonl"), "."))
        '<p class="notice">No curves; see <code>log.jsonl</code>.</p>'
    """
    return element("p", *content, class_="notice")


def picture(content: bytes, alt: str, caption: str, name: str = "") -> Element:
    """A PNG or SVG inside the page; as an image an SVG can neither run a script nor fetch anything.

    Args:
        content: content of the file.
        alt: description of the picture, for readers who cannot see it.
        caption: line below the picture.
        name: name of the file, for errors.

    Raises:
        InputError: the content is not a whole PNG or SVG.

    Example:
        >>> shown = picture(b'<svg width="144pt" height="72pt"/>', "a line", "Loss by step.").find(".//img")
        >>> shown.get("width"), shown.get("height"), shown.get("class")  # CSS pixels: 144 points are two inches
        ('192', '96', 'wide')
    """
    with decoder_errors(lambda words: InputError("not a readable PNG or SVG", where=name, got=words)):
        kind, width, height = _svg(content) if content.lstrip()[:1] == b"<" else _png(content)
    shape = "wide" if width > WIDE * height else "plain"
    address = f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")
    shown = element("img", src=address, alt=alt, class_=shape, width=round(width), height=round(height))
    return element("figure", scroll_box(shown, f"picture: {alt}"), element("figcaption", caption))


def _png(content: bytes) -> tuple[str, float, float]:
    """Type, width and height (CSS px) of a PNG; one that states its resolution gets its size on paper."""
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        image.load()
        (width_px, height_px), dpi = image.size, image.info.get("dpi", (CSS_DPI, CSS_DPI))[0]
    scale = CSS_DPI / dpi if dpi > CSS_DPI else 1.0
    return "png", width_px * scale, height_px * scale


def _svg(content: bytes) -> tuple[str, float, float]:
    """Type, width and height (CSS px) of an SVG, which states its size in points."""
    root = ElementTree.fromstring(content)
    width, height = (float(root.attrib[side].removesuffix("pt")) * CSS_DPI / 72 for side in ("width", "height"))
    return "svg+xml", width, height


def picture_or_notice(path: Path, alt: str, caption: str) -> Element:
    """The picture of a file, or a notice with the reason why it cannot be shown.

    Example:
        >>> picture_or_notice(Path("lost.png"), "a line", "Loss by step.").text
        "The picture lost.png cannot be shown: [Errno 2] No such file or directory: 'lost.png'."
    """
    try:
        return picture(path.read_bytes(), alt, caption, str(path))
    except (OSError, InputError) as error:
        return notice(f"The picture {path.name} cannot be shown: {error}.")


def table_element(table: Table) -> Element:
    """A table in a box that scrolls, with its title above and its note below.

    A cell holds its column's name, since each row is a list of names and values on a page too narrow for columns.

    Example:
        >>> shown = table_element(Table("Runs", ("class", "recall (%)"), (("2S1", "62.1"),)))
        >>> [(cell.attrib, cell.text) for cell in shown.iter("td")]
        [({'class': 'number', 'data-column': 'recall (%)'}, '62.1')]
    """
    numeric = [table.is_number(column) for column in range(len(table.columns))]
    head = element(
        "tr", *(_cell("th", name, right, scope="col") for name, right in zip(table.columns, numeric, strict=True))
    )
    body = [
        element("tr", _cell("th", row[0], numeric[0], scope="row"),
                *(_cell("td", cell, right, data_column=name)
                  for cell, right, name in zip(row[1:], numeric[1:], table.columns[1:], strict=True)))
        for row in table.rows
    ]  # fmt: skip
    grid = element("table", element("thead", head), element("tbody", *body))
    above = [element("figcaption", table.title)] if table.title else []
    below = [element("p", table.note, class_="note")] if table.note else []
    return element("figure", *above, scroll_box(grid, f"table: {table.title or table.columns[0]}"), *below)


def _cell(tag: str, text: str, right: bool, **attributes: object) -> Element:
    return element(tag, text, **({"class_": "number"} if right else {}), **attributes)
