"""finetune: all weights of one checkpoint on one data set, to a report and a classifier for new chips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from sarjepa.config import FinetuneConfig
from sarjepa.errors import InputError
from sarjepa.evaluation.benchmark import Benchmark
from sarjepa.evaluation.fewshot import Draw, draw
from sarjepa.evaluation.finetune import fit_temperature
from sarjepa.evaluation.metrics import Scores, scores
from sarjepa.evaluation.opened import open_checkpoint
from sarjepa.evaluation.runs import classify, finetune_run
from sarjepa.models.addresses import newest_run
from sarjepa.models.heads import Classifier, Feature
from sarjepa.progress import Progress
from sarjepa.recipes.evaluating.class_report import report_folder, report_of, usable_folder, write_report
from sarjepa.recipes.evaluating.keeping import kept
from sarjepa.recipes.evaluating.opening import open_to_classify
from sarjepa.recipes.evaluating.recipe import recipe_name, settled, training_of
from sarjepa.recipes.evaluating.record import run_record
from sarjepa.reports.accuracy_figures import finetuning_curves
from sarjepa.results.records import Variant
from sarjepa.results.result import Result
from sarjepa.results.tables import csv_text
from sarjepa.training.loop import LossNotFiniteError
from sarjepa.training.runtime import pick_device, pick_precision

HELD_SHARE = 0.1  # of each class's training chips, held out for the temperature where no chip is spare


def run(config: FinetuneConfig, progress: Progress) -> Result:
    """Fine-tune, test, calibrate, save the classifier, write report.json, confusion.png and, if asked, the curve.

    Raises:
        InputError: the data set is not built, the checkpoint cannot be read, the folder cannot be written or holds a
            report of other settings, or the training diverged.

    Example:
        >>> config = FinetuneConfig(checkpoint="runs/toy", dataset="toy", shots=2, epochs=1, out="tuned")
        >>> result = run(config, Progress())
        >>> sorted(path.name for path in result.folder.iterdir())
        ['classifier.safetensors', 'confusion.png', 'report.json']
        >>> load_classifier("tuned").classes
        ('across', 'along', 'blob')
    """
    device = pick_device(config.device)
    recipe, config = recipe_name(config, "fine-tune"), settled(config, "fine-tune")
    config = replace(config, precision=pick_precision(config.precision or "auto", device))
    assert config.pool and config.augment and config.precision and config.head
    precision = config.precision
    benchmark = open_to_classify(config, config.dataset, [config.split_policy], progress)
    opened = open_checkpoint(config.checkpoint or newest_run(), config.seed, device, progress, config.blocks)
    if not hasattr(opened.encoder, "blocks"):
        raise InputError("nothing to fine-tune", where=opened.name, hint="give a run folder or a checkpoint")
    place = report_folder(config.out, opened.name, f"finetune-{benchmark.name}", config.shots)
    folder = usable_folder(place, config, opened.name)
    drawn = draw(benchmark.candidates, config.split_policy, config.shots, config.seed)
    train, held = calibration_chips(drawn, benchmark)
    labels = benchmark.candidates.labels

    def test(classifier: Classifier) -> Scores:
        logits = classify(classifier, opened, benchmark, drawn.test, precision)
        return scores(labels[drawn.test], logits.argmax(dim=1).numpy(), len(benchmark.classes))

    try:
        classifier, curve = finetune_run(
            opened,
            benchmark,
            train,
            config.seed,
            Feature.read(config.feature(config.pool)),
            training_of(config, "fine-tune", config.augment),
            precision,
            device,
            progress,
            (lambda classifier: test(classifier).accuracy) if config.curve else None,
        )
    except LossNotFiniteError as error:
        raise InputError("the training diverged", where=opened.name, got=error, hint="lower --lr") from error
    tested = test(classifier)
    temperature = 1.0
    if len(held):
        held_logits = classify(classifier, opened, benchmark, held, precision)
        temperature = fit_temperature(held_logits, torch.from_numpy(labels[held]))
    variant = Variant(
        protocol="fine-tune",
        pool=config.feature(config.pool),
        solver="fine-tune",
        split_policy=config.split_policy,
        recipe=recipe,
        augment=config.augment,
    )
    report = report_of(
        run_record(tested, opened, benchmark, drawn, variant, precision, config.head),
        tested,
        config,
        num_train=len(train),
        num_held_for_temperature=len(held),
        temperature=round(temperature, 4),
        train_loss=tuple(round(loss, 5) for loss in curve.loss),
    )
    saved = kept(classifier, report, config, benchmark, opened, drawn)
    if not config.curve:
        return write_report(folder, report, saved)
    epochs = enumerate(zip(curve.loss, curve.watched, strict=True), start=1)
    rows = [(epoch, f"{loss:.5f}", f"{accuracy:.4f}") for epoch, (loss, accuracy) in epochs]
    curve_1E2 = np.stack([curve.loss, curve.watched], axis=1)[None]
    title = f"{opened.name} fine-tuned on {benchmark.name}: {curve.watched[-1]:.1f}% after the last epoch"
    return write_report(
        folder,
        report,
        {**saved, "curve.csv": csv_text(("epoch", "train_loss", "test_accuracy"), rows)},
        {"curve.png": lambda: finetuning_curves({benchmark.name: {opened.name: curve_1E2}}, title)},
    )


def calibration_chips(drawn: Draw, benchmark: Benchmark) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the chips to train on, and of those held out for the temperature.

    A few-shot draw leaves spare training chips: per class, as many of them as there are shots are held out, and all
    shots are trained on. Without spare chips (the whole training split), a tenth of each class is held out; the draw
    and its checksum still count it among the training chips.

    Example:
        >>> from sarjepa.evaluation.benchmark import open_benchmark
        >>> toy = open_benchmark("data", "toy")
        >>> for shots in (5, None):  # of three classes with twelve training chips each
        ...     train, held = calibration_chips(draw(toy.candidates, "published", shots, seed=0), toy)
        ...     print(len(train), len(held))
        15 15
        33 3
    """
    labels = benchmark.candidates.labels
    train, held = [], []
    for label in range(len(benchmark.classes)):
        own, spare = drawn.train[labels[drawn.train] == label], drawn.spare[labels[drawn.spare] == label]
        if drawn.shots is None:
            num_held = int(HELD_SHARE * len(own))
            own, spare = own[: len(own) - num_held], own[len(own) - num_held :]
        train.append(own)
        held.append(spare if drawn.shots is None else spare[: drawn.shots])
    return np.concatenate(train), np.concatenate(held)
