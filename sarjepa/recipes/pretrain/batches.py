"""The images of each step, as a function of the step alone.

Which chips, which crop, which mask: all of it follows from the seed, the epoch and the chip. So the batches of a
resumed run are those it would have had, and several processes take parts of one batch without a word between them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from sarjepa.config import PretrainConfig
from sarjepa.data.augment import augment, draw_augmentation
from sarjepa.data.built import open_source
from sarjepa.data.crops import check_crop, parse_crop
from sarjepa.data.loader import ChipPool, batch_indices, steps_per_epoch
from sarjepa.data.shards import Shards
from sarjepa.data.views import ViewKey, ViewParameters, draw_views, render_views
from sarjepa.errors import InputError
from sarjepa.pretext.masking import ImageKeys
from sarjepa.training.runtime import Ranks

WINDOWS_PER_CHIP = 1.25  # sides: with shifts of an eighth of its side a window just stays in the chip

Batch = tuple[torch.Tensor, ImageKeys]


def _crops(config: PretrainConfig) -> dict[str, int | None]:
    check_crop(config.data_root, config.centre_crop)
    crops = {name: parse_crop(config.centre_crop, name) for name in config.sources}
    # A chip's centre is the evaluation's business ("published"); pre-training sees whole chips unless told otherwise.
    return {name: crop if isinstance(crop, int) else None for name, crop in crops.items()}


def _checksum(shards: Shards) -> str:
    own = "".join(shard["sha256"] for shard in shards.index["shards"])
    return hashlib.sha256(own.encode()).hexdigest()


class Batches:
    """The batches of a run.

    Args:
        config: the run's settings.
        device: where images are augmented.
        ranks: the processes that share a batch.
        views: for each view of a chip that the method compares, the augmentations that it does without; empty for the
            random resized crop.

    Attributes:
        views: as given.
        data_sha256: by source, of the checksums of its shards.
        crops: by source, side (px) of the centre of a chip that is kept; None: the whole chip.
        pool: the chips.
        size: images per step, over all processes.
        epoch_steps: steps per pass over the chips.

    Raises:
        InputError: a source is not built, or the batch does not divide among the processes.
    """

    def __init__(
        self, config: PretrainConfig, device: torch.device, ranks: Ranks, views: Sequence[frozenset[str]] = ()
    ) -> None:
        self._config, self._device, self._ranks, self.views = config, device, ranks, views
        sources = [(name, open_source(config.data_root, name)) for name in config.sources]
        self.crops = _crops(config)
        self.data_sha256 = {name: _checksum(shards) for name, shards in sources}
        self.pool = ChipPool(sources, config.splits, list(self.crops.values()), config.fraction, config.seed)
        self.size = min(config.batch_size, len(self.pool))
        if self.size % (ranks.world_size * config.accumulate):
            raise InputError(
                "the batch does not divide among processes and parts",
                where="batch-size",
                expected=f"a multiple of {ranks.world_size} processes x {config.accumulate} parts",
                got=self.size,
            )
        self.epoch_steps = steps_per_epoch(len(self.pool), self.size)

    def __call__(self, step: int) -> list[Batch]:
        """The process's own share of a step, on the device, in as many parts as gradients are accumulated over."""
        ranks, seed = self._ranks, self._config.seed
        epoch, indices = batch_indices(len(self.pool), self.size, seed, step, ranks.rank, ranks.world_size)
        return [self.augmented(epoch, part) for part in np.array_split(indices, self._config.accumulate)]

    def augmented(self, epoch: int, indices: np.ndarray) -> Batch:
        """Chips of the pool as the method gets them, (B, 1, S, S) or (B, V, 1, S, S), and what its draws belong to."""
        config = self._config
        keys = ImageKeys(config.seed, epoch, indices, self.pool.groups[indices])
        if self.views:
            return torch.stack([self.view(number, keys) for number in range(len(self.views))], dim=1), keys
        images, scales = self.pool.images(indices)
        low, high = config.crop_scale
        draw = draw_augmentation(
            config.seed, epoch, indices, self.pool.shapes[indices], scale=(low, high), contrast=config.contrast
        )
        return augment(images, scales, draw, config.image_size, self._device), keys

    def windows(self, indices: np.ndarray) -> np.ndarray:
        """Heights and widths (px) of the windows that views show, (B, 2); shifted, they stay in the centre crop."""
        return np.round(self.pool.shapes[indices] / WINDOWS_PER_CHIP).astype(np.int64)

    def drawn(self, number: int, keys: ImageKeys) -> ViewParameters:
        """What is drawn for a view of each chip."""
        names = [name for name in self._config.view_augment if name not in self.views[number]]
        key = ViewKey(keys.seed, "views", keys.epoch, keys.indices, number)
        return draw_views(self.windows(keys.indices), names, key)

    def view(self, number: int, keys: ImageKeys) -> torch.Tensor:
        """A view of each chip, (B, 1, S, S); where it reaches past the centre crop it shows what the chip has there."""
        images, scales = self.pool.images(keys.indices, whole=True)
        windows_B2, size = self.windows(keys.indices), self._config.image_size
        return render_views(images, scales, windows_B2, self.drawn(number, keys), size, self._device)

    def spread(self, num: int) -> Batch:
        """A few chips from all over the pool, to look at."""
        chosen = np.linspace(0, len(self.pool) - 1, min(num, len(self.pool))).astype(np.int64)
        return self.augmented(0, chosen)

    def check_data(self, described: Mapping[str, Any]) -> None:
        """Refuse to go on with other chips than a run was started with.

        Args:
            described: what its checkpoint says of it.

        Raises:
            InputError: a source was built anew since, and came out differently.
        """
        for name, digest in described.get("data", {}).items():
            if digest != self.data_sha256[name]:
                raise InputError(
                    "the data set is not the one that the run was started with",
                    where=name,
                    expected=f"shards of checksum {digest[:12]}",
                    got=self.data_sha256[name][:12],
                    hint="build it with the settings of then, or start another run",
                )
