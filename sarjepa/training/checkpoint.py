"""Checkpoints that survive a crash.

A file is written under a temporary name, flushed to the disk and renamed, and the previous one is kept as
`checkpoint-previous.pt`: at every moment there is at least one good file. A damaged file is recognised by its checksums
(`sarjepa.pickles`); then the previous one is used, with a warning.

A file holds only tensors and plain values, and is read back with `weights_only=True`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sarjepa.errors import InputError
from sarjepa.files import TEMPORARY
from sarjepa.pickles import read_pickle
from sarjepa.progress import Progress

LAST, PREVIOUS = "checkpoint-last.pt", "checkpoint-previous.pt"


def save_checkpoint(folder: Path, state: dict[str, Any], keep_as: str | None = None) -> Path:
    """Save `state` as the folder's last checkpoint; the last one so far becomes the previous one.

    Args:
        folder: folder of the run.
        state: tensors, state dicts and plain values.
        keep_as: name of a second copy, which later checkpoints do not replace.

    Raises:
        InputError: it cannot be written; earlier checkpoints are still there.

    Example:
        >>> folder = Path("saved")
        >>> folder.mkdir()
        >>> _ = [save_checkpoint(folder, {"step": step}) for step in (1, 2, 3)]
        >>> sorted(file.name for file in folder.iterdir())
        ['checkpoint-last.pt', 'checkpoint-previous.pt']
    """
    temporary = folder / (LAST + TEMPORARY)
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch makes a failed write a RuntimeError, without the reason
        faults = (error, error.__context__)
        reasons = [str(fault.strerror or fault) for fault in faults if isinstance(fault, OSError)]
        got = reasons[0] if reasons else "a write that was cut short"
        hint = "free disk space and go on with --resume; the checkpoint before is kept"
        raise InputError("cannot write the checkpoint", where=folder, got=got, hint=hint) from error
    if keep_as:
        kept = folder / keep_as
        kept.unlink(missing_ok=True)
        os.link(temporary, kept)
    last = folder / LAST
    if last.exists():
        # By a hard link, so that the last checkpoint's name exists at every moment.
        previous = folder / PREVIOUS
        spare = folder / (PREVIOUS + TEMPORARY)
        spare.unlink(missing_ok=True)
        os.link(last, spare)
        spare.replace(previous)
        spare.unlink(missing_ok=True)  # it is left where `previous` was the same file, as renaming then does nothing
    temporary.replace(last)
    return last


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint, and the file that it was read from."""

    path: Path
    content: dict[str, Any]


def load_last_checkpoint(folder: Path, device: torch.device, progress: Progress | None = None) -> Checkpoint:
    """The last good checkpoint of a run.

    Raises:
        InputError: the folder holds none.

    Example:
        >>> folder = Path("crashed")
        >>> folder.mkdir()
        >>> last = [save_checkpoint(folder, {"step": step}) for step in (1, 2)][-1]
        >>> _ = last.write_bytes(last.read_bytes()[:100])  # cut short
        >>> load_last_checkpoint(folder, torch.device("cpu")).content
        {'step': 1}
    """
    damaged: list[str] = []
    for name in (LAST, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            state = read_pickle(path, device)
        except InputError:
            damaged.append(name)
            continue
        if damaged and progress:
            progress.warn(f"{damaged[0]} is damaged; going on from {name}, the one before")
        return Checkpoint(path, state)
    got = f"damaged {' and '.join(damaged)}" if damaged else "none"
    raise InputError("no checkpoint to resume from", where=folder, got=got, hint="start the run again without --resume")
