"""Refuse in well under a second, before torch is imported, what a call names and is not there.

The recipes check again when they open their inputs; this module only makes the error early. It reads the marks of the
settings (`sarjepa.setting`), and imports nothing that imports torch.
"""

from __future__ import annotations

from pathlib import Path

from sarjepa.config import BASELINES, Common
from sarjepa.data.built import built_folder, expand_built
from sarjepa.errors import InputError
from sarjepa.models.addresses import checkpoint_file, is_address, is_classifier, newest_run, no_classifier, run_folder
from sarjepa.setting import (
    ARGUMENT,
    BUILT,
    CHECKPOINT,
    CLASSIFIER,
    FREE,
    NEWEST,
    PATH,
    REQUIRED,
    RUN,
    Setting,
    settings_of,
)


def check_inputs(config: Common) -> None:
    """Check that the data sets, runs and checkpoints of the settings exist, and that outputs do not lie in a file.

    Raises:
        InputError: a required setting is missing, a data set is not built, there is no run, checkpoint or classifier
            of a name, or a file stands in place of a folder.

    Example:
        >>> from sarjepa.config import ProbeConfig
        >>> check_inputs(ProbeConfig(checkpoint="runs/toy", dataset="toy"))
        >>> check_inputs(ProbeConfig(checkpoint="runs/toy", dataset="toy", out="data/shards/toy/index.json/probe"))
        Traceback (most recent call last):
        sarjepa.errors.InputError: a file stands in place of a folder: data/shards/toy/index.json; give another path
    """
    settings = settings_of(type(config))
    for setting in settings:
        if REQUIRED in setting.marks and getattr(config, setting.key) is None:
            word = setting.key.upper() if ARGUMENT in setting.marks else f"--{setting.name} {setting.key.upper()}"
            raise InputError("something has to be named", where=config.command, expected=f"{word}: {setting.help}")
    for setting in settings:
        if {PATH, FREE} <= set(setting.marks):
            for name in _names(config, setting):
                there = next((parent for parent in Path(name).parents if parent.exists()), Path())
                if not there.is_dir():
                    raise InputError("a file stands in place of a folder", where=there, hint="give another path")
        if BUILT in setting.marks:
            for source in expand_built(_names(config, setting)):
                built_folder(config.data_root, source)
    for setting in settings:
        if CLASSIFIER in setting.marks:
            for path in _names(config, setting):
                if not is_classifier(path):
                    raise no_classifier(path)
        if RUN in setting.marks:
            for folder in _names(config, setting):
                run_folder(folder)
        if CHECKPOINT in setting.marks and not getattr(config, "resume", False):  # a resumed run has read it
            for name in _names(config, setting) or ((newest_run(),) if NEWEST in setting.marks else ()):
                path = name.removeprefix("random:")
                if not (path in BASELINES or is_address(path) or is_classifier(path)):
                    checkpoint_file(path)


def _names(config: Common, setting: Setting) -> tuple[str, ...]:
    value = getattr(config, setting.key)
    return value if setting.is_list else () if value is None else (value,)
