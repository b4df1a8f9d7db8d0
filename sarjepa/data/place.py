"""Replacing a folder: build beside it, swap by renaming, one builder at a time.

A folder cannot be replaced in one step, so replacing takes two renames: the old one aside, the new one in. A process
killed between them leaves the old one aside; the next process puts it back, and removes what was half built.

Where the folder is a link, all of this happens at the link's target: a data root on a small disk may hold links to a
large one.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sarjepa.errors import InputError
from sarjepa.files import hold


def _beside(final: Path, suffix: str) -> Path:
    real = final.resolve()
    return real.with_name(f".{real.name}.{suffix}")


@contextmanager
def exclusive(final: Path) -> Iterator[None]:
    """Hold the right to build `final`; the lock ends with its process, so a dead process never blocks the next.

    Raises:
        InputError: another process is building it, or the folder cannot be written.

    Example:
        >>> with exclusive(Path("not-yet/toy")), exclusive(Path("not-yet/toy")):
        ...     print("never reached")
        Traceback (most recent call last):
        sarjepa.errors.InputError: being built by another process: not-yet/toy; wait for it, or stop it
    """
    lock = _beside(final, "lock")
    made = [folder for folder in (lock.parent, *lock.parent.parents) if not folder.exists()]
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
        try:
            old = _beside(final, "old")
            if old.exists() and not final.exists():
                old.rename(final.resolve())
            shutil.rmtree(old, ignore_errors=True)
            shutil.rmtree(_beside(final, "building"), ignore_errors=True)
            yield
        finally:
            lock.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty: the source is there
                for folder in made:
                    folder.rmdir()


def check_replaceable(final: Path, is_ours: Callable[[str], bool]) -> None:
    """Refuse to replace anything that no build wrote.

    Args:
        final: path of the folder to be replaced.
        is_ours: whether a build may have written a file of this name.

    Raises:
        InputError: the path is a file or a mounted disk, or the folder holds a file that no build wrote.

    Example:
        >>> Path("foreign").mkdir()
        >>> Path("foreign/a.tex").touch()
        >>> check_replaceable(Path("foreign"), lambda name: name.endswith((".h5", ".json")))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        sarjepa.errors.InputError: the place of the source is taken: .../foreign; got 'a.tex', which no build wrote; ...
    """
    real = final.resolve()
    if not real.exists():
        return
    got = None
    if not real.is_dir():
        got = "a file"
    elif real.is_mount():
        got = "a disk, which cannot be renamed"
    elif others := sorted(path.name for path in real.iterdir() if not is_ours(path.name)):
        got = f"{others[0]!r}, which no build wrote"
    if got:
        raise InputError("the place of the source is taken", where=real, got=got, hint="move it away")


@contextmanager
def scratch_folder(final: Path) -> Iterator[Path]:
    """An empty folder beside `final` to build in; it is removed afterwards unless it was put in place.

    Example:
        >>> with scratch_folder(Path("new-source")) as folder:
        ...     print(folder.name, folder.is_dir())
        .new-source.building True
        >>> folder.is_dir()
        False
    """
    folder = _beside(final, "building")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(folder: Path, final: Path) -> None:
    """Rename `folder` to `final`, replacing what is there.

    Example:
        >>> Path("placed-source/old").mkdir(parents=True)
        >>> with scratch_folder(Path("placed-source")) as folder:
        ...     (folder / "new").mkdir()
        ...     put_in_place(folder, Path("placed-source"))
        >>> [path.name for path in Path("placed-source").iterdir()]
        ['new']
    """
    real, old = final.resolve(), _beside(final, "old")
    if real.exists():
        real.rename(old)
    folder.rename(real)
    shutil.rmtree(old, ignore_errors=True)
