"""Reading a YAML or JSON file key by key, so that every error names the file, the key and the right value.

A file that parses may still hold wrong values: it was written by hand, edited, or damaged in a digit. Its reader asks
for each key by type, and gets a value of that type or an error.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

from sarjepa.errors import InputError, nearest


class Section:
    """One mapping of a file, read key by key.

    Args:
        raw: the mapping, as parsed from YAML or JSON.
        file: name of the file, for errors.
        path: dotted path of the mapping inside the file; empty for the whole file.
        hint: next step for a wrong value, if there is no better one.

    Raises:
        InputError: the value is not a mapping.

    Example:
        >>> Section({"kind": "grid", "at": [3]}, "plan.yaml").text("kind")
        'grid'
    """

    def __init__(self, raw: Any, file: str, path: str = "", hint: str | None = None) -> None:
        self.raw, self.file, self.path, self.hint = raw, file, path, hint
        self.seen: set[str] = set()
        if not isinstance(raw, dict):
            raise InputError("not a mapping", where=self.at(), got=repr(raw)[:60], hint=hint)

    def at(self, key: str = "") -> str:
        """The file and the dotted path of a key."""
        path = ".".join(part for part in (self.path, key) if part)
        return f"{self.file}: {path}" if path else self.file

    def fault(self, key: str, expected: str, got: object, hint: str | None = None) -> InputError:
        """The error for a wrong value."""
        return InputError(
            "wrong value", where=self.at(key), expected=expected, got=repr(got)[:60], hint=hint or self.hint
        )

    def get(self, key: str, kind: type | tuple[type, ...], expected: str, required: bool = True) -> Any:
        """The value of a key, checked to be of a type; None for an optional key that is missing or null."""
        self.seen.add(key)
        value = self.raw.get(key)
        if value is None and (not required or (key in self.raw and type(None) in _as_tuple(kind))):
            return None
        if key not in self.raw:
            unknown = [name for name in self.raw if name not in self.seen]
            close = nearest(key, unknown) if unknown and self.hint is None else self.hint
            raise InputError("key missing", where=self.at(key), hint=close)
        if not isinstance(value, kind) or (isinstance(value, bool) and bool not in _as_tuple(kind)):
            raise self.fault(key, expected, value)
        return value

    def text(self, key: str, required: bool = True) -> str:
        """A text."""
        return (self.get(key, str, "a text", required) or "").strip()

    def texts(self, key: str, required: bool = True) -> tuple[str, ...]:
        """A list of texts."""
        values = self.get(key, list, "a list of texts", required) or []
        for i, value in enumerate(values):
            if not isinstance(value, str):
                raise self.fault(f"{key}[{i}]", "a text (in quotes where YAML would read a number)", value)
        return tuple(values)

    def number(self, key: str, required: bool = True) -> float | None:
        """A finite number or null."""
        value = self.get(key, (int, float, type(None)), "a number or null", required)
        if value is not None and not abs(value) <= sys.float_info.max:
            raise self.fault(key, "a finite number", value)
        return None if value is None else float(value)

    def whole(self, key: str, least: int = 0, most: int = 2**40, required: bool = True) -> int | None:
        """A whole number in a range."""
        value = self.get(key, int, f"a whole number, {least} to {most}", required)
        if value is not None and not least <= value <= most:
            raise self.fault(key, f"a whole number, {least} to {most}", value)
        return value

    def choice(self, key: str, choices: tuple[str, ...], required: bool = True) -> str:
        """One of the names in `choices`."""
        value = self.text(key, required)
        if (value or required) and value not in choices:
            raise self.fault(key, f"one of {', '.join(choices)}", value, nearest(value, choices))
        return value

    def patterns(self, key: str, required: bool = True) -> tuple[re.Pattern[str], ...]:
        """A list of regular expressions."""
        compiled = []
        for i, text in enumerate(self.texts(key, required)):
            try:
                compiled.append(re.compile(text))
            except re.error as error:
                raise self.fault(f"{key}[{i}]", "a regular expression", f"{text} ({error})") from error
        return tuple(compiled)

    def part(self, key: str, read: Callable[[Section], Any], required: bool = False) -> Any:
        """A mapping, converted by `read`; None for an optional key that is missing."""
        value = self.get(key, dict, "a mapping", required)
        return None if value is None else self._read(value, key, read)

    def parts(self, key: str, read: Callable[[Section], Any]) -> tuple[Any, ...]:
        """A list of mappings, each converted by `read`."""
        values = self.get(key, list, "a list of mappings")
        return tuple(self._read(value, f"{key}[{i}]", read) for i, value in enumerate(values))

    def mapping(self, key: str, read: Callable[[Section], Any]) -> dict[str, Any]:
        """A mapping of names to mappings, each converted by `read`."""
        values = self.get(key, dict, "a mapping")
        return {str(name): self._read(value, f"{key}.{name}", read) for name, value in values.items()}

    def table(self, key: str, required: bool = False) -> dict[str, str]:
        """A mapping of texts to texts."""
        values = self.get(key, dict, "a mapping of texts", required) or {}
        for name, value in values.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise self.fault(f"{key}.{name}", "text: text (in quotes where YAML would read a number)", value)
        return values

    def done(self) -> None:
        """Refuse a key that was not read: it is misspelt or does not belong here."""
        for key in self.raw:
            if key not in self.seen:
                raise InputError("unknown key", where=self.at(key), hint=nearest(str(key), self.seen))

    def _read(self, value: Any, key: str, read: Callable[[Section], Any]) -> Any:
        section = Section(value, self.file, self.at(key).removeprefix(f"{self.file}: "), self.hint)
        result = read(section)
        section.done()
        return result


def _as_tuple(kind: type | tuple[type, ...]) -> tuple[type, ...]:
    return kind if isinstance(kind, tuple) else (kind,)
