"""Opening what earlier commands made: built sources and finished runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from sarjepa.data.manifest_parser import GROUPS, source_names
from sarjepa.data.shards import Shards, open_shards
from sarjepa.errors import InputError, nearest
from sarjepa.models.checkpoints import RUN_FILES

SETTINGS = "settings.yaml"


def shards_folder(data_root: str, source: str) -> Path:
    """Where a source's shards are."""
    return Path(data_root) / "shards" / source


def built_datasets(data_root: str) -> list[str]:
    """The names of the sources built under a data root, sorted."""
    return sorted(path.parent.name for path in Path(data_root).glob("shards/*/index.json"))


def source_name(name: str) -> str:
    """What a source is called: itself, or the last folder of folder:PATH."""
    return Path(name.removeprefix("folder:")).expanduser().resolve().name if name.startswith("folder:") else name


def expand_built(names: Iterable[str]) -> tuple[str, ...]:
    """The sources that `--sources` names, each once: a group's members, and folder:PATH by its folder's name."""
    return tuple(dict.fromkeys(source_name(member) for name in names for member in GROUPS.get(name, (name,))))


def open_source(data_root: str, source: str) -> Shards:
    """A built source.

    Raises:
        InputError: it was not built; names the command that builds it, and the nearest name of one that is.
    """
    folder = shards_folder(data_root, source)
    if not (folder / "index.json").is_file():
        root = "" if data_root == "data" else f" --data-root {data_root}"
        is_public, there = source in source_names(), built_datasets(data_root)
        wanted = source if is_public else f"folder:PATH/{source}"
        hint = f"run sarjepa build-dataset --sources {wanted}{root} first"
        if not is_public and there:
            hint = f"{nearest(source, there)}, or {hint}"
        raise InputError("the data set is not built", where=folder, hint=hint)
    return open_shards(folder)


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings that a command stored in a folder, by their names on the command line.

    Raises:
        InputError: the folder holds no settings, or they cannot be read.
    """
    file = folder / SETTINGS
    if not file.is_file():
        raise InputError("no settings are stored in the folder", where=folder, expected=SETTINGS)
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError("not readable as YAML", where=file, got=error) from error
    if not isinstance(settings, dict):
        raise InputError("not a mapping of settings", where=file, got=type(settings).__name__)
    return {str(key): value for key, value in settings.items()}


def newest_run(folder: str = "runs") -> str:
    """The run folder whose checkpoint is newest.

    Raises:
        InputError: no run has a checkpoint.
    """
    files = [file for name in RUN_FILES for file in Path(folder).glob(f"*/{name}")]
    if not files:
        raise InputError("no run to evaluate", where=folder, hint="give --checkpoint, or run sarjepa pretrain first")
    return str(max(files, key=lambda file: (file.stat().st_mtime, str(file))).parent)
