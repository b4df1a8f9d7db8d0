"""Places: build beside, swap in by renaming, one builder at a time.

A folder cannot be replaced in one step, so replacing takes two renames: the old one aside, the new one in. A process
killed between them leaves the old one aside; the next one to come puts it back.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sarjepa.errors import InputError
from sarjepa.files import hold


def _beside(final: Path, what: str) -> Path:
    return final.with_name(f".{final.name}.{what}")


@contextmanager
def exclusive(final: Path) -> Iterator[None]:
    """Hold the right to build `final`; a lock dies with its process, so none is ever left behind.

    Raises:
        InputError: another process is building it, or the folder cannot be written.
    """
    lock = _beside(final, "lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        stream = hold(lock)
    except BlockingIOError as error:
        raise InputError("being built by another process", where=final, hint="wait for it, or stop it") from error
    except OSError as error:
        raise InputError(
            "cannot write", where=lock.parent, got=error.strerror, hint="choose another --data-root"
        ) from error
    with stream:
        old = _beside(final, "old")
        if old.exists() and not final.exists():
            old.rename(final)
        shutil.rmtree(old, ignore_errors=True)
        yield


@contextmanager
def scratch_folder(final: Path) -> Iterator[Path]:
    """An empty folder beside `final` to build in; what is left of it afterwards is removed."""
    folder = _beside(final, "building")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(folder: Path, final: Path) -> None:
    """Let `folder` become `final`, in place of what is there."""
    old = _beside(final, "old")
    if final.exists():
        final.rename(old)
    folder.rename(final)
    shutil.rmtree(old, ignore_errors=True)
