"""probe: one frozen checkpoint on one data set, with all that can be said of one run, and its classifier.

A classifier that `probe` or `finetune` saved is not trained again: it labels the chips, into predictions.csv, and is
scored on those whose class is known.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sarjepa.config import ProbeConfig
from sarjepa.errors import InputError
from sarjepa.evaluation.benchmark import Benchmark, open_benchmark
from sarjepa.evaluation.fewshot import Draw, draw
from sarjepa.evaluation.finetune import fit_temperature
from sarjepa.evaluation.opened import open_checkpoint, open_features
from sarjepa.evaluation.runs import probe_runs
from sarjepa.models.addresses import is_classifier, newest_run
from sarjepa.models.encoder import Encoder
from sarjepa.models.heads import Classifier, Feature
from sarjepa.progress import Progress
from sarjepa.recipes.evaluating.class_report import report_folder, report_of, write_report
from sarjepa.recipes.evaluating.keeping import calibration_chips, kept
from sarjepa.recipes.evaluating.labelling import label_chips
from sarjepa.recipes.evaluating.recipe import copies_of, recipe_name, settled, training_of
from sarjepa.recipes.evaluating.record import run_record
from sarjepa.results.records import Variant
from sarjepa.results.result import Result, writable_folder
from sarjepa.training.runtime import pick_device, pick_precision


def run(config: ProbeConfig, progress: Progress) -> Result:
    """Train a head on frozen features, test it, calibrate, save the classifier, write report.json and confusion.png.

    Neighbours, centroids and features without a network leave no classifier.

    Raises:
        InputError: the data set is not built, the checkpoint cannot be read, the folder cannot be written, or the
            training diverged.

    Example:
        >>> import shutil
        >>> root = shutil.copytree("data", "probe-data")  # features are cached beside the shards
        >>> config = ProbeConfig(data_root=root, checkpoint="hog", dataset="toy", shots=5, solver="lda", out="probed")
        >>> run(config, Progress()).message
        'accuracy 100.0% (95% interval 90.4 to 100.0); probed/report.json'
    """
    device = pick_device(config.device)
    if config.checkpoint and is_classifier(config.checkpoint):
        return label_chips(config, device, progress)
    recipe, config = recipe_name(config, "linear-probe"), settled(config, "linear-probe")
    config = replace(config, precision=pick_precision(config.precision or "auto", device))
    assert config.pool and config.solver and config.augment and config.precision
    benchmark = open_benchmark(config.data_root, config.dataset, config.label_set, config.crop, config.test_dataset)
    opened = open_checkpoint(config.checkpoint or newest_run(), config.seed, device, progress, config.blocks)
    folder = writable_folder(report_folder(config.out, opened.name, f"probe-{benchmark.name}", config.shots))
    cache = Path(config.data_root) / "features"
    pool = config.feature(config.pool)
    features, *copies = [
        open_features(
            opened,
            benchmark,
            Feature.read(pool),
            config.precision,
            cache,
            device,
            progress,
            copy,
            nameless=config.solver == "label-spreading",
        )
        for copy in copies_of(config, config.augment)
    ]
    drawn = draw(benchmark.candidates, config.split_policy, config.shots, config.seed)
    training = training_of(config, "linear-probe", config.augment)
    [probed] = probe_runs(features, benchmark, [drawn], config.solver, training, device, copies)
    if probed.scores is None:
        raise InputError("the training diverged", where=opened.name, hint="lower --lr")
    variant = Variant(
        protocol="linear-probe",
        pool=pool,
        solver=config.solver,
        split_policy=config.split_policy,
        recipe=recipe,
        augment=config.augment,
    )
    saved = {}
    if (head := probed.head()) is not None and isinstance(opened.encoder, Encoder):
        classifier = Classifier(opened.encoder, head, Feature.read(pool))
        temperature = _temperature(head, features, benchmark, drawn, device)
        saved = kept(classifier, config, benchmark, opened, drawn, variant, temperature, probed.scores.accuracy)
    run = run_record(probed.scores, opened, benchmark, drawn, variant, config.precision)
    return write_report(folder, report_of(run, probed.scores, config), config, progress, saved)


def _temperature(
    head: nn.Module, features: np.ndarray, benchmark: Benchmark, drawn: Draw, device: torch.device
) -> float:
    """The temperature of the head's probabilities by training chips that were not drawn; 1 where there are none."""
    _, held = calibration_chips(drawn, benchmark)
    if drawn.shots is None or not len(held):  # without a number of shots, all chips were learnt from
        return 1.0
    logits = head.to(device)(torch.from_numpy(features[held]).to(device)).detach().cpu()
    return fit_temperature(logits.clamp_min(-1e9), torch.from_numpy(benchmark.candidates.labels[held]))
