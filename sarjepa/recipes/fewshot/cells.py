"""From the records of runs to cells: means with their uncertainty, paired comparisons, the CSV.

A cell holds the runs that differ in their seed alone. Rows of a table may differ in the checkpoint and in
the variant (protocol, feature, solver, split policy), and a number never leaves its variant behind.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sarjepa.config import BASELINES
from sarjepa.evaluation.statistics import compare, summarise, wilson_interval

Record = Mapping[str, Any]
VARIANT = ("protocol", "pool", "solver", "split_policy")
ROW = ("checkpoint", *VARIANT)
CELL = (*ROW, "dataset", "shots")
CARRIED = ("label_set", "num_classes", "crop", "precision", "selection")
# What is read of a record.
RECORD = (*CELL, *CARRIED, "seed", "accuracy", "balanced_accuracy", "macro_f1", "recall", "confusion", "num_test",
          "short", "near_copy_percent", "draw_sha256")  # fmt: skip


def _rounded(number: float) -> float | None:
    return None if np.isnan(number) else round(float(number), 4)


def cell_of(records: Sequence[Record]) -> dict[str, Any]:
    """One cell of the grid: its runs' mean, spread and interval for every metric.

    Args:
        records: the finished runs of the cell, at least one.
    """
    first = records[0]
    accuracy = summarise([record["accuracy"] for record in records])
    ci95, kind = np.clip(accuracy.ci95, 0, 100), "t over runs"  # Student's t does not know that shares end there
    if accuracy.num == 1:
        confusion = np.array(first["confusion"])
        hits, total = int(np.trace(confusion)), int(confusion.sum())
        ci95, kind = np.array(wilson_interval(hits, total)), "Wilson over test images"
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
    """Every pair of checkpoints on their common draws, one entry per cell.

    Only like is compared with like: protocol, solver, split policy and feature are the same (a baseline has but one
    feature and is compared with every one).
    """
    by_cell: dict[tuple[Any, ...], dict[tuple[str, str], dict[str, float]]] = {}
    for record in records:
        place = tuple(record[key] for key in ("dataset", "protocol", "solver", "split_policy", "shots"))
        row = (record["checkpoint"], record["pool"])
        by_cell.setdefault(place, {}).setdefault(row, {})[record["draw_sha256"]] = record["accuracy"]
    found = []
    for place, by_row in by_cell.items():
        rows = list(by_row)
        for number, first in enumerate(rows):
            for second in rows[number + 1 :]:
                common = [draw for draw in by_row[first] if draw in by_row[second]]
                alike = first[1] == second[1] or first[1] in BASELINES or second[1] in BASELINES
                if alike and first[0] != second[0] and len(common) > 1:
                    found.append(_comparison(first, second, place, by_row, common))
    return found


def _comparison(
    first: tuple[str, str],
    second: tuple[str, str],
    place: tuple[Any, ...],
    by_row: Mapping[tuple[str, str], Mapping[str, float]],
    common: Sequence[str],
) -> dict[str, Any]:
    pair = compare([by_row[first][draw] for draw in common], [by_row[second][draw] for draw in common])
    dataset, protocol, solver, split_policy, shots = place
    return {
        "first": first[0],
        "second": second[0],
        "dataset": dataset,
        "protocol": protocol,
        "pool": second[1] if first[1] in BASELINES else first[1],
        "solver": solver,
        "split_policy": split_policy,
        "shots": shots,
        "num_pairs": pair.num,
        "difference": _rounded(pair.difference),
        "ci95": [_rounded(end) for end in pair.ci95],
        "wilcoxon_p": float(f"{pair.p_value:.3g}"),
    }


def csv_text(cells: Sequence[Record]) -> str:
    """One row per cell, with all that its number depends on."""
    columns = [*CELL, "num_runs", "mean", "std", "ci95_low", "ci95_high", "ci95_kind", "balanced_accuracy", "macro_f1",
               "near_copy_percent", "seeds", *CARRIED]  # fmt: skip
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for cell in cells:
        flat = {**cell, "ci95_low": cell["ci95"][0], "ci95_high": cell["ci95"][1],
                "seeds": " ".join(map(str, cell["seeds"]))}  # fmt: skip
        writer.writerow(["" if flat[column] is None else flat[column] for column in columns])
    return buffer.getvalue()
