"""The records of measurements: a run, a cell of runs, a comparison of two checkpoints, the report of one run.

A file is an object of a class, with the fields as keys: `runs/*.json` holds a `Run`, `results.json` a `FewshotResults`,
`report.json` a `Report`. `sarjepa.files.write_json` writes them, `sarjepa.documents.read_record` reads them. To store
one more fact of every number, add a field to one class:

- `Variant`: rows of a table that differ in it stand apart, and only equal ones are compared.
- `Measurement`: it is the same for all runs of a cell, and the CSV has a column of it.
- `Run`: it differs from run to run.

A field that older files lack has a default: the value that those files were made with. An optional field is not written
where it has its default of None or an empty text.
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
        pool: feature of a chip.
        solver: method that fits the head.
        split_policy: published or grouped.
        recipe: evaluation recipe, and the settings that differ from it.
        augment: augmentations of the shots' views, which were trained on beside the shots.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"allow_inf_nan": False}  # JSON cannot express them

    protocol: str
    pool: str
    solver: str
    split_policy: str
    recipe: str = "published"
    augment: str = "none"

    @property
    def is_baseline(self) -> bool:
        """Whether the feature is one without weights, which has the baseline's name."""
        return self.pool in BASELINES


@dataclass(frozen=True, kw_only=True)
class Measurement(Variant):
    """What a number depends on, apart from the draw.

    Attributes:
        checkpoint: checkpoint, as the user wrote it.
        dataset: name of the built source.
        shots: training chips per class; None: the whole training split.
        label_set: name of the choice of classes and chips.
        num_classes: number of classes.
        crop: side (px) of the centre crop before resizing; None: the whole chip.
        precision: number format of the encoder.
        selection: rule that chose the result among epochs or strengths.
        head: head of fine-tuning: linear or normalised; empty in old records, whose head is normalised.
        split: rule that divides the chips, if they have no published split; else empty, as in old records.
        leaks: features that alone predict much of the labels, in words.
        seen: what the encoder's pre-training took of the test, in words; encoders of older runs do not say.
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
    seen: str = ""

    @property
    def divided(self) -> str:
        """The split of the chips, in words."""
        if not self.split:
            return f"{self.split_policy} split"
        return self.split if self.split_policy == "published" else f"{self.split_policy}: {self.split}"

    def shared(self) -> dict[str, Any]:
        """The fields that the runs of a cell have in common, by name."""
        return {field.name: getattr(self, field.name) for field in fields(Measurement)}


@dataclass(frozen=True, kw_only=True)
class Run(Measurement):
    """The measurement of one draw: a training on it and a test.

    Attributes:
        seed: seed of the draw and of the training; None if nothing was drawn.
        accuracy, balanced_accuracy, macro_f1: percent.
        recall: percent by class; None for a class without test chips.
        confusion: (C, C) counts, rows true, columns predicted.
        train_loss: training loss of each epoch of fine-tuning.
        draw_sha256: checksum of the draw.
        num_train, num_test: numbers of training and test chips.
        short: number of chips of each class that has fewer chips than shots.
        near_copy_percent: share of test chips of a group (near-copies, one scene or a named group) of training chips
            (%); None if it is not known.
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
        ci95, ci95_kind: 95% interval of the accuracy, and its method in words.
        seeds: seeds of the runs.
        num_test: different sizes of their test sets.
        balanced_accuracy, macro_f1: means (%), with their standard deviations.
        recall: mean (%) by class.
        confusion: sum over the runs.
        short: number of chips of each class that has fewer chips than shots in any run.
        near_copy_percent: mean over the runs; None where it is not known.
        incomplete: whether runs of the call are missing.
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
        dataset, shots: data set and number of shots.
        num_pairs: number of draws that both were measured on.
        difference: mean of first - second, in points of accuracy.
        ci95: 95% interval of the difference over draws.
        wilcoxon_p: p value of the two-sided signed-rank test.
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
        failed: failed runs, in words.
    """

    settings: dict[str, Any]
    runs: tuple[Run, ...]
    cells: tuple[Cell, ...]
    comparisons: tuple[Comparison, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassScores:
    """Recall and precision (%) of one class, None where they are undefined, and its number of test chips."""

    recall: float | None
    precision: float | None
    num_test: int


@dataclass(frozen=True, kw_only=True)
class Report(Run):
    """The content of report.json: one run, class by class.

    Attributes:
        num_held_for_temperature: number of training chips that fine-tuning held out.
        temperature: temperature of the saved classifier.
        accuracy_ci95, ci95_kind: 95% interval of the accuracy, and its method in words.
        per_class: scores by class name.
        classes: class names in the order of the confusion matrix.
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
ROW = ("checkpoint", *VARIANT)  # the fields in which rows of a table differ
CELL = (*ROW, "dataset", "shots")
