"""Settings from several places, laid over one another: defaults < preset < SARJEPA_DATA < YAML file < command line.

Values are coerced by the field's type (PyYAML reads `1e-3` as text, a command line reads everything as text), `~` in
front of a path becomes the home folder, unknown keys stop with the nearest known one, and every error says which layer
it came from.

The way back is here too. No command keeps a history of what was typed; each keeps its resolved settings, from which a
command line is rebuilt (`command_line`), and against which a later call is held (`changes`): was this made with the
same settings? A setting that is younger than what is stored had its default's meaning then.
"""

from __future__ import annotations

import datetime
import importlib.resources
import math
import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sarjepa.config import COMMANDS, Common
from sarjepa.documents import parse_yaml
from sarjepa.errors import InputError, nearest
from sarjepa.setting import ARGUMENT, FREE, GRID, PATH, REPEAT, Setting, settings_of

Config = TypeVar("Config", bound=Common)
WIDTH = 100  # of a command line, before it is continued on the next
_KINDS = {str: "text", int: "a whole number", float: "a finite number", bool: "true or false"}


def overlay(config_class: type[Config], layers: list[tuple[str, Mapping[str, Any]]]) -> Config:
    """Build a config from layers, later ones on top; it remembers in `origins` which layer gave what.

    Args:
        config_class: class of the command's settings.
        layers: (where it comes from, {key: value}); keys with dashes or underscores.

    Raises:
        InputError: a key is unknown or stands twice in a layer, or a value is not of the field's type or range.
    """
    settings = {setting.key: setting for setting in settings_of(config_class)}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        given: dict[str, Any] = {}
        for written, value in layer.items():
            key = str(written).replace("-", "_")
            if key not in settings:
                known = [setting.name for setting in settings.values()]
                raise InputError("unknown setting", where=f"{written!r} in {origin}", hint=nearest(str(written), known))
            if key in given:
                raise InputError("the setting is given twice", where=f"{written!r} in {origin}")
            given[key] = _coerce(settings[key], value, origin)
            settings[key].check(given[key], origin)
        values |= given
        origins |= dict.fromkeys(given, origin)
    return config_class(**values, origins=origins)


def _coerce(setting: Setting, value: Any, origin: str) -> Any:
    """A value as the field's type; a name that is repeated in a list counts once."""
    if setting.is_optional and (value is None or (value == "none" and setting.kind is not str)):
        return None
    if value is None or (isinstance(value, str) and not value.strip(", ")):
        raise setting.empty(origin)
    if not setting.is_list:
        return _scalar(setting, value, origin)
    if isinstance(value, str) and REPEAT not in setting.marks:
        value = [item for item in value.split(",") if item.strip()]
    found = [_scalar(setting, item, origin) for item in (value if isinstance(value, list | tuple) else [value])]
    return tuple(dict.fromkeys(found) if setting.kind is str else found)


def _scalar(setting: Setting, value: Any, origin: str) -> Any:
    try:
        if isinstance(value, bool) != (setting.kind is bool):
            raise TypeError
        if not isinstance(value, str | int | float | datetime.date):  # PyYAML makes a date of a name like 2024-01-31
            raise TypeError
        found = setting.kind(value.strip() if isinstance(value, str) else value)
        if PATH in setting.marks:  # a shell does this on a command line, nobody in a file
            found = os.path.expanduser(found)  # noqa: PTH111 - an address is not a path
        if (
            (isinstance(value, float) and setting.kind is int and found != value)
            or (setting.kind is float and not math.isfinite(found))
            or (setting.kind is str and "\0" in found)
        ):
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            "wrong kind of value", where=setting.at(origin), expected=_KINDS[setting.kind], got=repr(value)[:60]
        ) from error
    return found


def preset_names() -> list[str]:
    """The presets that come with the package."""
    folder = importlib.resources.files("sarjepa.presets")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read_preset(name: str, command: str) -> dict[str, Any]:
    """A preset's settings for a command, empty where it has none.

    Raises:
        InputError: no such preset.
    """
    if name not in preset_names():
        raise InputError("no such preset", where=repr(name), hint=nearest(name, preset_names()))
    content = importlib.resources.files("sarjepa.presets").joinpath(f"{name}.yaml").read_bytes()
    return _section(content, f"preset {name}", command)


def read_settings_file(path: Path, command: str) -> dict[str, Any]:
    """The settings for a command in a YAML file: a flat file, or one section per command.

    Raises:
        InputError: the file is missing, cannot be read as YAML, or is not a mapping of settings.
    """
    if path.is_dir():
        raise InputError("a folder, not a settings file", where=path, hint="name the YAML file in it")
    if not path.is_file():
        raise InputError("no such settings file", where=path)
    return _section(path.read_bytes(), str(path), command)


def _section(text: bytes, origin: str, command: str) -> dict[str, Any]:
    """The settings for a command in the text of a YAML file."""
    content = _mapping(parse_yaml(text, origin), origin)
    sections = set(content) & set(COMMANDS)
    if not sections:
        return content
    if stray := sorted(str(key) for key in set(content) - sections):
        raise InputError("no such command", where=f"{stray[0]!r} in {origin}", hint=nearest(stray[0], COMMANDS))
    return _mapping(content.get(command), f"{command!r} in {origin}")


def _mapping(content: object, where: str) -> dict[str, Any]:
    """What YAML gave, as a mapping; nothing is an empty one."""
    if content is not None and not isinstance(content, dict):
        raise InputError("not a mapping of settings", where=where, got=type(content).__name__)
    return content or {}


def plain(value: object) -> object:
    """A value as YAML and JSON give it back."""
    return list(value) if isinstance(value, tuple) else value


def by_name(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Stored settings by their names on the command line (JSON files keep the field's underscores).

    Example:
        >>> by_name({"batch_size": 8})
        {'batch-size': 8}
    """
    return {key.replace("_", "-"): plain(value) for key, value in settings.items()}


def command_line(
    config_class: type[Common], settings: Mapping[str, Any], always: Iterable[str] = (), never: Iterable[str] = ()
) -> str:
    r"""The command that gives some settings, on as many lines as it needs, joined by ` \`; see `one_line`."""
    return _wrapped(_words(config_class, settings, always, never))


def one_line(
    config_class: type[Common], settings: Mapping[str, Any], always: Iterable[str] = (), never: Iterable[str] = ()
) -> str:
    """The command that gives some settings, on one line.

    Args:
        config_class: class of the command's settings.
        settings: stored settings; unknown ones are left out.
        always: settings to spell out even where they are the default.
        never: settings to leave out.
    """
    return " ".join(_words(config_class, settings, always, never))


def _words(
    config_class: type[Common], settings: Mapping[str, Any], always: Iterable[str], never: Iterable[str]
) -> list[str]:
    stored, words = by_name(settings), [f"sarjepa {config_class.command}"]
    for known in settings_of(config_class):
        default = plain(known.default)
        value = stored.get(known.name, default)
        if known.name not in never and (value != default or known.name in always):
            # An option that is repeated stands once per value.
            values = value if REPEAT in known.marks and isinstance(value, list) else [value]
            words += [
                shlex.join([shown(one)] if ARGUMENT in known.marks else option(known.name, one)) for one in values
            ]
    return words


def option(name: str, value: object) -> list[str]:
    """An option as the words of a command line, not yet quoted.

    Example:
        >>> option("radii", (5, 9))
        ['--radii', '5,9']
    """
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", shown(value)]


def shown(value: object) -> str:
    """A value as it is typed.

    Example:
        >>> shown((5, None, True))
        '5,none,true'
    """
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


def deciding(config: Common, of_grid: bool = False) -> dict[str, Any]:
    """The settings that decide what comes out, by their fields' names, as JSON holds them.

    Args:
        config: settings of a command.
        of_grid: leave out those that span the results of one folder, too.
    """
    free = {FREE, GRID} if of_grid else {FREE}
    found = {one.key: getattr(config, one.key) for one in settings_of(type(config)) if free.isdisjoint(one.marks)}
    return {key: plain(value) for key, value in found.items()}


@dataclass(frozen=True)
class Change:
    """A setting that decides what comes out, where it differs between what is stored and a call."""

    name: str
    before: object
    now: object

    def __str__(self) -> str:
        return f"{self.name} {shown(self.now)} instead of {shown(self.before)}"


def changes(config: Common, stored: Mapping[str, Any], of_grid: bool = False) -> list[Change]:
    """In which settings a call would make something else than what is stored; see `deciding`.

    Args:
        config: settings of the call.
        stored: the settings of what is there, as any command stores them.
        of_grid: compare only what all results of one folder share.
    """
    before, now = by_name(stored), by_name(deciding(config, of_grid))
    usual = {one.name: plain(one.default) for one in settings_of(type(config))}
    found = [Change(name, before.get(name, usual[name]), value) for name, value in now.items()]
    # Typed, nothing and "none" are one word.
    return [one for one in found if one.before != one.now and shown(one.before) != shown(one.now)]


def refuse_changes(config: Common, stored: Mapping[str, Any], where: object, hint: str, of_grid: bool = False) -> None:
    """Refuse to go on with what was made with other settings; arguments as of `changes`.

    Raises:
        InputError: settings differ; the error states each with both of its values, and the hint.
    """
    if found := changes(config, stored, of_grid):
        raise InputError(
            f"what is there was made by {config.command} with other settings",
            where=where,
            expected=", ".join(f"{one.name} {shown(one.before)}" for one in found),
            got=", ".join(f"{one.name} {shown(one.now)}" for one in found),
            hint=hint,
        )
