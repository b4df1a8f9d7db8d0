"""What was measured of a run, read from the files of the commands: few-shot tables, reports of one run, attention.

A table is shown if it lies inside the run or was named. One under results/ is recognised by the checksum of the weights
in its rows, so a table of another state of the run is never taken for one of this state.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar
from xml.etree.ElementTree import Element

from sarjepa.documents import read_record
from sarjepa.errors import InputError
from sarjepa.recipes.report.run_content import RunContent, root_option
from sarjepa.reports.class_table import class_table
from sarjepa.reports.elements import bullets, element, notice, table_element
from sarjepa.reports.fewshot_tables import accuracy_table, comparison_table, detail_table, heading
from sarjepa.reports.page import Gap, Section
from sarjepa.reports.pictures import SUFFIXES, pictures, shown_picture
from sarjepa.results.records import RESULTS, VARIANT, Cell, FewshotResults, Report
from sarjepa.results.tables import counted, mean_with_spread

USUAL_PLACE = Path("results")  # where fewshot-bench writes without --out
_Kind = TypeVar("_Kind", Report, FewshotResults)


@dataclass(frozen=True)
class Found(Generic[_Kind]):
    """A JSON file of results: its path and its content."""

    path: Path
    content: _Kind


Reports = Sequence[Found[Report]]
Tables = Sequence[Found[FewshotResults]]


def find_results(name: str, kind: type[_Kind], folders: Sequence[Path]) -> tuple[list[Found[_Kind]], list[Gap]]:
    """The JSON files of a name below some folders, each once, and a gap for each that cannot be read.

    Args:
        name: name of the files.
        kind: type of the content.
        folders: folders to search, in order.

    Example:
        >>> Path("cut-short").mkdir()
        >>> _ = Path("cut-short/report.json").write_text("{")
        >>> reports, gaps = find_results("report.json", Report, [Path("cut-short")])
        >>> reports, gaps[0].what.partition(";")[0]
        ([], 'not readable as JSON: cut-short/report.json')
    """
    results: dict[Path, Found[_Kind]] = {}
    gaps = []
    for path in (path for folder in folders for path in sorted(folder.rglob(name))):
        if path.resolve() in results:
            continue
        try:
            results[path.resolve()] = Found(path, read_record(path, kind))
        except InputError as error:
            gaps.append(Gap(str(error)))
    return list(results.values()), gaps


def find_tables(run: RunContent, named: Sequence[str]) -> tuple[list[Found[FewshotResults]], list[Gap]]:
    """The few-shot tables inside the run and in the named folders, and those under results/ with the run's weights.

    Raises:
        InputError: a named folder does not exist, or holds no table.

    Example:
        >>> from sarjepa.recipes.report.run_content import read_run
        >>> Path("named").mkdir()
        >>> _ = Path("named/results.json").write_text('{"settings": {}, "runs": [], "cells": []}')
        >>> tables, gaps = find_tables(read_run(Path("runs/toy")), ["named"])  # it lies outside of the run
        >>> [str(table.path) for table in tables]
        ['named/results.json']
    """
    for folder in map(Path, named):
        if not any(folder.rglob(RESULTS)):
            hint = "give --results the --out of sarjepa fewshot-bench"
            raise InputError("no results in the folder", where=folder, expected=RESULTS, hint=hint)
    shown, gaps = find_results(RESULTS, FewshotResults, [run.folder, *map(Path, named)])
    usual, _ = find_results(RESULTS, FewshotResults, [USUAL_PLACE])
    there = {table.path.resolve() for table in shown}
    shown += [table for table in usual if table.path.resolve() not in there and _own_rows(run, table)]
    return shown, gaps


def _own_rows(run: RunContent, table: Found[FewshotResults]) -> set[str]:
    """The names that a table gives to the run's present weights; empty if no row was measured with them."""
    own = run.weights_sha256
    return {row.checkpoint for row in table.content.runs if own and row.weights_sha256 == own}


def fewshot_section(run: RunContent, tables: Tables, unread: Sequence[Gap], root: str) -> Section:
    """Every few-shot table with its notes, intervals and comparisons.

    Example:
        >>> from sarjepa.recipes.report.run_content import read_run
        >>> fewshot_section(read_run(Path("runs/toy")), [], [], "data").gaps[0].command
        'sarjepa fewshot-bench --checkpoint runs/toy --out runs/toy/fewshot'
    """
    content: list[Element] = []
    for table in tables:
        content += [element("h3", str(table.path.parent)), *_table_elements(run, table)]
    inside = shlex.quote(str(run.folder / "fewshot"))
    line = f"sarjepa fewshot-bench --checkpoint {run.typed} --out {inside}{root_option(root)}"
    gaps = unread if tables else [*unread, Gap("no few-shot table", line)]
    return Section("few-shot", "Few-shot tables", content, tuple(gaps))


def _table_elements(run: RunContent, table: Found[FewshotResults]) -> Iterator[Element]:
    cells, failed = table.content.cells, table.content.failed
    if not _own_rows(run, table):
        yield notice("No row of these tables was measured with the weights that the run holds now.")
    if failed:
        yield notice("Runs that failed and are not in the tables: ", bullets(failed))
    paper = table.content.settings.get("compare") == "paper"
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        yield table_element(accuracy_table(cells, dataset, paper))
    if (plot := table.path.with_name("plot.png")).is_file():
        yield shown_picture(plot)
    if pairs := table.content.comparisons:
        yield table_element(comparison_table(pairs, cells))
    if cells:
        yield table_element(detail_table(cells))


def class_section(run: RunContent, reports: Reports, unread: Sequence[Gap], root: str, chips: bool) -> Section:
    """The reports of probe and finetune, class by class, with their pictures.

    Example:
        >>> from sarjepa.recipes.report.run_content import read_run
        >>> [gap.command for gap in class_section(read_run(Path("runs/toy")), [], [], "data", chips=True).gaps]
        ['sarjepa probe --checkpoint runs/toy --dataset toy', 'sarjepa finetune --checkpoint runs/toy --dataset toy']
    """
    content: list[Element] = []
    for report in reports:
        content += [
            element("h3", f"{report.content.protocol} on {report.content.dataset}"),
            table_element(class_table(report.content)),
            *pictures(report.path.parent, chips),
        ]
    protocols = {report.content.protocol for report in reports}
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


def report_line(found: Found[Report]) -> str:
    """A report's accuracy in one line."""
    report = found.content
    # num_train is 0 for a saved classifier, whose training chips are unknown.
    whole = ", the whole training split" if report.num_train else ""
    trained_on = f", {counted(report.shots, 'shot')} a class" if report.shots else whole
    low, high = report.accuracy_ci95
    return (
        f"{report.protocol} on {report.dataset}{trained_on}: {report.accuracy:.1f}% "
        f"(95% interval {low:.1f} to {high:.1f}), macro-F1 {report.macro_f1:.1f}%"
    )


def fewshot_lines(run: RunContent, tables: Tables) -> list[str]:
    """The few-shot accuracies of this run's weights, one line per table, data set and variant, each once.

    A line names the folder of its table where there are several.
    """
    cells_of: dict[tuple[Path, str], list[Cell]] = {}
    for table in tables:
        own = _own_rows(run, table)
        for cell in (cell for cell in table.content.cells if cell.checkpoint in own):
            variant = [f"{heading(key)} {getattr(cell, key)}" for key in VARIANT if key != "protocol"]
            name = ", ".join([cell.dataset, cell.protocol, *variant])
            cells_of.setdefault((table.path.parent, name), []).append(cell)
    folders: dict[str, Path] = {}
    for (folder, name), cells in cells_of.items():
        numbers = dict.fromkeys(map(_number, sorted(cells, key=lambda cell: cell.shots)))
        mark = "; * fewer chips than shots in some classes" if any(cell.short for cell in cells) else ""
        folders.setdefault(f"{name}: {', '.join(numbers)}{mark}", folder)
    is_one = len(set(folders.values())) == 1
    return [line if is_one else f"{folder}: {line}" for line, folder in folders.items()]


def _number(cell: Cell) -> str:
    runs = f", {counted(cell.num_runs, 'run')}" if cell.incomplete else ""
    star = "*" if cell.short else ""
    return f"{mean_with_spread(cell.mean, cell.std)}%{star} ({counted(cell.shots, 'shot')}{runs})"


def attention_folders(run: RunContent) -> list[Path]:
    """The folders of visualize-attention inside the run: one, or one per checkpoint.

    Example:
        >>> from sarjepa.recipes.report.run_content import read_run
        >>> Path("looked/attention").mkdir(parents=True)
        >>> for name in ("log.jsonl", "attention/maps.png", "attention/attention-distance.csv"):
        ...     (Path("looked") / name).touch()
        >>> [str(folder) for folder in attention_folders(read_run(Path("looked")))]
        ['looked/attention']
    """
    files = [path for path in run.folder.glob("attention*/**/*") if path.suffix in (*SUFFIXES, ".pdf")]
    return sorted({path.parent for path in files})


def attention_section(run: RunContent, root: str, chips: bool) -> Section:
    """The pictures of visualize-attention.

    Example:
        >>> from sarjepa.recipes.report.run_content import read_run
        >>> attention_section(read_run(Path("runs/toy")), "data", chips=True).gaps[0].command
        'sarjepa visualize-attention --checkpoint runs/toy'
    """
    line = f"sarjepa visualize-attention --checkpoint {run.typed}{root_option(root)}"
    folders, content, gaps = attention_folders(run), [], []
    for folder in folders:
        if len(folders) > 1:
            content.append(element("h3", folder.relative_to(run.folder).as_posix()))
        content += pictures(folder, chips)
        if any(folder.glob("*.pdf")):
            gaps.append(Gap(f"a page cannot show the PDF pictures of {folder}", f"{line} --format png"))
    if not folders:
        gaps.append(Gap("no attention pictures", line))
    return Section("attention", "Attention", content, tuple(gaps))
