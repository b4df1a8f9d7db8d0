"""The runs behind the few-shot table: one checkpoint on one data set in one variant, resumable run by run."""

from __future__ import annotations

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
from sarjepa.evaluation.runs import Training, classify, finetune_run, probe_runs
from sarjepa.models.heads import Feature
from sarjepa.progress import Progress
from sarjepa.recipes.evaluating.record import run_record
from sarjepa.results.records import Run, Variant
from sarjepa.results.store import RunStore
from sarjepa.training.loop import LossNotFiniteError


def variants(config: FewshotBenchConfig, opened: OpenedEncoder) -> list[Variant]:
    """Every combination that makes sense: baselines have one feature and no weights, fine-tuning has no solver."""
    without_weights = isinstance(opened.encoder, Baseline)
    pools = (opened.name,) if without_weights else tuple(config.feature(pool) for pool in config.pool)
    return [
        Variant(protocol=protocol, pool=pool, solver=solver, split_policy=policy)
        for protocol in config.protocols
        if not (without_weights and protocol == "fine-tune")
        for pool in pools
        for solver in (("fine-tune",) if protocol == "fine-tune" else config.solver)
        for policy in config.split_policy
    ]


@dataclass(frozen=True)
class Grid:
    """The runs of one checkpoint on one data set in one variant.

    Attributes:
        config: rates and epochs.
        store: where finished runs are kept.
        opened: the checkpoint.
        benchmark: the data set.
        variant: how.
        device: where the work is done.
        progress: where to tell how far it is.
    """

    config: FewshotBenchConfig
    store: RunStore
    opened: OpenedEncoder
    benchmark: Benchmark
    variant: Variant
    device: torch.device
    progress: Progress

    @property
    def _training(self) -> Training:
        config = self.config
        return Training(
            config.epochs, config.batch_size, config.lr, config.weight_decay, layer_decay=config.layer_decay
        )

    def fill(self, draws: Sequence[Draw], failures: list[str]) -> list[Run]:
        """The records of all draws, doing those that are missing; what fails is added to `failures`."""
        missing = [drawn for drawn in draws if self._record(drawn) is None]
        if self.variant.protocol == "fine-tune":
            self._finetune(missing, failures)
        elif missing:
            self._probe(missing, failures)
        runs = [self._record(drawn) for drawn in draws]
        # The name is the user's, not the weights': the same encoder may be called by two paths.
        return [replace(run, checkpoint=self.opened.name) for run in runs if run is not None]

    def _record(self, drawn: Draw) -> Run | None:
        return self.store.get(self._key(drawn))

    def _key(self, drawn: Draw) -> dict[str, Any]:
        """Everything that decides a run's numbers; without defaults, since the key of an older run has none."""
        variant = {field.name: (getattr(self.variant, field.name), field.default) for field in fields(Variant)}
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
        }

    def _keep(self, drawn: Draw, found: Scores, train_loss: Sequence[float] | None = None) -> None:
        run = run_record(found, self.opened, self.benchmark, drawn, self.variant, self.config.precision)
        loss = None if train_loss is None else tuple(round(value, 5) for value in train_loss)
        self.store.put(self._key(drawn), replace(run, train_loss=loss))

    def _feature(self) -> Feature:
        """What of the tokens is looked at; a baseline has but one token."""
        return Feature(("cls",)) if isinstance(self.opened.encoder, Baseline) else Feature.read(self.variant.pool)

    def _failure(self, drawn: Draw, why: str) -> str:
        row = f"{self.opened.name}, {self.benchmark.name}, {self.variant.protocol}, feature {self.variant.pool}"
        return f"{row}, {drawn.shots} shots, seed {drawn.seed}: {why}"

    def _probe(self, missing: Sequence[Draw], failures: list[str]) -> None:
        """Probes on frozen features, the runs of a shot count together."""
        cache = Path(self.config.data_root) / "features"
        precision, solver = self.config.precision, self.variant.solver
        features = open_features(
            self.opened, self.benchmark, self._feature(), precision, cache, self.device, self.progress
        )
        what = f"{self.benchmark.name}: {solver} on {self.opened.name}"
        for shots in self.progress.track(sorted({drawn.shots or 0 for drawn in missing}), what):
            cell = [drawn for drawn in missing if drawn.shots == shots]
            for probed in probe_runs(features, self.benchmark, cell, solver, self._training, self.device):
                if probed.scores is None:
                    failures.append(self._failure(probed.draw, "the loss is not a number"))
                else:
                    self._keep(probed.draw, probed.scores)

    def _finetune(self, missing: Sequence[Draw], failures: list[str]) -> None:
        """Fine-tuning, run by run; each is kept as soon as it is done."""
        labels, config = self.benchmark.candidates.labels, self.config
        for drawn in self.progress.track(missing, f"{self.benchmark.name}: fine-tuning {self.opened.name}"):
            try:
                classifier, curve = finetune_run(
                    self.opened,
                    self.benchmark,
                    drawn.train,
                    drawn.seed,
                    self._feature(),
                    self._training,
                    config.precision,
                    self.device,
                    Progress(),
                )
            except LossNotFiniteError as error:
                failures.append(self._failure(drawn, str(error)))
                continue
            logits = classify(classifier, self.opened, self.benchmark, drawn.test, config.precision)
            found = scores(labels[drawn.test], logits.argmax(dim=1).numpy(), len(self.benchmark.classes))
            self._keep(drawn, found, curve.loss)
