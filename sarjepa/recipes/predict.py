"""predict: the class of every image in a folder, by a saved classifier, to a CSV.

Files are read as build-dataset reads a folder of images, with the bands, the normalisation and the tiles of the source
that the classifier was trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from sarjepa.config import PredictConfig
from sarjepa.data import decoding
from sarjepa.data.manifest import ChipRule
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
_MUCH_LARGER = 1.5  # times the largest training chip: a file's objects are no longer about as large as theirs


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
    made = saved.describe["source"]
    size, largest_px = made["chip_size"], made["largest_px"]
    settings = decoding.Settings(
        source.containers,
        chips=ChipRule("tiles", size, made["overlap"]),
        normalisation=Normalisation(**known),
        describe=False,
        bands=made["bands"],
    )
    out = Path(config.out)
    writable_folder(out.parent)
    refused: list[tuple[str, str]] = []
    cut: list[str] = []
    large: list[str] = []
    labels_it = f"and sarjepa probe --checkpoint {config.classifier} --dataset NAME labels what it builds"

    def chips() -> Iterator[tuple[str, np.ndarray]]:
        files = decoding.decode(source.jobs, settings, workers=1)
        for decoded in progress.track(files, "labelling", total=len(source.jobs)):
            if decoded.reason:
                refused.append((decoded.path, decoded.reason))
            if size and max(decoded.shape) > size:
                cut.append(decoded.path)
            elif largest_px and max(decoded.shape) > _MUCH_LARGER * max(largest_px):
                large.append(f"{decoded.path} ({' x '.join(map(str, decoded.shape))} px)")
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
    if refused:
        path, reason = refused[0]
        hint = None
        if " band" in reason or "--normalisation" in reason:
            hint = f"build-dataset has these options, {labels_it}"
        if not rows:
            raise InputError("no image in the folder can be used", where=path, got=reason, hint=hint)
        progress.warn(
            "; ".join(filter(None, (f"{counted(len(refused), 'file')} left out, e.g. {path}: {reason}", hint)))
        )
    if cut:
        progress.note(
            f"{counted(len(cut), 'file')} cut into tiles of {size} px, as those of the training were, e.g. {cut[0]}"
        )
    if large:
        progress.warn(
            f"{counted(len(large), 'file')} larger than any training chip ({' x '.join(map(str, largest_px))} px) and "
            f"not cut, e.g. {large[0]}; build-dataset --chip-size cuts images, {labels_it}"
        )
    columns = ("path", "predicted", "confidence", *(f"p({name})" for name in saved.classes))
    write_atomically(out, csv_text(columns, rows))
    return Result(f"{counted(len(rows), 'image')} labelled; {out}", out.parent)
