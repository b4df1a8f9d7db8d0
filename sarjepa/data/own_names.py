"""How one's own images are named among sources: folder:PATH, and pairs:SAR_FOLDER,OPTICAL_FOLDER.

A source is called as its folder of radar images.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sarjepa.errors import InputError
from sarjepa.files import printable

FOLDER, PAIRS = "folder:", "pairs:"


def is_own(name: str) -> bool:
    """Whether a source is named by the folder of its images."""
    return name.startswith((FOLDER, PAIRS))


def whole_names(names: Iterable[str]) -> list[str]:
    """Names out of a list that was cut at its commas: those of pairs hold one, and are put together again.

    Raises:
        InputError: of pairs, one folder is named.

    Example:
        >>> whole_names(["mstar", "pairs:sar", "optical", "saracd"])
        ['mstar', 'pairs:sar,optical', 'saracd']
    """
    whole, left = [], iter(names)
    for name in left:
        if name.startswith(PAIRS) and "," not in name:
            if (optical := next(left, None)) is None:
                raise InputError("one folder of pairs", where=name, expected="pairs:SAR_FOLDER,OPTICAL_FOLDER")
            name = f"{name},{optical}"
        whole.append(name)
    return whole


def own_folders(name: str) -> tuple[Path, ...]:
    """The folders of an own source: one, or that of the radar images and that of the optical ones."""
    named = name.removeprefix(FOLDER) if name.startswith(FOLDER) else name.removeprefix(PAIRS)
    parts = [named] if name.startswith(FOLDER) else named.split(",")
    return tuple(Path(part).expanduser() for part in parts)


def source_name(name: str) -> str:
    """What a source is called: itself, or the last folder of its radar images."""
    return printable(own_folders(name)[0].resolve().name) if is_own(name) else name
