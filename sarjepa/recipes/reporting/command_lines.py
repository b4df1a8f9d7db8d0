"""From stored settings back to the command that gives them.

No command keeps a history of what was typed; each keeps its resolved settings. A command line is rebuilt from those
that differ from the defaults: it may be longer than the one that was typed (a preset or a settings file is spelt out),
and it makes the same thing.
"""

from __future__ import annotations

import dataclasses
import shlex
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sarjepa.config import Common, Repeat

WIDTH = 100  # of a line, before it is continued on the next


@dataclass(frozen=True)
class KnownSetting:
    """A field of a config class: its name on the command line, help and default; `repeats`: given several times."""

    name: str
    help: str
    default: object
    repeats: bool


def known_settings(config_class: type[Common]) -> list[KnownSetting]:
    """The settings of a command, in the order of its class, those of every command last."""
    hints = typing.get_type_hints(config_class, include_extras=True)
    shared = {field.name for field in dataclasses.fields(Common)}
    found = []
    for field in sorted(dataclasses.fields(config_class), key=lambda field: field.name in shared):
        _, help_text, *marks = typing.get_args(hints[field.name])
        repeats = any(isinstance(mark, Repeat) for mark in marks)
        found.append(KnownSetting(field.name.replace("_", "-"), help_text, plain(field.default), repeats))
    return found


def plain(value: object) -> object:
    """A value as YAML and JSON give it back."""
    return list(value) if isinstance(value, tuple) else value


def by_name(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Stored settings by their names on the command line (JSON files keep the field's underscores)."""
    return {key.replace("_", "-"): plain(value) for key, value in settings.items()}


def command_line(
    config_class: type[Common], settings: Mapping[str, Any], always: Iterable[str] = (), never: Iterable[str] = ()
) -> str:
    r"""The command that gives some settings, on as many lines as it needs, joined by ` \`.

    Args:
        config_class: of the command.
        settings: as stored; what the class does not know is left out.
        always: settings to spell out even where they are the default.
        never: settings to leave out.
    """
    stored, words = by_name(settings), [f"sarjepa {config_class.command}"]
    for known in known_settings(config_class):
        value = stored.get(known.name, known.default)
        if known.name not in never and (value != known.default or known.name in always):
            words += _option(known, value)
    return _wrapped(words)


def _option(known: KnownSetting, value: Any) -> list[str]:
    """An option as typed: none where nothing was given, several where it is repeated."""
    if isinstance(value, bool):
        return [f"--{known.name}" if value else f"--no-{known.name}"]
    values = value if known.repeats and isinstance(value, list) else [value]
    return [f"--{known.name} {shlex.quote(shown(one))}" for one in values]


def shown(value: object) -> str:
    """A value as it is typed."""
    if isinstance(value, list):
        return ",".join(map(shown, value))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _wrapped(words: list[str]) -> str:
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) > WIDTH:
            lines.append(" ")
        lines[-1] += f" {word}"
    return " \\\n".join(lines)
