"""From a table at a scale to the commands that make it.

Every number of a table comes from a command that a person could have typed: `sarjepa pretrain` for a run, and
`fewshot-bench`, `finetune` or `visualize-attention` to measure it. A plan is the list of these commands. Rows of equal
settings share a run, whose folder is named after these settings: table 4 and figure 4 train the multi-scale ratio once.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sarjepa.config import BASELINES, COMMANDS, Common
from sarjepa.experiments.experiment import Experiment, Row, Scale
from sarjepa.overlay import options, overlay, read_preset
from sarjepa.setting import settings_of

MEASURED_BY = {"few-shot": "fewshot-bench", "curve": "finetune", "attention": "visualize-attention"}


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        command: name of the command.
        arguments: words of the command line after the command.
        config: the settings that the words resolve to.
        folder: folder of the command's files.
    """

    command: str
    arguments: tuple[str, ...]
    config: Common
    folder: Path

    def text(self) -> str:
        """The line to type."""
        return shlex.join(["sarjepa", self.command, *self.arguments])


@dataclass(frozen=True)
class Planned:
    """A row with one pre-training seed: the run that it starts from, its own run, and the steps that measure it.

    `first` is None for a row that starts from scratch, `train` for one without pre-training.
    """

    row: Row
    seed: int
    first: Step | None
    train: Step | None
    measure: tuple[Step, ...]


@dataclass(frozen=True)
class PlanContext:
    """What all steps of a plan share.

    Attributes:
        scale: size of the runs.
        sources, datasets: built sets to train on and to measure on.
        seeds: seeds of the pre-trainings.
        common: settings of every command (data root, device), None for the default.
        root: folder of the runs.
        imagenet: weights of the ImageNet row, if given.
    """

    scale: Scale
    sources: tuple[str, ...]
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    common: Mapping[str, Any]
    root: Path
    imagenet: str | None = None

    def step(self, command: str, folder: Path, settings: Mapping[str, Any]) -> Step:
        """A command with its settings: preset < scale < `settings` < those of every command."""
        preset = read_preset(self.scale.preset, command)
        common = {key: value for key, value in self.common.items() if value is not None}
        own = {**self.scale.settings.get(command, {}), **settings, **common}
        config = overlay(COMMANDS[command], [("the preset", preset), ("the experiment", own)])
        known = {setting.name: setting for setting in settings_of(COMMANDS[command])}
        words = [word for name, value in own.items() for option in options(known[name], value) for word in option]
        return Step(command, ("--preset", self.scale.preset, *words), config, folder)


def run_name(settings: Mapping[str, Any], seed: int) -> str:
    """The name of a run's folder: its method, its other settings, its seed.

    Example:
        >>> run_name({"method": "mae", "fraction": 0.5}, 1)
        'mae-fraction-0.5-seed1'
    """
    others = _in_name({key: value for key, value in settings.items() if key != "method"})
    return "-".join(filter(None, (settings.get("method", "sar-jepa"), others, f"seed{seed}")))


def _in_name(settings: Mapping[str, Any]) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(f"{key}-{value}" for key, value in sorted(settings.items())))


def plan(experiment: Experiment, context: PlanContext) -> list[Planned]:
    """Every row with every seed, seed by seed, so that a plan that is cut short gives whole tables of fewer seeds.

    Example:
        >>> from sarjepa.experiments.experiment import read_experiment
        >>> experiment, scale = read_experiment("table4", "demo")
        >>> planned = plan(experiment, PlanContext(scale, ("toy",), ("toy",), (0, 1), {}, Path("runs")))
        >>> [(one.row.name, one.seed, one.train and one.train.folder.name) for one in planned[6:9]]
        [('ratio', 0, 'sar-jepa-seed0'), ('untrained', 0, 'sar-jepa-seed0'), ('pixels as they are', 0, None)]
    """
    return [
        planned
        for seed in context.seeds
        for row in experiment.rows
        if (planned := _planned(experiment, row, seed, context)) is not None
    ]


def _planned(experiment: Experiment, row: Row, seed: int, context: PlanContext) -> Planned | None:
    """A row with a seed; None for ImageNet weights that were not given, and for a baseline with any but the first seed.

    A baseline without pre-training has no seed of its own.
    """
    if row.baseline in (*BASELINES, "imagenet"):
        checkpoint = context.imagenet if row.baseline == "imagenet" else row.baseline
        if checkpoint is None or seed != context.seeds[0]:
            return None
        run, first, train = context.root / row.baseline, None, None
    else:
        trained = experiment.row(experiment.reference or "") if row.baseline else row
        settings, first = _differing(trained.pretrain, context), None
        name = run_name(settings, seed)
        if trained.after is not None:
            before = _differing(trained.after, context)
            first = _training(before, run_name(before, seed), seed, context)
            name, settings["init"] = f"{name}-after-{first.folder.name}", str(first.folder)
        train = _training(settings, name, seed, context)
        run = train.folder
        checkpoint = f"random:{run}" if row.baseline else str(run)
    return Planned(row, seed, first, train, _measures(experiment.measure, row, checkpoint, run, context))


def _differing(settings: Mapping[str, Any], context: PlanContext) -> dict[str, Any]:
    """A row's settings without sources that are the scale's own, so that the row shares its run with other tables."""
    same = tuple(settings.get("sources", ())) == context.sources
    return {key: value for key, value in settings.items() if key != "sources" or not same}


def _training(settings: Mapping[str, Any], name: str, seed: int, context: PlanContext) -> Step:
    run = context.root / name
    return context.step("pretrain", run, {"sources": context.sources, **settings, "seed": seed, "run-dir": str(run)})


def _measures(measure: str, row: Row, checkpoint: str, run: Path, context: PlanContext) -> tuple[Step, ...]:
    """The commands that measure a checkpoint; their folders lie inside the run's, named by what differs."""
    command = MEASURED_BY[measure]
    ends = [_in_name(row.measured), "untrained"] if row.baseline == "untrained" else [_in_name(row.measured)]

    def step(name: str, **given: Any) -> Step:
        folder = run / "-".join(filter(None, (name, *ends)))
        return context.step(command, folder, {"checkpoint": checkpoint, **given, **row.measured, "out": str(folder)})

    if measure == "few-shot":
        name = "-".join(filter(None, ("few-shot", context.scale.measured_as)))
        first, augmented = step(name, datasets=context.datasets), context.scale.augmented
        if augmented is None:
            return (first,)
        return (first, step(f"{name}-augmented", datasets=context.datasets, recipe="augmented", **augmented))
    if measure == "curve":
        return tuple(step(f"curve-{name}", dataset=name, curve=True) for name in context.datasets)
    return (step("attention", dataset=context.datasets[0]),)


def unique(steps: Sequence[Step | None]) -> list[Step]:
    """The steps in order, each folder once.

    Example:
        >>> from sarjepa.config import PretrainConfig
        >>> step = Step("pretrain", ("--method", "mae"), PretrainConfig(method="mae"), Path("runs/mae"))
        >>> [one.text() for one in unique([step, None, step])]
        ['sarjepa pretrain --method mae']
    """
    return list({str(step.folder): step for step in steps if step is not None}.values())
