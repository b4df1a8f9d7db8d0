"""What is written of an evaluated run: its scores and what they depend on, JSON-ready."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sarjepa.config import FinetuneConfig, ProbeConfig
from sarjepa.evaluation.benchmark import Benchmark
from sarjepa.evaluation.fewshot import Draw, near_copy_share
from sarjepa.evaluation.metrics import Scores
from sarjepa.evaluation.opened import OpenedEncoder

SELECTION = {
    "adamw": "last epoch",
    "lbfgs": "optimum, strength by 5-fold on the shots",
    "lda": "closed form, shrinkage by leave-one-out on the shots",
    "knn": "nothing chosen",
    "centroid": "nothing chosen",
    "fine-tune": "last epoch",
}


def percentages(values: np.ndarray) -> list[float | None]:
    """Rounded numbers for JSON, None for what is undefined."""
    return [None if np.isnan(value) else round(float(value), 4) for value in values]


def score_record(found: Scores, classes: Sequence[str]) -> dict[str, Any]:
    """Scores, JSON-ready."""
    return {
        "accuracy": round(found.accuracy, 4),
        "balanced_accuracy": round(found.balanced_accuracy, 4),
        "macro_f1": round(found.macro_f1, 4),
        "recall": dict(zip(classes, percentages(found.recall), strict=True)),
        "confusion": found.confusion.tolist(),
    }


def evaluation_facts(benchmark: Benchmark, split_policy: str, pool: str, precision: str) -> dict[str, Any]:
    """What a number depends on besides the weights and the draw; it is given with every number."""
    return {
        "label_set": benchmark.label_set,
        "num_classes": len(benchmark.classes),
        "split_policy": split_policy,
        "crop": benchmark.crop,
        "pool": pool,
        "precision": precision,
    }


def draw_facts(draw: Draw, benchmark: Benchmark) -> dict[str, Any]:
    """What is said of a draw besides its score."""
    return {
        "draw_sha256": draw.sha256,
        "num_train": len(draw.train),
        "num_test": len(draw.test),
        "short": draw.short,
        "near_copy_percent": round(100 * near_copy_share(benchmark.candidates, draw), 2),
    }


def run_facts(
    config: ProbeConfig | FinetuneConfig,
    opened: OpenedEncoder,
    benchmark: Benchmark,
    draw: Draw,
    protocol: str,
    solver: str,
) -> dict[str, Any]:
    """What stands in the report of a single run besides its scores."""
    return {
        "checkpoint": opened.name,
        "weights_sha256": opened.weights_sha256,
        "dataset": benchmark.name,
        "protocol": protocol,
        "solver": solver,
        "selection": SELECTION[solver],
        "shots": config.shots,
        "seed": config.seed,
        **evaluation_facts(benchmark, config.split_policy, config.feature(config.pool), config.precision),
        **draw_facts(draw, benchmark),
    }
