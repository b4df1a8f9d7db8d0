"""Files that are whole or absent, and their checksums.

Every result is written under a temporary name, flushed to the disk and renamed. So a file of its final name is
complete, also after a crash in the middle of writing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import IO, Any

from sarjepa.errors import InputError

TEMPORARY = ".partial"  # at the end of the name of a file that is being written


def write_atomically(path: Path, content: bytes | str) -> None:
    r"""Write a whole file or nothing: temporary name, flush to disk, rename.

    Args:
        path: path of the file, in an existing folder.
        content: content of the file. Text is written as UTF-8, bytes of a file name that are not text as \udcff.

    Example:
        >>> write_atomically(Path("note.txt"), "42 chips\n")
        >>> Path("note.txt").read_text(), Path("note.txt.partial").exists()
        ('42 chips\n', False)
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb") as stream:
            stream.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # a full disk does not say where
        raise


def json_text(content: object) -> str:
    """JSON that people can read; a dataclass becomes a mapping.

    Raises:
        ValueError: a number is not finite, which JSON cannot express.

    Example:
        >>> print(json_text({"b": 1, "a": [1, 2]}), end="")
        {
         "b": 1,
         "a": [
          1,
          2
         ]
        }
    """
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=_by_field) + "\n"


def _by_field(record: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, without optional ones that are None or empty by default."""
    if not is_dataclass(record):
        raise TypeError(f"{type(record).__name__} has no form in JSON")
    held = {field.name: (getattr(record, field.name), field.default) for field in fields(record)}
    return {name: value for name, (value, default) in held.items() if not (value == default and value in (None, ""))}


def write_json(path: Path, content: object) -> None:
    """Write JSON, whole or not at all.

    Example:
        >>> write_json(Path("counts.json"), {"chips": 42})
        >>> print(Path("counts.json").read_text(), end="")
        {
         "chips": 42
        }
    """
    write_atomically(path, json_text(content))


def hold(lock: Path, wait: bool = False) -> IO[str]:
    """An open file with an advisory lock, which ends when the file is closed, or with the process, however that ends.

    Args:
        lock: path of the file, which is made if need be. Its holder may remove it.
        wait: whether to wait until the process that holds the lock is done.

    Raises:
        BlockingIOError: another process holds the lock, and `wait` is false.

    Example:
        >>> with hold(Path("run.lock")):  # as another process may
        ...     hold(Path("run.lock"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        BlockingIOError: [Errno ...] Resource temporarily unavailable
    """
    while True:
        stream = lock.open("w")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(stream.fileno()), lock.stat()):
                    return stream
        except BlockingIOError:
            stream.close()
            raise
        stream.close()  # its holder removed the file, so another process would make and lock a new one: try again


def printable(name: str) -> str:
    r"""A file name as text: bytes of it that are not UTF-8 are written as \xff.

    Example:
        >>> printable("a\udcff.png")
        'a\\xff.png'
    """
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def need_room(folder: Path, num_bytes: int, what: object) -> None:
    """Refuse to write more than the free space on the disk of a folder.

    Args:
        folder: existing folder that the bytes go to.
        num_bytes: number of bytes.
        what: name of the file that they are for, for the error.

    Raises:
        InputError: the disk has less free space.

    Example:
        >>> need_room(Path(), 10**15, "mstar.zip")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        sarjepa.errors.InputError: not enough disk space: .; expected 1000000000 MB for mstar.zip; got ... MB free; ...
    """
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise InputError(
            "not enough disk space",
            where=folder,
            expected=f"{num_bytes / 1e6:.0f} MB for {what}",
            got=f"{free / 1e6:.0f} MB free",
            hint="free disk space or choose another --data-root",
        )


def not_data(head: bytes) -> str | None:
    """What stands in place of a data file, judged by its first bytes; None if they look like data.

    Under the name of a data file a server may send a log-in page, and a repository may hold a pointer.

    Example:
        >>> not_data(b"<html><body>Log in")
        'an HTML page (a log-in page?)'
    """
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself"
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page (a log-in page?)"
    return None


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Example:
        >>> _ = Path("abc.txt").write_bytes(b"abc")
        >>> sha256_of(Path("abc.txt"))[:16]  # the example of the standard, FIPS 180
        'ba7816bf8f01cfea'
    """
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
