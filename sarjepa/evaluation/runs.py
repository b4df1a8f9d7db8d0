"""One evaluated run: learn from a draw and predict its test set.

`probe`, `finetune` and `fewshot-bench` are three doors to this code, so that a single probe is the very number that the
table's cell averages.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sarjepa.evaluation.benchmark import Benchmark
from sarjepa.evaluation.fewshot import Draw
from sarjepa.evaluation.finetune import Curve, finetune, predict
from sarjepa.evaluation.knn import fit_centroids, fit_neighbours
from sarjepa.evaluation.lda import fit_lda
from sarjepa.evaluation.linear import LinearProbes, train_probes
from sarjepa.evaluation.logistic import fit_logistic
from sarjepa.evaluation.metrics import Scores, scores
from sarjepa.evaluation.opened import OpenedEncoder
from sarjepa.models.heads import Classifier, Feature, Head
from sarjepa.progress import Progress


@dataclass(frozen=True)
class Training:
    """How a head, or everything, is trained: epochs, images per step, AdamW's peak rate and weight decay."""

    epochs: int = 40
    batch_size: int = 50
    lr: float = 1e-3
    weight_decay: float = 5e-4


class Fitted(Protocol):
    """What a solver returns: the logits of one of its runs for some features."""

    def logits(self, run: int, feature_TD: Tensor) -> Tensor:
        """(T, C)."""
        ...


@dataclass(frozen=True)
class Probed:
    """One probed run.

    Attributes:
        draw: what it learnt from and was tested on.
        scores: on the test set; None where the training diverged.
    """

    draw: Draw
    scores: Scores | None


def fit(solver: str, feature_ND: Tensor, label_N: Tensor, train_RS: np.ndarray, num_classes: int,
        seeds: Sequence[int], training: Training) -> Fitted:  # fmt: skip
    """Fit every run of a cell with one of the solvers."""
    if solver == "lbfgs":
        return fit_logistic(feature_ND, label_N, train_RS, num_classes)
    if solver == "lda":
        return fit_lda(feature_ND, label_N, train_RS, num_classes)
    if solver == "knn":
        return fit_neighbours(feature_ND, label_N, train_RS, num_classes)
    if solver == "centroid":
        return fit_centroids(feature_ND, label_N, train_RS, num_classes)
    return train_probes(
        feature_ND,
        label_N,
        train_RS,
        num_classes,
        seeds,
        **asdict(training),
    )


def probe_runs(
    features: np.ndarray,
    benchmark: Benchmark,
    draws: Sequence[Draw],
    solver: str,
    training: Training,
    device: torch.device,
) -> list[Probed]:
    """Probe every draw, in order; those with equally many training images are trained together.

    Args:
        features: (N, D), one row per chip of the source.
        benchmark: whose labels count.
        draws: one per run.
        solver: adamw, lbfgs, lda, knn or centroid.
        training: of the adamw solver.
        device: where the work is done.
    """
    feature_ND = torch.from_numpy(np.array(features, dtype=np.float32)).to(device)
    labels, num_classes = benchmark.candidates.labels, len(benchmark.classes)
    label_N = torch.from_numpy(labels).to(device)
    outcomes: dict[int, Probed] = {}
    for size in sorted({len(draw.train) for draw in draws}):
        members = [number for number, draw in enumerate(draws) if len(draw.train) == size]
        train_RS = np.stack([draws[number].train for number in members])
        seeds = [draws[number].seed for number in members]
        fitted = fit(solver, feature_ND, label_N, train_RS, num_classes, seeds, training)
        for run, number in enumerate(members):
            draw = draws[number]
            logits = fitted.logits(run, feature_ND[torch.from_numpy(draw.test).to(device)]).cpu()
            failed = isinstance(fitted, LinearProbes) and not bool(torch.isfinite(fitted.loss[run]))
            found = None if failed else scores(labels[draw.test], logits.argmax(dim=1).numpy(), num_classes)
            outcomes[number] = Probed(draw, found)
    return [outcomes[number] for number in range(len(draws))]


def new_classifier(opened: OpenedEncoder, benchmark: Benchmark, feature: Feature, device: torch.device) -> Classifier:
    """A classifier on a copy of the encoder, so that the next run starts from the same weights."""
    encoder = copy.deepcopy(opened.encoder)
    head = Head(encoder.width * feature.num_tokens, len(benchmark.classes))  # type: ignore[operator, arg-type]
    return Classifier(encoder, head, feature).to(device)


def finetune_run(
    opened: OpenedEncoder,
    benchmark: Benchmark,
    train: np.ndarray,
    seed: int,
    feature: Feature,
    training: Training,
    layer_decay: float,
    precision: str,
    device: torch.device,
    progress: Progress,
    watch: Callable[[Classifier], float] | None = None,
) -> tuple[Classifier, Curve]:
    """Fine-tune a copy of the encoder on some chips; `watch` is called after each epoch and chooses nothing.

    Raises:
        DivergedError: the loss is no longer a number.
    """
    classifier = new_classifier(opened, benchmark, feature, device)
    curve = finetune(
        classifier,
        benchmark.loader(opened.image_size, device),
        train,
        benchmark.candidates.labels,
        seed,
        **asdict(training),
        layer_decay=layer_decay,
        precision=precision,
        watch=watch,
        progress=progress,
    )
    return classifier, curve


def classify(
    classifier: Classifier, opened: OpenedEncoder, benchmark: Benchmark, indices: np.ndarray, precision: str
) -> Tensor:
    """(T, C) logits of some chips."""
    device = next(classifier.parameters()).device
    return predict(classifier, benchmark.loader(opened.image_size, device), indices, precision=precision)
