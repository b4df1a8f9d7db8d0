"""Settings from several places, laid over one another: defaults < preset < YAML file < command line.

Values are coerced by the field's type (PyYAML reads `1e-3` as text, a command line reads everything as text), unknown
keys stop with the nearest known one, and every error says which layer it came from.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from sarjepa.config import COMMANDS, Common, Repeat
from sarjepa.errors import InputError, nearest

Config = TypeVar("Config", bound=Common)


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
        InputError: an unknown key, or a value that is not of the field's type or range.
    """
    settings = {setting.key: setting for setting in settings_of(config_class)}
    values: dict[str, Any] = {}
    for origin, layer in layers:
        for written, value in layer.items():
            key = str(written).replace("-", "_")
            if key not in settings:
                known = [name.replace("_", "-") for name in settings]
                raise InputError("unknown setting", where=f"{written!r} in {origin}", hint=nearest(str(written), known))
            values[key] = _coerce(settings[key], value, origin)
    return config_class(**values)


def _coerce(setting: Setting, value: Any, origin: str) -> Any:
    """A value as the field's type."""
    if value is None or (value == "none" and setting.is_optional and setting.kind is not str):
        if setting.is_optional:
            return None
        raise InputError("empty setting", where=f"{setting.key.replace('_', '-')} in {origin}")
    if setting.is_list:
        items = value.split(",") if isinstance(value, str) and not setting.repeats else value
        items = [items] if isinstance(items, str | int | float) else items
        return tuple(_scalar(setting, item, origin) for item in items if item != "")
    return _scalar(setting, value, origin)


def _scalar(setting: Setting, value: Any, origin: str) -> Any:
    where = f"{setting.key.replace('_', '-')} in {origin}"
    if isinstance(value, list | dict) or (isinstance(value, bool) and setting.kind is not bool):
        raise InputError("wrong kind of value", where=where, expected=setting.kind.__name__, got=value)
    if setting.kind is bool:
        if isinstance(value, bool):
            return value
        raise InputError("wrong kind of value", where=where, expected="true or false", got=repr(value))
    try:
        if setting.kind is int and isinstance(value, float) and value != int(value):
            raise ValueError
        return setting.kind(value.strip() if isinstance(value, str) else value)
    except (TypeError, ValueError) as error:
        kind = {int: "a whole number", float: "a number"}.get(setting.kind, setting.kind.__name__)
        raise InputError("wrong kind of value", where=where, expected=kind, got=repr(value)) from error


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
    text = importlib.resources.files("sarjepa.presets").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return _section(text, f"preset {name}", command)


def read_settings_file(path: Path, command: str) -> dict[str, Any]:
    """The settings for a command in a YAML file: a flat file, or one section a command.

    Raises:
        InputError: the file is missing, is no YAML, or is not a mapping.
    """
    if not path.is_file():
        raise InputError("no such settings file", where=path)
    return _section(path.read_text(encoding="utf-8"), str(path), command)


def _section(text: str, origin: str, command: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise InputError("not readable as YAML", where=origin, got=str(error).replace("\n", " ")) from error
    if not isinstance(content, dict):
        raise InputError("not a mapping of settings", where=origin, got=type(content).__name__)
    sections = set(content) & set(COMMANDS)
    if not sections:
        return content
    if stray := sorted(set(content) - sections):
        raise InputError("no such command", where=f"{stray[0]!r} in {origin}", hint=nearest(str(stray[0]), COMMANDS))
    return content.get(command) or {}
