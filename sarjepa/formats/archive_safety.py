"""What no archive may do: leave its folder, overwrite by a trick of names, or unpack without end.

Names and declared sizes are checked before anything is unpacked. Declarations may lie, so the bytes that really come
out are limited as well, where they come out (`sarjepa.formats.archives`, `sarjepa.formats.unpacking`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from sarjepa.errors import InputError

LARGEST_TOTAL_BYTES = 2**39  # 512 GiB, more than all seven public sets together
LARGEST_DEPTH = 4  # archives inside one another; honest sets have two, a zip that holds itself has no end
LARGEST_RATIO = 1100  # deflate cannot exceed 1032:1, so honest members stay below; chips are near 1
SMALL_MEMBER_BYTES = 2**20  # below this a high ratio does no harm (an empty image compresses well)


def check_names(names: Iterable[str], where: Path) -> None:
    """Refuse names that would leave a folder, and names that differ by case alone.

    Args:
        names: names of the members.
        where: path of the archive.

    Raises:
        InputError: naming the member.

    Example:
        >>> check_names(["chips/a.png", "../b.png"], Path("chips.zip"))
        Traceback (most recent call last):
        sarjepa.errors.InputError: member would leave the folder: chips.zip; got '../b.png'; the archive is not safe
    """
    seen: dict[str, str] = {}
    for name in names:
        parts = PurePosixPath(name).parts
        has_drive = len(name) > 1 and name[1] == ":" and name[0].isalpha()
        if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or has_drive:
            hint = "the archive is not safe"
            raise InputError("member would leave the folder", where=where, got=repr(name), hint=hint)
        folded = name.casefold()
        if seen.setdefault(folded, name) != name:
            raise InputError("members differ by case alone", where=where, got=f"{seen[folded]!r} and {name!r}")


def check_sizes(sizes: Iterable[tuple[str, int, int]], where: Path) -> None:
    """Refuse an archive bomb by the sizes that it declares.

    Args:
        sizes: (name, unpacked bytes, packed bytes) of every member.
        where: path of the archive.

    Raises:
        InputError: a member or the whole would unpack beyond reason, or members overlap.

    Example:
        >>> check_sizes([("a.png", 2**32, 4000)], Path("chips.zip"))  # deflate cannot exceed 1032:1
        Traceback (most recent call last):
        sarjepa.errors.InputError: member would unpack beyond reason: chips.zip; got 'a.png': 4000 to 4294967296 bytes
    """
    total = packed_total = 0
    for name, size, packed in sizes:
        total, packed_total = total + size, packed_total + packed
        if size > SMALL_MEMBER_BYTES and size > LARGEST_RATIO * max(packed, 1):
            raise InputError(
                "member would unpack beyond reason", where=where, got=f"{name!r}: {packed} to {size} bytes"
            )
    if total > LARGEST_TOTAL_BYTES:
        raise InputError("archive would unpack beyond reason", where=where, got=f"{total} bytes")
    if packed_total > where.stat().st_size:
        raise InputError("members overlap, as in a zip bomb", where=where, got=f"{packed_total} packed bytes")
