"""probe: one frozen checkpoint on one data set, with all that can be said of one run, and its classifier.

A classifier that `probe` or `finetune` saved is not trained again: it labels the chips, into predictions.csv, and is
scored on those whose class is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sarjepa.config import ProbeConfig
from sarjepa.errors import InputError
from sarjepa.evaluation.fewshot import Draw, draw
from sarjepa.evaluation.finetune import fit_temperature
from sarjepa.evaluation.opened import open_checkpoint, open_features
from sarjepa.evaluation.runs import Probed, probe_runs
from sarjepa.models.addresses import CLASSIFIER_FILE, is_classifier, newest_run
from sarjepa.models.encoder import Encoder
from sarjepa.models.heads import Classifier, Feature
from sarjepa.progress import Progress
from sarjepa.recipes.evaluating.class_report import report_folder, report_of, usable_folder, write_report
from sarjepa.recipes.evaluating.keeping import kept
from sarjepa.recipes.evaluating.labelling import label_chips
from sarjepa.recipes.evaluating.opening import open_to_classify
from sarjepa.recipes.evaluating.recipe import copies_of, recipe_name, refuse_unread, settled, training_of
from sarjepa.recipes.evaluating.record import run_record
from sarjepa.results.records import REPORT, Variant
from sarjepa.results.result import Result
from sarjepa.training.runtime import pick_device, pick_precision

NUM_FOLDS = 5  # heads by which the temperature is found


def run(config: ProbeConfig, progress: Progress) -> Result:
    """Train a head on frozen features, test it, calibrate, save the classifier, write report.json and confusion.png.

    Neighbours, centroids and features without a network leave no classifier.

    Raises:
        InputError: the data set is not built, the checkpoint cannot be read, the folder cannot be written or holds a
            report of other settings, or the training diverged.

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
    refuse_unread(config, [config.solver])
    benchmark = open_to_classify(config, config.dataset, [config.split_policy], progress)
    opened = open_checkpoint(config.checkpoint or newest_run(), config.seed, device, progress, config.blocks)
    place = report_folder(config.out, opened.name, f"probe-{benchmark.name}", config.shots)
    folder = usable_folder(place, config, opened.name)
    cache = Path(config.data_root) / "features"
    pool = config.feature(config.pool)
    feature, nameless = Feature.read(pool), config.solver == "label-spreading"
    features, *copies = [
        open_features(opened, benchmark, feature, config.precision, cache, device, progress, copy, nameless=nameless)
        for copy in copies_of(config, config.augment)
    ]
    drawn = draw(benchmark.candidates, config.split_policy, config.shots, config.seed)
    training = training_of(config, "linear-probe", config.augment)
    labels = benchmark.candidates.labels
    is_kept = isinstance(opened.encoder, Encoder) and config.solver not in ("knn", "centroid")
    folds = _folds(drawn, labels) if is_kept else []
    probed, *folded = probe_runs(features, benchmark, [drawn, *folds], config.solver, training, device, copies)
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
    run = run_record(probed.scores, opened, benchmark, drawn, variant, config.precision)
    if not is_kept or (head := probed.head()) is None:
        if (folder / REPORT).is_file():  # of an earlier probe
            (folder / CLASSIFIER_FILE).unlink(missing_ok=True)
        return write_report(folder, report_of(run, probed.scores, config))
    report = report_of(run, probed.scores, config, temperature=_temperature(folded, features, labels))
    saved = kept(Classifier(opened.encoder, head, feature), report, config, benchmark, opened, drawn)
    return write_report(folder, report, saved)


def _folds(drawn: Draw, label_N: np.ndarray) -> list[Draw]:
    """Draws that learn from all training chips but a part of each class, which they test; each part is tested once.

    The only chip of a class is in no part.
    """
    labels, folds = label_N[drawn.train], []
    place = np.array([np.count_nonzero(labels[:index] == label) for index, label in enumerate(labels)])
    for fold in range(NUM_FOLDS):
        is_out = place % NUM_FOLDS == fold
        is_out &= np.isin(labels, labels[~is_out])
        out = drawn.train[is_out]
        if len(out):
            folds.append(replace(drawn, train=drawn.train[~is_out], test=out, spare=np.append(drawn.spare, out)))
    return folds


def _temperature(folds: Sequence[Probed], features: np.ndarray, label_N: np.ndarray) -> float:
    """The temperature that makes the labels of the folds' test chips most likely; 1 where there are none."""
    logits, tested = [], []
    for run in folds:
        if run.scores is not None and (head := run.head()) is not None:
            logits.append(head.cpu()(torch.from_numpy(features[run.draw.test]).float()).detach())
            tested.append(run.draw.test)
    if not logits:
        return 1.0
    logits_TC = torch.cat(logits).clamp_min(-1e9)  # a class may have no chip at all
    return round(fit_temperature(logits_TC, torch.from_numpy(label_N[np.concatenate(tested)])), 4)
