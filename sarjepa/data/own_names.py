"""How a user's own images are named among sources: folder:PATH[,PATH...], and pairs:SAR_FOLDER,OPTICAL_FOLDER.

A source has the name of its first folder, unless it is given another. A path may contain commas; the folders that
exist decide where a list is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from sarjepa.errors import InputError
from sarjepa.files import printable

FOLDER, PAIRS = "folder:", "pairs:"


def is_own(name: str) -> bool:
    """Whether a source is named by the folder of its images.

    Example:
        >>> is_own("folder:harbour"), is_own("mstar")
        (True, False)
    """
    return name.startswith((FOLDER, PAIRS))


def whole_names(names: Iterable[str], is_source: Callable[[str], bool]) -> list[str]:
    """The names of a list that was cut at its commas; those of folders and pairs, which hold commas, are rejoined.

    Args:
        names: parts of the list.
        is_source: whether a part is a source by itself, though a folder of this name may exist.

    Raises:
        InputError: a pair names one folder alone.

    Example:
        >>> whole_names(["mstar", "pairs:sar", "optical", "saracd"], lambda name: name == "saracd")
        ['mstar', 'pairs:sar,optical', 'saracd']
    """
    whole: list[str] = []
    left = iter(names)
    for name in left:
        if whole and whole[-1].startswith(FOLDER) and not is_own(name):
            joined = f"{whole[-1]},{name}"
            is_one_path = len(own_folders(joined)) == len(own_folders(whole[-1]))
            if is_one_path or (_exists(name) and not is_source(name)):
                whole[-1] = joined
                continue
        if name.startswith(PAIRS) and "," not in name:
            if (optical := next(left, None)) is None:
                raise InputError("one folder of pairs", where=name, expected="pairs:SAR_FOLDER,OPTICAL_FOLDER")
            name = f"{name},{optical}"
        whole.append(name)
    return whole


def own_folders(name: str) -> tuple[Path, ...]:
    """The folders of an own source: one or several, or those of the radar and of the optical images.

    Example:
        >>> [folder.as_posix() for folder in own_folders("pairs:images/sar,images/optical")]
        ['images/sar', 'images/optical']
    """
    parts: list[str] = []
    for part in name.removeprefix(FOLDER).removeprefix(PAIRS).split(","):
        if parts and name.startswith(FOLDER) and _exists(f"{parts[-1]},{part}"):
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return tuple(Path(part).expanduser() for part in parts)


def _exists(path: str | Path) -> bool:
    return Path(path).expanduser().exists()


def source_name(name: str) -> str:
    """The name of a source: as it is, or that of the first folder of its images.

    Example:
        >>> source_name("mstar"), source_name("folder:images/harbour")
        ('mstar', 'harbour')
    """
    return printable(own_folders(name)[0].resolve().name) if is_own(name) else name
