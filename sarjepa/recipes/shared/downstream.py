"""What the evaluation commands open: a built data set as a benchmark, and whatever a checkpoint setting names.

A benchmark is a built source seen through one label set: which chips count, what they are called, how a chip becomes an
input. All of it stands in the source's index.json, so an evaluation needs the built folder alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sarjepa.config import parse_crop
from sarjepa.data.augment import centre_crop_and_resize
from sarjepa.data.manifest_parser import source_names
from sarjepa.data.shards import Shards
from sarjepa.errors import InputError, nearest
from sarjepa.evaluation.features import ImageLoader, Pixels, cached, extract
from sarjepa.evaluation.fewshot import Candidates, split
from sarjepa.models.checkpoints import describe_line, initial_encoder, load_encoder, weights_sha256
from sarjepa.progress import Progress
from sarjepa.recipes.shared.built import built_datasets, open_source
from sarjepa.recipes.shared.classifier import is_classifier, load_classifier

PIXELS_IMAGE_SIZE = 224  # the side the published evaluation resizes to


@dataclass(frozen=True)
class Benchmark:
    """A built data set as it is evaluated.

    Attributes:
        name: of the source.
        label_set: which classes and chips count.
        shards: the chips.
        candidates: their labels within the label set, splits, groups and paths.
        crop: centre crop (px) before resizing, or None.
        data_sha256: what identifies the stored chips.
    """

    name: str
    label_set: str
    shards: Shards
    candidates: Candidates
    crop: int | None
    data_sha256: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; labels of the candidates index them."""
        return self.candidates.classes

    def loader(self, size: int, device: torch.device | str) -> ImageLoader:
        """Indices to inputs: (B, 1, size, size) on the device."""

        def load(indices: np.ndarray) -> Tensor:
            return centre_crop_and_resize(self.shards.images(indices), self.shards.scale, self.crop, size, device)

        return load


@dataclass(frozen=True)
class OpenedEncoder:
    """What a checkpoint setting stands for.

    Attributes:
        name: as the user wrote it.
        encoder: in evaluation mode, on its device.
        image_size: side (px) of its input.
        weights_sha256: what identifies it.
        describe: what is known of it.
    """

    name: str
    encoder: nn.Module
    image_size: int
    weights_sha256: str
    describe: dict[str, object]


def open_benchmark(data_root: str, name: str, label_set: str | None = None, crop: str = "published") -> Benchmark:
    """Open a built data set for evaluation.

    Args:
        data_root: holds shards/NAME.
        name: of the source.
        label_set: default: the one the data set's index names.
        crop: the crop setting.

    Raises:
        InputError: it is not built (with the command that builds it), there is no such label set, no chip of it has a
            label, or the crop names an unknown source.
    """
    shards = open_source(data_root, name)
    benchmark = shards.index.get("benchmark") or {}
    sets = shards.index.get("label_sets") or {}
    chosen = label_set or benchmark.get("label_set") or "all"
    if chosen not in sets and chosen != "all":
        raise InputError("no such label set", where=f"{chosen!r} of {name}", hint=nearest(chosen, [*sets, "all"]))
    content = sets.get(chosen, {"classes": shards.classes})
    candidates = _candidates(name, chosen, shards, content, benchmark.get("pool"))
    if not (candidates.labels >= 0).any():
        raise InputError(
            "no chip has a label", where=f"{name}, label set {chosen!r}", hint="evaluate a labelled source"
        )
    check_crop(data_root, crop)
    data_sha256 = tuple(shard["sha256"] for shard in shards.index["shards"])
    return Benchmark(name, chosen, shards, candidates, crop_side(crop, name, shards), data_sha256)


def check_crop(data_root: str, crop: str) -> None:
    """Refuse a crop setting for a source that is neither built nor public.

    Raises:
        InputError: there is no such source, or the setting is not a crop.
    """
    parse_crop(crop, "", {*source_names(), *built_datasets(data_root)})


def crop_side(crop: str, name: str, shards: Shards) -> int | None:
    """The side (px) of the centre crop that a setting means for a source; None: chips stay whole.

    Args:
        crop: the crop setting.
        name: of the source.
        shards: the source, which knows its published crop.

    Raises:
        InputError: the setting names a side that is larger than every chip.
    """
    side = parse_crop(crop, name)
    if side == "published":
        return (shards.index.get("benchmark") or {}).get("crop")
    if side != "none" and int(side) > (largest := int(shards.shapes.max())):
        raise InputError(
            "the crop is larger than every chip", where=f"{crop!r} for {name}", expected=f"at most {largest} px",
            hint="--crop none keeps chips whole",
        )  # fmt: skip
    return None if side == "none" else int(side)


def _candidates(name: str, label_set: str, shards: Shards, content: dict, pool: dict | None) -> Candidates:
    """The chips of a label set: labels renumbered, chips outside of it at -1."""
    classes = tuple(content["classes"])
    lookup = np.full(len(shards.classes) + 1, -1, dtype=np.int64)  # the last entry serves label -1
    for label, class_name in enumerate(classes):
        lookup[shards.classes.index(class_name)] = label
    labels = lookup[shards.labels]
    for key, allowed in (content.get("where") or {}).items():
        labels = np.where(np.isin(np.array(shards.meta(key)), [str(value) for value in allowed]), labels, -1)
    splits = set(shards.splits[labels >= 0].tolist())
    # A form of the set without splits (FUSAR-Ship as released) cannot give its published share of a training split.
    if pool is None or (pool["kind"] == "fraction-of-train" and splits <= {""}):
        has_split = {"train", "test"} <= splits
        pool = {"kind": "fraction-of-train", "fraction": 0.8} if has_split else {"kind": "fraction-of-all",
                                                                                  "fraction": 0.5}  # fmt: skip
    candidates = Candidates(
        f"{name}/{label_set}",
        classes,
        labels,
        shards.splits,
        shards.groups,
        shards.paths,
        pool["kind"],
        float(pool["fraction"]),
    )
    if splits:  # else no chip counts, which the caller says
        sides = split(candidates, "published", seed=0)
        if not (len(sides.pool) and len(sides.test)):
            raise InputError(
                "chips to learn from or to test on are missing",
                where=f"{name}, label set {label_set!r}",
                got=f"{len(sides.pool)} to learn from, {len(sides.test)} to test on",
                hint="build the whole set, or choose another --label-set",
            )
    return candidates


def open_checkpoint(name: str, seed: int, device: torch.device, progress: Progress | None = None) -> OpenedEncoder:
    """Open `pixels`, `random:RUN`, or a run folder, checkpoint or exported encoder.

    Args:
        name: what the user wrote.
        seed: of a random initialisation.
        device: where the encoder goes.
        progress: is told what was opened: its checksum, and what of the file was left out.

    Raises:
        InputError: nothing is there, or it cannot be read as a checkpoint.
    """
    if name == "pixels":
        describe: dict[str, object] = {"method": "16 x 16 pooled pixels"}
        return OpenedEncoder(name, Pixels().to(device), PIXELS_IMAGE_SIZE, "pixels", describe)
    if is_classifier(name):
        saved = load_classifier(name, str(device))
        encoder = saved.classifier.encoder
        return OpenedEncoder(name, encoder, encoder.image_size, weights_sha256(encoder), saved.describe)  # type: ignore[arg-type]
    if name.startswith("random:"):
        encoder = initial_encoder(name.removeprefix("random:"), seed, str(device))
    else:
        encoder = load_encoder(name, str(device))
    (progress or Progress()).note(f"{name}: {describe_line(encoder)}")
    return OpenedEncoder(name, encoder, encoder.image_size, weights_sha256(encoder), dict(encoder.describe))


def open_features(
    opened: OpenedEncoder,
    benchmark: Benchmark,
    pool: str,
    precision: str,
    folder: Path,
    device: torch.device,
    progress: Progress,
) -> np.ndarray:
    """(N, width) features of the chips that count, from disk where they are there; NaN for the other chips.

    Args:
        opened: the encoder.
        benchmark: the chips, those that count, and their crop.
        pool: how tokens become a feature; `pixels` has one feature only.
        precision: fp32 or bf16.
        folder: of the cache.
        device: where the encoder is.
        progress: where to tell how far it is.

    Raises:
        InputError: a feature of a chip that counts is not a finite number.
    """
    parts = {
        "weights": opened.weights_sha256,
        "data": benchmark.data_sha256,
        "transform": {"crop": benchmark.crop, "size": opened.image_size, "resample": "bicubic"},
        "precision": precision,
    }
    num, counted = len(benchmark.shards), np.flatnonzero(benchmark.candidates.labels >= 0)
    if len(counted) < num:
        parts["chips"] = hashlib.sha256(counted.astype("<i8").tobytes()).hexdigest()
    load = benchmark.loader(opened.image_size, device)
    what = f"features of {benchmark.name} by {opened.name}"
    feature_MD = cached(
        folder,
        parts,
        "cls" if isinstance(opened.encoder, Pixels) else pool,
        lambda: extract(opened.encoder, lambda rows: load(counted[rows]), len(counted), precision=precision,
                        progress=progress, description=what),
    )  # fmt: skip
    bad = counted[~np.isfinite(feature_MD).all(axis=1)]
    if len(bad):
        raise InputError(
            "features are not finite",
            where=opened.name,
            expected="finite weights and pixels",
            got=f"{len(bad)} chips of {benchmark.name}, first {benchmark.shards.paths[bad[0]]}",
        )
    if len(counted) == num:
        return feature_MD
    feature_ND = np.full((num, feature_MD.shape[1]), np.nan, np.float32)
    feature_ND[counted] = feature_MD
    return feature_ND
