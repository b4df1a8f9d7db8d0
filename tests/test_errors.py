"""What an error says to a person."""

from __future__ import annotations

from sarjepa.errors import InputError, nearest


def test_a_hint_never_ends_in_nothing() -> None:
    assert nearest("mstra", ["mstar", "saracd"]) == "did you mean 'mstar'?"
    assert nearest("x", ["mstar", "saracd"]) == "choose from mstar, saracd"
    assert nearest("x", []) == "there are none to choose from"


def test_an_error_is_one_line_whatever_its_parts_hold() -> None:
    error = InputError("wrong\nvalue", where="a\nb", expected="c", got="d\n", hint="e")
    assert str(error) == "wrong value: a b; expected c; got d ; e"
