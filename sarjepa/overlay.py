"""Settings from several places, laid over one another: defaults < preset < SARJEPA_DATA < YAML file < command line.

Values are coerced by the field's type (PyYAML reads `1e-3` as text, a command line reads everything as text), `~` in
front of a path becomes the home folder, unknown keys stop with the nearest known one, and every error says which layer
it came from.
"""

from __future__ import annotations

import datetime
import importlib.resources
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from sarjepa.config import COMMANDS, Common
from sarjepa.documents import parse_yaml
from sarjepa.errors import InputError, nearest
from sarjepa.setting import PATH, REPEAT, Setting, settings_of

Config = TypeVar("Config", bound=Common)
_KINDS = {str: "text", int: "a whole number", float: "a finite number", bool: "true or false"}


def overlay(config_class: type[Config], layers: list[tuple[str, Mapping[str, Any]]]) -> Config:
    """Build a config from layers, later ones on top; it remembers in `origins` which layer gave what.

    Args:
        config_class: of the command.
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
        if (isinstance(value, float) and setting.kind is int and found != value) or (
            setting.kind is float and not math.isfinite(found)
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
