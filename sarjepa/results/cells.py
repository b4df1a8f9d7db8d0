"""From the records of runs to cells: means with their uncertainty, paired comparisons, the CSV.

A cell holds the runs that differ in their seed alone. Rows of a table may differ in the checkpoint and in the variant
(protocol, feature, solver, split policy), and every number is stored with its variant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from sarjepa.results.records import CELL, VARIANT, Cell, Comparison, Measurement, Run
from sarjepa.results.statistics import compare, summarise, wilson_interval
from sarjepa.results.tables import csv_text


def _rounded(number: float) -> float:
    return round(number, 4)


def _or_none(number: float) -> float | None:
    return None if np.isnan(number) else _rounded(number)


def cell_of(runs: Sequence[Run], num_wanted: int) -> Cell:
    """One cell of the grid: its runs' mean, spread and interval for every metric.

    Args:
        runs: the finished runs of the cell, at least one.
        num_wanted: number of runs that the call asks for.

    Example:
        >>> facts = dict.fromkeys(field.name for field in fields(Run)) | {"recall": {}, "short": {}}
        >>> facts |= {"balanced_accuracy": 60.0, "macro_f1": 60.0, "confusion": ((6, 4), (4, 6))}
        >>> runs = [Run(**facts | {"accuracy": accuracy}) for accuracy in (60.0, 64.0)]  # otherwise alike
        >>> [(cell.mean, cell.ci95, cell.ci95_kind) for cell in (cell_of(runs, 2), cell_of(runs[:1], 1))]
        [(62.0, (36.5876, 87.4124), 't over runs'), (60.0, (38.6582, 78.1193), 'Wilson over test images')]
    """
    accuracy = summarise([run.accuracy for run in runs])
    low, high = np.clip(accuracy.ci95, 0, 100)  # Student's t may exceed the limits of a percentage
    kind = "t over runs"
    if accuracy.num == 1:
        low, high = wilson_interval(_num_right(runs[0]), int(np.sum(runs[0].confusion)))
        kind = "Wilson over test images"
    balanced, macro_f1 = (
        summarise([getattr(run, metric) for run in runs]) for metric in ("balanced_accuracy", "macro_f1")
    )
    copies = [run.near_copy_percent for run in runs if run.near_copy_percent is not None]
    recalls = {name: [recall for run in runs if (recall := run.recall[name]) is not None] for name in runs[0].recall}
    return Cell(
        **runs[0].shared(),
        num_runs=accuracy.num,
        mean=_rounded(accuracy.mean),
        std=_or_none(accuracy.std),
        ci95=(_rounded(float(low)), _rounded(float(high))),
        ci95_kind=kind,
        seeds=tuple(run.seed or 0 for run in runs),
        num_test=tuple(sorted({run.num_test for run in runs})),
        balanced_accuracy=_rounded(balanced.mean),
        balanced_accuracy_std=_or_none(balanced.std),
        macro_f1=_rounded(macro_f1.mean),
        macro_f1_std=_or_none(macro_f1.std),
        recall={name: _rounded(float(np.mean(values))) if values else None for name, values in recalls.items()},
        confusion=tuple(map(tuple, np.sum([run.confusion for run in runs], axis=0).tolist())),
        short={name: had for run in runs for name, had in sorted(run.short.items())},
        near_copy_percent=round(float(np.mean(copies)), 2) if copies else None,
        incomplete=accuracy.num < num_wanted,
    )


def make_cells(runs: Sequence[Run], num_wanted: int) -> list[Cell]:
    """The cells, in the order of their first runs; for the arguments see `cell_of`.

    Example:
        >>> facts = dict.fromkeys(field.name for field in fields(Run)) | {"recall": {}, "short": {}}
        >>> facts |= {"balanced_accuracy": 60.0, "macro_f1": 60.0, "confusion": ((6, 4), (4, 6))}
        >>> runs = [Run(**facts | {"accuracy": 60.0, "shots": shots}) for shots in (5, 10, 5)]  # otherwise alike
        >>> [(cell.shots, cell.num_runs, cell.incomplete) for cell in make_cells(runs, num_wanted=2)]
        [(5, 2, False), (10, 1, True)]
    """
    grouped: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        grouped.setdefault(tuple(getattr(run, key) for key in CELL), []).append(run)
    return [cell_of(group, num_wanted) for group in grouped.values()]


def comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """Every pair of checkpoints on their common draws, one entry per cell.

    Only runs of the same variant are compared, except that a baseline, which has only one feature, is compared with
    every feature.

    Example:
        >>> facts = dict.fromkeys(field.name for field in fields(Run)) | {"shots": 5}
        >>> hits = {"mine": (61, 64, 66), "theirs": (60, 62, 65)}  # of 100 chips, on the same three draws
        >>> runs = [Run(**facts | {"checkpoint": name, "confusion": ((num, 100 - num),), "draw_sha256": str(number)})
        ...         for name, values in hits.items() for number, num in enumerate(values)]
        >>> [(pair.difference, pair.ci95, pair.num_pairs) for pair in comparisons(runs)]
        [(1.3333, (-0.1009, 2.7676), 3)]
    """
    shared = [key for key in VARIANT if key != "pool"]
    by_cell: dict[tuple[Any, ...], dict[tuple[str, str], dict[str, Run]]] = {}
    for run in runs:
        cell = (run.dataset, *(getattr(run, key) for key in shared), run.shots)
        by_cell.setdefault(cell, {}).setdefault((run.checkpoint, run.pool), {})[run.draw_sha256] = run
    compared = []
    for by_row in by_cell.values():
        rows = list(by_row.values())
        for number, first in enumerate(rows):
            for second in rows[number + 1 :]:
                pairs = [(first[draw], second[draw]) for draw in first if draw in second]
                if len(pairs) < 2:
                    continue
                run, other = pairs[0]
                has_same_feature = run.pool == other.pool or run.is_baseline or other.is_baseline
                if has_same_feature and run.checkpoint != other.checkpoint:
                    compared.append(_comparison(pairs))
    return compared


def _num_right(run: Run) -> int:
    return int(np.trace(np.array(run.confusion)))


def _comparison(pairs: Sequence[tuple[Run, Run]]) -> Comparison:
    """The comparison of two rows, from their runs of the same draws."""
    # Of counts: accuracies are rounded, and a difference of so many chips would not always be the same number.
    pair = compare(
        [100 * (_num_right(first) - _num_right(second)) / np.sum(first.confusion) for first, second in pairs]
    )
    first, second = pairs[0]
    assert first.shots is not None
    variant = {key: getattr(first, key) for key in VARIANT}
    return Comparison(
        **{**variant, "pool": second.pool if first.is_baseline else first.pool},
        first=first.checkpoint,
        second=second.checkpoint,
        dataset=first.dataset,
        shots=first.shots,
        num_pairs=pair.num,
        difference=_rounded(pair.difference),
        ci95=(_rounded(pair.ci95[0]), _rounded(pair.ci95[1])),
        wilcoxon_p=float(f"{pair.p_value:.3g}"),
    )


def cells_csv(cells: Sequence[Cell]) -> str:
    """One row per cell, with everything that its number depends on.

    Example:
        >>> import csv
        >>> facts = dict.fromkeys(field.name for field in fields(Cell)) | {"ci95": (57.0, 67.0), "seeds": (0, 1)}
        >>> [row] = csv.DictReader(cells_csv([Cell(**facts)]).splitlines())
        >>> row["ci95_low"], row["ci95_high"], row["seeds"]
        ('57.0', '67.0', '0 1')
    """
    carried = [field.name for field in fields(Measurement) if field.name not in CELL]
    columns = [*CELL, "num_runs", "mean", "std", "ci95_low", "ci95_high", "ci95_kind", "balanced_accuracy", "macro_f1",
               "near_copy_percent", "seeds", *carried]  # fmt: skip
    rows = []
    for cell in cells:
        ends = {"ci95_low": cell.ci95[0], "ci95_high": cell.ci95[1], "seeds": " ".join(map(str, cell.seeds))}
        facts: Mapping[str, Any] = {**vars(cell), **ends}
        rows.append([facts[column] for column in columns])
    return csv_text(columns, rows)
