"""One setting: type, default, help and marks, all in one line.

    lr: Annotated[float, "peak learning rate for a batch of 256", Range(0, 1000)] = 1e-3

A config class (`sarjepa.config`) is a list of such lines. The command line makes an option of each, `sarjepa.overlay`
reads values for it, and this module checks every value against the marks.
"""

from __future__ import annotations

import enum
import functools
import math
import re
import types
import typing
from dataclasses import dataclass, fields
from typing import Any

from sarjepa.errors import InputError, nearest

COMMAND_LINE = "the command line"  # the layer whose settings a person typed


class Mark(enum.Enum):
    """A mark without parameters."""

    PATH = "a file, a folder or an address: `~` in front becomes the home folder"
    REPEAT = "a tuple that the command line takes by repeating the option; other tuples are comma-separated"
    FREE = "changes where, how fast and how long the work is done, not what comes out"
    BUILT = "built sources, or groups of them: one that is not built is refused before anything slow begins"
    CHECKPOINT = "a checkpoint, or `random:` and one: a path where nothing is is refused likewise"
    NEWEST = "where it is left out, the newest run is taken"
    RUN = "the folder of a run; refused likewise"
    ARGUMENT = "stands on the command line by its place, without an option's name"
    REQUIRED = "has no default: a call without it is refused"
    CLASSIFIER = "a classifier that probe or finetune saved: a path where none is is refused likewise"
    GRID = "spans the results of one folder: calls that differ in it add to the folder, each result kept apart"


PATH, REPEAT, FREE, BUILT, CHECKPOINT, NEWEST, RUN, ARGUMENT, REQUIRED, CLASSIFIER, GRID = Mark


@dataclass(frozen=True)
class Range:
    """The smallest and the largest value, both included, of a number or of each number of a tuple.

    Attributes:
        low: smallest value.
        high: largest value.
        why: reason of a bound that is not obvious.
        above: whether `low` itself is excluded.

    Example:
        >>> str(Range(0, 1)), Range(0, 1, above=True).holds(0)
        ('0 to 1', False)
    """

    low: float
    high: float = math.inf
    why: str = ""
    above: bool = False

    def holds(self, value: float) -> bool:
        """Whether a value lies in the range."""
        return self.low <= value <= self.high and abs(value) != math.inf and not (self.above and value == self.low)

    def __str__(self) -> str:
        low, is_open = f"above {self.low}" if self.above else str(self.low), self.high == math.inf
        text = (low if self.above else f"at least {low}") if is_open else f"{low} to {self.high}"
        return text + (f" ({self.why})" if self.why else "")


class OneOf:
    """The values that a text, or each text of a tuple, may have. The help lists them where it does not name them all.

    Args:
        choices: the values.
        joined: separator of several values in one text, each once; empty: a text is one value.

    Example:
        >>> OneOf("cls", "mean", joined="+").fault("cls+men")
        "did you mean 'mean'?"
    """

    def __init__(self, *choices: str, joined: str = "") -> None:
        self.choices, self.joined = choices, joined

    def fault(self, text: str) -> str:
        """A hint for a text that is not allowed; empty for one that is."""
        parts = text.split(self.joined) if self.joined else [text]
        for part in parts:
            if part not in self.choices:
                return nearest(part, self.choices)
        return "" if len(set(parts)) == len(parts) else "join each part once"


@dataclass(frozen=True)
class Like:
    """The form of a text.

    Attributes:
        pattern: regular expression of the whole text.
        expected: the same in words.
    """

    pattern: str
    expected: str


@dataclass(frozen=True)
class Items:
    """Number of values of a tuple; an empty tuple is not checked."""

    num: int


@dataclass(frozen=True)
class Setting:
    """One field of a config class.

    Attributes:
        key: the field's name.
        kind: the type of one value: str, int, float or bool.
        is_list: whether it is a tuple of them.
        is_optional: whether None is a value.
        help: help text, one line.
        default: default value.
        marks: further marks of its line.
    """

    key: str
    kind: type
    is_list: bool
    is_optional: bool
    help: str
    default: Any
    marks: tuple[object, ...]

    @property
    def name(self) -> str:
        """The name on the command line and in stored settings, without the dashes in front."""
        return self.key.replace("_", "-")

    def at(self, origin: str) -> str:
        """The place of a value of this setting, for errors; `origin` is the name of a layer, or empty."""
        return f"--{self.name}" if origin == COMMAND_LINE else self.name + (f" in {origin}" if origin else "")

    def empty(self, origin: str) -> InputError:
        """The error of an empty value, which a shell makes of an unset variable."""
        return InputError("empty setting", where=self.at(origin), hint="leave it out to take the default")

    def check(self, value: Any, origin: str = "") -> None:
        """Check a value of the right type against the marks.

        Raises:
            InputError: the value is empty or breaks a mark.
        """
        if value is None and self.is_optional:
            return
        items = value if self.is_list else (value,)
        if "" in items or (self.is_list and not items and self.default != ()):
            raise self.empty(origin)
        for mark in self.marks:
            if isinstance(mark, Items) and items and len(items) != mark.num:
                raise InputError("wrong number of values", where=self.at(origin), expected=mark.num, got=_typed(items))
            for item in items:
                if isinstance(mark, Range) and not mark.holds(item):
                    raise InputError("value out of range", where=self.at(origin), expected=mark, got=_typed(items))
                if isinstance(mark, OneOf) and (fault := mark.fault(item)):
                    raise InputError(f"no such {self.name}", where=_quoted(item, origin), hint=fault)
                if isinstance(mark, Like) and not re.fullmatch(mark.pattern, item):
                    raise InputError(f"no such {self.name}", where=_quoted(item, origin), expected=mark.expected)


def _typed(items: tuple[Any, ...]) -> str:
    return ",".join(map(str, items))[:60]


def _quoted(item: str, origin: str) -> str:
    return repr(item)[:80] + (f" in {origin}" if origin not in ("", COMMAND_LINE) else "")


def settings_of(config_class: type) -> tuple[Setting, ...]:
    """The fields of a config class: its own first, then those it shares with other commands.

    Example:
        >>> from sarjepa.config import ListConfig
        >>> [setting.name for setting in settings_of(ListConfig)]
        ['run-root', 'data-root', 'device', 'seed']
    """
    return _settings_of(config_class)  # mypy takes no dataclass as the argument of a cached function


@functools.cache
def _settings_of(config_class: type) -> tuple[Setting, ...]:
    hints = typing.get_type_hints(config_class, include_extras=True)
    home = {key: depth for depth, base in reversed(list(enumerate(config_class.__mro__))) for key in vars(base)}
    settings = []
    for field in sorted(fields(config_class), key=lambda field: home[field.name]):
        annotated, help_text, *marks = typing.get_args(hints[field.name])
        is_optional = isinstance(annotated, types.UnionType)
        kind = typing.get_args(annotated)[0] if is_optional else annotated
        is_list = typing.get_origin(kind) is tuple
        if is_list:
            kind = typing.get_args(kind)[0]
        for mark in marks:
            if isinstance(mark, OneOf) and not all(choice in help_text for choice in mark.choices):
                text, semicolon, default = help_text.partition("; default")
                help_text = f"{text}: {', '.join(mark.choices)}{semicolon}{default}"
        settings.append(Setting(field.name, kind, is_list, is_optional, help_text, field.default, tuple(marks)))
    return tuple(settings)
