"""The runs of a few-shot table for one checkpoint, data set and variant, resumable run by run."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from sarjepa.config import FewshotBenchConfig
from sarjepa.evaluation.baselines import Baseline
from sarjepa.evaluation.benchmark import Benchmark
from sarjepa.evaluation.fewshot import Draw
from sarjepa.evaluation.metrics import Scores, scores
from sarjepa.evaluation.opened import OpenedEncoder, open_features
from sarjepa.evaluation.runs import classify, finetune_run, probe_runs
from sarjepa.evaluation.training import Training
from sarjepa.models.heads import Feature
from sarjepa.progress import Progress
from sarjepa.recipes.evaluating.recipe import copies_of, recipe_name, settled, training_of
from sarjepa.recipes.evaluating.record import run_record
from sarjepa.results.records import Run, Variant
from sarjepa.results.store import RunStore
from sarjepa.training.loop import LossNotFiniteError
from sarjepa.training.runtime import pick_precision

CLOSED_FORM = ("lda", "label-spreading")  # the best solvers, from the shots alone and with unlabelled chips


def variants(config: FewshotBenchConfig, opened: OpenedEncoder) -> list[Variant]:
    """Every combination that makes sense: baselines have one feature and no weights, fine-tuning has no solver.

    A baseline that is not among the checkpoints shows what is possible without an encoder, by the best solvers.

    Example:
        >>> from sarjepa.evaluation.opened import open_checkpoint
        >>> pixels = open_checkpoint("pixels", 0, torch.device("cpu"))
        >>> protocols, solvers = ("linear-probe", "fine-tune"), ("lda", "knn")
        >>> config = FewshotBenchConfig(checkpoint=("pixels",), protocols=protocols, solver=solvers)
        >>> [(row.protocol, row.solver) for row in variants(config, pixels)]  # pixels have no weights to fine-tune
        [('linear-probe', 'lda'), ('linear-probe', 'knn')]
    """
    is_baseline, is_extra = isinstance(opened.encoder, Baseline), opened.name not in (config.checkpoint or ())
    combinations = []
    for protocol in ("linear-probe",) if is_baseline and is_extra else config.protocols:
        settings, name = settled(config, protocol), recipe_name(config, protocol)
        assert settings.pool and settings.augment
        if is_baseline and protocol == "fine-tune":
            continue
        solvers = settings.solver or ()
        if is_baseline and is_extra:
            solvers = tuple(solver for solver in solvers if solver in CLOSED_FORM) or CLOSED_FORM[:1]
        if protocol == "fine-tune":
            solvers = ("fine-tune",)
        combinations += [
            Variant(protocol=protocol, pool=pool, solver=solver, split_policy=policy, recipe=name, augment=augment)
            for pool in ((opened.name,) if is_baseline else tuple(config.feature(pool) for pool in settings.pool))
            for solver in solvers
            for augment in settings.augment
            for policy in config.split_policy
        ]
    return combinations


@dataclass(frozen=True)
class Grid:
    """The runs of one checkpoint on one data set in one variant.

    Attributes:
        config: settings of the command.
        store: store of finished runs.
        opened: the checkpoint.
        benchmark: the data set.
        variant: protocol, feature, solver, split policy, recipe and augmentation.
        device: device of the computation.
        progress: receiver of notes, warnings and progress bars.
    """

    config: FewshotBenchConfig
    store: RunStore
    opened: OpenedEncoder
    benchmark: Benchmark
    variant: Variant
    device: torch.device
    progress: Progress

    @functools.cached_property
    def _config(self) -> FewshotBenchConfig:
        """The settings, with the recipe's values for the protocol."""
        config = settled(self.config, self.variant.protocol)
        return replace(config, precision=pick_precision(config.precision or "auto", self.device))

    @property
    def _precision(self) -> str:
        assert self._config.precision
        return self._config.precision

    @property
    def _head(self) -> str:
        return (self._config.head or "") if self.variant.protocol == "fine-tune" else ""

    @property
    def _training(self) -> Training:
        return training_of(self._config, self.variant.protocol, self.variant.augment)

    def fill(self, draws: Sequence[Draw], failures: list[str]) -> list[Run]:
        """Do the missing draws and return the records of all; failures are appended to `failures`, in words."""
        missing = [drawn for drawn in draws if self._record(drawn) is None]
        if self.variant.protocol == "fine-tune":
            self._finetune(missing, failures)
        elif missing:
            self._probe(missing, failures)
        runs = [self._record(drawn) for drawn in draws]
        # Two paths may lead to one encoder: the record gets the user's name of it. Older runs have no recipe.
        name, recipe = self.opened.name, self.variant.recipe
        return [replace(run, checkpoint=name, recipe=recipe) for run in runs if run is not None]

    def _of_precision(self, key: dict[str, Any]) -> dict[str, Any]:
        """The key of a run whose own is taken: the table was begun on a device of another number format."""
        return {**key, "precision": self._precision}

    def _record(self, drawn: Draw) -> Run | None:
        key = self._key(drawn)
        run = self.store.get(key)
        return run if run is None or run.precision == self._precision else self.store.get(self._of_precision(key))

    def _key(self, drawn: Draw) -> dict[str, Any]:
        """Everything that decides a run's numbers; defaults are left out, since the keys of older runs lack them."""
        variant = {field.name: (getattr(self.variant, field.name), field.default) for field in fields(Variant)}
        del variant["recipe"]  # its settings are among those of the folder
        return {
            "dataset": self.benchmark.name,
            **{name: value for name, (value, default) in variant.items() if value != default},
            "shots": drawn.shots,
            "seed": drawn.seed,
            "weights": self.opened.weights_sha256,
            "data": self.benchmark.data_sha256,
            "draw": drawn.sha256,
            "crop": self.benchmark.crop,
            "settings": self.store.settings,
        } | ({"head": self._head} if self._head else {})

    def _keep(self, drawn: Draw, tested: Scores, train_loss: Sequence[float] | None = None) -> None:
        run = run_record(tested, self.opened, self.benchmark, drawn, self.variant, self._precision, self._head)
        loss = None if train_loss is None else tuple(round(value, 5) for value in train_loss)
        key = self._key(drawn)
        self.store.put(self._of_precision(key) if self.store.get(key) else key, replace(run, train_loss=loss))

    def _feature(self) -> Feature:
        """The tokens that make the feature; a baseline has only one token."""
        return Feature(("cls",)) if isinstance(self.opened.encoder, Baseline) else Feature.read(self.variant.pool)

    def _failure(self, drawn: Draw, why: str) -> str:
        row = f"{self.opened.name}, {self.benchmark.name}, {self.variant.protocol}, feature {self.variant.pool}"
        return f"{row}, {drawn.shots} shots, seed {drawn.seed}: {why}"

    def _probe(self, missing: Sequence[Draw], failures: list[str]) -> None:
        """Probes on frozen features, the runs of one number of shots together."""
        solver, disturbance = self.variant.solver, self.benchmark.disturbance
        own_features = functools.partial(
            open_features, self.opened, self.benchmark, self._feature(), self._precision,
            Path(self.config.data_root) / "features", self.device, self.progress,
            nameless=solver == "label-spreading",
        )  # fmt: skip
        features, *copies = [own_features(copy) for copy in copies_of(self._config, self.variant.augment)]
        tested = None if disturbance == "none" else own_features(disturbance=disturbance)
        description = f"{self.benchmark.name}: {solver} on {self.opened.name}"
        by_shots = sorted({drawn.shots or 0 for drawn in missing})
        cells = [[drawn for drawn in missing if drawn.shots == shots] for shots in by_shots]
        if solver == "label-spreading":  # over one graph for all numbers of shots
            cells = [list(missing)]
        for cell in self.progress.track(cells, description):
            probes = probe_runs(features, self.benchmark, cell, solver, self._training, self.device, copies, tested)
            for probed in probes:
                if probed.scores is None:
                    failures.append(self._failure(probed.draw, "the loss is not a number"))
                else:
                    self._keep(probed.draw, probed.scores)

    def _finetune(self, missing: Sequence[Draw], failures: list[str]) -> None:
        """Fine-tuning, run by run; each is kept as soon as it is done."""
        labels = self.benchmark.candidates.labels
        for drawn in self.progress.track(missing, f"{self.benchmark.name}: fine-tuning {self.opened.name}"):
            try:
                classifier, curve = finetune_run(
                    self.opened,
                    self.benchmark,
                    drawn.train,
                    drawn.seed,
                    self._feature(),
                    self._training,
                    self._precision,
                    self.device,
                    Progress(),
                )
            except LossNotFiniteError as error:
                failures.append(self._failure(drawn, str(error)))
                continue
            logits = classify(classifier, self.opened, self.benchmark, drawn.test, self._precision)
            tested = scores(labels[drawn.test], logits.argmax(dim=1).numpy(), len(self.benchmark.classes))
            self._keep(drawn, tested, curve.loss)
