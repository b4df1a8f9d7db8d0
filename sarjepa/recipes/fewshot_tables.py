"""From the records of runs to cells, tables and the plot of fewshot-bench."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sarjepa.evaluation.statistics import bootstrap_interval, compare, summarise
from sarjepa.reports.figures import Line, accuracy_against_shots
from sarjepa.reports.paper import SOURCE, published
from sarjepa.reports.tables import Table

Record = Mapping[str, Any]
CELL = ("checkpoint", "dataset", "protocol", "shots")
CARRIED = ("label_set", "num_classes", "split_policy", "crop", "pool", "solver", "precision", "selection")
PAPER_TABLE = "table6"


def _rounded(number: float) -> float | None:
    return None if np.isnan(number) else round(float(number), 4)


def cell_of(records: Sequence[Record]) -> dict[str, Any]:
    """One cell of the grid: its runs' mean, spread and interval for every metric.

    Args:
        records: the finished runs of the cell, at least one.
    """
    first = records[0]
    accuracy = summarise([record["accuracy"] for record in records])
    ci95, kind = accuracy.ci95, "t over runs"
    if accuracy.num == 1:
        confusion = np.array(first["confusion"])
        hits, total = int(np.trace(confusion)), int(confusion.sum())
        ci95, kind = bootstrap_interval(np.repeat([100.0, 0.0], [hits, total - hits])), "bootstrap over test images"
    cell: dict[str, Any] = {key: first[key] for key in CELL}
    cell |= {
        "num_runs": accuracy.num,
        "mean": _rounded(accuracy.mean),
        "std": _rounded(accuracy.std),
        "ci95": [_rounded(end) for end in ci95],
        "ci95_kind": kind,
        "seeds": [record["seed"] for record in records],
        "num_test": sorted({record["num_test"] for record in records}),
    }
    for metric in ("balanced_accuracy", "macro_f1"):
        summary = summarise([record[metric] for record in records])
        cell |= {metric: _rounded(summary.mean), f"{metric}_std": _rounded(summary.std)}
    recalls = {name: [record["recall"][name] for record in records] for name in first["recall"]}
    cell["recall"] = {
        name: _rounded(float(np.mean([value for value in values if value is not None] or [np.nan])))
        for name, values in recalls.items()
    }
    cell["confusion"] = np.sum([record["confusion"] for record in records], axis=0).tolist()
    cell["short"] = {name: had for record in records for name, had in sorted(record["short"].items())}
    cell["near_copy_percent"] = round(float(np.mean([record["near_copy_percent"] for record in records])), 2)
    return cell | {key: first[key] for key in CARRIED}


def make_cells(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The cells in the order in which their first runs come."""
    grouped: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        grouped.setdefault(tuple(record[key] for key in CELL), []).append(record)
    return [cell_of(group) for group in grouped.values()]


def comparisons(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Every pair of checkpoints on their common draws, a cell each."""
    by_cell: dict[tuple[Any, ...], dict[str, dict[str, float]]] = {}
    for record in records:
        place = tuple(record[key] for key in CELL[1:])
        by_cell.setdefault(place, {}).setdefault(record["checkpoint"], {})[record["draw_sha256"]] = record["accuracy"]
    found = []
    for place, by_checkpoint in by_cell.items():
        names = list(by_checkpoint)
        for number, first in enumerate(names):
            for second in names[number + 1 :]:
                common = [draw for draw in by_checkpoint[first] if draw in by_checkpoint[second]]
                if len(common) < 2:
                    continue
                pair = compare([by_checkpoint[first][d] for d in common], [by_checkpoint[second][d] for d in common])
                found.append(
                    {
                        "first": first,
                        "second": second,
                        **dict(zip(CELL[1:], place, strict=True)),
                        "num_pairs": pair.num,
                        "difference": _rounded(pair.difference),
                        "ci95": [_rounded(end) for end in pair.ci95],
                        "wilcoxon_p": float(f"{pair.p_value:.3g}"),
                    }
                )
    return found


def _entry(cell: Record) -> str:
    marks = ("*" if cell["short"] else "") + (f" ({cell['num_runs']} runs)" if cell.get("incomplete") else "")
    return (f"{cell['mean']:.1f}" if cell["std"] is None else f"{cell['mean']:.1f} ± {cell['std']:.1f}") + marks


def cells_note(cells: Sequence[Record]) -> str:
    """What a reader needs to trust the numbers, data set by data set."""
    notes = ["Accuracy (%) over the whole test set, mean ± sample standard deviation over draws."]
    for dataset in dict.fromkeys(cell["dataset"] for cell in cells):
        own = [cell for cell in cells if cell["dataset"] == dataset]
        one = own[0]
        crop = f"centre crop {one['crop']} px" if one["crop"] else "whole chip"
        tested = "-".join(
            str(n) for n in sorted({n for cell in own for n in (cell["num_test"][0], cell["num_test"][-1])})
        )
        text = (
            f"{dataset}: {one['num_classes']} classes ({one['label_set']}), {one['split_policy']} split, {tested} test "
            f"chips, {crop}"
        )
        copies = max(cell["near_copy_percent"] for cell in own)
        if copies >= 0.05:
            text += f", up to {copies:.0f}% of the test chips have a near-copy among the shots"
        short = {name: had for cell in own for name, had in cell["short"].items()}
        if short:
            text += "; * fewer chips than shots: " + ", ".join(f"{name} has {had}" for name, had in short.items())
        notes.append(text + ".")
    one = cells[0]
    seeds = sorted({seed for cell in cells for seed in cell["seeds"]})
    notes.append(
        f"Feature {one['pool']}, solver {one['solver']}, seeds {seeds[0]} to {seeds[-1]}, "
        f"selection: {one['selection']}, {one['precision']}."
    )
    return " ".join(notes)


def accuracy_table(cells: Sequence[Record], protocol: str, paper: bool = False) -> Table:
    """Checkpoints down, data sets and shots across, as the paper's tables."""
    own = [cell for cell in cells if cell["protocol"] == protocol]
    places = list(dict.fromkeys((cell["dataset"], cell["shots"]) for cell in own))
    entries = {(cell["checkpoint"], cell["dataset"], cell["shots"]): _entry(cell) for cell in own}
    names = list(dict.fromkeys(cell["checkpoint"] for cell in own))
    rows = [(name, *(entries.get((name, *place), "-") for place in places)) for name in names]
    note = cells_note(own)
    if paper:
        numbers = published(PAPER_TABLE, protocol)
        for method, by_place in numbers.items():
            row = tuple(f"{by_place[place]:.1f}" if place in by_place else "-" for place in places)
            if any(entry != "-" for entry in row):
                rows.append((f"paper: {method}", *row))
        note += f" paper: {SOURCE}, {PAPER_TABLE}; its draws and crops are not published."
    columns = ("checkpoint", *(f"{dataset} {shots}" for dataset, shots in places))
    return Table(f"{protocol}: accuracy (%) by shots a class", columns, tuple(rows), note)


def detail_table(cells: Sequence[Record]) -> Table:
    """A row a cell, with the interval and the metrics that do not hide small classes."""
    rows = tuple(
        (
            cell["checkpoint"],
            cell["dataset"],
            cell["protocol"],
            str(cell["shots"]),
            str(cell["num_runs"]),
            _entry(cell),
            f"{cell['ci95'][0]:.1f} to {cell['ci95'][1]:.1f}",
            f"{cell['balanced_accuracy']:.1f}",
            f"{cell['macro_f1']:.1f}",
        )
        for cell in cells
    )
    columns = (
        "checkpoint",
        "data set",
        "protocol",
        "shots",
        "runs",
        "accuracy",
        "95% interval",
        "balanced",
        "macro-F1",
    )
    kinds = ", ".join(sorted({cell["ci95_kind"] for cell in cells}))
    return Table("Every cell", columns, rows, f"95% interval: {kinds}.")


def comparison_table(pairs: Sequence[Record]) -> Table:
    """Paired differences of checkpoints."""
    rows = tuple(
        (
            f"{pair['first']} - {pair['second']}",
            pair["dataset"],
            pair["protocol"],
            str(pair["shots"]),
            f"{pair['difference']:+.1f}",
            f"{pair['ci95'][0]:+.1f} to {pair['ci95'][1]:+.1f}",
            f"{pair['wilcoxon_p']:.3g}",
        )
        for pair in pairs
    )
    columns = ("pair", "data set", "protocol", "shots", "difference", "95% interval", "Wilcoxon p")
    note = "Differences in points of accuracy on the same draws; the interval is over draws, not over pre-trainings."
    return Table("Paired comparison", columns, rows, note)


def csv_text(cells: Sequence[Record]) -> str:
    """A row a cell, unrounded."""
    columns = [*CELL, "num_runs", "mean", "std", "ci95_low", "ci95_high", "ci95_kind", "balanced_accuracy", "macro_f1",
               "near_copy_percent", *CARRIED]  # fmt: skip
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for cell in cells:
        flat = {**cell, "ci95_low": cell["ci95"][0], "ci95_high": cell["ci95"][1]}
        writer.writerow(["" if flat[column] is None else flat[column] for column in columns])
    return buffer.getvalue()


def plot(cells: Sequence[Record], paper: bool = False) -> bytes:
    """Accuracy against shots, a panel a data set, a line a checkpoint and protocol."""
    panels: dict[str, list[Line]] = {}
    many = len({cell["protocol"] for cell in cells}) > 1
    for dataset in dict.fromkeys(cell["dataset"] for cell in cells):
        lines: dict[str, list[tuple[float, float, float, float]]] = {}
        for cell in cells:
            if cell["dataset"] == dataset:
                label = f"{cell['checkpoint']}, {cell['protocol']}" if many else cell["checkpoint"]
                lines.setdefault(label, []).append((cell["shots"], cell["mean"], *cell["ci95"]))
        panels[dataset] = [Line(label, tuple(sorted(points))) for label, points in lines.items()]
        if paper:
            for protocol in dict.fromkeys(cell["protocol"] for cell in cells):
                numbers = published(PAPER_TABLE, protocol)["sar-jepa"]
                points = [(shots, value, value, value) for (name, shots), value in numbers.items() if name == dataset]
                if points:
                    panels[dataset].append(Line(f"paper: sar-jepa, {protocol}", tuple(points), dashed=True))
    chance = {cell["dataset"]: 100 / cell["num_classes"] for cell in cells}
    return accuracy_against_shots(panels, chance)
