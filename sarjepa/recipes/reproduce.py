"""reproduce: one of the paper's tables or figures, at the scale of a laptop or of the paper.

A thin walk: the experiment is read, turned into commands, the commands that are not yet done are run, and what they
wrote is put side by side under results/. Stopped anywhere, it goes on where it was; runs are shared between tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sarjepa.config import DOWNSTREAM, PretrainConfig, ReproduceConfig
from sarjepa.errors import InputError
from sarjepa.progress import Progress
from sarjepa.recipes.built import open_source
from sarjepa.recipes.counts import counts_table
from sarjepa.recipes.downstream import built_datasets
from sarjepa.recipes.experiment import Experiment, Scale, read_experiment
from sarjepa.recipes.plan import Circumstances, Planned, Step, plan, unique
from sarjepa.recipes.reproduced import Value, accuracy_tables, csv_text, difference_table, gather, panels
from sarjepa.recipes.result import Result
from sarjepa.recipes.run_store import RunStore
from sarjepa.recipes.walk import Walker, record_of, seconds_of
from sarjepa.reports.figures import attention_distance
from sarjepa.reports.reproduction import accuracy_against, accuracy_of_rows, finetuning_curves
from sarjepa.reports.tables import Table

BUILD = "run sarjepa build-dataset --sources {} first"


def run(config: ReproduceConfig, progress: Progress) -> Result:
    """Walk the experiment and write its table or figure.

    Args:
        config: the settings.
        progress: where to tell how far it is.

    Raises:
        InputError: no such experiment or scale, a data set is not built, a folder belongs to other settings, or a
            command failed.
    """
    experiment, scale = read_experiment(config.experiment, config.scale)
    folder = Path(config.out or f"results/{experiment.name}")
    if experiment.measure == "counts":
        return _counts(experiment, config, folder)
    circumstances = _circumstances(config, scale, progress)
    planned = plan(experiment, circumstances)
    trainings = unique([row.train for row in planned])
    measures = unique([step for row in planned for step in row.measure])
    for step in (*trainings, *measures):
        record_of(step)  # a folder of other settings is refused before hours go into the others
    shared = {"experiment": experiment.name, "scale": scale.name, "sources": circumstances.sources,
              "datasets": circumstances.datasets, "rows": {row.name: dict(row.pretrain) for row in experiment.rows},
              "settings": dict(scale.settings)}  # fmt: skip
    with RunStore(folder, shared) as store:
        walker = Walker(config.jobs, config.launch)
        walker.walk(trainings, f"{experiment.name}: pre-training", progress)
        walker.walk(measures, f"{experiment.name}: measuring", progress)
        tables = _WRITERS[experiment.measure](experiment, planned, store, _about(experiment, circumstances, planned))
        store.write("commands.txt", "".join(f"{step.text()}\n" for step in (*trainings, *measures)))
    return Result(f"{len(trainings)} runs, {len(measures)} measured; {folder / 'table.md'}", folder, tables)


def _counts(experiment: Experiment, config: ReproduceConfig, folder: Path) -> Result:
    table = counts_table(experiment.title, config.data_root, config.sources)
    with RunStore(folder, {"experiment": experiment.name}) as store:
        _write_tables(store, experiment, [table], "")
        store.write("table.csv", table.csv())
    return Result(f"{len(table.rows)} data sets; {folder / 'table.md'}", folder, (table,))


def _circumstances(config: ReproduceConfig, scale: Scale, progress: Progress) -> Circumstances:
    """The scale with what the user chose, held against what is built."""
    sources = _built(config, config.sources, scale.sources, "to train on", progress)
    measured = config.datasets or tuple(name for name in config.sources if name in (*DOWNSTREAM, "synthetic"))
    datasets = _built(config, measured, scale.datasets, "to measure on", progress)
    seeds = range(config.seed, config.seed + (config.seeds or scale.seeds))
    root = Path(config.run_root) / f"{scale.name}-{'-'.join(sources)}"
    common = {"data-root": config.data_root if config.data_root != "data" else None,
              "device": config.device if config.device != "auto" else None}  # fmt: skip
    return Circumstances(scale, sources, datasets, tuple(seeds), common, root, config.imagenet)


def _built(
    config: ReproduceConfig, chosen: Sequence[str], usual: Sequence[str], what_for: str, progress: Progress
) -> tuple[str, ...]:
    """The sets that were asked for, which must be built; else those of the scale's that are, saying which are not."""
    for name in chosen:
        open_source(config.data_root, name)
    if chosen:
        return tuple(chosen)
    there = built_datasets(config.data_root)
    found, absent = [[name for name in usual if (name in there) == wanted] for wanted in (True, False)]
    if not found:
        raise InputError(f"no data set {what_for} is built", where=Path(config.data_root) / "shards",
                         expected=f"one of {', '.join(usual)}", hint=BUILD.format(",".join(usual)))  # fmt: skip
    if absent:
        hint = BUILD.format(",".join(absent))
        progress.warn(f"left out of the sets {what_for}, not built: {', '.join(absent)}; {hint}")
    return tuple(found)


def _about(experiment: Experiment, circumstances: Circumstances, planned: Sequence[Planned]) -> str:
    """The scale in a sentence, and what is missing from the table."""
    reference = next(row.train for row in planned if row.row.name == experiment.reference and row.train)
    config = reference.config
    assert isinstance(config, PretrainConfig)
    text = (
        f"Scale {circumstances.scale.name}: {config.model}, {config.image_size} px, {config.epochs} epochs of "
        f"{'+'.join(circumstances.sources)}, batch {config.batch_size}."
    )
    if circumstances.imagenet is None and any(row.baseline == "imagenet" for row in experiment.rows):
        text += " imagenet: no weights were given (--imagenet)."
    return text


def _write_tables(store: RunStore, experiment: Experiment, tables: Sequence[Table], end: str) -> None:
    """table.md and table.tex."""
    text = "\n".join([f"# {experiment.title}\n\n{experiment.about}\n", *(table.markdown() for table in tables), end])
    store.write("table.md", text.rstrip() + "\n")
    store.write("table.tex", "\n".join(table.latex() for table in tables))


def _provenance(planned: Sequence[Planned]) -> str:
    """Where the numbers come from: commits, machines, hours."""
    trainings = unique([row.train for row in planned])
    measures = unique([step for row in planned for step in row.measure])
    records = [record for step in (*trainings, *measures) if (record := record_of(step))]
    said = {key: sorted({str(record[key]) for record in records if record[key]})
            for key in ("commit", "date", "processor", "gpu", "versions")}  # fmt: skip
    lines = [f"- {key}: {'; '.join(values) or 'none'}" for key, values in said.items()]
    for what, steps in (("pre-training", trainings), ("measuring", measures)):
        lines.append(f"- {what}: {len(steps)} commands, {seconds_of(steps) / 3600:.2f} hours of processes added up")
    return "\n".join(["**How it was made**", "", *lines, "- commands: commands.txt"])


def _few_shot(experiment: Experiment, planned: Sequence[Planned], store: RunStore, about: str) -> tuple[Table, ...]:
    """table.md, table.csv, table.tex and figure.png of accuracies."""
    values = gather(planned)
    tables = accuracy_tables(experiment, values, about)
    _write_tables(store, experiment, [*tables, difference_table(experiment, values)], _provenance(planned))
    store.write("table.csv", csv_text(values))
    store.write("figure.png", _accuracy_figure(experiment, values))
    return tuple(tables)


def _accuracy_figure(experiment: Experiment, values: Sequence[Value]) -> bytes:
    def by_shots(own: Sequence[Value], name: str) -> dict[int, list[float]]:
        shots = sorted({value.shots for value in own})
        found = {num: [v.mean for v in own if (v.row, v.shots) == (name, num)] for num in shots}
        return {num: means for num, means in found.items() if means}

    named = {", ".join(part for part in key if part != "linear-probe"): own for key, own in panels(values).items()}
    groups = list(dict.fromkeys(row.group for row in experiment.rows if row.group))
    if groups:

        def points(own: Sequence[Value], group: str) -> list[tuple[float, dict[int, list[float]]]]:
            return [(float(row.at or 0), by_shots(own, row.name)) for row in experiment.rows if row.group == group]

        scaling = {name: {group: points(own, group) for group in groups} for name, own in named.items()}
        return accuracy_against(scaling, experiment.title)
    rows = {name: [(row.name, by_shots(own, row.name)) for row in experiment.rows] for name, own in named.items()}
    return accuracy_of_rows(rows, experiment.title)


def _read_csv(step: Step, name: str) -> np.ndarray:
    """The numbers of a CSV that a command wrote, without its header."""
    return np.loadtxt(step.folder / name, delimiter=",", skiprows=1, ndmin=2)


def _attention(experiment: Experiment, planned: Sequence[Planned], store: RunStore, about: str) -> tuple[Table, ...]:
    """figure.png of the distance of each head; table.* of the mean of each block."""
    distances = {}
    for row in experiment.rows:
        found = [_read_csv(one.measure[0], "attention-distance.csv") for one in planned if one.row == row]
        # Heads of different seeds have nothing in common: they stand side by side.
        distances[row.name] = np.concatenate([rows[:, 2].reshape(int(rows[:, 0].max()), -1) for rows in found], axis=1)
    blocks = max(len(distance) for distance in distances.values())
    columns = ("", *(f"block {block}" for block in range(1, blocks + 1)))
    rows = tuple(
        (name, *(f"{heads.mean():.1f} ({heads.min():.1f} to {heads.max():.1f})" for heads in distance))
        for name, distance in distances.items()
    )
    note = f"px of the input, mean over heads (smallest to largest head), class token left out. {about}"
    table = Table(f"{experiment.title}: attention distance", columns, rows, note)
    _write_tables(store, experiment, [table], _provenance(planned))
    store.write("table.csv", table.csv())
    store.write("figure.png", attention_distance(distances, about))
    return (table,)


def _curves(experiment: Experiment, planned: Sequence[Planned], store: RunStore, about: str) -> tuple[Table, ...]:
    """figure.png of loss and test accuracy by epoch; table.* of the last epoch."""
    datasets = [getattr(step.config, "dataset", "") for step in planned[0].measure]
    curves = {
        dataset: {
            row.name: np.stack([_read_csv(one.measure[at], "curve.csv")[:, 1:] for one in planned if one.row == row])
            for row in experiment.rows
        }
        for at, dataset in enumerate(datasets)
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
    _write_tables(store, experiment, [table], _provenance(planned))
    store.write("table.csv", table.csv())
    store.write("figure.png", finetuning_curves(curves, experiment.title))
    return (table,)


_WRITERS = {"few-shot": _few_shot, "attention": _attention, "curve": _curves}
