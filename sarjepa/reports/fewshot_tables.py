"""The tables and the plot of fewshot-bench, from its cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sarjepa.reports.accuracy_figures import Line, accuracy_against_shots
from sarjepa.reports.figures import figure_bytes
from sarjepa.reports.paper import SOURCE, published
from sarjepa.results.records import ROW, VARIANT, Cell, Comparison
from sarjepa.results.statistics import CONFIDENCE, holm
from sarjepa.results.tables import Table, counted, mean_with_spread

PAPER_TABLE = "table6"
_OTHER_HEADINGS = {"pool": "feature", "split_policy": "split", "augment": "augmentation"}


def heading(key: str) -> str:
    """The heading of a field of a variant in a table.

    Example:
        >>> heading("pool"), heading("solver")
        ('feature', 'solver')
    """
    return _OTHER_HEADINGS.get(key, key)


def _distinct(records: Sequence[Cell] | Sequence[Comparison], key: str) -> list[Any]:
    return list(dict.fromkeys(getattr(record, key) for record in records))


def _varying(cells: Sequence[Cell]) -> tuple[str, ...]:
    """The keys in which rows of a table differ: the checkpoint, and parts of the variant.

    A baseline, whose feature is its own, counts where its own rows differ.
    """
    encoded = [cell for cell in cells if not cell.is_baseline]
    baselines = {
        cell.checkpoint: [own for own in cells if own.checkpoint == cell.checkpoint]
        for cell in cells
        if cell.is_baseline
    }
    alike = [encoded, *baselines.values()]
    return ("checkpoint", *(key for key in VARIANT if any(len(_distinct(rows, key)) > 1 for rows in alike)))


def _value(cell: Cell, key: str) -> Any:
    """A part of a row; the rule of the split stands in place of "published" where no split is published."""
    return cell.divided if key == "split_policy" and cell.split else getattr(cell, key)


def _entry(cell: Cell) -> str:
    marks = ("*" if cell.short else "") + (f" ({counted(cell.num_runs, 'run')})" if cell.incomplete else "")
    return mean_with_spread(cell.mean, cell.std) + marks


def _split_note(cells: Sequence[Cell], policy: str) -> str:
    """The test set of a split policy, its chips of groups learnt from, and classes with few chips, in words."""
    own = [cell for cell in cells if cell.split_policy == policy]
    sizes = sorted({size for cell in own for size in cell.num_test})
    tested = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    copies = max((cell.near_copy_percent for cell in own if cell.near_copy_percent is not None), default=None)
    text = f"{own[0].divided}, {tested} test chips"
    if copies is None:
        text += "; whether some are near-copies of chips learnt from is not known"
    elif copies >= 0.05:
        text += (
            f", up to {copies:.0f}% of them of a group of chips learnt from (near-copies, one scene or a named group)"
        )
    short = {name: had for cell in own for name, had in cell.short.items()}
    if short:
        text += "; * fewer chips than shots: " + ", ".join(f"{name} has {had}" for name, had in sorted(short.items()))
    return text


def dataset_note(cells: Sequence[Cell]) -> str:
    """What a reader needs to trust the numbers of one data set."""
    first = cells[0]
    crop = f"centre crop {first.crop} px" if first.crop else "whole chip"
    seeds = sorted({seed for cell in cells for seed in cell.seeds})
    drawn = f"One draw, of seed {seeds[0]}"
    if len(seeds) > 1:
        drawn = f"Mean ± sample standard deviation over draws of seeds {seeds[0]} to {seeds[-1]}"
    parts = [
        f"{drawn}, {first.num_classes} classes ({first.label_set}), {crop}, {first.precision}",
        *(_split_note(cells, policy) for policy in _distinct(cells, "split_policy")),
    ]
    fixed = [key for key in VARIANT if key != "split_policy" and key not in _varying(cells)]
    encoded = next((cell for cell in cells if not cell.is_baseline), first)
    facts = [f"{heading(key)} {getattr(encoded, key)}" for key in fixed]
    extra = [cell for cell in cells if cell.is_baseline and any(
        getattr(cell, key) != getattr(encoded, key) for key in ("protocol", "solver") if key in fixed)]  # fmt: skip
    if extra:
        differing = [getattr(extra[0], key) for key in ("protocol", "solver") if key in fixed]
        facts.append(f"baselines by {' and '.join(differing)}")
    rules = "; ".join(f"{solver}: {rule}" for solver, rule in dict(
        (cell.solver, cell.selection) for cell in cells).items())  # fmt: skip
    if first.leaks:
        parts.append(f"Beware: {first.leaks}")
    for seen in filter(None, _distinct(cells, "seen")):
        names = _distinct([cell for cell in cells if cell.seen == seen], "checkpoint")
        parts.append(f"Beware, {', '.join(names)}: {seen}")
    return ". ".join([*parts, ", ".join([*facts, f"selection {rules}"])]) + "."


def accuracy_table(cells: Sequence[Cell], dataset: str, paper: bool = False) -> Table:
    """One data set: one row per checkpoint and variant, one column per number of shots."""
    own = [cell for cell in cells if cell.dataset == dataset]
    shots, keys = sorted(_distinct(own, "shots")), _varying(own)
    entries = {(*(getattr(cell, key) for key in ROW), cell.shots): _entry(cell) for cell in own}
    cell_of_row = {tuple(getattr(cell, key) for key in ROW): cell for cell in own}
    rows = [
        (*(_value(cell, key) for key in keys), *(entries.get((*row, num), "-") for num in shots))
        for row, cell in cell_of_row.items()
    ]
    note = dataset_note(own)
    if paper:
        published_rows = _paper_rows(own, dataset, keys, shots)
        rows += published_rows
        if published_rows:
            note += f" paper: {SOURCE}, {PAPER_TABLE}; centre crop 128 px; its draws are not published."
    columns = (*(heading(key) for key in keys), *(counted(num, "shot") for num in shots))
    return Table(f"{dataset}: accuracy (%)", columns, tuple(rows), note)


def _paper_rows(
    cells: Sequence[Cell], dataset: str, keys: Sequence[str], shots: Sequence[int]
) -> list[tuple[str, ...]]:
    """The published numbers of a data set, for the protocols in the table."""
    rows = []
    stated = {"pool": "cls", "solver": "adamw", "split_policy": "published", "recipe": "published", "augment": "none"}
    for protocol in _distinct(cells, "protocol"):
        for method, numbers in published(PAPER_TABLE, protocol).items():
            facts = {**stated, "checkpoint": f"paper: {method}", "protocol": protocol}
            if protocol == "fine-tune":
                facts["solver"] = "fine-tune"
            row = tuple(f"{numbers[dataset, num]:.1f}" if (dataset, num) in numbers else "-" for num in shots)
            if any(entry != "-" for entry in row):
                rows.append((*(facts[key] for key in keys), *row))
    return rows


def detail_table(cells: Sequence[Cell]) -> Table:
    """One row per cell, with the interval and the metrics in which small classes count as much as large ones."""
    keys = _varying(cells)
    rows = tuple(
        (
            cell.dataset,
            *(_value(cell, key) for key in keys),
            str(cell.shots),
            str(cell.num_runs),
            _entry(cell),
            f"{cell.ci95[0]:.1f} to {cell.ci95[1]:.1f}",
            f"{cell.balanced_accuracy:.1f}",
            f"{cell.macro_f1:.1f}",
        )
        for cell in cells
    )
    columns = ("data set", *(heading(key) for key in keys), "shots", "runs", "accuracy", "95% interval", "balanced",
               "macro-F1")  # fmt: skip
    kinds = ", ".join(sorted({cell.ci95_kind for cell in cells}))
    return Table("Every cell", columns, rows, f"95% interval: {kinds}.")


def comparison_table(pairs: Sequence[Comparison], cells: Sequence[Cell]) -> Table:
    """Paired differences of checkpoints; `cells` name their splits.

    The signed-rank test of n draws has no p below 2^(1 - n), so pairs of too few draws for a p of 0.05 have no p.

    Example:
        >>> variant = {"protocol": "linear-probe", "pool": "cls", "solver": "lda", "split_policy": "published"}
        >>> pair = Comparison(**variant, first="mine", second="mae", dataset="mstar", shots=10, num_pairs=3,
        ...                   difference=1.5, ci95=(0.5, 2.5), wilcoxon_p=0.25)
        >>> comparison_table([pair], cells=[]).rows  # no p: of three draws it is at least 0.25
        (('mine - mae', 'mstar', '10', '+1.5', '+0.5 to +2.5'),)
    """
    splits = {(cell.dataset, cell.split_policy): _value(cell, "split_policy") for cell in cells}
    keys = [key for key in VARIANT if len(_distinct(pairs, key)) > 1]
    tested = [2.0 ** (1 - pair.num_pairs) <= 1 - CONFIDENCE for pair in pairs]
    adjusted = holm([pair.wilcoxon_p if enough else math.nan for pair, enough in zip(pairs, tested, strict=True)])
    rows = []
    for pair, p_value in zip(pairs, adjusted, strict=True):
        split = splits.get((pair.dataset, pair.split_policy), pair.split_policy)
        p_values = ("-", "-") if math.isnan(p_value) else (f"{pair.wilcoxon_p:.3g}", f"{p_value:.3g}")
        rows.append((
            f"{pair.first} - {pair.second}",
            pair.dataset,
            *(split if key == "split_policy" else getattr(pair, key) for key in keys),
            str(pair.shots),
            f"{pair.difference:+.1f}",
            f"{pair.ci95[0]:+.1f} to {pair.ci95[1]:+.1f}",
            *(p_values if any(tested) else ()),
        ))  # fmt: skip
    columns = ["pair", "data set", *(heading(key) for key in keys), "shots", "difference", "95% interval"]
    note = "Differences in points of accuracy on the same draws; the interval is over draws, not over pre-trainings."
    if any(tested):
        columns += ["Wilcoxon p", "p, Holm"]
        note += (
            " So is p, by the signed-rank test; its last column is adjusted for all "
            f"{counted(sum(tested), 'comparison')} (Holm 1979)."
        )
    else:
        note += " So few draws allow no signed-rank test: its p could not be below 0.05."
    return Table("Paired comparison", tuple(columns), tuple(rows), note)


def failed_text(failures: Sequence[str]) -> str:
    """The failed runs in Markdown, for the end of table.md; empty if there are none.

    Example:
        >>> print(failed_text(["runs/toy on mstar, 10 shots, seed 3: out of memory"]), end="")
        **Failed, to be tried again by the next call**
        <BLANKLINE>
        - runs/toy on mstar, 10 shots, seed 3: out of memory
    """
    lines = [f"- {failure}" for failure in failures]
    return "\n".join(["**Failed, to be tried again by the next call**", "", *lines, ""]) if lines else ""


def plot(cells: Sequence[Cell], paper: bool = False) -> bytes:
    """Accuracy against shots: one panel per data set, one line per row of its table, one colour per checkpoint."""
    panels: dict[str, list[Line]] = {}
    keys = _varying(cells)
    for dataset in _distinct(cells, "dataset"):
        own = [cell for cell in cells if cell.dataset == dataset]
        rows = {tuple(getattr(cell, key) for key in ROW): cell for cell in own}
        panels[dataset] = []
        for row, first in rows.items():
            label = ", ".join(dict.fromkeys(str(_value(first, key)) for key in keys))  # a baseline's feature is itself
            points = [
                (cell.shots, cell.mean, *cell.ci95) for cell in own if row == tuple(getattr(cell, key) for key in ROW)
            ]
            panels[dataset].append(Line(label, tuple(sorted(points)), series=first.checkpoint))
        if paper:
            panels[dataset] += _paper_lines(cells, dataset)
    chance = {cell.dataset: 100 / cell.num_classes for cell in cells}
    return figure_bytes(accuracy_against_shots(panels, chance))


def _paper_lines(cells: Sequence[Cell], dataset: str) -> list[Line]:
    lines = []
    for protocol in _distinct(cells, "protocol"):
        numbers = published(PAPER_TABLE, protocol)["sar-jepa"]
        points = tuple((num, value, value, value) for (name, num), value in numbers.items() if name == dataset)
        if points:
            lines.append(Line(f"paper: sar-jepa, {protocol}", points, published=True))
    return lines
