"""index.json of a built source, read back and checked key by key.

A build writes it last, whole or not at all. It may have been edited since, or damaged so that it parses and a number is
wrong; its content decides which chips are trained and tested on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sarjepa.data.shard_writer import FORMAT
from sarjepa.documents import read_json
from sarjepa.errors import InputError, nearest
from sarjepa.section import Section

INDEX = "index.json"
AGAIN = "build the source again with --force"


def read_index(folder: Path) -> dict[str, Any]:
    """The content of a built source's index.json, its types checked.

    Args:
        folder: folder of the source.

    Raises:
        InputError: the file is damaged, was written by another version, or a key is missing or has a wrong value.

    Example:
        >>> edited = Path("data/shards/toy/index.json").read_text(encoding="utf-8").replace("0.8", "8")
        >>> Path("edited-toy").mkdir()
        >>> _ = Path("edited-toy/index.json").write_text(edited, encoding="utf-8")
        >>> read_index(Path("edited-toy"))  # doctest: +NORMALIZE_WHITESPACE
        Traceback (most recent call last):
        sarjepa.errors.InputError: wrong value: edited-toy/index.json: benchmark.pool.fraction;
        expected more than 0, at most 1; got 8.0; build the source again with --force
    """
    path = folder / INDEX
    content = read_json(path, AGAIN)
    keys = content if isinstance(content, dict) else {}
    if (stored := keys.get("format", FORMAT)) != FORMAT:
        raise InputError("built by another version of sarjepa", where=folder, expected=FORMAT, got=stored, hint=AGAIN)
    if missing := [key for key in ("shards", "classes", "normalisation") if key not in keys]:
        raise InputError("not the index of a built source", where=path, expected=missing[0], hint=AGAIN)
    top = Section(keys, str(path), hint=AGAIN)
    if not top.parts("shards", _shard):
        raise top.fault("shards", "at least one", [])
    classes = top.texts("classes")
    if len(set(classes)) < len(classes):
        raise top.fault("classes", "names that differ", classes)
    top.part("normalisation", _normalisation, required=True)
    for key in ("source", "manifest_sha256", "distribution"):
        top.text(key, required=False)
    for key in ("num_chips", "num_rejected", "num_empty_tiles"):
        top.whole(key, required=False)
    if (resolution_m := top.number("resolution_m", required=False)) is not None and resolution_m <= 0:
        raise top.fault("resolution_m", "more than 0", resolution_m)
    for key in ("counts", "file_counts", "expected"):
        top.part(key, _each(lambda counts: [counts.whole(name) for name in counts.raw]))
    if top.get("leaks", list, "a list of mappings", required=False) is not None:
        top.parts("leaks", _leak)
    for key in ("settings", "sizes", "duplicates"):
        top.get(key, dict, "a mapping", required=False)
    top.part("label_sets", _each(lambda part: _label_set(part, classes)))
    top.part("benchmark", lambda part: _benchmark(part, tuple(keys.get("label_sets") or ())))
    for item in top.get("rejected", list, "a list of mappings", required=False) or ():
        if not isinstance(item, dict) or not all(isinstance(item.get(key), str) for key in ("path", "reason")):
            raise top.fault("rejected", "{path: text, reason: text}", item)
    return content


def chips_sha256(shards: Iterable[str]) -> str:
    """One checksum of a source's stored chips.

    Args:
        shards: checksums of its shards, in order.

    Example:
        >>> chips_sha256(["a1", "b2"])[:12]
        '85337816d263'
    """
    return hashlib.sha256("".join(shards).encode()).hexdigest()


def _shard(part: Section) -> None:
    name = part.text("file")
    if not name or Path(name).name != name:
        raise part.fault("file", "the name of a file beside index.json", name)
    part.whole("num_chips", least=1)
    part.text("sha256")


def _leak(part: Section) -> None:
    part.text("kind")
    for key in ("accuracy", "chance"):
        if part.number(key) is None:
            raise part.fault(key, "a percentage", None)


def _normalisation(part: Section) -> None:
    scale = part.number("scale")
    if scale is None or scale <= 0:
        raise part.fault("scale", "more than 0", scale)
    part.seen |= set(part.raw)  # the other keys are for people


def _each(read: Callable[[Section], Any]) -> Callable[[Section], Any]:
    """The reader of a mapping whose values are mappings, each read by `read`."""
    return lambda part: [part.part(name, read, required=True) for name in part.raw]


def _label_set(part: Section, classes: tuple[str, ...]) -> None:
    for name in part.texts("classes"):
        if name not in classes:
            raise part.fault("classes", "names from `classes`", name, nearest(name, classes) if classes else None)
    part.part("where", lambda columns: [columns.texts(column) for column in columns.raw])


def _benchmark(part: Section, label_sets: tuple[str, ...]) -> None:
    part.choice("label_set", label_sets)
    part.whole("crop", least=1, most=4096, required=False)
    part.part("pool", _pool)


def _pool(part: Section) -> None:
    part.choice("kind", ("fraction-of-train", "fraction-of-all"))
    fraction = part.number("fraction")
    if fraction is None or not 0 < fraction <= 1:
        raise part.fault("fraction", "more than 0, at most 1", fraction)
