"""One evaluated run: learn from a draw and predict its test set.

`probe`, `finetune` and `fewshot-bench` all call this code, so that a single probe is exactly one of the numbers that a
cell of the table averages.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sarjepa.evaluation.benchmark import Benchmark
from sarjepa.evaluation.fewshot import Draw
from sarjepa.evaluation.finetune import Curve, finetune, predict
from sarjepa.evaluation.knn import fit_centroids, fit_neighbours
from sarjepa.evaluation.lda import fit_lda
from sarjepa.evaluation.linear import LinearProbes, train_probes
from sarjepa.evaluation.logistic import LinearMaps, fit_logistic
from sarjepa.evaluation.metrics import Scores, scores
from sarjepa.evaluation.opened import OpenedEncoder
from sarjepa.evaluation.spreading import Spreading
from sarjepa.evaluation.training import Training
from sarjepa.models.heads import Classifier, Feature, Head
from sarjepa.progress import Progress


class Fitted(Protocol):
    """The result of a solver."""

    def logits(self, run: int, feature_TD: Tensor) -> Tensor:
        """(T, C) logits of some features by one of the runs."""
        ...


@dataclass(frozen=True)
class Probed:
    """One probed run.

    Attributes:
        draw: training and test chips of the run.
        scores: scores on the test set; None if the training diverged.
        head: maker of the run's head; it makes None for neighbours and centroids, which are not kept.
    """

    draw: Draw
    scores: Scores | None
    head: Callable[[], nn.Module | None]


def fit(solver: str, feature_ND: Tensor, label_N: Tensor, train_RS: np.ndarray, num_classes: int,
        seeds: Sequence[int], training: Training, copies: int = 1) -> Fitted:  # fmt: skip
    """Fit every run of a cell with a solver that reads the shots alone; `copies` successive rows are one image.

    Example:
        >>> features = torch.tensor([[0.0, 1.0], [1.0, 0.0], [4.0, 5.0], [5.0, 4.0]])
        >>> runs = features, torch.tensor([0, 0, 1, 1]), np.array([[0, 1, 2, 3]]), 2, [0], Training()
        >>> fitted = [fit(solver, *runs) for solver in ("adamw", "lbfgs", "lda", "knn", "centroid")]
        >>> [solved.logits(0, torch.tensor([[0.5, 0.5], [4.0, 4.0]])).argmax(dim=1).tolist() for solved in fitted]
        [[0, 1], [0, 1], [0, 1], [0, 1], [0, 1]]
    """
    if solver == "lbfgs":
        return fit_logistic(feature_ND, label_N, train_RS, num_classes, copies)
    if solver == "lda":
        return fit_lda(feature_ND, label_N, train_RS, num_classes, copies)
    if solver == "knn":
        return fit_neighbours(feature_ND, label_N, train_RS, num_classes)
    if solver == "centroid":
        return fit_centroids(feature_ND, label_N, train_RS, num_classes)
    return train_probes(feature_ND, label_N, train_RS, num_classes, seeds, training)


def _head(fitted: Fitted, run: int) -> Head | None:
    """A run's linear classifier as a head."""
    if not isinstance(fitted, LinearMaps | LinearProbes):
        return None
    weight_CD, bias_C = fitted.linear(run)
    head = Head(weight_CD.shape[1], len(weight_CD), normalise=False)
    head.linear.load_state_dict({"weight": weight_CD, "bias": bias_C})
    return head


def probe_runs(
    features: np.ndarray,
    benchmark: Benchmark,
    draws: Sequence[Draw],
    solver: str,
    training: Training,
    device: torch.device,
    copies: Sequence[np.ndarray] = (),
    tested: np.ndarray | None = None,
) -> list[Probed]:
    """Probe every draw, in order; those with equally many training images are trained together.

    Args:
        features: (N, D), one row per chip of the source.
        benchmark: benchmark that labels the chips.
        draws: a draw for each run.
        solver: adamw, lbfgs, lda, knn, centroid or label-spreading.
        training: settings of the adamw solver.
        device: device of the computation.
        copies: (N, D) features of each further view of the chips; views are learnt from and never tested.
        tested: (N, D) features of the chips in the test; None: `features`.

    Example:
        >>> from sarjepa.evaluation import benchmark, fewshot
        >>> toy, cpu = benchmark.open_benchmark("data", "toy"), torch.device("cpu")
        >>> pixels = toy.loader(16, cpu)(np.arange(72)).flatten(1).numpy()  # the chips themselves as features
        >>> draws = [fewshot.draw(toy.candidates, "published", shots, seed=0) for shots in (1, 5)]
        >>> [round(run.scores.accuracy) for run in probe_runs(pixels, toy, draws, "centroid", Training(), cpu)]
        [86, 97]
    """
    rows = np.concatenate([features, *copies], dtype=np.float32)
    feature_ND = torch.from_numpy(rows).to(device)
    tested_ND = feature_ND if tested is None else torch.from_numpy(np.array(tested, dtype=np.float32)).to(device)
    labels, num_classes, num = benchmark.candidates.labels, len(benchmark.classes), len(features)
    label_N = torch.from_numpy(np.tile(labels, 1 + len(copies))).to(device)
    spreading = Spreading(feature_ND, label_N, num_classes, tested_ND)
    outcomes: dict[int, Probed] = {}

    def with_copies(chips: np.ndarray) -> np.ndarray:
        """The rows of some chips, each followed by its copies."""
        return (chips[:, None] + num * np.arange(1 + len(copies))).ravel()

    for size in sorted({len(draw.train) for draw in draws}):
        members = [number for number, draw in enumerate(draws) if len(draw.train) == size]
        train_RS = np.stack([with_copies(draws[number].train) for number in members])
        seeds = [draws[number].seed for number in members]
        fitted = None
        if solver != "label-spreading":
            fitted = fit(solver, feature_ND, label_N, train_RS, num_classes, seeds, training, 1 + len(copies))
        for run, number in enumerate(members):
            draw = draws[number]
            if fitted is None:
                node_M = np.sort(with_copies(draw.known))
                logits = spreading.logits(train_RS[run], node_M, draw.test).cpu()
                head: Callable[[], nn.Module | None] = functools.partial(spreading.fit, train_RS[run], node_M)
            else:
                head = functools.partial(_head, fitted, run)
                logits = fitted.logits(run, tested_ND[torch.from_numpy(draw.test).to(device)]).cpu()
            failed = isinstance(fitted, LinearProbes) and not bool(torch.isfinite(fitted.loss[run]))
            result = None if failed else scores(labels[draw.test], logits.argmax(dim=1).numpy(), num_classes)
            outcomes[number] = Probed(draw, result, head)
    return [outcomes[number] for number in range(len(draws))]


def new_classifier(
    opened: OpenedEncoder, benchmark: Benchmark, feature: Feature, normalise: bool, device: torch.device
) -> Classifier:
    """A classifier on a copy of the encoder, so that every run starts from the same weights.

    Example:
        >>> from sarjepa.evaluation import benchmark, opened
        >>> toy, cpu = benchmark.open_benchmark("data", "toy"), torch.device("cpu")
        >>> checkpoint = opened.open_checkpoint("runs/toy", seed=0, device=cpu)  # of width 16
        >>> classifier = new_classifier(checkpoint, toy, Feature(("grid2",)), normalise=False, device=cpu)
        >>> classifier.head.linear, classifier.encoder is checkpoint.encoder
        (Linear(in_features=64, out_features=3, bias=True), False)
    """
    encoder = copy.deepcopy(opened.encoder)
    head = Head(encoder.width * feature.num_tokens, len(benchmark.classes), normalise)  # type: ignore[operator, arg-type]
    return Classifier(encoder, head, feature).to(device)


def finetune_run(
    opened: OpenedEncoder,
    benchmark: Benchmark,
    train: np.ndarray,
    seed: int,
    feature: Feature,
    training: Training,
    precision: str,
    device: torch.device,
    progress: Progress,
    watch: Callable[[Classifier], float] | None = None,
) -> tuple[Classifier, Curve]:
    """Fine-tune a copy of the encoder on some chips; `watch` is called after each epoch and chooses nothing.

    Raises:
        LossNotFiniteError: the loss is no longer a number.

    Example:
        >>> from sarjepa.evaluation import benchmark, opened
        >>> toy, cpu = benchmark.open_benchmark("data", "toy"), torch.device("cpu")
        >>> checkpoint = opened.open_checkpoint("runs/toy", seed=0, device=cpu)
        >>> settings = Feature(("cls",)), Training(steps=2, augment=("mirror",)), "fp32", cpu, Progress()
        >>> classifier, curve = finetune_run(checkpoint, toy, np.arange(0, 72, 4), 0, *settings)
        >>> [round(loss, 1) for loss in curve.loss]  # ln 3, as the head starts near zero
        [1.1, 1.1]
    """
    names, size = training.augment, opened.image_size
    classifier = new_classifier(opened, benchmark, feature, training.normalise, device)
    plain = benchmark.loader(size, device)

    def load(indices: np.ndarray, epoch: int) -> Tensor:
        return benchmark.view_loader(size, device, names, seed, epoch)(indices) if names else plain(indices)

    labels = benchmark.candidates.labels
    curve = finetune(
        classifier, load, train, labels, seed, training, precision=precision, watch=watch, progress=progress
    )
    return classifier, curve


def classify(
    classifier: Classifier, opened: OpenedEncoder, benchmark: Benchmark, indices: np.ndarray, precision: str
) -> Tensor:
    """(T, C) logits of some test chips.

    Example:
        >>> from sarjepa.evaluation import benchmark, opened
        >>> toy, cpu = benchmark.open_benchmark("data", "toy"), torch.device("cpu")
        >>> checkpoint = opened.open_checkpoint("runs/toy", seed=0, device=cpu)
        >>> classifier = sarjepa.load_classifier("runs/toy/finetune-toy").classifier
        >>> dark = classify(classifier, checkpoint, toy.under("gain=0.5"), np.arange(4), "fp32")
        >>> dark.shape, torch.equal(dark, classify(classifier, checkpoint, toy, np.arange(4), "fp32"))
        (torch.Size([4, 3]), False)
    """
    device = next(classifier.parameters()).device
    load = benchmark.loader(opened.image_size, device, benchmark.disturbance)
    return predict(classifier, load, indices, precision=precision)
