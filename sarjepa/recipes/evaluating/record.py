"""The record of an evaluated run: its scores and what they depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from sarjepa.evaluation.benchmark import Benchmark
from sarjepa.evaluation.fewshot import Draw, near_copy_share
from sarjepa.evaluation.metrics import Scores
from sarjepa.evaluation.opened import OpenedEncoder
from sarjepa.results.records import Run, Variant

SELECTION = {
    "adamw": "last epoch",
    "lbfgs": "optimum, strength by 5-fold on the shots",
    "lda": "closed form, shrinkage by leave-one-out on the shots",
    "knn": "nothing chosen",
    "centroid": "nothing chosen",
    "label-spreading": "closed form, from the shots and the unlabelled training chips",
    "fine-tune": "last epoch",
}


def percentages(values: np.ndarray) -> list[float | None]:
    """Numbers rounded to four digits, None for NaN.

    Example:
        >>> percentages(np.array([93.12345, np.nan]))
        [93.1235, None]
    """
    return [None if np.isnan(value) else round(float(value), 4) for value in values]


def score_fields(scores: Scores, classes: Sequence[str]) -> dict[str, Any]:
    """The fields of a `Run` that hold its scores.

    Example:
        >>> from sarjepa.evaluation.metrics import scores
        >>> tested = scores(np.array([0, 0, 1]), np.array([0, 1, 1]), num_classes=3)
        >>> score_fields(tested, ("ship", "tank", "bridge"))["recall"]  # no chip of a bridge was tested
        {'ship': 50.0, 'tank': 100.0, 'bridge': None}
    """
    return {
        "accuracy": round(scores.accuracy, 4),
        "balanced_accuracy": round(scores.balanced_accuracy, 4),
        "macro_f1": round(scores.macro_f1, 4),
        "recall": dict(zip(classes, percentages(scores.recall), strict=True)),
        "confusion": tuple(map(tuple, scores.confusion.tolist())),
    }


def near_copy_percent(draw: Draw, benchmark: Benchmark, solver: str) -> float | None:
    """Share of the test chips of a group of chips that were learnt from (%); None where it is not known.

    Label spreading learns from unlabelled chips, too: a near-copy tells as much without a label.

    Example:
        >>> from sarjepa.evaluation import benchmark, fewshot
        >>> copies = benchmark.open_benchmark("data", "copies")  # every chip four times, in another brightness
        >>> draws = [fewshot.draw(copies.candidates, policy, 2, seed=0) for policy in ("published", "grouped")]
        >>> [near_copy_percent(drawn, copies, solver="lda") for drawn in draws]
        [17.78, 0.0]
    """
    draw = replace(draw, train=draw.known) if solver == "label-spreading" else draw
    return None if benchmark.is_foreign else round(100 * near_copy_share(benchmark.candidates, draw), 2)


def seen_of_test(opened: OpenedEncoder, benchmark: Benchmark) -> str:
    """What the pre-training of an encoder took of a benchmark's test, in words; empty: nothing.

    Example:
        >>> from sarjepa.evaluation import benchmark, opened
        >>> toy, run = benchmark.open_benchmark("data", "toy"), opened.open_checkpoint("runs/toy", 0, "cpu")
        >>> seen_of_test(run, toy), seen_of_test(replace(run, describe={"tested_sources": ["toy"]}), toy)
        ('', 'pre-training took chips that are tested, without their labels')
    """
    taken = opened.describe.get("tested_sources")
    if isinstance(taken, list) and benchmark.tested in taken:
        return "pre-training took chips that are tested, without their labels"
    return ""


def run_record(
    scores: Scores,
    opened: OpenedEncoder,
    benchmark: Benchmark,
    draw: Draw,
    variant: Variant,
    precision: str,
    head: str = "",
) -> Run:
    """The record of one draw; `head` is the head of fine-tuning.

    Example:
        >>> from sarjepa.evaluation import benchmark, fewshot, metrics, opened
        >>> toy, pixels = benchmark.open_benchmark("data", "toy"), opened.open_checkpoint("pixels", 0, "cpu")
        >>> drawn = fewshot.draw(toy.candidates, "published", 5, seed=0)
        >>> tested = metrics.scores(toy.candidates.labels[drawn.test], toy.candidates.labels[drawn.test], 3)
        >>> variant = Variant(protocol="linear-probe", pool="pixels", solver="lda", split_policy="published")
        >>> run_record(tested, pixels, toy, drawn, variant, "fp32").selection
        'closed form, shrinkage by leave-one-out on the shots'
    """
    return Run(
        **asdict(variant),
        **score_fields(scores, benchmark.classes),
        checkpoint=opened.name,
        dataset=benchmark.name,
        shots=draw.shots,
        seed=draw.seed,
        label_set=benchmark.label_set,
        num_classes=len(benchmark.classes),
        crop=benchmark.crop,
        precision=precision,
        selection=SELECTION[variant.solver],
        head=head,
        split=benchmark.split,
        leaks=benchmark.leaks,
        seen=seen_of_test(opened, benchmark),
        draw_sha256=draw.sha256,
        num_train=len(draw.train),
        num_test=len(draw.test),
        short=draw.short,
        near_copy_percent=near_copy_percent(draw, benchmark, variant.solver),
        weights_sha256=opened.weights_sha256,
    )
