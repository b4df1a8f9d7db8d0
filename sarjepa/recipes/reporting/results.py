"""What was measured of a run: few-shot tables and reports a class. Read from the files that the commands left.

A table is shown where it lies inside the run or was named; one under results/ is recognised by the hash of the weights
that its rows carry, so a table of another state of the run is never taken for this one's.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from sarjepa.errors import InputError
from sarjepa.recipes.fewshot.cells import CARRIED, CELL
from sarjepa.recipes.fewshot.tables import accuracy_table, comparison_table, detail_table
from sarjepa.recipes.reporting.pictures import pictures, shown_picture
from sarjepa.recipes.reporting.run import RunContent, root_option
from sarjepa.recipes.shared.class_report import KEYS, class_table
from sarjepa.reports.elements import bullets, element, notice, table_element
from sarjepa.reports.page import Gap, Section
from sarjepa.results.tables import counted

USUAL_PLACE = Path("results")  # where fewshot-bench writes when it is not told
# What the tables read of a cell.
CELL_KEYS = (*CELL, *CARRIED, "num_runs", "mean", "std", "ci95", "ci95_kind", "seeds", "num_test", "short",
             "incomplete", "balanced_accuracy", "macro_f1", "near_copy_percent")  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A JSON file of results: where it is and what is in it."""

    path: Path
    content: dict[str, Any]


def find_results(name: str, keys: Sequence[str], folders: Sequence[Path]) -> tuple[list[Found], list[Gap]]:
    """The JSON files of a name below some folders, each once, and those that are not what they are called.

    Args:
        name: of the files.
        keys: that such a file holds.
        folders: searched through, in order.
    """
    found: dict[Path, Found] = {}
    gaps = []
    for path in (path for folder in folders for path in sorted(folder.rglob(name))):
        if path.resolve() in found:
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:  # not JSON, or not UTF-8
            gaps.append(Gap(f"{path} cannot be read: {error}"))
            continue
        if lacking := _lacking(content, keys):
            gaps.append(Gap(f"{path} is of another kind or version: it lacks {', '.join(lacking)}"))
        else:
            found[path.resolve()] = Found(path, content)
    return list(found.values()), gaps


def _lacking(content: Any, keys: Sequence[str]) -> list[str]:
    """The keys that a file lacks, or a cell of it."""
    if not isinstance(content, dict):
        return list(keys)
    lacking = [key for key in keys if key not in content]
    cells = content["cells"] if "cells" in keys and not lacking else []
    return lacking + [f"{key} in a cell" for key in CELL_KEYS if any(key not in cell for cell in cells)]


def find_reports(run: RunContent) -> tuple[list[Found], list[Gap]]:
    """What probe and finetune left inside the run."""
    return find_results("report.json", KEYS, [run.folder])


def find_tables(run: RunContent, named: Sequence[str]) -> tuple[list[Found], list[Gap]]:
    """The few-shot tables inside the run and in the named folders, and those of the usual place with its weights.

    Raises:
        InputError: a named folder is not there, or holds none.
    """
    keys = ("runs", "cells", "settings")
    for folder in map(Path, named):
        if not any(folder.rglob("results.json")):
            hint = "give --results the --out of sarjepa fewshot-bench"
            raise InputError("no results in the folder", where=folder, expected="results.json", hint=hint)
    shown, gaps = find_results("results.json", keys, [run.folder, *map(Path, named)])
    usual, _ = find_results("results.json", keys, [USUAL_PLACE])
    there = {one.path.resolve() for one in shown}
    shown += [one for one in usual if one.path.resolve() not in there and _is_of(run, one)]
    return shown, gaps


def _is_of(run: RunContent, found: Found) -> bool:
    return bool(run.weights_sha256) and run.weights_sha256 in {
        row.get("weights_sha256") for row in found.content["runs"]
    }


def fewshot_section(run: RunContent, tables: Sequence[Found], unread: Sequence[Gap], root: str) -> Section:
    """Every few-shot table with its notes, intervals and comparisons."""
    content: list[Element] = []
    for found in tables:
        content += [element("h3", str(found.path.parent)), *_table_elements(run, found)]
    inside = shlex.quote(str(run.folder / "fewshot"))
    line = f"sarjepa fewshot-bench --checkpoint {run.typed} --out {inside}{root_option(root)}"
    gaps = unread if tables else [*unread, Gap("no few-shot table", line)]
    return Section("few-shot", "Few-shot tables", content, tuple(gaps))


def _table_elements(run: RunContent, found: Found) -> Iterator[Element]:
    cells, failed = found.content["cells"], found.content.get("failed") or []
    if not _is_of(run, found):
        yield notice("No row of these tables was measured with the weights that the run holds now.")
    if failed:
        yield notice("Runs that failed and are not in the tables: ", bullets(failed))
    paper = found.content["settings"].get("compare") == "paper"
    for dataset in dict.fromkeys(cell["dataset"] for cell in cells):
        yield table_element(accuracy_table(cells, dataset, paper))
    if (plot := found.path.with_name("plot.png")).is_file():
        yield shown_picture(plot)
    if pairs := found.content.get("comparisons"):
        yield table_element(comparison_table(pairs))
    if cells:
        yield table_element(detail_table(cells))


def class_section(run: RunContent, reports: Sequence[Found], unread: Sequence[Gap], root: str, chips: bool) -> Section:
    """What probe and finetune found, a class at a time, with their pictures."""
    content: list[Element] = []
    for found in reports:
        content += [
            element("h3", f"{found.content['protocol']} on {found.content['dataset']}"),
            table_element(class_table(found.content)),
            *pictures(found.path.parent, chips),
        ]
    protocols = {found.content["protocol"] for found in reports}
    dataset = run.sources[0] if run.sources else "mstar"
    gaps = [
        Gap(
            f"no report of {command}",
            f"sarjepa {command} --checkpoint {run.typed} --dataset {shlex.quote(dataset)}{root_option(root)}",
        )
        for protocol, command in (("linear-probe", "probe"), ("fine-tune", "finetune"))
        if protocol not in protocols
    ]
    return Section("classes", "Class by class", content, (*unread, *gaps))


def report_line(found: Found) -> str:
    """A report's accuracy in one line."""
    one = found.content
    # A saved classifier was trained before, and nobody asked on what.
    whole = ", the whole training split" if one["num_train"] else ""
    trained_on = f", {counted(one['shots'], 'shot')} a class" if one["shots"] else whole
    low, high = one["accuracy_ci95"]
    return (
        f"{one['protocol']} on {one['dataset']}{trained_on}: {one['accuracy']:.1f}% "
        f"(95% interval {low:.1f} to {high:.1f}), macro-F1 {one['macro_f1']:.1f}%"
    )


def fewshot_lines(run: RunContent, tables: Sequence[Found]) -> list[str]:
    """The few-shot accuracies of this run's weights, one line per data set and variant, each once."""
    entries: dict[str, dict[str, None]] = {}
    for found in tables:
        own = {row["checkpoint"] for row in found.content["runs"] if row.get("weights_sha256") == run.weights_sha256}
        for cell in found.content["cells"]:
            if run.weights_sha256 and cell["checkpoint"] in own:
                variant = ", ".join(str(cell[key]) for key in ("protocol", "pool", "solver"))
                spread = "" if cell["std"] is None else f" ± {cell['std']:.1f}"
                name = f"{cell['dataset']}, {variant}, {cell['split_policy']} split"
                entries.setdefault(name, {})[f"{cell['mean']:.1f}{spread}% ({counted(cell['shots'], 'shot')})"] = None
    return [f"{name}: {', '.join(numbers)}" for name, numbers in entries.items()]
