"""Read the settings that a command stored beside its results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sarjepa.documents import parse_yaml
from sarjepa.errors import InputError

SETTINGS = "settings.yaml"


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings that a command stored in a folder, by their names on the command line.

    Raises:
        InputError: the folder holds no settings, or they cannot be read.

    Example:
        >>> folder = Path("probed")
        >>> folder.mkdir()
        >>> _ = Path(folder, SETTINGS).write_text("{dataset: toy, label-set: null}", encoding="utf-8")
        >>> read_settings(folder)
        {'dataset': 'toy', 'label-set': None}
    """
    file = folder / SETTINGS
    if not file.is_file():
        raise InputError("no settings are stored in the folder", where=folder, expected=SETTINGS)
    settings = parse_yaml(file.read_bytes(), file)
    if not isinstance(settings, dict):
        raise InputError("not a mapping of settings", where=file, got=type(settings).__name__)
    return {str(key): value for key, value in settings.items()}
