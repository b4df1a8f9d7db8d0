"""Files that are whole or absent, and their checksums.

Every result is written under a temporary name, flushed to the disk and renamed. Whoever finds a file by its own name
finds all of it, also after a crash in the middle of writing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import IO

TEMPORARY = ".partial"  # at the end of the name of a file that is being written


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a whole file or nothing: temporary name, flush to disk, rename.

    Args:
        path: the file; its folder exists.
        content: of it; text is written as UTF-8.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # a full disk does not say where
        raise


def json_text(content: object) -> str:
    """JSON that people can read.

    Raises:
        ValueError: a number in it is not finite, for which JSON has no words.
    """
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, content: object) -> None:
    """Write JSON, whole or not at all."""
    write_atomically(path, json_text(content))


def hold(lock: Path) -> IO[str]:
    """An open file with an advisory lock, which ends when it is closed, or with the process, however that ends.

    Raises:
        BlockingIOError: another process holds it.
    """
    stream = lock.open("w")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise
    return stream


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
