"""Typer options made from the settings: type, help and default stand in `sarjepa.config`, and nowhere else.

Every option's own default is None, which means "not given"; what is given lies on top of the settings file, the preset
and the defaults.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from sarjepa.config import Common
from sarjepa.errors import InputError
from sarjepa.overlay import overlay, preset_names, read_preset, read_settings_file
from sarjepa.setting import ARGUMENT, COMMAND_LINE, REPEAT, Setting, settings_of

_COMMON = inspect.Signature(
    [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind, typer.Option(help=help_text)],
        )
        for name, kind, default, help_text in (
            ("config", Optional[str], None, "YAML file of settings"),  # noqa: UP045 - Typer reads it at run time
            ("preset", Optional[str], None, f"settings that belong together: {', '.join(preset_names())}"),  # noqa: UP045
            ("show_config", bool, False, "print the resolved settings and stop"),
            ("debug", bool, False, "show the traceback of an error"),
        )
    ]
)


def signature_for(config_class: type[Common]) -> inspect.Signature:
    """The keyword-only signature of a command: one option a setting, then those every command has."""
    parameters = [_parameter(setting) for setting in settings_of(config_class)]
    return inspect.Signature(parameters + list(_COMMON.parameters.values()))


def _parameter(setting: Setting) -> inspect.Parameter:
    # A comma-separated list is text here and is cut in `overlay`; a repeated option is a list.
    kind: Any = list[str] if REPEAT in setting.marks else (str if setting.is_list else setting.kind)
    default = setting.default
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    text = (
        setting.help if default is None or default is False or default == () else f"{setting.help} [default: {shown}]"
    )
    option = (typer.Argument if ARGUMENT in setting.marks else typer.Option)(
        help=text.replace("[", r"\["), show_default=False
    )
    return inspect.Parameter(
        setting.key,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Optional[kind], option],  # noqa: UP045
    )


def resolve(config_class: type[Common], given: dict[str, Any]) -> Common:
    """The config of a command line: defaults < preset < environment < settings file < options.

    Args:
        config_class: class of the command's settings.
        given: value of every option of `signature_for` by name; None (or an empty list) if it was not given.
    """
    command = config_class.command
    layers: list[tuple[str, dict[str, Any]]] = []
    if given["preset"] is not None:
        layers.append((f"preset {given['preset']}", read_preset(given["preset"], command)))
    if root := os.environ.get("SARJEPA_DATA"):
        layers.append(("SARJEPA_DATA", {"data_root": root}))
    if given["config"] is not None:
        if not given["config"]:
            raise InputError("empty setting", where="--config", hint="leave it out, or name a YAML file")
        layers.append((given["config"], read_settings_file(Path(given["config"]).expanduser(), command)))
    own = {setting.key for setting in settings_of(config_class)}
    layers.append((COMMAND_LINE, {k: v for k, v in given.items() if k in own and v is not None and v != []}))
    return overlay(config_class, layers)


def with_signature(function: Callable[..., None], config_class: type[Common]) -> Callable[..., None]:
    """The function, with the signature Typer is to see."""
    function.__signature__ = signature_for(config_class)  # type: ignore[attr-defined]
    function.__annotations__ = {
        name: parameter.annotation
        for name, parameter in function.__signature__.parameters.items()  # type: ignore[attr-defined]
    }
    return function
