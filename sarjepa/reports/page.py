"""A self-contained HTML page: the frame around sections, with a table of contents.

The frame and its style are page.html and page.css beside this file. The page has a content security policy that allows
only data addresses and its own style: a browser refuses to fetch anything else, so the page is readable offline even if
a later change adds an address. There is no script and no date, so the same content gives the same bytes.
"""

from __future__ import annotations

import html
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from xml.etree.ElementTree import Element

from sarjepa.reports.elements import bullets, element, notice, to_html


@dataclass(frozen=True)
class Gap:
    """A part that a reader expects and that is missing.

    Attributes:
        what: name of the missing part, and the reason if it is known.
        command: command that makes the part; empty if there is none.
    """

    what: str
    command: str = ""

    def tree(self) -> Element:
        """The notice in place of the missing part."""
        return notice(f"{self.what}: ", element("code", self.command)) if self.command else notice(f"{self.what}.")


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: name of its anchor.
        title: heading of the section.
        content: elements of the section.
        gaps: parts that are missing.
        folded: text of the line that unfolds the content; empty: the content is open.
    """

    name: str
    title: str
    content: Sequence[Element] = ()
    gaps: tuple[Gap, ...] = field(default=())
    folded: str = ""

    def tree(self) -> Element:
        """The section with its heading and, before its content, the notices of missing parts."""
        content = self.content
        if self.folded and content:
            content = [element("details", element("summary", self.folded), *content)]
        heading = element("h2", self.title)
        return element("section", heading, *(gap.tree() for gap in self.gaps), *content, id=self.name)


def html_page(title: str, lead: str, sections: Sequence[Section], closing: str) -> str:
    """The whole page.

    Args:
        title: title of the page and its first heading.
        lead: sentence below the heading.
        sections: sections in order, of distinct names.
        closing: the last line.

    Example:
        >>> section = Section("runs", "Runs", [element("p", "Loss < 1")], gaps=(Gap("The plot is missing"),))
        >>> page = html_page("Toy", "One run.", [section], closing="Made by sarjepa.")
        >>> page[page.index("<ul>") : page.index("</nav>")]
        '<ul><li><span><a href="#runs">Runs</a> (incomplete)</span></li></ul>'
    """
    folder = resources.files("sarjepa.reports")
    frame = string.Template((folder / "page.html").read_text(encoding="utf-8"))
    head = element("header", element("h1", title), element("p", lead, class_="lead"))
    body = [head, *(section.tree() for section in sections), element("footer", element("p", closing))]
    return frame.substitute(
        title=html.escape(title),
        style=(folder / "page.css").read_text(encoding="utf-8"),
        contents=to_html(_contents(sections)),
        body="\n".join(to_html(part) for part in body),
    )


def _contents(sections: Sequence[Section]) -> Element:
    """Links to the sections; those with missing parts are marked as incomplete."""
    entries = [
        element("span", element("a", section.title, href=f"#{section.name}"), " (incomplete)" if section.gaps else "")
        for section in sections
    ]
    return element("nav", element("p", "Contents"), bullets(entries), aria_label="contents")


def gap_list(sections: Sequence[Section]) -> list[Element]:
    """All gaps of the sections in one list, each with a link to its section.

    Example:
        >>> sections = [Section("runs", "Runs", gaps=(Gap("No run", "sarjepa pretrain"),)), Section("data", "Data")]
        >>> [to_html(gaps) for gaps in gap_list(sections)]
        ['<ul><li><span>No run (<a href="#runs">Runs</a>): <code>sarjepa pretrain</code></span></li></ul>']
    """
    entries = [
        element("span", f"{gap.what} (", element("a", section.title, href=f"#{section.name}"), ")",
                *((": ", element("code", gap.command)) if gap.command else ()))
        for section in sections
        for gap in section.gaps
    ]  # fmt: skip
    return [bullets(entries)] if entries else []
