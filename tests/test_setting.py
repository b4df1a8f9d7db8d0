"""Marks: what may be said of a setting, and what a value that breaks it is told."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sarjepa.errors import InputError
from sarjepa.setting import COMMAND_LINE, Items, Like, OneOf, Range, Setting


def setting(*marks: object, default: Any = 1.0, kind: type = float, is_list: bool = False) -> Setting:
    return Setting("peak_rate", kind, is_list, False, "help", default, marks)


@pytest.mark.parametrize(
    ("limits", "inside", "outside", "words"),
    [
        (Range(0, 1), (0, 0.5, 1), (-1e-9, 1.1, float("nan")), "0 to 1"),
        (Range(0, 1, above=True), (1e-9, 1), (0, 2), "above 0 to 1"),
        (Range(0, above=True), (0.1, 1e9), (0, float("inf")), "above 0"),
        (Range(2), (2, 10**30), (1, float("inf")), "at least 2"),
        (Range(1, 8, "the machine has 8"), (8,), (9,), r"1 to 8 \(the machine has 8\)"),
    ],
)
def test_a_range_takes_what_is_inside_and_says_its_ends_and_its_reason(
    limits: Range, inside: tuple, outside: tuple, words: str
) -> None:
    for value in inside:
        setting(limits).check(value)
    for value in outside:
        with pytest.raises(
            InputError, match=rf"value out of range: peak-rate in x.yaml; expected {words}; got {value}"
        ):
            setting(limits).check(value, "x.yaml")


def test_every_item_of_a_tuple_is_held_against_the_marks() -> None:
    many = setting(OneOf("red", "green"), kind=str, is_list=True, default=("red",))
    many.check(("green", "red"))
    with pytest.raises(InputError, match="no such peak-rate: 'gren'; did you mean 'green'"):
        many.check(("red", "gren"), COMMAND_LINE)
    pair = setting(Items(2), is_list=True, default=())
    pair.check(())
    with pytest.raises(InputError, match="wrong number of values: --peak-rate; expected 2; got 1,2,3"):
        pair.check((1, 2, 3), COMMAND_LINE)


def test_choices_may_be_joined_each_once() -> None:
    joined = setting(OneOf("red", "green", joined="+"), kind=str)
    for text in ("red", "green+red"):
        joined.check(text)
    for text, hint in (("red+gren", "did you mean 'green'"), ("red+red", "join each part once"), ("red+", "choose")):
        with pytest.raises(InputError, match=rf"no such peak-rate: '{re.escape(text)}'; {hint}"):
            joined.check(text)


def test_a_form_holds_for_the_whole_text() -> None:
    form = setting(Like("a+", "letters a"), kind=str)
    form.check("aa")
    with pytest.raises(InputError, match=r"no such peak-rate: 'aab' in x\.yaml; expected letters a"):
        form.check("aab", "x.yaml")
