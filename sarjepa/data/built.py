"""Built sources: where they are, what they are called, and how one is opened."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sarjepa.data.manifest_parser import GROUPS, source_names, typed_source
from sarjepa.data.own_names import source_name, whole_names
from sarjepa.data.shards import Shards, open_shards
from sarjepa.errors import InputError, nearest


def shards_folder(data_root: str, source: str) -> Path:
    """The folder of a source's shards, built or not.

    Example:
        >>> shards_folder("data", "mstar").as_posix()
        'data/shards/mstar'
    """
    return Path(data_root) / "shards" / source


def built_datasets(data_root: str) -> list[str]:
    """The names of the sources built under a data root, sorted.

    Example:
        >>> built_datasets("data")
        ['copies', 'toy']
    """
    return sorted(path.parent.name for path in Path(data_root).glob("shards/*/index.json"))


def expand_built(names: Iterable[str]) -> tuple[str, ...]:
    """The sources that `--sources` names, each once: a group's members, and own images by their folder's name.

    Example:
        >>> expand_built(["downstream", "folder:images/harbour"])
        ('mstar', 'fusarship', 'saracd', 'harbour')
    """
    whole = whole_names(names, lambda part: "/" not in part)
    return tuple(dict.fromkeys(source_name(member) for name in whole for member in GROUPS.get(name, (name,))))


def built_folder(data_root: str, source: str) -> Path:
    """The folder of a built source's shards.

    Raises:
        InputError: it was not built; names the command that builds it, and the nearest name of one that is.

    Example:
        >>> built_folder("data", "toi")  # doctest: +NORMALIZE_WHITESPACE
        Traceback (most recent call last):
        sarjepa.errors.InputError: the data set is not built: data/shards/toi;
        run sarjepa build-dataset --sources folder:PATH/toi first; did you mean 'toy'?
    """
    folder = shards_folder(data_root, source)
    if Path(source).name != source or not (folder / "index.json").is_file():  # "toy/" would be a name in results
        root = "" if data_root == "data" else f" --data-root {data_root}"
        is_public, built = source in source_names(), built_datasets(data_root)
        hint = f"run sarjepa build-dataset --sources {typed_source(source)}{root} first"
        if not is_public and built:
            hint = f"{hint}; {nearest(source, built)}"
        raise InputError("the data set is not built", where=folder, hint=hint)
    return folder


def open_source(data_root: str, source: str) -> Shards:
    """A built source, opened; see `built_folder`.

    Example:
        >>> shards = open_source("data", "copies")
        >>> len(shards), len(set(shards.groups.tolist()))  # every chip is there four times
        (120, 30)
    """
    return open_shards(built_folder(data_root, source))
