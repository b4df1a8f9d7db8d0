"""Labels for new chips from a saved classifier: predictions.csv, and a report where the classes are known."""

from __future__ import annotations

import numpy as np
import torch

from sarjepa.config import ProbeConfig
from sarjepa.data.built import open_source
from sarjepa.data.crops import crop_side
from sarjepa.data.shards import Shards
from sarjepa.errors import InputError
from sarjepa.evaluation.benchmark import Benchmark, open_benchmark
from sarjepa.evaluation.classifier import SavedClassifier, load_classifier
from sarjepa.evaluation.fewshot import Draw, draw
from sarjepa.evaluation.metrics import scores
from sarjepa.progress import Progress
from sarjepa.recipes.evaluating.class_report import report_folder, report_of, usable_folder, write_files, write_report
from sarjepa.recipes.evaluating.record import near_copy_percent, score_fields
from sarjepa.results.records import Run
from sarjepa.results.result import Result
from sarjepa.results.tables import counted, csv_text
from sarjepa.setting import settings_of

_BATCH = 256
_OF_TRAINING = ("shots", "solver", "label_set", "split_policy", "pool", "recipe", "augment", "test_dataset")


def label_chips(config: ProbeConfig, device: torch.device, progress: Progress) -> Result:
    """Label a source's test chips (all chips of one without a test split), and score those of a known class.

    On the data set that the classifier was trained on, its training chips are left out and only the test chips of its
    draw are scored. On other data sets near-copies of its training chips are not known, as the report states.

    Args:
        config: settings that name the classifier (`checkpoint`), the source (`dataset`) and the folder.
        device: device of the computation.
        progress: receiver of notes, warnings and progress bars.

    Raises:
        InputError: the source is not built or has changed since the training, the folder cannot be written or
            holds a report of other settings, or a setting was given that only a training reads.
    """
    assert config.checkpoint is not None
    saved = load_classifier(config.checkpoint, str(device))
    shards = open_source(config.data_root, config.dataset)
    _refuse_idle(config, saved, shards)
    is_test = shards.splits == "test"
    chosen = np.flatnonzero(is_test) if is_test.any() else np.arange(len(shards))
    scored, split_policy = chosen, "test" if is_test.any() else "no"
    drawn: Draw | None = None
    copies: float | None = None
    if saved.describe["dataset"] == config.dataset:
        benchmark, drawn = _own_draw(saved, config)
        chosen, scored = np.setdiff1d(chosen, drawn.train), drawn.test
        split_policy = saved.describe["draw"]["split_policy"]
        copies = near_copy_percent(drawn, benchmark, saved.describe["solver"])
    place = report_folder(config.out, config.checkpoint, f"labels-{config.dataset}", None)
    folder = usable_folder(place, config, config.checkpoint)
    probability = _probabilities(saved, shards, chosen, progress)
    predictions = {"predictions.csv": _predictions(saved, shards, chosen, probability)}
    true = _true_labels(saved, shards, chosen)
    known = (true >= 0) & np.isin(chosen, scored)
    if not known.any():
        write_files(folder, predictions)
        return Result(f"{counted(len(chosen), 'chip')} labelled; {folder / 'predictions.csv'}", folder)
    tested = scores(true[known], probability[known].argmax(axis=1), len(saved.classes))
    run = Run(
        **score_fields(tested, saved.classes),
        checkpoint=config.checkpoint,
        dataset=config.dataset,
        protocol="saved classifier",
        pool=saved.describe["pool"],
        solver=saved.describe["solver"],
        split_policy=split_policy,
        recipe=saved.describe.get("recipe", "published"),
        augment=saved.describe.get("augment", "none"),
        shots=None,
        seed=None,
        label_set=saved.describe["label_set"],
        num_classes=len(saved.classes),
        crop=saved.describe["crop"],
        precision=saved.describe["precision"],
        selection="as saved",
        draw_sha256=drawn.sha256 if drawn else "",
        num_train=0,
        num_test=int(known.sum()),
        short=drawn.short if drawn else {},
        near_copy_percent=copies,
    )
    return write_report(folder, report_of(run, tested, config), predictions)


def _refuse_idle(config: ProbeConfig, saved: SavedClassifier, shards: Shards) -> None:
    """Refuse settings of a training, and a crop other than the classifier's (a preset may set the crop)."""
    idle = [setting.name for setting in settings_of(ProbeConfig) if setting.key in _OF_TRAINING
            and (config.is_typed(setting.key) or getattr(config, setting.key) != setting.default)]  # fmt: skip
    if config.crop != "published" and crop_side(config.crop, config.dataset, shards) != saved.describe["crop"]:
        idle.append("crop")
    if idle:
        hint = "leave out " + " ".join(f"--{name}" for name in idle)
        raise InputError("a saved classifier is not trained again", where=config.checkpoint, hint=hint)


def _own_draw(saved: SavedClassifier, config: ProbeConfig) -> tuple[Benchmark, Draw]:
    """The data set and the draw that the classifier was trained on, made again.

    Raises:
        InputError: the data set no longer gives that draw.
    """
    benchmark = open_benchmark(config.data_root, config.dataset, saved.describe["label_set"])
    made = saved.describe.get("draw")
    if made is not None:
        drawn = draw(benchmark.candidates, made["split_policy"], made["shots"], made["seed"])
        if drawn.sha256 == made["sha256"]:
            return benchmark, drawn
    raise InputError(
        "the chips that the classifier was trained on cannot be told from the others",
        where=f"{config.dataset} for {config.checkpoint}",
        expected="the data set as it was when the classifier was trained",
        hint="build new chips as a source of another name, or run the command that trained it again",
    )


def _probabilities(saved: SavedClassifier, shards: Shards, chosen: np.ndarray, progress: Progress) -> np.ndarray:
    """(N, C) probabilities of the chosen chips."""
    parts = []
    with progress.task("labelling", total=len(chosen), unit="chips") as task:
        for start in range(0, len(chosen), _BATCH):
            images = shards.images(chosen[start : start + _BATCH])
            parts.append(saved.probabilities([image / shards.scale for image in images]))
            task.advance(len(images))
    return np.concatenate(parts)


def _true_labels(saved: SavedClassifier, shards: Shards, chosen: np.ndarray) -> np.ndarray:
    """The classifier's label of each chip's class; -1 for a chip without label or of a class it was not trained on."""
    label_of = {name: label for label, name in enumerate(saved.classes)}
    lookup = np.array([*(label_of.get(name, -1) for name in shards.classes), -1])  # the last: label -1 has no class
    return lookup[shards.labels[chosen]]


def _predictions(saved: SavedClassifier, shards: Shards, chosen: np.ndarray, probability: np.ndarray) -> str:
    """CSV: path, label if there is one, predicted class, probability of every class."""
    names, labels = shards.paths, shards.labels
    rows = [
        [names[index], shards.classes[labels[index]] if labels[index] >= 0 else "", saved.classes[int(row.argmax())],
         *(f"{value:.4f}" for value in row)]
        for index, row in zip(chosen.tolist(), probability, strict=True)
    ]  # fmt: skip
    return csv_text(("path", "label", "predicted", *(f"p({name})" for name in saved.classes)), rows)
