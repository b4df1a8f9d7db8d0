"""build-dataset without building: what would be fetched, whether shards are whole, whether sources overlap."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from sarjepa.config import BuildDatasetConfig
from sarjepa.data.leaks import matches, signatures
from sarjepa.data.locate import forms_of, locate, look
from sarjepa.data.manifest_parser import load_manifest
from sarjepa.data.own_names import is_own
from sarjepa.data.shards import Shards, open_shards, verify
from sarjepa.data.shortcuts import shortcuts_of
from sarjepa.data.sources import SIMULATED
from sarjepa.errors import InputError
from sarjepa.overlay import one_line
from sarjepa.progress import Progress
from sarjepa.recipes.build_settings import build_settings
from sarjepa.results.result import Result
from sarjepa.results.tables import Table, counted

Row = tuple[str, str, str, str, str]  # source, file, state, size, folder or address


def dry_run(folders: dict[str, Path], archives: Sequence[Path], distribution: str | None) -> Result:
    """List the files of each source: those at hand, those that would be fetched, those that must be got by hand.

    Example:
        >>> folders = {name: Path("data/shards") / name for name in ("toy", "synthetic", "mstar")}
        >>> [(source, state) for source, _, state, _ in dry_run(folders, [], None).tables[0].rows]
        [('toy', 'built'), ('synthetic', 'nothing to fetch'), ('mstar', 'would be fetched')]
    """
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
    # Addresses stand below the table, where they are not wrapped and can be copied.
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
    except InputError:  # no form is complete: show what is missing of the first
        located = look(first, folders)
    rows = [(name, path.name, "at hand", _size(path.stat().st_size if path.is_file() else None), str(path.parent))
            for path in located.paths]  # fmt: skip
    for file in located.missing:
        state = "would be fetched" if file.fetchable else "missing (optional)" if file.optional else "missing"
        origin = file.addresses[0] if file.fetchable else file.by_hand
        rows.append((name, file.name, state, _size(file.size), origin))
    return rows


def _size(num_bytes: int | None) -> str:
    return "unknown" if num_bytes is None else f"{num_bytes / 1e6:.1f} MB"


def verify_built(folders: dict[str, Path], progress: Progress) -> Result:
    """Check the shards of built sources against their checksums.

    Raises:
        InputError: a source is not built, or a shard is not as written; the error lists all faults.

    Example:
        >>> verify_built({"toy": Path("data/shards/toy")}, Progress()).message
        'toy: 72 chips, every shard as written'
    """
    faults = {name: verify(folders[name]) for name in progress.track(list(folders), "verifying")}
    if damaged := [name for name in folders if faults[name]]:
        raise InputError(
            "damaged shards",
            where=", ".join(str(folders[name]) for name in damaged),
            got="; ".join(fault for name in damaged for fault in faults[name]),
            hint=f"build again: {' && '.join(_again(folders[name]) for name in damaged)}",
        )
    lines = [f"{folder.name}: {len(open_shards(folder))} chips, every shard as written" for folder in folders.values()]
    return Result("\n".join(lines), next(iter(folders.values())).parent)


def _again(folder: Path) -> str:
    """The command that builds a source again as it was built."""
    index = open_shards(folder).index
    settings = build_settings(folder.name, str(folder.parents[1]), index.get("settings") or {}, index.get("card"))
    return one_line(BuildDatasetConfig, {**settings, "force": True}, always=("sources",))


def check_leaks(folders: dict[str, Path], progress: Progress) -> Result:
    """Report which single features predict the labels of each source, and which chips two sources share.

    A shared chip is found also where it was turned, mirrored, shifted or rescaled.

    Raises:
        InputError: a source is not built.

    Example:
        >>> folders = {name: Path("data/shards") / name for name in ("toy", "copies")}
        >>> check_leaks(folders, Progress()).tables[-1].rows  # 30 chips of one are in the other, none of them tested
        (('toy', 'copies', '30', '0', 'across/000-0.png = across/000-0.png'),)
    """
    shards = {folder.name: open_shards(folder) for folder in folders.values()}
    shortcuts = [
        (name, shortcut)
        for name, source in shards.items()
        for shortcut in shortcuts_of(
            source, progress.track((chip.image for chip in source), f"looking at {name}", len(source))
        )
    ]
    large = [f"{name}: {shortcut}" for name, shortcut in shortcuts if shortcut.is_large]
    for line in large:
        progress.warn(line)
    features = tuple((name, cut.kind, f"{cut.accuracy:.1f}", f"{cut.chance:.1f}") for name, cut in shortcuts)
    columns = ("source", "one feature alone", "labels predicted (%)", "by chance (%)")
    note = "Learnt from the training split and tested on the test split, or five-fold; see sarjepa.data.shortcuts."
    tables = [Table("What gives labels away", columns, features, note)] if features else []
    message = "too few labelled chips to look for shortcuts"
    if shortcuts:
        message = f"{counted(len(large), 'shortcut')} to the labels"
    folder = next(iter(folders.values())).parent
    if len(folders) < 2:
        return Result(message, folder, tuple(tables))
    signatures_of = {
        name: signatures(progress.track((chip.image for chip in source), f"comparing {name}", len(source)))
        for name, source in shards.items()
    }
    rows = []
    for left, right in progress.track(list(combinations(shards, 2)), "comparing"):
        shared = matches(signatures_of[left], signatures_of[right])
        if shared:
            rows.append(_leak(left, right, shards, np.array([[match.left, match.right] for match in shared])))
            progress.warn(f"{left} and {right} share at least {len(shared)} chips, e.g. {rows[-1][-1]}")
    headings = ("source", "other source", "chips shared", "in the other's test split", "example")
    if rows:
        note = "A lower bound: see sarjepa.data.leaks."
        tables.append(Table("Chips that two sources share", headings, tuple(rows), note))
    shared_by = counted(len(rows), "pair") if rows else "no pair"
    return Result(f"{message}; chips shared by {shared_by} of sources", folder, tuple(tables))


def _leak(left: str, right: str, shards: dict[str, Shards], pairs: np.ndarray) -> tuple[str, ...]:
    first, second = shards[left], shards[right]
    tested = int((second.splits[pairs[:, 1]] == "test").sum())
    example = f"{first[pairs[0, 0]].path} = {second[pairs[0, 1]].path}"
    return (left, right, str(len(pairs)), str(tested), example)
