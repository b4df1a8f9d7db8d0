"""Counts of each public set: as its manifest expects, as the paper's authors state, and as built here."""

from __future__ import annotations

from collections.abc import Sequence

from sarjepa.data.built import built_datasets, open_source
from sarjepa.data.manifest import Manifest
from sarjepa.data.manifest_parser import load_manifest
from sarjepa.data.summary import differences
from sarjepa.reports.paper import published_counts
from sarjepa.results.tables import Table

PUBLIC = ("msar", "sarship", "sarsim", "sample", "mstar", "fusarship", "saracd")
NOTE = (
    "expected: chips by the manifest, a range where forms of the set differ, - where no count is known; stated: the "
    "SAR-JEPA authors' own list, which does not match the primary sources for msar, mstar, fusarship and saracd; built "
    "here: image files that were read, before any is cut into tiles. A set that is not built is built by sarjepa "
    "build-dataset --sources NAME."
)


def counts_table(title: str, data_root: str, sources: Sequence[str]) -> Table:
    """One row per public set.

    Args:
        title: title of the table.
        data_root: data folder, which holds shards/NAME of each built set.
        sources: names of the sets; empty: all seven.

    Raises:
        InputError: no such set.

    Example:
        >>> counts_table("Counts", "data", ["mstar"]).rows
        (('mstar', '10', '6874', '5216', 'not built', '-', '-', '-'),)
    """
    built = built_datasets(data_root)
    rows = tuple(_row(load_manifest(name), data_root, name in built) for name in sources or PUBLIC)
    columns = ("data set", "classes", "expected", "stated", "built here", "of them train", "test", "differs")
    return Table(title, columns, rows, NOTE)


def _expected(manifest: Manifest) -> str:
    totals = [
        sum(split.get("", sum(split.values())) for split in distribution.expected.values())  # "": the whole split
        for distribution in manifest.distributions
        if distribution.expected
    ]
    low, high = min(totals, default=0), max(totals, default=0)
    return "-" if not totals else str(low) if low == high else f"{low} to {high}"


def _row(manifest: Manifest, data_root: str, is_built: bool) -> tuple[str, ...]:
    stated = published_counts().get(manifest.name)
    facts = (manifest.name, str(len(manifest.classes)), _expected(manifest), str(stated) if stated else "-")
    if not is_built:
        return (*facts, "not built", "-", "-", "-")
    index = open_source(data_root, manifest.name).index
    counts = index.get("file_counts") or index.get("counts") or {}  # an older index counts chips only
    totals = {split: sum(counted.values()) for split, counted in counts.items()}
    differs = "; ".join(differences(index.get("expected"), counts)) or "no"
    split_totals = (str(totals[split]) if split in totals else "-" for split in ("train", "test"))
    return (*facts, str(sum(totals.values())), *split_totals, differs)
