"""The bytes inside a packed tar, counted as they come out.

A tar names its members and their sizes, and those can be checked before anything is unpacked. What a decompressor gives
between and behind the members no list names: 24 kB of bzip2 hold 30 GB of zeros. So the place in the stream is
limited itself, wherever it is read or moved to; and a list of members counts only if it ends in its mark, a block of
zeros, with nothing but zeros behind it. A header that is damaged ends Python's list as if there were no more members.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from sarjepa.data import archive_safety
from sarjepa.errors import InputError

_LARGEST_READ = 2**24  # tarfile takes headers whole, members in pieces; a longer header has no honest content
_PACKED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
_BLOCK = tarfile.BLOCKSIZE


class TarStream:
    """A file object for `tarfile`, of what is inside a tar, packed or not.

    Args:
        path: path of the tar, plain or packed by gzip, bzip2 or xz, as its first bytes say.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            head = file.read(6)
        self._path = path
        self._limit = largest_content(path)
        opener = next((opener for magic, opener in _PACKED.items() if head.startswith(magic)), open)
        self._stream: IO[bytes] = opener(path, "rb")

    def __enter__(self) -> TarStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def tell(self) -> int:
        """The place in the tar."""
        return self._stream.tell()

    def seek(self, place: int) -> int:
        """Move to a place in the tar.

        Raises:
            InputError: it lies beyond what the archive can honestly hold.
        """
        self._check(place)
        return self._stream.seek(place)

    def read(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            InputError: they lie beyond what the archive can honestly hold, or are more than anything here asks for.
        """
        if not 0 <= size <= _LARGEST_READ:
            raise self._beyond_reason(f"a header of {size} bytes")
        content = self._stream.read(size)
        self._check(self._stream.tell())
        return content

    def check_end(self, place: int) -> None:
        """Read to the end, where the sum over the packed bytes stands.

        Args:
            place: end of the list of members.

        Raises:
            InputError: there is no end mark, or something behind it.
        """
        self.seek(place)
        if self.read(_BLOCK) != bytes(_BLOCK):
            raise damaged(self._path, "the list of its members breaks off")
        while content := self.read(2**20):
            if content.count(0) < len(content):
                raise damaged(self._path, "there is more behind the mark of its end")

    def _check(self, place: int) -> None:
        if place > self._limit:
            raise self._beyond_reason(f"over {self._limit} bytes")

    def _beyond_reason(self, got: str) -> InputError:
        return InputError("archive would unpack beyond reason", where=self._path, got=got)


def largest_content(path: Path) -> int:
    """The most bytes that an archive of this size can honestly hold."""
    # A small archive may be little more than the zeros that fill up its blocks.
    packed = max(path.stat().st_size, 1024)
    return min(archive_safety.LARGEST_TOTAL_BYTES, archive_safety.LARGEST_RATIO * packed)


def damaged(path: Path, got: str) -> InputError:
    """The error for an archive whose bytes are not as they were packed."""
    return InputError("damaged or truncated archive", where=path, got=got, hint="remove it and fetch it again")
