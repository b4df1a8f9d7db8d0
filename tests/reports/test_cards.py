"""CARD.md: what a person must know before using a set is on it."""

from __future__ import annotations

from typing import Any

from sarjepa.reports.cards import card_text, counts_table

FACTS: dict[str, Any] = {
    "title": "Some set", "origin": "https://example.org", "terms": "research only", "citation": "A. Author, 2020",
    "sensor": "a radar", "band": "X", "polarisation": ("HH",), "resolution_m": 0.3, "notes": ("mind the gap",),
    "unverified": ("terms",),
}  # fmt: skip
INDEX: dict[str, Any] = {
    "classes": ["a", "b"],
    "num_chips": 9,
    "counts": {"train": {"a": 4, "b": 2}, "test": {"a": 3}},
    "expected": {"train": {"a": 4}},
    "sizes": {"min": [10, 20], "max": [30, 40], "num": 3, "common": {}},
    "normalisation": {"method": "linear", "per": "set", "reference": 2.5, "dtype": "float32", "scale": 1.0},
    "duplicates": {
        "exact_groups": 1, "near_groups": 2, "num_groups": 6, "spanning_splits": 1, "spanning_labels": 0,
        "examples": [{"kind": "splits", "paths": ["train/x.png", "test/y.png"]}],
    },
    "num_rejected": 1,
    "rejected": [{"path": "bad.png", "reason": "damaged"}],
}  # fmt: skip


def _card(differences: list[str], **changes: object) -> str:
    return card_text(FACTS, {**INDEX, **changes}, differences)


def test_card_says_where_it_is_from_and_what_may_be_done() -> None:
    card = _card([])
    for words in (
        "Some set",
        "example.org",
        "research only",
        "A. Author, 2020",
        "0.3 m",
        "mind the gap",
        "Not verified against the source: terms",
    ):
        assert words in card


def test_card_names_leaks_rejections_and_wrong_counts() -> None:
    card = _card(["train/b: 2 of 5"])
    for words in (
        "**Leak**: 1 groups",
        "train/x.png = test/y.png",
        "bad.png: damaged",
        "train/b: 2 of 5",
        "reference 2.5",
    ):
        assert words in card
    assert "counts expected of the files" in _card([])
    assert "is not known" in _card([], expected=None)


def test_counts_add_up_at_the_edges() -> None:
    table = counts_table("t", ["a", "b"], INDEX["counts"])
    assert table.columns == ("class", "train", "test", "all")
    assert table.rows == (("a", "4", "3", "7"), ("b", "2", "0", "2"), ("all", "6", "3", "9"))
