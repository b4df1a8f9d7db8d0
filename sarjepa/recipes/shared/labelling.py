"""Labels for new chips from a saved classifier: predictions.csv, and a report where the truth is known."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict

import numpy as np
import torch

from sarjepa.config import ProbeConfig
from sarjepa.data.shards import Shards
from sarjepa.errors import InputError
from sarjepa.evaluation.metrics import scores
from sarjepa.files import write_atomically
from sarjepa.progress import Progress
from sarjepa.recipes.shared.built import open_source
from sarjepa.recipes.shared.class_report import report_folder, write_report
from sarjepa.recipes.shared.classifier import SavedClassifier, load_classifier
from sarjepa.recipes.shared.result import Result

_BATCH = 256


def label_chips(config: ProbeConfig, device: torch.device, progress: Progress) -> Result:
    """Label a source's test chips (all of its chips where it has no test split).

    Args:
        config: names the classifier (`checkpoint`), the source (`dataset`) and the folder.
        device: where the work is done.
        progress: where to tell how far it is.

    Raises:
        InputError: the source is not built, or shots were asked for, which a trained classifier has no use for.
    """
    assert config.checkpoint is not None
    if config.shots is not None:
        raise InputError("a saved classifier is not trained again", where=config.checkpoint, hint="leave out --shots")
    saved = load_classifier(config.checkpoint, str(device))
    shards = open_source(config.data_root, config.dataset)
    chosen = np.flatnonzero(shards.splits == "test")
    chosen = chosen if len(chosen) else np.arange(len(shards))
    probability = _probabilities(saved, shards, chosen, progress)
    true = _true_labels(saved, shards, chosen)
    folder = report_folder(config.out, config.checkpoint, f"labels-{config.dataset}", None)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "predictions.csv", _predictions(saved, shards, chosen, probability))
    known = true >= 0
    if not known.any():
        return Result(f"{len(chosen)} chips labelled; {folder / 'predictions.csv'}", folder)
    found = scores(true[known], probability[known].argmax(axis=1), len(saved.classes))
    facts = {
        "checkpoint": config.checkpoint,
        "dataset": config.dataset,
        "protocol": "saved classifier",
        "shots": None,
        "seed": None,
        "label_set": saved.describe["label_set"],
        "split_policy": "test split" if "test" in shards.splits else "all chips",
        "crop": saved.describe["crop"],
        "pool": saved.describe["pool"],
        "selection": "as saved",
        "num_train": 0,
        "num_test": int(known.sum()),
        "short": {},
        "near_copy_percent": 0.0,
    }
    return write_report(folder, saved.classes, found, facts, asdict(config))


def _probabilities(saved: SavedClassifier, shards: Shards, chosen: np.ndarray, progress: Progress) -> np.ndarray:
    parts = []
    with progress.task("labelling", total=len(chosen), unit="chips") as task:
        for start in range(0, len(chosen), _BATCH):
            images = shards.images(chosen[start : start + _BATCH])
            parts.append(saved.probabilities([image / shards.scale for image in images]))
            task.advance(len(images))
    return np.concatenate(parts)


def _true_labels(saved: SavedClassifier, shards: Shards, chosen: np.ndarray) -> np.ndarray:
    """The classifier's class id of each chip, by name; -1 where the chip has no label or a class it does not know."""
    place = {name: label for label, name in enumerate(saved.classes)}
    lookup = np.array([*(place.get(name, -1) for name in shards.classes), -1])
    return lookup[shards.labels[chosen]]


def _predictions(saved: SavedClassifier, shards: Shards, chosen: np.ndarray, probability: np.ndarray) -> str:
    """CSV: path, its label where there is one, the predicted class, and every class's probability."""
    names, labels = shards.paths, shards.labels
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["path", "label", "predicted", *(f"p({name})" for name in saved.classes)])
    for index, row in zip(chosen.tolist(), probability, strict=True):
        label = shards.classes[labels[index]] if labels[index] >= 0 else ""
        writer.writerow([names[index], label, saved.classes[int(row.argmax())], *(f"{value:.4f}" for value in row)])
    return buffer.getvalue()
