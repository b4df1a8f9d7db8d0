"""reproduce: one of the paper's tables or figures, at the scale of a laptop or of the paper.

The experiment is read and turned into commands, the commands that are not yet done are run, and their results are put
side by side under results/. A stopped call goes on where it was; tables share runs.

Several machines on one file system can share the work by stages: pre-trainings that others start from, the other
pre-trainings, the measurements, the table. `--print` gives a line for each missing command, with its stage in front. A
line does one step (`--step`). Steps of one stage are independent, and a step that is done is not repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sarjepa.config import DOWNSTREAM, Evaluation, PretrainConfig, ReproduceConfig, VisualizeAttentionConfig
from sarjepa.data.built import built_datasets, open_source
from sarjepa.data.sources import SIMULATED
from sarjepa.errors import InputError
from sarjepa.experiments.experiment import Experiment, Scale, read_experiment
from sarjepa.overlay import one_line
from sarjepa.progress import Progress
from sarjepa.recipes.reproduce.counts import counts_table
from sarjepa.recipes.reproduce.files import WRITERS, write_tables
from sarjepa.recipes.reproduce.plan import PlanContext, Planned, Step, plan, unique
from sarjepa.recipes.reproduce.walk import Walker, record_of
from sarjepa.results.result import Result
from sarjepa.results.store import RunStore
from sarjepa.results.tables import counted

BUILD = "run sarjepa build-dataset --sources {} first"


def run(config: ReproduceConfig, progress: Progress) -> Result:
    """Walk the experiment and write its table or figure.

    Raises:
        InputError: no such experiment or scale, a data set is not built, a folder belongs to other settings, or a
            command failed.

    Example:
        >>> config = ReproduceConfig(experiment="table1", sources=("mstar", "saracd"), out="counts")
        >>> [row[:4] for row in run(config, Progress()).tables[0].rows]  # name, classes, chips by manifest, as stated
        [('mstar', '10', '6874', '5216'), ('saracd', '6', '3032', '2537')]
    """
    experiment, scale = read_experiment(config.experiment, config.scale)
    folder = Path(config.out or f"results/{experiment.name}")
    if experiment.measure == "counts" and not config.print:
        table = counts_table(experiment.title, config.data_root, config.sources)
        with RunStore(folder, ReproduceConfig(experiment=experiment.name)) as store:  # counts have no scale
            write_tables(store, experiment, [table], "")
            store.write("table.csv", table.csv())
        return Result(f"{counted(len(table.rows), 'data set')}; {folder / 'table.md'}", folder, (table,))
    if experiment.measure == "counts":  # no step before the table
        return Result("\n".join(_lines(config, (), (), ())), folder)
    context = _context(config, scale, progress)
    planned = plan(experiment, context)
    firsts, trainings = unique([row.first for row in planned]), unique([row.train for row in planned])
    measures = unique([step for row in planned for step in row.measure])
    steps = unique([*firsts, *trainings, *measures])
    missing = [record_of(step) is None for step in steps]  # refuses a folder of other settings before hours pass
    if config.print:
        stages = [1 if step in firsts else 2 if step in trainings else 3 for step in steps]
        return Result("\n".join(_lines(config, steps, stages, missing)), folder)
    if config.step is not None:
        return _one_step(config, steps, progress)
    shared = replace(config, sources=context.sources, datasets=context.datasets)
    with RunStore(folder, shared) as store:
        walker = Walker(config.jobs, config.launch)
        if firsts:
            walker.walk(firsts, f"{experiment.name}: pre-training what others start from", progress)
        walker.walk(trainings, f"{experiment.name}: pre-training", progress)
        walker.walk(measures, f"{experiment.name}: measuring", progress)
        about = _about(experiment, context, planned)
        tables = WRITERS[experiment.measure](experiment, planned, store, about)
        store.write("commands.txt", "".join(f"{step.text()}\n" for step in steps))
    runs = counted(len(unique([*firsts, *trainings])), "run")
    return Result(f"{runs}, {len(measures)} measured; {folder / 'table.md'}", folder, tables)


def _lines(config: ReproduceConfig, steps: Sequence[Step], stages: Sequence[int], missing: Sequence[bool]) -> list[str]:
    """A line per missing step: stage, command and, after a #, the step's own command. The last line makes the table."""
    own = one_line(ReproduceConfig, vars(config), always=("experiment", "scale"), never=("print", "step", "jobs"))
    lines = [
        f"{stage}\t{own} --step {number}  # {step.text()}"
        for number, (step, stage, is_missing) in enumerate(zip(steps, stages, missing, strict=True), start=1)
        if is_missing
    ]
    return [*lines, f"4\t{own}"]


def _one_step(config: ReproduceConfig, steps: Sequence[Step], progress: Progress) -> Result:
    """Do step number `config.step`, unless it is done."""
    assert config.step is not None
    if config.step > len(steps):
        raise InputError("no such step", where="step", expected=f"1 to {len(steps)}", got=config.step,
                         hint="--print numbers the steps")  # fmt: skip
    step = steps[config.step - 1]
    Walker(1, config.launch).walk([step], f"step {config.step}", progress)
    return Result(f"step {config.step} of {len(steps)} is done: {step.text()}", step.folder)


def _context(config: ReproduceConfig, scale: Scale, progress: Progress) -> PlanContext:
    """The scale with the user's choices, limited to the data sets that are built."""
    sources = _built(config, config.sources, scale.sources, "to train on", progress)
    measured = config.datasets or tuple(name for name in config.sources if name in (*DOWNSTREAM, *SIMULATED))
    datasets = _built(config, measured, scale.datasets, "to measure on", progress)
    seeds = range(config.seed, config.seed + (config.seeds or scale.seeds))
    root = Path(config.run_root) / f"{scale.name}-{'-'.join(sources)}"
    common = {"data-root": config.data_root if config.data_root != "data" else None,
              "device": config.device if config.device != "auto" else None}  # fmt: skip
    return PlanContext(scale, sources, datasets, tuple(seeds), common, root, config.imagenet)


def _built(
    config: ReproduceConfig, chosen: Sequence[str], usual: Sequence[str], what_for: str, progress: Progress
) -> tuple[str, ...]:
    """The chosen sets, which must be built; else those of the scale that are built, with a warning of the others."""
    for name in chosen:
        open_source(config.data_root, name)
    if chosen:
        return tuple(chosen)
    built = built_datasets(config.data_root)
    present, absent = [[name for name in usual if (name in built) == wanted] for wanted in (True, False)]
    if not present:
        raise InputError(f"no data set {what_for} is built", where=Path(config.data_root) / "shards",
                         expected=f"one of {', '.join(usual)}", hint=BUILD.format(",".join(usual)))  # fmt: skip
    if absent:
        hint = BUILD.format(",".join(absent))
        progress.warn(f"left out of the sets {what_for}, not built: {', '.join(absent)}; {hint}")
    return tuple(present)


def _about(experiment: Experiment, context: PlanContext, planned: Sequence[Planned]) -> str:
    """The scale in a sentence, and what is missing from the table."""
    config = next(row.train.config for row in planned if row.row.name == experiment.reference and row.train)
    assert isinstance(config, PretrainConfig)
    text = (
        f"Scale {context.scale.name}: {config.model}, {config.image_size} px, {config.epochs} epochs of "
        f"{'+'.join(config.sources)}, batch {config.batch_size}."
    )
    measured = next(step.config for row in planned for step in row.measure)
    assert isinstance(measured, Evaluation | VisualizeAttentionConfig)
    text += f" Centre crop of the chips measured on: {measured.crop}."
    if experiment.measure == "few-shot" and context.scale.augmented is not None:
        text += " Augmented: by the recipe augmented (shrinkage LDA); else by the published one."
    if context.imagenet is None and any(row.baseline == "imagenet" for row in experiment.rows):
        text += " imagenet: no weights were given (--imagenet)."
    return text
