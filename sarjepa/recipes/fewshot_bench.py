"""fewshot-bench: checkpoints x data sets x protocols x shots x runs, to one table with its uncertainty."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sarjepa.config import DOWNSTREAM, FewshotBenchConfig
from sarjepa.errors import InputError
from sarjepa.evaluation.draw_records import from_record, to_record
from sarjepa.evaluation.fewshot import Draw, draw
from sarjepa.evaluation.finetune import DivergedError
from sarjepa.evaluation.metrics import scores
from sarjepa.progress import Progress
from sarjepa.recipes.downstream import (
    Benchmark,
    Opened,
    built_datasets,
    newest_run,
    open_benchmark,
    open_checkpoint,
    open_features,
)
from sarjepa.recipes.evaluate import (
    SELECTION,
    circumstances,
    classify,
    draw_facts,
    finetune_run,
    probe_runs,
    score_record,
)
from sarjepa.recipes.fewshot_tables import (
    accuracy_table,
    comparison_table,
    comparisons,
    csv_text,
    detail_table,
    make_cells,
    plot,
)
from sarjepa.recipes.result import Result
from sarjepa.recipes.run_store import RunStore, json_bytes
from sarjepa.reports.tables import Table
from sarjepa.training.runtime import pick_device

DEFAULT_OUT = "results/fewshot"
# What every run of a results folder shares; the rest of the settings spans the grid and may grow.
SHARED = ("label_set", "split_policy", "crop", "pool", "precision", "epochs", "batch_size", "lr", "weight_decay",
          "solver", "layer_decay", "draws")  # fmt: skip


def run(config: FewshotBenchConfig, progress: Progress) -> Result:
    """Fill the grid, going on where it was, and write the tables.

    Args:
        config: the settings.
        progress: where to tell how far it is.

    Raises:
        InputError: a data set is not built, a checkpoint is none, the folder holds other results or is in use.
    """
    device = pick_device(config.device)
    datasets = _datasets(config)
    benchmarks = [open_benchmark(config.data_root, name, config.label_set, config.crop) for name in datasets]
    draws = {benchmark.name: _draws(config, benchmark) for benchmark in benchmarks}
    checkpoints = config.checkpoint or (newest_run(),)
    settings = {key: value for key, value in asdict(config).items() if key in SHARED}
    folder = Path(config.out or DEFAULT_OUT)
    with RunStore(folder, settings) as store:
        store.write("draws.json", json_bytes(_draws_file(config, benchmarks, draws)))
        records: list[dict[str, Any]] = []
        failures: list[str] = []
        for name in checkpoints:
            opened = open_checkpoint(name, config.seed, device)
            for benchmark in benchmarks:
                for protocol in config.protocols:
                    grid = _Grid(config, store, opened, benchmark, protocol, device, progress)
                    records += grid.fill(draws[benchmark.name], failures)
        tables = _write(config, store, records, failures)
    message = f"{len(records)} runs, {len(failures)} failed; {folder / 'table.md'}"
    for failure in failures:
        progress.warn(f"failed, will be tried again by the next call: {failure}")
    return Result(message, folder, tables)


def _datasets(config: FewshotBenchConfig) -> tuple[str, ...]:
    """The data sets asked for, or the downstream ones that are built."""
    found = config.datasets or tuple(name for name in DOWNSTREAM if name in built_datasets(config.data_root))
    if not found:
        raise InputError(
            "no downstream data set is built",
            where=Path(config.data_root) / "shards",
            expected=f"one of {', '.join(DOWNSTREAM)}, or --datasets",
            got=", ".join(built_datasets(config.data_root)) or "none",
            hint="run sarjepa build-dataset --sources mstar,saracd",
        )
    return found


def _draws(config: FewshotBenchConfig, benchmark: Benchmark) -> list[Draw]:
    """The draws of every shot count and seed: read from the file, or made."""
    places = [
        (shots, seed) for shots in sorted(set(config.shots)) for seed in range(config.seed, config.seed + config.runs)
    ]
    if config.draws is None:
        return [draw(benchmark.candidates, config.split_policy, shots, seed) for shots, seed in places]
    path = Path(config.draws)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))["datasets"][benchmark.name]
    except (OSError, ValueError, KeyError) as error:
        raise InputError("no draws of this data set in the file", where=path, expected=benchmark.name, got=repr(error),
                         hint="give a draws.json that fewshot-bench wrote") from error  # fmt: skip
    if record["policy"] != config.split_policy:
        raise InputError("the draws follow another split policy", where=path, expected=config.split_policy,
                         got=record["policy"])  # fmt: skip
    found = from_record(benchmark.candidates, record, str(path))
    missing = [place for place in places if place not in found]
    if missing:
        raise InputError("the file lacks draws", where=path, expected=f"{missing[0][0]} shots of seed {missing[0][1]}")
    return [found[place] for place in places]


def _draws_file(config: FewshotBenchConfig, benchmarks: Sequence[Benchmark], draws: dict[str, list[Draw]]) -> object:
    return {
        "format": "sarjepa-draws-1",
        "indices": "into the source's paths in sorted order",
        "datasets": {b.name: to_record(b.candidates, config.split_policy, draws[b.name]) for b in benchmarks},
    }


class _Grid:
    """The runs of one checkpoint on one data set under one protocol."""

    def __init__(
        self,
        config: FewshotBenchConfig,
        store: RunStore,
        opened: Opened,
        benchmark: Benchmark,
        protocol: str,
        device: torch.device,
        progress: Progress,
    ) -> None:
        self.config, self.store, self.opened, self.benchmark = config, store, opened, benchmark
        self.protocol, self.device, self.progress = protocol, device, progress

    def key(self, drawn: Draw) -> dict[str, Any]:
        """Everything that decides a run's numbers."""
        return {
            "dataset": self.benchmark.name,
            "protocol": self.protocol,
            "shots": drawn.shots,
            "seed": drawn.seed,
            "weights": self.opened.weights_sha256,
            "data": self.benchmark.data_sha256,
            "draw": drawn.sha256,
            "crop": self.benchmark.crop,
            "settings": self.store.settings,
        }

    def fill(self, draws: Sequence[Draw], failures: list[str]) -> list[dict[str, Any]]:
        """The records of all draws, doing those that are missing; what fails is added to `failures`."""
        missing = [drawn for drawn in draws if self.store.get(self.key(drawn)) is None]
        if self.protocol == "fine-tune":
            self._finetune(missing, failures)
        elif missing:
            self._probe(missing, failures)
        found = [self.store.get(self.key(drawn)) for drawn in draws]
        # The name is the user's, not the weights': the same encoder may be called by two paths.
        return [{**record, "checkpoint": self.opened.name} for record in found if record is not None]

    def _keep(self, drawn: Draw, found: dict[str, Any]) -> None:
        solver = "fine-tune" if self.protocol == "fine-tune" else self.config.solver
        record = {
            "checkpoint": self.opened.name,
            "dataset": self.benchmark.name,
            "protocol": self.protocol,
            "shots": drawn.shots,
            "seed": drawn.seed,
            **found,
            **draw_facts(drawn, self.benchmark),
            **circumstances(self.benchmark, self.config),
            "solver": solver,
            "selection": SELECTION.get(solver, "last epoch"),
            "weights_sha256": self.opened.weights_sha256,
        }
        self.store.put(self.key(drawn), record)

    def _failed(self, drawn: Draw, why: str) -> str:
        place = f"{self.opened.name}, {self.benchmark.name}, {self.protocol}, {drawn.shots} shots, seed {drawn.seed}"
        return f"{place}: {why}"

    def _probe(self, missing: Sequence[Draw], failures: list[str]) -> None:
        cache = Path(self.config.data_root) / "features"
        features = open_features(
            self.opened, self.benchmark, self.config.pool, self.config.precision, cache, self.device, self.progress
        )
        what = f"{self.benchmark.name}: probes on {self.opened.name}"
        for shots in self.progress.track(sorted({drawn.shots or 0 for drawn in missing}), what):
            cell = [drawn for drawn in missing if drawn.shots == shots]
            solver = self.config.solver
            for probed, _, _ in probe_runs(features, self.benchmark, cell, solver, self.config, self.device):
                if probed.scores is None:
                    failures.append(self._failed(probed.draw, "the loss is not a number"))
                else:
                    self._keep(probed.draw, score_record(probed.scores, self.benchmark))

    def _finetune(self, missing: Sequence[Draw], failures: list[str]) -> None:
        labels, config = self.benchmark.candidates.labels, self.config
        if missing and not hasattr(self.opened.encoder, "blocks"):
            raise InputError("nothing to fine-tune", where=self.opened.name, hint="use --protocols linear-probe")
        for drawn in self.progress.track(missing, f"{self.benchmark.name}: fine-tuning {self.opened.name}"):
            try:
                classifier, curve = finetune_run(
                    self.opened,
                    self.benchmark,
                    drawn.train,
                    drawn.seed,
                    config,
                    config.layer_decay,
                    self.device,
                    Progress(),
                )
            except DivergedError as error:
                failures.append(self._failed(drawn, str(error)))
                continue
            logits = classify(classifier, self.opened, self.benchmark, drawn.test, config.precision)
            found = scores(labels[drawn.test], logits.argmax(dim=1).numpy(), len(self.benchmark.classes))
            self._keep(drawn, {**score_record(found, self.benchmark), "train_loss": [round(x, 5) for x in curve.loss]})


def _write(
    config: FewshotBenchConfig, store: RunStore, records: list[dict[str, Any]], failures: list[str]
) -> tuple[Table, ...]:
    """The folder's files; the tables that are worth showing."""
    cells = make_cells(records)
    for cell in cells:
        cell["incomplete"] = cell["num_runs"] < config.runs
    pairs = comparisons(records)
    paper = config.compare == "paper"
    settings = {**asdict(config), "failed": failures}
    store.write(
        "results.json",
        json_bytes({"settings": settings, "runs": records, "cells": cells, "comparisons": pairs, "failed": failures}),
    )
    if not cells:
        return ()
    store.write("results.csv", csv_text(cells))
    main = tuple(accuracy_table(cells, protocol, paper) for protocol in config.protocols
                 if any(cell["protocol"] == protocol for cell in cells))  # fmt: skip
    tables = (*main, detail_table(cells), *((comparison_table(pairs),) if pairs else ()))
    store.write("table.md", "\n".join(table.markdown() for table in tables))
    store.write("table.tex", "\n".join(table.latex() for table in tables))
    store.write("plot.png", plot(cells, paper))
    return main
