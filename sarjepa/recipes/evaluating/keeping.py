"""The classifier that finetune and probe leave behind."""

from __future__ import annotations

import numpy as np

from sarjepa.config import SingleEvaluation
from sarjepa.evaluation.benchmark import Benchmark, open_benchmark
from sarjepa.evaluation.classifier import classifier_bytes
from sarjepa.evaluation.fewshot import Draw, draw
from sarjepa.evaluation.opened import OpenedEncoder
from sarjepa.models.addresses import CLASSIFIER_FILE
from sarjepa.models.heads import Classifier
from sarjepa.results.records import Report


def kept(
    classifier: Classifier,
    report: Report,
    config: SingleEvaluation,
    benchmark: Benchmark,
    opened: OpenedEncoder,
    drawn: Draw,
) -> dict[str, bytes]:
    """The file of a classifier, with all that is needed to use it on other chips, by its name.

    Args:
        classifier: encoder, feature and head.
        report: report of its test, with the temperature of its logits.
        config: settings of the command.
        benchmark, drawn: data set and draw that it was trained on.
        opened: checkpoint that it was made of.

    Example:
        >>> import shutil
        >>> from sarjepa.config import ProbeConfig
        >>> from sarjepa.progress import Progress
        >>> from sarjepa.recipes import probe
        >>> root = shutil.copytree("data", "kept-data")  # features are cached beside the shards
        >>> given = {"data_root": root, "dataset": "toy", "shots": 5, "solver": "lda"}
        >>> _ = probe.run(ProbeConfig(checkpoint="runs/toy", out="kept", **given), Progress())  # which calls `kept`
        >>> load_classifier("kept").describe["solver"]
        'lda'
    """
    index = benchmark.shards.index
    built, sizes = index.get("settings") or {}, index.get("sizes") or {}
    describe = {
        "classes": list(benchmark.classes),
        "temperature": report.temperature,
        "crop": benchmark.crop,
        "precision": report.precision,
        "normalisation": index["normalisation"],
        "source": {
            **{key: built[key] for key in ("bands", "chip_size", "overlap") if key in built},
            "largest_px": sizes.get("max"),
        },
        "dataset": config.dataset,
        "label_set": benchmark.label_set,
        "draw": {
            "split_policy": config.split_policy,
            "shots": config.shots,
            "seed": config.seed,
            "sha256": _draw_sha256(config, drawn),
        },
        "recipe": report.recipe,
        "solver": report.solver,
        "augment": report.augment,
        "accuracy": report.accuracy,
        "encoder": opened.describe,
    }
    return {CLASSIFIER_FILE: classifier_bytes(classifier, describe)}


def _draw_sha256(config: SingleEvaluation, drawn: Draw) -> str:
    """Checksum of the draw without --test-dataset, by which `probe` recognises the training chips later."""
    if config.test_dataset is None:
        return drawn.sha256
    candidates = open_benchmark(config.data_root, config.dataset, config.label_set).candidates
    alone = draw(candidates, config.split_policy, config.shots, config.seed)
    return alone.sha256 if np.array_equal(alone.train, drawn.train) else drawn.sha256
