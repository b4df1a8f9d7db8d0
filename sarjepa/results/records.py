"""The records of measurements: a run, a cell of runs, a comparison of two checkpoints, the report of one run.

The classes are the files: `runs/*.json` holds a `Run`, `results.json` a `FewshotResults`, `report.json` a `Report`, and
their keys are the fields. `sarjepa.files.write_json` writes them, `sarjepa.documents.read_record` reads them.
To keep something more of every number, add a line to one class:

- `Variant`: rows of a table that differ in it stand apart, and only equal ones are compared.
- `Measurement`: it is the same for all runs of a cell, and the CSV has a column of it.
- `Run`: it differs from run to run.

A field that older files lack has a default: the value that those files were made with. An optional field that says
nothing (None or an empty text, where that is its default) is not written.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from sarjepa.config import BASELINES


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How a checkpoint is evaluated.

    Attributes:
        protocol: linear-probe or fine-tune; of a report also saved classifier.
        pool: the feature of a chip.
        solver: method that fits the head.
        split_policy: published or grouped.
        recipe: evaluation recipe, and the settings that differ from it.
        augment: views of the shots that were learnt from beside them.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"allow_inf_nan": False}  # JSON has no words for them

    protocol: str
    pool: str
    solver: str
    split_policy: str
    recipe: str = "published"
    augment: str = "none"

    @property
    def is_baseline(self) -> bool:
        """Whether the feature is one without weights, which bears the baseline's name."""
        return self.pool in BASELINES


@dataclass(frozen=True, kw_only=True)
class Measurement(Variant):
    """What a number depends on, apart from the draw.

    Attributes:
        checkpoint: checkpoint, as the user wrote it.
        dataset: the built source.
        shots: training chips per class; None: the whole training split.
        label_set: name of the choice of classes and chips that count.
        num_classes: number of classes.
        crop: side (px) of the centre crop before resizing; None: the whole chip.
        precision: number format of the encoder.
        selection: rule that chose the result among epochs or strengths.
        head: head of fine-tuning: linear or normalised; empty in old records, which are normalised.
        split: rule that divides the chips, if no split of them is published; else empty, as in old records.
        leaks: properties that alone predict much of the labels, in words.
    """

    checkpoint: str
    dataset: str
    shots: int | None
    label_set: str
    num_classes: int
    crop: int | None
    precision: str
    selection: str
    head: str = ""
    split: str = ""
    leaks: str = ""

    @property
    def divided(self) -> str:
        """What divides the chips, in words."""
        if not self.split:
            return f"{self.split_policy} split"
        return self.split if self.split_policy == "published" else f"{self.split_policy}: {self.split}"

    def shared(self) -> dict[str, Any]:
        """The fields that the runs of a cell have in common, by name."""
        return {field.name: getattr(self, field.name) for field in fields(Measurement)}


@dataclass(frozen=True, kw_only=True)
class Run(Measurement):
    """One draw, learnt from and tested on.

    Attributes:
        seed: seed of the draw and of the training; None if nothing was drawn.
        accuracy, balanced_accuracy, macro_f1: percent.
        recall: percent by class; None for a class without test chips.
        confusion: (C, C) counts, rows true, columns predicted.
        train_loss: training loss of each epoch of fine-tuning.
        draw_sha256: checksum of the draw.
        num_train, num_test: chips.
        short: classes with fewer chips than shots, and how many they have.
        near_copy_percent: share of test chips with a near-copy among the training chips (%); None if it is not known.
        weights_sha256: checksum of the encoder's weights.
    """

    seed: int | None
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    recall: dict[str, float | None]
    confusion: tuple[tuple[int, ...], ...]
    train_loss: tuple[float, ...] | None = None
    draw_sha256: str
    num_train: int
    num_test: int
    short: dict[str, int]
    near_copy_percent: float | None
    weights_sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Cell(Measurement):
    """The runs that differ in their seed alone, summed up.

    Attributes:
        num_runs: number of runs.
        mean, std: mean and sample standard deviation of the accuracy (%); the latter is None for one run.
        ci95, ci95_kind: 95% interval of the accuracy, and how it was made.
        seeds: seeds of the runs.
        num_test: the sizes of their test sets, each once.
        balanced_accuracy, macro_f1: means (%), with their standard deviations.
        recall: mean (%) by class.
        confusion: added up over the runs.
        short: classes with fewer chips than shots, in any of the runs.
        near_copy_percent: mean over the runs; None where nobody knows.
        incomplete: whether runs that were asked for are missing.
    """

    shots: int
    num_runs: int
    mean: float
    std: float | None
    ci95: tuple[float, float]
    ci95_kind: str
    seeds: tuple[int, ...]
    num_test: tuple[int, ...]
    balanced_accuracy: float
    balanced_accuracy_std: float | None
    macro_f1: float
    macro_f1_std: float | None
    recall: dict[str, float | None]
    confusion: tuple[tuple[int, ...], ...]
    short: dict[str, int]
    near_copy_percent: float | None
    incomplete: bool = False


@dataclass(frozen=True, kw_only=True)
class Comparison(Variant):
    """Two checkpoints on the same draws.

    Attributes:
        first, second: the checkpoints.
        dataset, shots: the cell.
        num_pairs: draws that both were measured on.
        difference: mean of first - second, in points of accuracy.
        ci95: 95% interval of the difference over draws.
        wilcoxon_p: two-sided signed-rank test.
    """

    first: str
    second: str
    dataset: str
    shots: int
    num_pairs: int
    difference: float
    ci95: tuple[float, float]
    wilcoxon_p: float


@dataclass(frozen=True, kw_only=True)
class FewshotResults:
    """The content of results.json.

    Attributes:
        settings: settings of fewshot-bench.
        runs, cells, comparisons: records in the order of the tables.
        failed: runs that are missing, in words.
    """

    settings: dict[str, Any]
    runs: tuple[Run, ...]
    cells: tuple[Cell, ...]
    comparisons: tuple[Comparison, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassScores:
    """Recall and precision (%) of one class, None where they are undefined, and its test chips."""

    recall: float | None
    precision: float | None
    num_test: int


@dataclass(frozen=True, kw_only=True)
class Report(Run):
    """The content of report.json: one run, class by class.

    Attributes:
        num_held_for_temperature: training chips that fine-tuning held out.
        temperature: temperature of the saved classifier.
        accuracy_ci95, ci95_kind: 95% interval of the accuracy, and how it was made.
        per_class: scores by class name.
        classes: the names in the order of the confusion matrix.
        settings: settings of the command.
    """

    # Reports of saved classifiers, and those of earlier versions, lack these five.
    solver: str = ""
    num_classes: int = 0
    precision: str = ""
    draw_sha256: str = ""
    weights_sha256: str = ""
    num_held_for_temperature: int | None = None
    temperature: float | None = None
    accuracy_ci95: tuple[float, float]
    ci95_kind: str = ""
    per_class: dict[str, ClassScores]
    classes: tuple[str, ...] = ()
    settings: dict[str, Any]


RESULTS, REPORT = "results.json", "report.json"  # the files of fewshot-bench, and of probe and finetune
VARIANT = tuple(field.name for field in fields(Variant))
ROW = ("checkpoint", *VARIANT)  # what tells the rows of a table apart
CELL = (*ROW, "dataset", "shots")
