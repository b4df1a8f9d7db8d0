"""The Markdown that our cards are written in comes back whole."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from sarjepa.reports.cards import card_text
from sarjepa.reports.elements import element, to_html
from sarjepa.reports.markdown import card_elements

FACTS = {
    "title": "A <set> & more", "origin": "https://example.org/a_b", "terms": "research only", "citation": "A. Author",
    "sensor": "a radar", "band": "X", "polarisation": ("HH",), "resolution_m": 0.3, "notes": ("mind | the gap",),
    "unverified": ("terms",),
}  # fmt: skip
INDEX = {
    "classes": ["a|b", "<i>"], "num_chips": 9, "counts": {"train": {"a|b": 4, "<i>": 2}, "test": {"a|b": 3}},
    "expected": None, "sizes": {"min": [10, 20], "max": [30, 40], "num": 3, "common": {}},
    "normalisation": {"method": "linear", "dtype": "float32", "scale": 1.0},
    "duplicates": {"exact_groups": 1, "near_groups": 2, "num_groups": 6, "spanning_splits": 1, "spanning_labels": 0,
                   "examples": [{"kind": "splits", "paths": ["train/x*.png", "test/y**.png"]}]},
    "num_rejected": 1, "rejected": [{"path": "bad.png", "reason": "damaged"}],
}  # fmt: skip


def shown(text: str) -> Element:
    return element("div", *card_elements(text, lambda alt, name: element("mark", f"{alt}@{name}")))


def test_a_card_keeps_every_word_and_gets_its_structure() -> None:
    page = shown(card_text(FACTS, INDEX, ["train: 6 of 7"]))
    text = " ".join(page.itertext())
    for words in ("A <set> & more", "https://example.org/a_b", "A. Author", "mind | the gap", "bad.png: damaged",
                  "train/x*.png = test/y**.png", "contact sheet@contact-sheet.png"):  # fmt: skip
        assert words in text
    assert [made.tag for made in page.iter() if made.tag in ("h3", "h4")] == ["h3", *["h4"] * 4]
    assert [cell.text for cell in page.iter("th")][:6] == ["class", "train", "test", "all", "a|b", "<i>"]
    assert {made.text for made in page.iter("strong")} >= {"Origin", "Leak", "Chips"}
    assert "**" not in text.replace("y**.png", "")


def test_words_in_code_style_are_code() -> None:
    assert [made.text for made in shown("Run `make` and `make test`.").iter("code")] == ["make", "make test"]


def test_what_is_no_markdown_of_ours_is_shown_as_text() -> None:
    page = shown("# one *two* <b>three</b>\n\n| a | b |\n| - | - |\n| 1 |\n\n![broken](\n")
    assert "one *two* <b>three</b>" in "".join(page.itertext()) and "![broken](" in "".join(page.itertext())
    assert "&lt;b&gt;" in to_html(page)
    assert [cell.text for cell in page.iter("td")] == [""], "a short row is filled up"
