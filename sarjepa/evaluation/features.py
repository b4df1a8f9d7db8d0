"""Each image through the frozen encoder once: features as plain matrices, kept on disk by what they are made of.

One pass gives all four poolings of the blocks that are asked for (they cost nothing next to the encoder), each stored
as a float32 .npy file that a later run maps instead of computing. The folder's name is a hash of the weights, the data
and the transform, so a changed checkpoint, a rebuilt data set or another crop can never meet stale features; a file
appears by one rename, when it is complete, so whatever is there can be trusted.

Shapes: N images, D width.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sarjepa.evaluation.baselines import Baseline
from sarjepa.files import TEMPORARY, json_text
from sarjepa.models.heads import POOLS, pool_tokens
from sarjepa.progress import Progress

ImageLoader = Callable[
    [np.ndarray], Tensor
]  # indices (B,) to (B, 1, S, S) float32 in [0, 1], on the device of the work
Features = dict[str, np.ndarray]  # by file name: (N, width) float32


def content_key(parts: Mapping[str, object]) -> str:
    """The name of a features folder: a hash of everything that decides its numbers."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def file_name(pool: str, block: int | None = None) -> str:
    """What a pooling of a block (from 1; None: the last) is called."""
    return pool if block is None else f"block-{block}-{pool}"


@torch.no_grad()  # not inference mode: position buckets made here are kept and may meet a training next
def extract(
    encoder: nn.Module,
    load: ImageLoader,
    num: int,
    *,
    blocks: Sequence[int | None] = (None,),
    batch_size: int = 64,
    precision: str = "fp32",
    progress: Progress | None = None,
    description: str = "features",
) -> Features:
    """Every image's features, in one pass.

    Args:
        encoder: has `forward_features` (and `forward_blocks`, if blocks are asked for) and `patch_size`; in evaluation
            mode.
        load: gives the images of some indices, on the encoder's device.
        num: N, how many images there are.
        blocks: their numbers from 1, None for the last one as `forward_features` gives it.
        batch_size: images at a time; does not change the numbers beyond rounding.
        precision: "fp32", or "bf16" for autocast matrix products (the result is float32 either way).
        progress: receiver of notes, warnings and progress bars.
        description: title of the progress bar.

    Returns:
        {file_name(pool, block): (N, width of the pool) float32}; for a baseline only "cls".
    """
    features: Features = {}
    numbers = [block for block in blocks if block is not None]
    pools, patch = (("cls",), 1) if isinstance(encoder, Baseline) else (tuple(POOLS), int(encoder.patch_size))  # type: ignore[arg-type]
    with (progress or Progress()).task(description, total=num, unit="images") as task:
        for start in range(0, num, batch_size):
            indices = np.arange(start, min(start + batch_size, num))
            image = load(indices)
            grid = (image.shape[-2] // patch, image.shape[-1] // patch)
            with torch.autocast(image.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
                found: dict[int | None, Tensor] = {}
                if numbers:
                    found |= zip(numbers, encoder.forward_blocks(image, numbers), strict=True)  # type: ignore[operator]
                if None in blocks:
                    found[None] = encoder.forward_features(image)  # type: ignore[operator]
            for block, tokens_BND in found.items():
                for pool in pools:
                    feature = pool_tokens(tokens_BND.float(), pool, grid).cpu().numpy()
                    name = file_name(pool, block)
                    features.setdefault(name, np.empty((num, feature.shape[1]), np.float32))[indices] = feature
            task.advance(len(indices))
    return features


def _put(path: Path, content: bytes) -> None:
    """Write a file under a temporary name of this process: several may make the same features at the same time."""
    partial = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def cached(
    folder: Path, parts: Mapping[str, object], names: Sequence[str], compute: Callable[[], Features]
) -> list[np.ndarray]:
    """Some features of a content key, computed where they are not on disk.

    Args:
        folder: holds one folder per key.
        parts: facts that the key is made of; they are stored with the features for people to read.
        names: names of the features.
        compute: gives them, and perhaps others, which are kept too.

    Returns:
        (N, width) float32 each, memory-mapped read-only.
    """
    place = folder / content_key(parts)
    if not all((place / f"{name}.npy").is_file() for name in names):
        features = compute()
        place.mkdir(parents=True, exist_ok=True)
        for name, feature in features.items():
            content = io.BytesIO()
            np.save(content, feature)
            _put(place / f"{name}.npy", content.getvalue())
        _put(place / "parts.json", json_text(dict(parts)).encode())
    return [np.load(place / f"{name}.npy", mmap_mode="r") for name in names]
