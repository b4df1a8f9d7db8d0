"""Opens whatever a checkpoint setting names: a baseline, a run, an exported encoder or a saved classifier."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sarjepa.data.views import AUGMENTATIONS
from sarjepa.errors import InputError
from sarjepa.evaluation.baselines import BASELINES, Baseline
from sarjepa.evaluation.benchmark import Benchmark
from sarjepa.evaluation.classifier import load_classifier
from sarjepa.evaluation.features import cached, extract, file_name
from sarjepa.models.addresses import is_classifier
from sarjepa.models.checkpoints import describe_line, initial_encoder, load_encoder, weights_sha256
from sarjepa.models.encoder import Encoder
from sarjepa.models.heads import Feature
from sarjepa.progress import Progress


@dataclass(frozen=True)
class OpenedEncoder:
    """The encoder that a checkpoint setting names.

    Attributes:
        name: checkpoint setting, as the user wrote it.
        encoder: encoder in evaluation mode, on its device.
        image_size: side (px) of its input.
        weights_sha256: checksum of the weights; of a baseline, its name.
        describe: facts stored with the weights.
    """

    name: str
    encoder: nn.Module
    image_size: int
    weights_sha256: str
    describe: dict[str, object]


@dataclass(frozen=True)
class Copy:
    """A view of every chip, learnt from beside the chip itself.

    The view is the same in every run, so that it passes the encoder once for all runs.

    Attributes:
        names: names of the augmentations.
        number: number of the copy, from 1.
    """

    names: tuple[str, ...]
    number: int


def open_checkpoint(
    name: str, seed: int, device: torch.device, progress: Progress | None = None, blocks: Sequence[int] = ()
) -> OpenedEncoder:
    """Open a baseline, `random:RUN`, or a run folder, checkpoint or exported encoder.

    Args:
        name: checkpoint setting, as the user wrote it.
        seed: seed of a random initialisation.
        device: device of the encoder.
        progress: receiver of a note on the checksum and the unused parts of the file.
        blocks: numbers, from 1, of the blocks of the features.

    Raises:
        InputError: there is no such file, it cannot be read as a checkpoint, or it has no such block.

    Example:
        >>> names = ("log-pixels", "runs/toy", "random:runs/toy")
        >>> [open_checkpoint(name, seed=0, device=torch.device("cpu")).describe["method"] for name in names]
        ['logarithm of 16 x 16 pooled pixels', 'sar-jepa', 'random initialisation']
    """
    if name in BASELINES:
        if blocks:
            raise InputError("a baseline has no blocks", where=name, hint="leave out --blocks")
        baseline = BASELINES[name]()
        return OpenedEncoder(name, baseline, baseline.image_size, name, {"method": baseline.about})
    if is_classifier(name):
        saved = load_classifier(name, str(device))
        encoder: Encoder = saved.classifier.encoder  # type: ignore[assignment]
        encoder.check_blocks(blocks)
        return OpenedEncoder(name, encoder, encoder.image_size, weights_sha256(encoder), saved.describe)
    if name.startswith("random:"):
        encoder = initial_encoder(name.removeprefix("random:"), seed, str(device))
    else:
        encoder = load_encoder(name, str(device))
    encoder.check_blocks(blocks)
    (progress or Progress()).note(f"{name}: {describe_line(encoder)}")
    return OpenedEncoder(name, encoder, encoder.image_size, weights_sha256(encoder), dict(encoder.describe))


def open_features(
    opened: OpenedEncoder,
    benchmark: Benchmark,
    feature: Feature,
    precision: str,
    folder: Path,
    device: torch.device,
    progress: Progress,
    copy: Copy | None = None,
    disturbance: str = "none",
    nameless: bool = False,
) -> np.ndarray:
    """(N, width) features of the chips that count, read from the cache if they are there; NaN for all other chips.

    Where the source has a training split, copies have features of its chips alone, and disturbed chips have features
    outside of it alone. Chips of no class count if `nameless`.

    Args:
        opened: the encoder.
        benchmark: the chips, which of them count, and their crop.
        feature: feature of a chip; a baseline has one of its own.
        precision: fp32 or bf16.
        folder: folder of the cache.
        device: device of the encoder.
        progress: receiver of notes, warnings and progress bars.
        copy: views to take in place of the chips.
        disturbance: disturbance of the chips; views have none.
        nameless: whether training chips of no class have features, too.

    Raises:
        InputError: a feature of a chip that counts is not a finite number, or the encoder has no such block.

    Example:
        >>> from sarjepa.evaluation.benchmark import open_benchmark
        >>> bars, device = open_benchmark("data", "toy", label_set="bars"), torch.device("cpu")
        >>> opened = open_checkpoint("log-pixels", seed=0, device=device)
        >>> features = open_features(opened, bars, Feature(("cls",)), "fp32", Path("features"), device, Progress())
        >>> features.shape, int(np.isnan(features).all(axis=1).sum())  # a third of the chips are no bars
        ((72, 256), 24)
    """
    parts: dict[str, object] = {
        "weights": opened.weights_sha256,
        "data": benchmark.data_sha256,
        "transform": {"crop": benchmark.crop, "size": opened.image_size, "resample": "bicubic"},
        "precision": precision,
    }
    candidates = benchmark.candidates
    num, counts_N = len(benchmark.shards), candidates.labels >= 0
    learnt_N = candidates.splits == "train"
    if nameless and candidates.nameless is not None:
        counts_N, learnt_N = counts_N | candidates.nameless, learnt_N | candidates.nameless
    load = benchmark.loader(opened.image_size, device, disturbance)
    description = f"features of {benchmark.name} by {opened.name}"
    if disturbance != "none":
        parts["disturbance"] = disturbance
    if copy is not None:
        if candidates.pool_kind == "fraction-of-train":
            counts_N = counts_N & learnt_N
        load = benchmark.view_loader(opened.image_size, device, copy.names, seed=0, copy=copy.number)
        drawn = {name: AUGMENTATIONS[name] for name in copy.names}
        parts["views"] = {name: [view.low, view.high, view.share] for name, view in drawn.items()}
        parts["copy"] = copy.number
        description += f", copy {copy.number}"
    elif disturbance != "none" and candidates.pool_kind == "fraction-of-train":
        counts_N = counts_N & ~learnt_N
    counted = np.flatnonzero(counts_N)
    if len(counted) < num:
        parts["chips"] = hashlib.sha256(counted.astype("<i8").tobytes()).hexdigest()
    blocks = feature.blocks or (None,)
    names = [file_name(pool, block) for block in blocks for pool in feature.pools]
    features = cached(
        folder,
        parts,
        ["cls"] if isinstance(opened.encoder, Baseline) else names,
        lambda: extract(opened.encoder, lambda rows: load(counted[rows]), len(counted), blocks=blocks,
                        precision=precision, progress=progress, description=description),
    )  # fmt: skip
    feature_MD = features[0] if len(features) == 1 else np.concatenate(features, axis=1)
    not_finite = counted[~np.isfinite(feature_MD).all(axis=1)]
    if len(not_finite):
        raise InputError(
            "features are not finite",
            where=opened.name,
            expected="finite weights and pixels",
            got=f"{len(not_finite)} chips of {benchmark.name}, first {benchmark.shards.paths[not_finite[0]]}",
        )
    if len(counted) == num:
        return feature_MD
    feature_ND = np.full((num, feature_MD.shape[1]), np.nan, np.float32)
    feature_ND[counted] = feature_MD
    return feature_ND
