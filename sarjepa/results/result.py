"""The result of a command, and the folder that it writes to."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from sarjepa.errors import InputError
from sarjepa.results.tables import Table


@dataclass(frozen=True)
class Result:
    """The end of a command.

    Attributes:
        message: a few lines for the console.
        folder: folder of the command's files.
        tables: tables to show, in order.
        signal: number of the signal that stopped the work, which was saved; 0 for finished work.
    """

    message: str
    folder: Path
    tables: tuple[Table, ...] = field(default=())
    signal: int = 0


def writable_folder(folder: Path) -> Path:
    """Make a folder if need be and check, before the work begins, that results can be written to it.

    Raises:
        InputError: files cannot be written there.

    Example:
        >>> Path("notes.txt").touch()
        >>> writable_folder(Path("notes.txt"))
        Traceback (most recent call last):
        sarjepa.errors.InputError: the folder cannot be written: notes.txt; got File exists; give another --out
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise InputError(
            "the folder cannot be written", where=folder, got=error.strerror, hint="give another --out"
        ) from error
