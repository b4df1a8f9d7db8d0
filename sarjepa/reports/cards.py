"""CARD.md: what a person should know of a built data set before using or citing it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sarjepa.results.tables import Table


def counts_table(title: str, classes: Sequence[str], counts: dict[str, dict[str, int]]) -> Table:
    """Classes down, splits across, sums at the edges."""
    splits = list(counts)
    names = [name for name in [*classes, ""] if any(counts[split].get(name) for split in splits)]
    rows = [
        (name or "(none)", *(str(counts[split].get(name, 0)) for split in splits), str(_sum(counts, name)))
        for name in names
    ]
    totals = ("all", *(str(sum(counts[split].values())) for split in splits), str(_sum(counts)))
    columns = ("class", *(split or "(no split)" for split in splits), "all")
    return Table(title, columns, (*rows, totals))


def _sum(counts: dict[str, dict[str, int]], name: str | None = None) -> int:
    return sum(number for split in counts.values() for key, number in split.items() if name is None or key == name)


def card_text(facts: dict[str, Any], index: dict[str, Any], differences: Sequence[str]) -> str:
    """The card, as Markdown.

    Args:
        facts: title, origin, terms, citation, sensor, band, polarisation, resolution_m, notes, unverified.
        index: the content of index.json.
        differences: what differs from the expected counts, in words.
    """
    parts = [
        f"# {facts['title']}",
        "![contact sheet](contact-sheet.png)",
        _facts(facts),
        counts_table("Chips", index["classes"], index["counts"]).markdown(),
        _as_expected(index, differences),
        _sizes(index),
        _duplicates(index),
        _rejected(index),
    ]
    if facts["notes"]:
        parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in facts["notes"]))
    if facts["unverified"]:
        parts.append(f"## Not verified\n\nNot verified against the source: {', '.join(facts['unverified'])}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(facts: dict[str, Any]) -> str:
    resolution = f"{facts['resolution_m']:g} m" if facts["resolution_m"] else "unknown"
    lines = {
        "Origin": facts["origin"],
        "Terms": facts["terms"],
        "Citation": facts["citation"],
        "Sensor": facts["sensor"],
        "Band": facts["band"],
        "Polarisation": ", ".join(facts["polarisation"]) or "unknown",
        "Resolution": resolution,
    }
    return "\n".join(f"- **{name}**: {text}" for name, text in lines.items() if text)


def _as_expected(index: dict[str, Any], differences: Sequence[str]) -> str:
    if index["expected"] is None:
        return "How many chips there should be is not known."
    if not differences:
        return "These are the counts expected of the files as distributed."
    return "**Not as expected** of the files as distributed: " + "; ".join(differences) + "."


def _sizes(index: dict[str, Any]) -> str:
    sizes, normalisation = index["sizes"], index["normalisation"]
    if not sizes["num"]:
        return ""
    smallest, largest = (" x ".join(map(str, sizes[key])) for key in ("min", "max"))
    extent = smallest if sizes["num"] == 1 else f"{smallest} to {largest} ({sizes['num']} different)"
    settings = ", ".join(f"{key} {value}" for key, value in normalisation.items() if key != "method")
    return f"Height x width {extent} px. Magnitude {normalisation['method']} ({settings})."


def _duplicates(index: dict[str, Any]) -> str:
    found = index["duplicates"]
    if found["num_groups"] is None:
        return "Near-duplicates were not looked for."
    lines = [
        f"{index['num_chips']} chips show {found['num_groups']} different scenes: {found['exact_groups']} groups of "
        f"pixel-identical chips, {found['near_groups']} groups of near-duplicates."
    ]
    if found["spanning_splits"]:
        lines.append(f"**Leak**: {found['spanning_splits']} groups have chips on both sides of a split.")
    if found["spanning_labels"]:
        lines.append(f"**Contradiction**: {found['spanning_labels']} groups carry more than one label.")
    lines.extend(f"- {' = '.join(example['paths'])} ({example['kind']})" for example in found["examples"])
    return "## Near-duplicates\n\n" + "\n".join(lines)


def _rejected(index: dict[str, Any]) -> str:
    if not index["num_rejected"]:
        return ""
    lines = [f"- {item['path']}: {item['reason']}" for item in index["rejected"][:20]]
    return f"## Left out\n\n{index['num_rejected']} files, listed in index.json.\n\n" + "\n".join(lines)
