"""A data card says what a person must know before using a set: as CARD.md, as a part of a page, of older builds too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from sarjepa.documents import read_record
from sarjepa.errors import InputError
from sarjepa.files import write_json
from sarjepa.reports.cards import (
    BuiltIndex,
    Duplicates,
    Example,
    Provenance,
    Rejected,
    Shard,
    Sizes,
    card_elements,
    card_text,
    counts_table,
)
from sarjepa.reports.elements import element, to_html

PROVENANCE = Provenance(
    title="A <set> & more", origin="https://example.org/a_b", terms="research only", citation="A. Author, 2020",
    sensor="a radar", band="X", polarisation=("HH",), notes=("mind | the gap",), unverified=("terms",),
)  # fmt: skip
BUILT = BuiltIndex(
    source="some",
    num_chips=9,
    classes=("a|b", "<i>"),
    counts={"train": {"a|b": 4, "<i>": 2}, "test": {"a|b": 3}},
    expected={"train": {"a|b": 4}},
    sizes=Sizes((10, 20), (30, 40), 3),
    normalisation={"method": "linear", "per": "set", "reference": 2.5, "dtype": "float32", "scale": 1.0},
    resolution_m=0.3,
    duplicates=Duplicates(1, 2, 6, 1, 0, (Example("splits", ("train/x*.png", "test/y**.png")),)),
    num_rejected=1,
    rejected=(Rejected("bad.png", "damaged"),),
    shards=(Shard("some-00000.h5", 9, "0123abcd"),),
)
WRONG = replace(PROVENANCE, differences=("train/b: 2 of 5",))


def page(provenance: Provenance = PROVENANCE) -> Element:
    return element("div", *card_elements(BUILT, provenance, element("mark", "sheet")))


def test_card_says_where_it_is_from_and_what_may_be_done() -> None:
    for words in ("A <set> & more", "example.org/a_b", "research only", "A. Author, 2020", "0.3 m", "mind | the gap",
                  "Not verified against the source: terms"):  # fmt: skip
        assert words in card_text(BUILT, PROVENANCE) and words in " ".join(page().itertext())


def test_card_names_leaks_rejections_and_wrong_counts() -> None:
    text, shown = card_text(BUILT, WRONG), " ".join(page(WRONG).itertext())
    for words in ("train/x*.png = test/y**.png (splits)", "bad.png: damaged", "train/b: 2 of 5", "reference 2.5",
                  "10 x 20 to 30 x 40 (3 different)"):  # fmt: skip
        assert words in text and words in shown
    assert "**Leak**: chips on both sides of a split in 1 group." in text and "**Not as expected**" in text
    assert {made.text for made in page(WRONG).iter("strong")} == {
        "Leak", "Not as expected", "Origin", "Terms", "Citation", "Sensor", "Band", "Polarisation", "Resolution"
    }  # fmt: skip
    assert "counts expected of the files" in card_text(BUILT, PROVENANCE)
    assert "is not known" in card_text(replace(BUILT, expected=None), PROVENANCE)
    unlooked = replace(BUILT, duplicates=Duplicates(*[None] * 6))
    assert "Near-duplicates were not looked for" in card_text(unlooked, PROVENANCE)


def test_a_page_shows_the_card_with_its_structure() -> None:
    shown = page()
    assert [made.tag for made in shown.iter() if made.tag in ("h3", "h4", "mark")] == ["h3", "mark", *["h4"] * 4]
    assert [cell.text for cell in shown.iter("th")][:6] == ["class", "train", "test", "all", "a|b", "<i>"]
    assert "&lt;set&gt;" in to_html(shown) and "0123abcd" in to_html(shown)


def test_counts_add_up_at_the_edges() -> None:
    table = counts_table("t", ["a", "b"], {"train": {"a": 4, "b": 2}, "test": {"a": 3}})
    assert table.columns == ("class", "train", "test", "all")
    assert table.rows == (("a", "4", "3", "7"), ("b", "2", "0", "2"), ("all", "6", "3", "9"))


def test_the_index_is_read_as_it_was_written_and_a_damaged_one_is_named_by_its_key(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    write_json(path, replace(BUILT, card=PROVENANCE))
    assert read_record(path, BuiltIndex) == replace(BUILT, card=PROVENANCE)
    write_json(path, {**vars(BUILT), "sizes": {"min": 1, "max": [2, 3], "num": 1}, "of_before": True})
    with pytest.raises(InputError, match=rf"sizes\.min in {path}"):
        read_record(path, BuiltIndex)
