"""Settings from several places, laid over one another: defaults < preset < SARJEPA_DATA < YAML file < command line.

Values are coerced by the field's type (PyYAML reads `1e-3` as text, a command line reads everything as text), `~` in
front of a path becomes the home folder, unknown keys stop with the nearest known one, and every error says which layer
it came from.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.resources
import math
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sarjepa.config import COMMANDS, Common, Repeat
from sarjepa.documents import parse_yaml
from sarjepa.errors import InputError, nearest

Config = TypeVar("Config", bound=Common)
PATHS = {"data_root", "run_dir", "run_root", "out", "run", "results", "checkpoint", "init", "imagenet", "archives",
          "images", "draws"}  # fmt: skip
_KINDS = {str: "text", int: "a whole number", float: "a finite number", bool: "true or false"}


@dataclass(frozen=True)
class Setting:
    """One field of a config class, as the command line and the YAML reader need it.

    Attributes:
        key: the field's name.
        kind: the type of one value: str, int, float or bool.
        is_list: whether it is a tuple of them.
        is_optional: whether None is a value.
        repeats: given by repeating the option instead of commas.
        help: one line.
        default: as in the class.
    """

    key: str
    kind: type
    is_list: bool
    is_optional: bool
    repeats: bool
    help: str
    default: Any

    @property
    def name(self) -> str:
        """As on the command line and in stored settings, without the dashes in front."""
        return self.key.replace("_", "-")


def settings_of(config_class: type[Common]) -> list[Setting]:
    """The fields of a config class: its own first, then those it shares with other commands."""
    hints = typing.get_type_hints(config_class, include_extras=True)
    home = {key: depth for depth, base in reversed(list(enumerate(config_class.__mro__))) for key in vars(base)}
    found = []
    for field in sorted(dataclasses.fields(config_class), key=lambda field: home[field.name]):
        annotated, help_text, *marks = typing.get_args(hints[field.name])
        is_optional = isinstance(annotated, types.UnionType)
        kind = typing.get_args(annotated)[0] if is_optional else annotated
        is_list = typing.get_origin(kind) is tuple
        if is_list:
            kind = typing.get_args(kind)[0]
        repeats = any(isinstance(mark, Repeat) for mark in marks)
        found.append(Setting(field.name, kind, is_list, is_optional, repeats, help_text, field.default))
    return found


def overlay(config_class: type[Config], layers: list[tuple[str, Mapping[str, Any]]]) -> Config:
    """Build a config from layers, later ones on top.

    Args:
        config_class: of the command.
        layers: (where it comes from, {key: value}); keys with dashes or underscores.

    Raises:
        InputError: a key is unknown or stands twice in a layer, or a value is not of the field's type or range.
    """
    settings = {setting.key: setting for setting in settings_of(config_class)}
    values: dict[str, Any] = {}
    for origin, layer in layers:
        found: dict[str, Any] = {}
        for written, value in layer.items():
            key = str(written).replace("-", "_")
            if key not in settings:
                known = [name.replace("_", "-") for name in settings]
                raise InputError("unknown setting", where=f"{written!r} in {origin}", hint=nearest(str(written), known))
            if key in found:
                raise InputError("the setting is given twice", where=f"{written!r} in {origin}")
            found[key] = _coerce(settings[key], value, origin)
        values |= found
    return config_class(**values)


def _coerce(setting: Setting, value: Any, origin: str) -> Any:
    """A value as the field's type; a name that is repeated in a list counts once."""
    empty = InputError("empty setting", where=f"{setting.name} in {origin}")
    if value is None or (value == "none" and setting.is_optional and setting.kind is not str):
        if setting.is_optional:
            return None
        raise empty
    if setting.is_list:
        items = value.split(",") if isinstance(value, str) and not setting.repeats else value
        items = items if isinstance(items, list | tuple) else [items]
        found = [_scalar(setting, item, origin) for item in items if str(item).strip()]
        if not found and setting.default:
            raise empty
        return tuple(dict.fromkeys(found) if setting.kind is str else found)
    return _scalar(setting, value, origin)


def _scalar(setting: Setting, value: Any, origin: str) -> Any:
    where = f"{setting.name} in {origin}"
    try:
        if isinstance(value, bool) != (setting.kind is bool):
            raise TypeError
        if not isinstance(value, str | int | float | datetime.date):  # PyYAML makes a date of a name like 2024-01-31
            raise TypeError
        found = setting.kind(value.strip() if isinstance(value, str) else value)
        if setting.key in PATHS:  # a shell does this on a command line, nobody in a file
            found = os.path.expanduser(found)  # noqa: PTH111 - an address is not a path
        if (isinstance(value, float) and setting.kind is int and found != value) or (
            setting.kind is float and not math.isfinite(found)
        ):
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            "wrong kind of value", where=where, expected=_KINDS[setting.kind], got=repr(value)[:60]
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
    if not path.is_file():
        got = "a folder" if path.is_dir() else None
        raise InputError("no such settings file", where=path, got=got)
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
