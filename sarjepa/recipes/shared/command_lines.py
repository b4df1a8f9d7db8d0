"""From stored settings back to the command that gives them.

No command keeps a history of what was typed; each keeps its resolved settings. A command line is rebuilt from those
that differ from the defaults: it may be longer than the one that was typed (a preset or a settings file is spelt out),
and it makes the same thing.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from sarjepa.config import Common
from sarjepa.setting import REPEAT, settings_of

WIDTH = 100  # of a line, before it is continued on the next


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
    for known in settings_of(config_class):
        default = plain(known.default)
        value = stored.get(known.name, default)
        if known.name not in never and (value != default or known.name in always):
            # An option that is repeated stands once per value.
            values = value if REPEAT in known.marks and isinstance(value, list) else [value]
            words += [shlex.join(option(known.name, one)) for one in values]
    return _wrapped(words)


def option(name: str, value: object) -> list[str]:
    """An option as the words of a command line, not yet quoted."""
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", shown(value)]


def shown(value: object) -> str:
    """A value as it is typed."""
    if isinstance(value, list | tuple):
        return ",".join(map(shown, value))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _wrapped(words: list[str]) -> str:
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) > WIDTH:
            lines.append(" ")
        lines[-1] += f" {word}"
    return " \\\n".join(lines)
