"""The files of a finished plan under results/, with one writer per measure.

A writer reads only what the commands left in their folders, so a table can be written again from runs that were copied
from another machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from sarjepa.config import PretrainConfig
from sarjepa.documents import read_record
from sarjepa.evaluation.attention import uniform_distance
from sarjepa.experiments.experiment import Experiment
from sarjepa.models.encoder import encoder_shape
from sarjepa.recipes.reproduce.plan import Planned, Step, unique
from sarjepa.recipes.reproduce.walk import record_of, seconds_of
from sarjepa.reports.accuracy_figures import accuracy_against, accuracy_of_rows, accuracy_under, finetuning_curves
from sarjepa.reports.attention_figures import HeadDistances, attention_distance
from sarjepa.reports.figures import figure_bytes
from sarjepa.reports.seed_tables import Value, accuracy_tables, difference_table, panels, values_csv
from sarjepa.results.records import RESULTS, Cell, FewshotResults
from sarjepa.results.store import RunStore
from sarjepa.results.tables import Table, counted

# Kinds of disturbance of the test chips: what their amount is, and the amount of none.
_KINDS = {"speckle": ("looks of the speckle added", "none"), "gain": ("gain", "1"),
          "ramp": ("rise of the gain from side to side", "1")}  # fmt: skip


def write_tables(store: RunStore, experiment: Experiment, tables: Sequence[Table], end: str) -> None:
    """Write table.md, which ends with the text `end`, and table.tex.

    Example:
        >>> from pathlib import Path
        >>> from sarjepa.config import ReproduceConfig
        >>> experiment = Experiment("own", "Ratios", "Which ratio is best?", "few-shot")
        >>> with RunStore(Path("ratios"), ReproduceConfig()) as store:
        ...     write_tables(store, experiment, [Table("Accuracy", ("shots", "mean"), (("5", "62.1"),))], "One run.")
        >>> [line for line in Path("ratios/table.md").read_text().splitlines() if line][:3]
        ['# Ratios', 'Which ratio is best?', '**Accuracy**']
    """
    text = "\n".join([f"# {experiment.title}\n\n{experiment.about}\n", *(table.markdown() for table in tables), end])
    store.write("table.md", text.rstrip() + "\n")
    store.write("table.tex", "\n".join(table.latex() for table in tables))


def _provenance(planned: Sequence[Planned]) -> str:
    """Where the numbers come from: commits, machines, hours."""
    trainings = unique([step for row in planned for step in (row.first, row.train)])
    measures = unique([step for row in planned for step in row.measure])
    records = [record for step in (*trainings, *measures) if (record := record_of(step))]
    facts = {key: sorted({str(record[key]) for record in records if record[key]})
             for key in ("commit", "date", "processor", "gpu", "versions")}  # fmt: skip
    lines = [f"- {key}: {'; '.join(values) or 'none'}" for key, values in facts.items()]
    for name, steps in (("pre-training", trainings), ("measuring", measures)):
        lines.append(f"- {name}: {len(steps)} commands, {seconds_of(steps) / 3600:.2f} hours of processes added up")
    return "\n".join(["**How it was made**", "", *lines, "- commands: commands.txt"])


def gather(plan: Sequence[Planned]) -> list[Value]:
    """The few-shot cells of every measured row and seed."""
    values = []
    for planned in plan:
        for step in planned.measure:
            values += [
                Value(planned.row.name, planned.seed, _set_and_split(cell), cell.protocol, cell.pool, cell.shots,
                      cell.mean, cell.std, cell.num_runs, cell.is_baseline, cell.augment, cell.solver)
                for cell in read_record(step.folder / RESULTS, FewshotResults).cells
                if cell.checkpoint in getattr(step.config, "checkpoint", ())  # not a baseline measured beside it
            ]  # fmt: skip
    return values


def _set_and_split(cell: Cell) -> str:
    """The data set's name, with the split where it is not the published one."""
    base, under, disturbance = cell.dataset.partition("-under-")
    return cell.dataset if cell.split_policy == "published" else f"{base}-{cell.split_policy}{under}{disturbance}"


def _few_shot(experiment: Experiment, planned: Sequence[Planned], store: RunStore, about: str) -> tuple[Table, ...]:
    """table.md, table.csv, table.tex and figure.png of accuracies."""
    values = gather(planned)
    tables = accuracy_tables(experiment, values, about)
    write_tables(store, experiment, [*tables, difference_table(experiment, values)], _provenance(planned))
    store.write("table.csv", values_csv(values))
    store.write("figure.png", figure_bytes(_accuracy_figure(experiment, values)))
    return tuple(tables)


def _accuracy_figure(experiment: Experiment, values: Sequence[Value]) -> Figure:
    def by_shots(own: Sequence[Value], name: str) -> dict[int, list[float]]:
        means: dict[int, list[float]] = {}
        for value in sorted((value for value in own if value.row == name), key=lambda value: value.shots):
            means.setdefault(value.shots, []).append(value.mean)
        return means

    named = {f"{panel.dataset}, {panel.how}\n{panel.words}": own for panel, own in panels(values).items()}
    groups = list(dict.fromkeys(row.group for row in experiment.rows if row.group))
    if groups:

        def points(own: Sequence[Value], group: str) -> list[tuple[float, dict[int, list[float]]]]:
            return [(float(row.at or 0), by_shots(own, row.name)) for row in experiment.rows if row.group == group]

        scaling = {name: {group: points(own, group) for group in groups} for name, own in named.items()}
        return accuracy_against(scaling, experiment.title)
    if disturbances := _disturbances(experiment, values):
        shots = max(value.shots for value in values)
        return accuracy_under(disturbances, f"{experiment.title}, {counted(shots, 'shot')}")
    rows = {name: [(row.name, by_shots(own, row.name)) for row in experiment.rows] for name, own in named.items()}
    return accuracy_of_rows(rows, experiment.title)


def _disturbances(
    experiment: Experiment, values: Sequence[Value]
) -> dict[str, list[tuple[str, dict[str, list[float]]]]]:
    """The panels of `accuracy_under` for the most shots; empty unless a kind of disturbance has several strengths.

    Example:
        >>> from sarjepa.experiments.experiment import Row
        >>> own = Experiment("own", "Gain", "", "few-shot", (Row("mae"), Row("imagenet")))
        >>> sets = {"mstar": 60.0, "mstar-under-gain=2": 50.0, "mstar-under-gain=0.5": 40.0}
        >>> values = [Value("mae", 0, name, "linear-probe", "cls", 10, mean, 1.2, 10) for name, mean in sets.items()]
        >>> _disturbances(own, values)
        {'gain': [('0.5', {'mae': [40.0]}), ('1', {'mae': [60.0]}), ('2', {'mae': [50.0]})]}
    """
    strengths: dict[str, dict[str, str]] = {}  # {kind: {amount: data set}}
    for panel in panels(values):
        base, is_under, disturbance = panel.dataset.partition("-under-")
        kind, _, amount = disturbance.partition("=")
        if is_under:
            strengths.setdefault(kind, {_KINDS[kind][1]: base})[amount] = panel.dataset
    is_one_reading = len({(panel.dataset.partition("-under-")[0], *panel[1:]) for panel in panels(values)}) == 1
    if not is_one_reading or max(map(len, strengths.values()), default=0) < 3:
        return {}
    shots = max(value.shots for value in values)

    def accuracies(dataset: str) -> dict[str, list[float]]:
        found = [value for value in values if (value.dataset, value.shots) == (dataset, shots)]
        means = {row.name: [value.mean for value in found if value.row == row.name] for row in experiment.rows}
        return {name: means_S for name, means_S in means.items() if means_S}  # a row may not have been run

    def strength(kind: str, amount: str) -> float:
        """For the order: fewer looks are stronger speckle."""
        return -math.inf if amount == "none" else -float(amount) if kind == "speckle" else float(amount)

    return {
        _KINDS[kind][0]: [
            (amount, accuracies(amounts[amount])) for amount in sorted(amounts, key=partial(strength, kind))
        ]
        for kind, amounts in strengths.items()
    }


def _read_csv(step: Step, name: str) -> np.ndarray:
    """The numbers of a CSV that a command wrote, without its header."""
    return np.loadtxt(step.folder / name, delimiter=",", skiprows=1, ndmin=2)


def _attention(experiment: Experiment, planned: Sequence[Planned], store: RunStore, about: str) -> tuple[Table, ...]:
    """figure.png of the distance of each head; table.* of the mean of each block."""
    distances = {}
    for row in experiment.rows:
        tables = [_read_csv(its.measure[0], "attention-distance.csv") for its in planned if its.row == row]
        # Heads of different seeds have nothing in common, so they are not averaged: they become further columns.
        distances[row.name] = np.concatenate([rows[:, 2].reshape(int(rows[:, 0].max()), -1) for rows in tables], axis=1)
    blocks = max(len(distance) for distance in distances.values())
    columns = ("", *(f"block {block}" for block in range(1, blocks + 1)))
    rows = tuple(
        (name, *(f"{heads.mean():.1f} ({heads.min():.1f} to {heads.max():.1f})" for heads in distance))
        for name, distance in distances.items()
    )
    note = f"px of the input, mean over heads (smallest to largest head), class token left out. {about}"
    table = Table(f"{experiment.title}: attention distance", columns, rows, note)
    write_tables(store, experiment, [table], _provenance(planned))
    store.write("table.csv", table.csv())
    config = next(its.train.config for its in planned if its.train)
    assert isinstance(config, PretrainConfig)
    shape = encoder_shape(config.model, config.image_size, config.patch_size, "relative")
    side = config.image_size // shape.patch_size
    uniform_px = uniform_distance((side, side), shape.patch_size)
    panels_of_heads = {name: HeadDistances(heads, uniform_px) for name, heads in distances.items()}
    store.write("figure.png", figure_bytes(attention_distance(panels_of_heads, about)))
    return (table,)


def _curves(experiment: Experiment, planned: Sequence[Planned], store: RunStore, about: str) -> tuple[Table, ...]:
    """figure.png of loss and test accuracy by epoch; table.* of the last epoch."""
    datasets = [getattr(step.config, "dataset", "") for step in planned[0].measure]
    curves = {
        dataset: {
            row.name: np.stack([_read_csv(its.measure[place], "curve.csv")[:, 1:] for its in planned if its.row == row])
            for row in experiment.rows
        }
        for place, dataset in enumerate(datasets)
    }
    rows = tuple(
        (name, dataset, f"{curve[:, -1, 0].mean():.3f}", f"{curve[:, -1, 1].mean():.1f}",
         f"{curve[:, -1, 1].min():.1f} to {curve[:, -1, 1].max():.1f}")
        for dataset, own in curves.items() for name, curve in own.items()
    )  # fmt: skip
    columns = ("", "data set", "training loss", "test accuracy (%)", "over pre-trainings")
    shots = getattr(planned[0].measure[0].config, "shots", None)
    note = f"Last epoch, one draw of {shots} shots a class, the same for every row. {about}"
    table = Table(f"{experiment.title}: last epoch", columns, rows, note)
    write_tables(store, experiment, [table], _provenance(planned))
    store.write("table.csv", table.csv())
    store.write("figure.png", figure_bytes(finetuning_curves(curves, experiment.title)))
    return (table,)


Writer = Callable[[Experiment, Sequence[Planned], RunStore, str], tuple[Table, ...]]
WRITERS: dict[str, Writer] = {"few-shot": _few_shot, "attention": _attention, "curve": _curves}
