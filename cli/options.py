"""Typer options made from the settings: type, help and default are in `sarjepa.config`, and nowhere else.

Every option's own default is None, which means "not given". A given option overrides the settings file, the preset and
the defaults.
"""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from sarjepa.config import Common
from sarjepa.errors import InputError
from sarjepa.overlay import overlay, preset_names, read_preset, read_settings_file
from sarjepa.setting import ARGUMENT, COMMAND_LINE, REPEAT, Setting, settings_of

# The groups of a command's help, with the options of each in the order in which people need them.
PANELS = {
    "Data": "folder run to sources archives experiment dataset datasets test_dataset images shots name split_by "
    "label_pattern bands chip_size overlap normalisation normalise_per splits fraction label_set split_policy crop "
    "centre_crop num_images num_points distribution chips_per_class near_duplicates max_rejected disturb draws "
    "data_root",
    "Model": "checkpoint classifier model init image_size patch_size pool blocks anchor imagenet baselines patch "
    "renormalise",
    "Method": "method recipe protocols solver target radii augment copies view_augment temperature view_weight "
    "mask_ratio num_windows window_size crop_scale contrast flip low_pass_radius normalise_patches "
    "power_weight predictor_width predictor_depth predictor_heads anchor_weight paired_share head",
    "Training": "epochs batch_size lr runs steps head_lr warmup_epochs weight_decay layer_decay label_smoothing "
    "dropout precision resume max_steps max_hours accumulate recompute compile shard clip_grad ema curve scale seeds "
    "jobs launch workers device seed",
    "Output": "out run_dir format results compare chips save_every keep_every picture_every probe_every probe_dataset "
    "probe_crop run_root force dry_run verify check_leaks print step",
    "Settings": "preset config show_config debug",
}
_ORDER = {key: (panel, place) for panel, keys in PANELS.items() for place, key in enumerate(keys.split())}
# On a narrow terminal a table of options would cut off names, so the help is plain text.
IS_WIDE = shutil.get_terminal_size().columns >= 70


def _option(key: str, kind: Any, text: str, declare: Any = typer.Option) -> inspect.Parameter:
    """One option of a command, None if it is not given."""
    escaped = text.replace("[", r"\[") if IS_WIDE else text
    # A flag takes no value, so its help shows no type.
    option = declare(help=escaped, show_default=False, metavar=" " if kind is bool else None,
                     rich_help_panel=_ORDER[key][0])  # fmt: skip
    annotation = Annotated[Optional[kind], option]  # noqa: UP045 - Typer reads it at run time
    return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


_COMMON = (
    _option("config", str, "YAML file of settings"),
    _option("preset", str, f"settings that belong together: {', '.join(preset_names())}"),
    _option("show_config", bool, "print the resolved settings and stop"),
    _option("debug", bool, "show the traceback of an error"),
)


def signature_for(config_class: type[Common]) -> inspect.Signature:
    """The keyword-only signature of a command: an option per setting, and those of every command, group by group."""
    panels = list(PANELS)
    parameters = [*map(_parameter, settings_of(config_class)), *_COMMON]
    return inspect.Signature(sorted(parameters, key=lambda p: (panels.index(_ORDER[p.name][0]), _ORDER[p.name][1])))


def _parameter(setting: Setting) -> inspect.Parameter:
    # A comma-separated list is a text here, which `overlay` splits; a repeated option is a list.
    kind: Any = list[str] if REPEAT in setting.marks else (str if setting.is_list else setting.kind)
    default = setting.default
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    text = (
        setting.help if default is None or default is False or default == () else f"{setting.help} [default: {shown}]"
    )
    return _option(setting.key, kind, text, typer.Argument if ARGUMENT in setting.marks else typer.Option)


def resolve(config_class: type[Common], given: dict[str, Any]) -> Common:
    """The config of a command line: defaults < preset < environment < settings file < options.

    Args:
        config_class: class of the command's settings.
        given: value of every option of `signature_for` by name; None (or an empty list) for an option not given.
    """
    command = config_class.command
    layers: list[tuple[str, Mapping[str, Any]]] = []
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
    """The function, with the signature that Typer reads."""
    function.__signature__ = signature_for(config_class)  # type: ignore[attr-defined]
    function.__annotations__ = {
        name: parameter.annotation
        for name, parameter in function.__signature__.parameters.items()  # type: ignore[attr-defined]
    }
    return function
