"""predict: the class of every image in a folder, by a saved classifier, to a CSV.

Files are read as build-dataset reads a folder of images, and normalised like the classifier's training chips.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from sarjepa.config import PredictConfig
from sarjepa.data import decoding
from sarjepa.data.normalize import FULL_SCALE, Normalisation
from sarjepa.data.own_images import folder_source
from sarjepa.errors import InputError
from sarjepa.evaluation.classifier import load_classifier
from sarjepa.files import write_atomically
from sarjepa.progress import Progress
from sarjepa.results.result import Result, writable_folder
from sarjepa.results.tables import counted, csv_text
from sarjepa.training.runtime import pick_device

_BATCH = 64


def run(config: PredictConfig, progress: Progress) -> Result:
    """Label the images and write the table: path, predicted class, its confidence, every class's probability.

    Raises:
        InputError: the folder or the classifier does not exist, no file of the folder is a usable image, or the table
            cannot be written.

    Example:
        >>> from PIL import Image
        >>> Path("new-chips").mkdir()
        >>> Image.fromarray(np.eye(40, dtype=np.uint8)).save("new-chips/a.png")
        >>> config = PredictConfig(folder="new-chips", classifier="runs/toy/finetune-toy", out="classes.csv")
        >>> run(config, Progress()).message, Path("classes.csv").read_text().splitlines()[0]
        ('1 image labelled; classes.csv', 'path,predicted,confidence,p(across),p(along),p(blob)')
    """
    assert config.folder and config.classifier
    saved = load_classifier(config.classifier, str(pick_device(config.device)))
    source = folder_source(Path(config.folder))
    stored = saved.describe.get("normalisation") or {}
    known = {key: value for key, value in stored.items() if key in vars(Normalisation())}
    settings = decoding.Settings(source.containers, normalisation=Normalisation(**known), describe=False)
    out = Path(config.out)
    writable_folder(out.parent)
    refused: list[tuple[str, str]] = []

    def chips() -> Iterator[tuple[str, np.ndarray]]:
        files = decoding.decode(source.jobs, settings, workers=1)
        for decoded in progress.track(files, "labelling", total=len(source.jobs)):
            if decoded.reason:
                refused.append((decoded.path, decoded.reason))
            for chip in decoded.chips:
                yield chip.path, chip.image / np.float32(FULL_SCALE[chip.image.dtype.name])

    rows: list[list[str]] = []
    unread = chips()
    while batch := list(islice(unread, _BATCH)):
        probability_NC = saved.probabilities([image for _, image in batch])
        for (path, _), row in zip(batch, probability_NC, strict=True):
            rows.append(
                [path, saved.classes[int(row.argmax())], f"{row.max():.4f}", *(f"{value:.4f}" for value in row)]
            )
    if not rows:
        raise InputError("no image in the folder can be used", where=refused[0][0], got=refused[0][1])
    if refused:
        progress.warn(f"{counted(len(refused), 'file')} left out, e.g. {refused[0][0]}: {refused[0][1]}")
    columns = ("path", "predicted", "confidence", *(f"p({name})" for name in saved.classes))
    write_atomically(out, csv_text(columns, rows))
    return Result(f"{counted(len(rows), 'image')} labelled; {out}", out.parent)
