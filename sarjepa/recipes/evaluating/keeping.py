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
from sarjepa.results.records import Variant


def kept(
    classifier: Classifier,
    config: SingleEvaluation,
    benchmark: Benchmark,
    opened: OpenedEncoder,
    drawn: Draw,
    variant: Variant,
    temperature: float,
    accuracy: float,
) -> dict[str, bytes]:
    """The file of a classifier, with all that is needed to use it on other chips, by its name.

    Args:
        classifier: encoder, feature and head.
        config: settings of the command.
        benchmark, drawn: data set and draw that it was trained on.
        opened: checkpoint that it was made of.
        variant: recipe, solver and augmentation.
        temperature: divisor of its logits.
        accuracy: accuracy on the test chips of the draw (%).

    Example:
        >>> from sarjepa.config import ProbeConfig
        >>> from sarjepa.evaluation.opened import open_checkpoint
        >>> from sarjepa.models.heads import Head
        >>> toy, opened = open_benchmark("data", "toy"), open_checkpoint("runs/toy", seed=0, device="cpu")
        >>> made = ProbeConfig(dataset="toy", shots=5), toy, opened, draw(toy.candidates, "published", 5, seed=0)
        >>> variant = Variant(protocol="linear-probe", pool="cls", solver="lda", split_policy="published")
        >>> list(kept(Classifier(opened.encoder, Head(16, 3)), *made, variant, temperature=1.0, accuracy=90.0))
        ['classifier.safetensors']
    """
    describe = {
        "classes": list(benchmark.classes),
        "temperature": temperature,
        "crop": benchmark.crop,
        "normalisation": benchmark.shards.index["normalisation"],
        "dataset": config.dataset,
        "label_set": benchmark.label_set,
        "draw": {
            "split_policy": config.split_policy,
            "shots": config.shots,
            "seed": config.seed,
            "sha256": _draw_sha256(config, drawn),
        },
        "recipe": variant.recipe,
        "solver": variant.solver,
        "augment": variant.augment,
        "accuracy": round(accuracy, 4),
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
