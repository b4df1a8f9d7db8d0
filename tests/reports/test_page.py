"""The frame: sections behind links, gaps told, nothing from outside, all of it installed."""

from __future__ import annotations

import configparser
import fnmatch
import re
from importlib import resources
from pathlib import Path

from sarjepa.reports.elements import element
from sarjepa.reports.page import Gap, Section, gap_list, html_page

SECTIONS = (
    Section("first", "First & foremost", [element("p", "words")]),
    Section("second", "Second", gaps=(Gap("no table", "sarjepa make <it>"), Gap("a file is damaged"))),
)
ROOT = Path(__file__).resolve().parents[2]


def test_every_section_is_reached_from_the_contents() -> None:
    page = html_page("A <title>", "lead", SECTIONS, "end")
    assert re.findall(r'href="#(\w+)"', page) == ["first", "second"]
    assert re.findall(r'<section id="(\w+)"', page) == ["first", "second"]
    assert "<title>A &lt;title&gt;</title>" in page and "First &amp; foremost" in page


def test_gaps_stand_in_their_section_and_in_the_list() -> None:
    page = html_page("t", "l", SECTIONS, "end")
    assert "no table: <code>sarjepa make &lt;it&gt;</code>" in page and "a file is damaged." in page
    assert page.count("(incomplete)") == 1
    [entries] = gap_list(SECTIONS)
    assert "".join(entries.itertext()).count("(Second)") == 2
    assert not gap_list(SECTIONS[:1])


def test_the_page_allows_the_browser_to_fetch_nothing() -> None:
    page = html_page("t", "l", SECTIONS, "end")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy and policy[1] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not re.search(r"url\(|@import|<script|https?:", page)


def test_dollars_and_braces_of_the_content_are_left_alone() -> None:
    section = Section("a", "$title {b}", [element("p", "$body costs $$5")])
    assert "$title {b}" in html_page("t", "l", [section], "e") and "$body costs $$5" in html_page(
        "t", "l", [section], "e"
    )


def test_frame_and_style_are_packed_with_the_reports() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = [part.strip() for part in setup["options.package_data"]["sarjepa.reports"].split(",")]
    names = [item.name for item in resources.files("sarjepa.reports").iterdir() if item.is_file()]
    data = [name for name in names if not name.endswith(".py")]
    assert {"page.html", "page.css"} <= set(data)
    assert all(any(fnmatch.fnmatch(name, pattern) for pattern in patterns) for name in data), data
