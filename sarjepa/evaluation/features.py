"""Features of a frozen encoder: each image passes it once, and the features are cached on disk as plain matrices.

One pass gives all four poolings of the requested blocks (they cost nothing next to the encoder). Each is stored as a
float32 .npy file that a later run maps instead of computing. The folder's name is a hash of the weights, the data and
the transform, so a changed checkpoint, a rebuilt data set or another crop can never meet stale features. A file appears
by one rename when it is complete, so every file there can be trusted. Beyond 10 GB, the features that were not used for
longest make room.

Shapes: N images, D width.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sarjepa.evaluation.baselines import Baseline
from sarjepa.files import TEMPORARY, hold, json_text
from sarjepa.models.heads import POOLS, pool_tokens
from sarjepa.progress import Progress

# From indices (B,) to images (B, 1, S, S), float32 in [0, 1], on the encoder's device.
ImageLoader = Callable[[np.ndarray], Tensor]
Features = dict[str, np.ndarray]  # by file name: (N, width) float32

_LIMIT = 10 * 10**9  # bytes of a cache
_IN_USE = 3600.0  # seconds since the last use in which a process, perhaps of another machine, may be reading features
_FACTS = "parts.json"  # in each folder of features
_KEY = "[0-9a-f]" * 24  # name of a folder of features
_REMOVED = "removed-"  # at the start of the name of a folder of features that is being removed


def content_key(parts: Mapping[str, object]) -> str:
    """The name of a features folder: a hash of everything that decides its numbers.

    Example:
        >>> content_key({"crop": 64, "size": 32}) == content_key({"size": 32, "crop": 64})
        True
        >>> content_key({"crop": 64, "size": 32}) == content_key({"crop": None, "size": 32})
        False
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def file_name(pool: str, block: int | None = None) -> str:
    """The file name, without suffix, of a pooling of a block (from 1; None: the last).

    Example:
        >>> file_name("cls"), file_name("grid4", 3)
        ('cls', 'block-3-grid4')
    """
    return pool if block is None else f"block-{block}-{pool}"


@torch.no_grad()  # not inference mode: position buckets are cached, and a training may use them next
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
        encoder: module in evaluation mode, with `forward_features`, `patch_size` and, if blocks are numbered,
            `forward_blocks`.
        load: function from indices to their images, on the encoder's device.
        num: N, number of images.
        blocks: numbers of blocks, from 1; None for the last one as `forward_features` gives it.
        batch_size: images per pass; it changes the features by rounding only.
        precision: "fp32", or "bf16" for autocast matrix products (the result is float32 either way).
        progress: receiver of notes, warnings and progress bars.
        description: title of the progress bar.

    Returns:
        {file_name(pool, block): (N, width of the pool) float32}; for a baseline only "cls".

    Example:
        >>> from sarjepa.evaluation.benchmark import open_benchmark
        >>> load = open_benchmark("data", "toy").loader(32, "cpu")
        >>> features = extract(sarjepa.load_encoder("runs/toy"), load, num=4, blocks=(1, None))
        >>> features["cls"].shape, features["block-1-grid2"].shape
        ((4, 16), (4, 64))
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
                tokens: dict[int | None, Tensor] = {}
                if numbers:
                    tokens |= zip(numbers, encoder.forward_blocks(image, numbers), strict=True)  # type: ignore[operator]
                if None in blocks:
                    tokens[None] = encoder.forward_features(image)  # type: ignore[operator]
            for block, tokens_BND in tokens.items():
                for pool in pools:
                    feature = pool_tokens(tokens_BND.float(), pool, grid).cpu().numpy()
                    name = file_name(pool, block)
                    features.setdefault(name, np.empty((num, feature.shape[1]), np.float32))[indices] = feature
            task.advance(len(indices))
    return features


def _put(path: Path, content: bytes) -> None:
    """Write a file under a temporary name of this process, as several may compute the same features at once."""
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
        folder: folder that holds one folder per key.
        parts: facts that the key is made of; they are stored with the features for people to read.
        names: names of the features.
        compute: function that returns these features; any others that it returns are stored too.

    Returns:
        (N, width) float32 each, memory-mapped read-only.

    Example:
        >>> facts = {"weights": "toy", "crop": None}
        >>> [first] = cached(Path("features"), facts, ["cls"], lambda: {"cls": np.ones((1, 2), np.float32)})
        >>> [again] = cached(Path("features"), facts, ["cls"], dict)  # does not call it, as the features are there
        >>> again
        memmap([[1., 1.]], dtype=float32)
    """
    cache = folder / content_key(parts)
    with contextlib.suppress(OSError):  # there may be none yet, or one that this user may only read
        os.utime(cache)
    if not all((cache / f"{name}.npy").is_file() for name in names):
        features = compute()
        cache.mkdir(parents=True, exist_ok=True)
        os.utime(cache)
        _put(cache / _FACTS, json_text(dict(parts)).encode())
        for name, feature in features.items():
            content = io.BytesIO()
            np.save(content, feature)
            _put(cache / f"{name}.npy", content.getvalue())
        _trim(folder)
    return [np.load(cache / f"{name}.npy", mmap_mode="r") for name in names]


def _trim(folder: Path) -> None:
    """Remove features until a cache is within its limit: those first that were not used for longest, none in use.

    The last use is the folder's time of change. On a network file system a mapped file must not be removed.
    """
    lock = folder / "trim.lock"
    try:
        held = hold(lock)
    except OSError:
        return  # another process makes room now, or another user has to
    with held:
        used = {facts.parent: facts.parent.stat().st_mtime for facts in folder.glob(f"{_KEY}/{_FACTS}")}
        num_bytes = 0
        for cache in sorted(used, key=used.__getitem__, reverse=True):
            num_bytes += sum(file.stat().st_size for file in cache.glob("*.npy"))
            # Asked again, as features may have come into use since.
            is_idle = time.time() - cache.stat().st_mtime > _IN_USE
            if num_bytes > _LIMIT and is_idle and os.access(cache, os.W_OK):
                with contextlib.suppress(OSError):  # a folder may let none but the owner remove
                    cache.rename(cache.with_name(f"{_REMOVED}{cache.name}"))
        for removed in folder.glob(f"{_REMOVED}*"):
            shutil.rmtree(removed, ignore_errors=True)  # what cannot go now goes next time
        lock.unlink()
