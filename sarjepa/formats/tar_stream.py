"""The bytes inside a packed tar, counted as they come out.

A tar lists its members and their sizes, and those can be checked before anything is unpacked. The list does not cover
the bytes between and behind the members: 24 kB of bzip2 hold 30 GB of zeros. So the position in the stream is limited
as well, for every read and seek. A list of members counts only if it ends in its mark, a block of zeros, with nothing
but zeros behind it: Python takes a damaged header for the end of the list.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from sarjepa.errors import InputError
from sarjepa.formats import archive_safety

_LARGEST_READ = 2**24  # tarfile takes headers whole, members in pieces; a longer header has no honest content
_PACKED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
_BLOCK = tarfile.BLOCKSIZE


class TarStream:
    """A file object for `tarfile`: the content of a tar, packed or not.

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
        """The position in the unpacked tar."""
        return self._stream.tell()

    def seek(self, position: int) -> int:
        """Move to a position in the unpacked tar.

        Raises:
            InputError: it lies beyond what the archive can honestly hold.
        """
        self._check(position)
        return self._stream.seek(position)

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

    def check_end(self, position: int) -> None:
        """Read to the end, where the checksum of the packed bytes is compared.

        Args:
            position: end of the list of members.

        Raises:
            InputError: there is no end mark, or something behind it.
        """
        self.seek(position)
        if self.read(_BLOCK) != bytes(_BLOCK):
            raise damaged(self._path, "the list of its members breaks off")
        while content := self.read(2**20):
            if content.count(0) < len(content):
                raise damaged(self._path, "there is more behind the mark of its end")

    def _check(self, position: int) -> None:
        if position > self._limit:
            raise self._beyond_reason(f"over {self._limit} bytes")

    def _beyond_reason(self, got: str) -> InputError:
        return InputError("archive would unpack beyond reason", where=self._path, got=got)


def largest_content(path: Path) -> int:
    """The most bytes that an archive of this size can honestly hold.

    Example:
        >>> _ = Path("chips.tar.bz2").write_bytes(bytes(24_000))
        >>> largest_content(Path("chips.tar.bz2"))  # bzip2 would pack 30 GB of zeros into that
        26400000
    """
    # A small archive may be little more than the zeros that fill up its blocks.
    packed = max(path.stat().st_size, 1024)
    return min(archive_safety.LARGEST_TOTAL_BYTES, archive_safety.LARGEST_RATIO * packed)


def damaged(path: Path, got: str) -> InputError:
    """The error for an archive whose bytes changed since it was packed.

    Example:
        >>> print(damaged(Path("chips.tar"), "the list of its members breaks off"))
        damaged or truncated archive: chips.tar; got the list of its members breaks off; remove it and fetch it again
    """
    return InputError("damaged or truncated archive", where=path, got=got, hint="remove it and fetch it again")
