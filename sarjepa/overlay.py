"""Settings from several places, in layers: defaults < preset < SARJEPA_DATA < YAML file < command line.

Values are coerced to the field's type (PyYAML reads `1e-3` as text, a command line reads everything as text), `~` in
front of a path becomes the home folder, an unknown key is refused with the nearest known one, and every error names its
layer.

The way back is here too. A command stores its resolved settings, not what was typed. A command line is rebuilt from
them (`command_line`), and a later call is compared with them (`changes`). Where a stored file lacks a newer setting,
the setting had its default.
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
WIDTH = 100  # characters of a command line before it continues on the next
_KINDS = {str: "text", int: "a whole number", float: "a finite number", bool: "true or false"}


def overlay(config_class: type[Config], layers: list[tuple[str, Mapping[str, Any]]]) -> Config:
    """Build a config from layers, later ones on top; its `origins` state the layer of each setting.

    Args:
        config_class: class of the command's settings.
        layers: (name of the layer, {key: value}); keys with dashes or underscores.

    Raises:
        InputError: a key is unknown or stands twice in a layer, or a value is not of the field's type or range.

    Example:
        >>> from sarjepa.config import PretrainConfig
        >>> layers = [("preset demo", {"epochs": 60, "radii": [2, 4]}), ("the command line", {"epochs": "3"})]
        >>> config = overlay(PretrainConfig, layers)
        >>> config.epochs, config.radii, config.is_typed("epochs"), config.is_of_preset("radii")
        (3, (2, 4), True, True)
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
    """A value as the setting's type; a text that is repeated in a list counts once."""
    if setting.is_optional and (value is None or (value == "none" and setting.kind is not str)):
        return None
    if value is None or (isinstance(value, str) and not value.strip(", ")):
        raise setting.empty(origin)
    if not setting.is_list:
        return _scalar(setting, value, origin)
    if isinstance(value, str) and REPEAT not in setting.marks:
        value = [item for item in value.split(",") if item.strip()]
    items = [_scalar(setting, item, origin) for item in (value if isinstance(value, list | tuple) else [value])]
    return tuple(dict.fromkeys(items) if setting.kind is str else items)


def _scalar(setting: Setting, value: Any, origin: str) -> Any:
    try:
        if isinstance(value, bool) != (setting.kind is bool):
            raise TypeError
        if not isinstance(value, str | int | float | datetime.date):  # PyYAML makes a date of a name like 2024-01-31
            raise TypeError
        scalar = setting.kind(value.strip() if isinstance(value, str) else value)
        if PATH in setting.marks:  # a shell does this on a command line, but not in a file
            scalar = os.path.expanduser(scalar)  # noqa: PTH111 - an address is not a path
        if (
            (isinstance(value, float) and setting.kind is int and scalar != value)
            or (setting.kind is float and not math.isfinite(scalar))
            or (setting.kind is str and "\0" in scalar)
        ):
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            "wrong kind of value", where=setting.at(origin), expected=_KINDS[setting.kind], got=repr(value)[:60]
        ) from error
    return scalar


def preset_names() -> list[str]:
    """The presets that come with the package.

    Example:
        >>> preset_names()[:3]
        ['demo', 'demo-views', 'laptop']
    """
    folder = importlib.resources.files("sarjepa.presets")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read_preset(name: str, command: str) -> dict[str, Any]:
    """A preset's settings for a command; empty if it has none.

    Raises:
        InputError: no such preset.

    Example:
        >>> read_preset("laptop", "pretrain")["model"], read_preset("laptop", "probe")
        ('vit-laptop', {'crop': 'mstar=64,saracd=none'})
    """
    if name not in preset_names():
        raise InputError("no such preset", where=repr(name), hint=nearest(name, preset_names()))
    content = importlib.resources.files("sarjepa.presets").joinpath(f"{name}.yaml").read_bytes()
    return _section(content, f"preset {name}", command)


def read_settings_file(path: Path, command: str) -> dict[str, Any]:
    """The settings for a command in a YAML file: a flat file, or one section per command.

    Raises:
        InputError: the file is missing, cannot be read as YAML, or is not a mapping of settings.

    Example:
        >>> _ = Path("both.yaml").write_text("{pretrain: {epochs: 5}, probe: {shots: [5, 10]}}")
        >>> read_settings_file(Path("both.yaml"), "probe")
        {'shots': [5, 10]}
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
    """The content of a YAML text as a mapping, which is empty for an empty text."""
    if content is not None and not isinstance(content, dict):
        raise InputError("not a mapping of settings", where=where, got=type(content).__name__)
    return content or {}


def plain(value: object) -> object:
    """A value as YAML and JSON give it back.

    Example:
        >>> plain((5, 9))
        [5, 9]
    """
    return list(value) if isinstance(value, tuple) else value


def by_name(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Stored settings by their names on the command line (JSON files have the fields' underscores).

    Example:
        >>> by_name({"batch_size": 8})
        {'batch-size': 8}
    """
    return {key.replace("_", "-"): plain(value) for key, value in settings.items()}


def command_line(
    config_class: type[Common], settings: Mapping[str, Any], always: Iterable[str] = (), never: Iterable[str] = ()
) -> str:
    r"""The command that gives some settings, on as many lines as it needs, joined by ` \`; see `one_line`.

    Example:
        >>> from sarjepa.config import PretrainConfig
        >>> settings = {"sources": ["mstar", "saracd"], "radii": [2, 4, 6, 8], "model": "vit-laptop", "epochs": 24}
        >>> print(command_line(PretrainConfig, settings, always=["image-size", "seed"]))
        sarjepa pretrain --sources mstar,saracd --radii 2,4,6,8 --model vit-laptop --image-size 224 \
          --epochs 24 --seed 0
    """
    first, *words = _words(config_class, settings, always, never)
    lines = [first]
    for word in words:
        if len(lines[-1]) + len(word) > WIDTH:
            lines.append(" ")
        lines[-1] += f" {word}"
    return " \\\n".join(lines)


def one_line(
    config_class: type[Common], settings: Mapping[str, Any], always: Iterable[str] = (), never: Iterable[str] = ()
) -> str:
    """The command that gives some settings, on one line.

    Args:
        config_class: class of the command's settings.
        settings: stored settings; unknown ones are left out.
        always: names of settings to write out even where they are the default.
        never: names of settings to leave out.

    Example:
        >>> from sarjepa.config import ProbeConfig
        >>> one_line(ProbeConfig, {"shots": 5, "seed": 1}, always=("dataset",), never=("seed",))
        'sarjepa probe --dataset mstar --shots 5'
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
            words += [shlex.join(option) for option in options(known, value)]
    return words


def options(setting: Setting, value: object) -> list[list[str]]:
    """The options that give a setting a value, each as its words, not yet quoted: one, or one per value if it repeats.

    Example:
        >>> from sarjepa.config import FewshotBenchConfig
        >>> known = {setting.name: setting for setting in settings_of(FewshotBenchConfig)}
        >>> options(known["shots"], (5, 10)), options(known["augment"], ("none", "mirror"))
        ([['--shots', '5,10']], [['--augment', 'none'], ['--augment', 'mirror']])
    """
    if isinstance(value, bool):
        return [[f"--{setting.name}" if value else f"--no-{setting.name}"]]
    values = value if REPEAT in setting.marks and isinstance(value, list | tuple) else [value]
    return [[shown(item)] if ARGUMENT in setting.marks else [f"--{setting.name}", shown(item)] for item in values]


def shown(value: object) -> str:
    """A value as it is typed.

    Example:
        >>> shown((5, None, True))
        '5,none,true'
    """
    if isinstance(value, list | tuple):
        return ",".join(map(shown, value))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def deciding(config: Common, of_grid: bool = False) -> dict[str, Any]:
    """The settings that decide the results, by their fields' names, as JSON holds them.

    Args:
        config: settings of a command.
        of_grid: whether to leave out settings in which the results of one folder may differ, too.

    Example:
        >>> from sarjepa.config import ExportConfig
        >>> config = ExportConfig(format="onnx", out="encoder.onnx", device="cpu")  # where and how fast do not count
        >>> deciding(config)
        {'run': None, 'format': 'onnx', 'seed': 0}
    """
    free = {FREE, GRID} if of_grid else {FREE}
    keys = [setting.key for setting in settings_of(type(config)) if free.isdisjoint(setting.marks)]
    return {key: plain(getattr(config, key)) for key in keys}


@dataclass(frozen=True)
class Change:
    """A setting that decides the results and differs between stored settings and a call."""

    name: str
    before: object
    now: object

    def __str__(self) -> str:
        return f"{self.name} {shown(self.now)} instead of {shown(self.before)}"


def changes(config: Common, stored: Mapping[str, Any], of_grid: bool = False) -> list[Change]:
    """The settings that decide the results (see `deciding`) and differ between stored settings and a call.

    Args:
        config: settings of the call.
        stored: settings as a command stored them.
        of_grid: whether to compare only the settings that all results of one folder share.

    Example:
        >>> from sarjepa.config import PretrainConfig
        >>> [str(change) for change in changes(PretrainConfig(radii=(5, 9)), {"radii": [5, 7], "device": "cuda"})]
        ['radii 5,9 instead of 5,7']
    """
    before, now = by_name(stored), by_name(deciding(config, of_grid))
    defaults = {setting.name: plain(setting.default) for setting in settings_of(type(config))}
    pairs = [Change(name, before.get(name, defaults[name]), value) for name, value in now.items()]
    # None and the text "none" are typed alike, and are the same here.
    return [change for change in pairs if change.before != change.now and shown(change.before) != shown(change.now)]


def refuse_changes(config: Common, stored: Mapping[str, Any], where: object, hint: str, of_grid: bool = False) -> None:
    """Refuse to add to files that were made with other settings; arguments as of `changes`.

    Raises:
        InputError: settings differ; the error states each with both of its values, and the hint.

    Example:
        >>> from sarjepa.config import ProbeConfig
        >>> refuse_changes(ProbeConfig(seed=1), {}, "out", "choose another")  # doctest: +NORMALIZE_WHITESPACE
        Traceback (most recent call last):
        sarjepa.errors.InputError: what is there was made by probe with other settings: out;
            expected seed 0; got seed 1; choose another
    """
    if changed := changes(config, stored, of_grid):
        raise InputError(
            f"what is there was made by {config.command} with other settings",
            where=where,
            expected=", ".join(f"{change.name} {shown(change.before)}" for change in changed),
            got=", ".join(f"{change.name} {shown(change.now)}" for change in changed),
            hint=hint,
        )
