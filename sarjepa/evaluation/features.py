"""Each image through the frozen encoder once: features as plain matrices, kept on disk by what they are made of.

One pass gives all four poolings (they cost nothing next to the encoder), stored as float32 .npy files that a later run
maps instead of computing. The folder's name is a hash of the weights, the data and the transform, so a changed
checkpoint, a rebuilt data set or another crop can never meet stale features, and whatever is there can be trusted:
the folder appears by one rename, when it is complete.

Shapes: N images, D width.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sarjepa.evaluation.baselines import Baseline
from sarjepa.models.heads import POOLS, pool_tokens
from sarjepa.progress import Progress

ImageLoader = Callable[
    [np.ndarray], Tensor
]  # indices (B,) to (B, 1, S, S) float32 in [0, 1], on the device of the work


def content_key(parts: Mapping[str, object]) -> str:
    """The name of a features folder: a hash of everything that decides its numbers."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


@torch.no_grad()  # not inference mode: position buckets made here are kept and may meet a training next
def extract(
    encoder: nn.Module,
    load: ImageLoader,
    num: int,
    *,
    batch_size: int = 64,
    precision: str = "fp32",
    progress: Progress | None = None,
    description: str = "features",
) -> dict[str, np.ndarray]:
    """Every image's features, in one pass.

    Args:
        encoder: has `forward_features` and `patch_size`; in evaluation mode.
        load: gives the images of some indices, on the encoder's device.
        num: N, how many images there are.
        batch_size: images at a time; does not change the numbers beyond rounding.
        precision: "fp32", or "bf16" for autocast matrix products (the result is float32 either way).
        progress: where to tell how far it is.
        description: what the bar is called.

    Returns:
        {pool: (N, width of the pool) float32}; for a baseline only "cls".
    """
    features: dict[str, np.ndarray] = {}
    pools, patch = (("cls",), 1) if isinstance(encoder, Baseline) else (tuple(POOLS), int(encoder.patch_size))  # type: ignore[arg-type]
    with (progress or Progress()).task(description, total=num, unit="images") as task:
        for start in range(0, num, batch_size):
            indices = np.arange(start, min(start + batch_size, num))
            image = load(indices)
            with torch.autocast(image.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
                tokens_BND = encoder.forward_features(image)  # type: ignore[operator]
            grid = (image.shape[-2] // patch, image.shape[-1] // patch)
            for pool in pools:
                feature = pool_tokens(tokens_BND.float(), pool, grid).cpu().numpy()
                features.setdefault(pool, np.empty((num, feature.shape[1]), np.float32))[indices] = feature
            task.advance(len(indices))
    return features


def cached(
    folder: Path, parts: Mapping[str, object], pool: str, compute: Callable[[], dict[str, np.ndarray]]
) -> np.ndarray:
    """The features of a content key, computed where they are not on disk.

    Args:
        folder: holds one folder per key.
        parts: what the key is made of; kept with the features, to be read by people.
        pool: which of the poolings is wanted.
        compute: gives all of them.

    Returns:
        (N, width) float32, memory-mapped read-only.
    """
    place = folder / content_key(parts)
    if not (place / "parts.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        features = compute()
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
        try:
            for name, feature in features.items():
                np.save(partial / f"{name}.npy", feature)
            (partial / "parts.json").write_text(json.dumps(dict(parts), indent=1, sort_keys=True))
            try:
                partial.rename(place)
            except OSError:
                if not (place / "parts.json").is_file():
                    raise  # otherwise another process was first, and its numbers are as good
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return np.load(place / f"{pool}.npy", mmap_mode="r")
