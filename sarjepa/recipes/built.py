"""Opening what earlier commands made: built sources and finished runs."""

from __future__ import annotations

from pathlib import Path

from sarjepa.data.shards import Shards, open_shards
from sarjepa.errors import InputError


def shards_folder(data_root: str, source: str) -> Path:
    """Where a source's shards are."""
    return Path(data_root) / "shards" / source


def open_source(data_root: str, source: str) -> Shards:
    """A built source.

    Raises:
        InputError: it was not built; names the command that builds it.
    """
    folder = shards_folder(data_root, source)
    if not (folder / "index.json").is_file():
        root = "" if data_root == "data" else f" --data-root {data_root}"
        raise InputError(
            "the data set is not built",
            where=folder,
            hint=f"run sarjepa build-dataset --sources {source}{root} first",
        )
    return open_shards(folder)
