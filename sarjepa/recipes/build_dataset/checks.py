"""The looking modes of build-dataset: what would be fetched, whether shards are whole, whether sources overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from sarjepa.data.leaks import matches, signatures
from sarjepa.data.locate import forms_of, locate, look
from sarjepa.data.manifest_parser import load_manifest
from sarjepa.data.own_names import is_own
from sarjepa.data.shards import Shards, open_shards, verify
from sarjepa.data.shortcuts import shortcuts_of
from sarjepa.data.sources import SIMULATED
from sarjepa.download import RemoteFile
from sarjepa.errors import InputError
from sarjepa.progress import Progress
from sarjepa.results.result import Result
from sarjepa.results.tables import Table, counted

Row = tuple[str, str, str, str, str]  # source, file, state, size, place or address


def dry_run(folders: dict[str, Path], archives: Sequence[Path], distribution: str | None) -> Result:
    """Say what each source needs: what is at hand, what would be fetched and its size, what must be got by hand."""
    rows: list[Row] = []
    for name, folder in folders.items():
        if (folder / "index.json").is_file():
            rows.append((name, "-", "built", "-", str(folder)))
        elif name in SIMULATED or is_own(name):
            rows.append((name, "-", "nothing to fetch", "-", name.partition(":")[2]))
        else:
            rows.extend(_needs(name, [*archives, folder.parents[1] / "cache" / "downloads" / name], distribution))
    fetched = [row for row in rows if row[2] == "would be fetched"]
    missing = [row for row in rows if row[2] == "missing"]
    # Addresses stand below the table, where they are not folded and can be copied.
    places = [": ".join(part for part in (name, file, where) if part != "-") for name, file, _, _, where in rows]
    counts = f"to fetch: {counted(len(fetched), 'file')}; missing, to be got by hand: {counted(len(missing), 'file')}"
    columns = ("source", "file", "state", "size")
    table = Table("What there is and what is missing", columns, tuple(row[:-1] for row in rows))
    return Result("\n".join([*places, counts]), next(iter(folders.values())).parent, (table,))


def _needs(name: str, folders: Sequence[Path], distribution: str | None) -> list[Row]:
    manifest = load_manifest(name)
    first = forms_of(manifest, distribution)[0]
    try:
        located = locate(manifest, folders, distribution)
    except InputError:  # no form can be had whole: that is what is to be shown
        located = look(first, folders)
    rows = [(name, path.name, "at hand", _size(path.stat().st_size if path.is_file() else None), str(path.parent))
            for path in located.paths]  # fmt: skip
    return rows + [_missing(name, file) for file in located.missing]


def _missing(name: str, file: RemoteFile) -> Row:
    state = "would be fetched" if file.fetchable else "missing (optional)" if file.optional else "missing"
    return (name, file.name, state, _size(file.size), file.addresses[0] if file.fetchable else file.by_hand)


def _size(num_bytes: int | None) -> str:
    return "unknown" if num_bytes is None else f"{num_bytes / 1e6:.1f} MB"


def verify_built(folders: dict[str, Path], progress: Progress) -> Result:
    """Re-read the shards of all these built sources against their checksums, then say what is wrong with any of them.

    Raises:
        InputError: a source is not built, or a shard is not what was written.
    """
    found = {name: verify(folders[name]) for name in progress.track(list(folders), "verifying")}
    if damaged := [name for name, problems in found.items() if problems]:
        raise InputError(
            "damaged shards",
            where=", ".join(str(folders[name]) for name in damaged),
            got="; ".join(problem for name in damaged for problem in found[name]),
            hint=f"build again: sarjepa build-dataset --sources {','.join(damaged)} --force",
        )
    lines = [f"{folder.name}: {len(open_shards(folder))} chips, every shard as written" for folder in folders.values()]
    return Result("\n".join(lines), next(iter(folders.values())).parent)


def check_leaks(folders: dict[str, Path], progress: Progress) -> Result:
    """Say what gives the labels of each source away, and which chips two of them share.

    Chips are shared whether they were turned, mirrored, shifted or rescaled.

    Raises:
        InputError: a source is not built.
    """
    shards = {folder.name: open_shards(folder) for folder in folders.values()}
    alone = [
        (name, one)
        for name, source in shards.items()
        for one in shortcuts_of(
            source, progress.track((chip.image for chip in source), f"looking at {name}", len(source))
        )
    ]
    for name, one in alone:
        if one.is_large:
            progress.warn(f"{name}: {one}")
    given = tuple((name, one.kind, f"{one.accuracy:.1f}", f"{one.chance:.1f}") for name, one in alone)
    columns = ("source", "one feature alone", "labels predicted (%)", "by chance (%)")
    note = "Learnt from the training split and tested on the test split, or five-fold; see sarjepa.data.shortcuts."
    tables = [Table("What gives labels away", columns, given, note)] if given else []
    large = sum(one.is_large for _, one in alone)
    message = f"{counted(large, 'shortcut')} to the labels" if alone else "too few labelled chips to look for shortcuts"
    if len(folders) < 2:
        return Result(message, next(iter(folders.values())).parent, tuple(tables))
    found = {
        name: signatures(progress.track(_images(source), f"comparing {name}", len(source)))
        for name, source in shards.items()
    }
    rows = []
    for left, right in progress.track(list(combinations(shards, 2)), "comparing"):
        shared = matches(found[left], found[right])
        if shared:
            rows.append(_leak(left, right, shards, np.array([[match.left, match.right] for match in shared])))
            progress.warn(f"{left} and {right} share at least {len(shared)} chips, e.g. {rows[-1][-1]}")
    headings = ("source", "other source", "chips shared", "in the other's test split", "example")
    if rows:
        note = "A lower bound: see sarjepa.data.leaks."
        tables.append(Table("Chips that two sources share", headings, tuple(rows), note))
    shares = f"{len(rows)} pairs of sources share chips" if rows else "no chips shared between these sources"
    return Result(f"{message}; {shares}", next(iter(folders.values())).parent, tuple(tables))


def _images(source: Shards) -> Iterator[np.ndarray]:
    return (chip.image for chip in source)


def _leak(left: str, right: str, shards: dict[str, Shards], pairs: np.ndarray) -> tuple[str, ...]:
    first, second = shards[left], shards[right]
    tested = int((second.splits[pairs[:, 1]] == "test").sum())
    example = f"{first[pairs[0, 0]].path} = {second[pairs[0, 1]].path}"
    return (left, right, str(len(pairs)), str(tested), example)
