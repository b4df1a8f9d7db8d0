"""The images of each step, as a function of the step alone.

Chips, crops and masks follow from the seed, the epoch and the chip alone. So a resumed run gets the batches of a run
that was never stopped, and each process takes its part of a batch without communication.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sarjepa.config import PretrainConfig
from sarjepa.data.augment import Augmentation, augment, draw_augmentation, resample_cut
from sarjepa.data.built import open_source
from sarjepa.data.crops import check_crop, crop_side, parse_crop
from sarjepa.data.index import chips_sha256
from sarjepa.data.loader import ChipPool, batch_indices, mixed, steps_per_epoch
from sarjepa.data.views import ViewKey, ViewParameters, draw_views, render_views
from sarjepa.errors import InputError
from sarjepa.pretext.masking import ImageKeys
from sarjepa.training.runtime import Ranks

WINDOWS_PER_CHIP = 1.25  # sides: with shifts of an eighth of its side a window just stays in the chip

Batch = tuple[torch.Tensor, ImageKeys]


class Batches:
    """The batches of a run.

    Args:
        config: the run's settings.
        device: device of the augmentation.
        ranks: the processes that share a batch.
        views: for each view of a chip that the method compares, the augmentations that it leaves out; empty for the
            random resized crop.
        wants_optical: whether the method reads optical images beside the chips.

    Attributes:
        views: the argument of this name.
        data_sha256: checksum of the checksums of the shards, by source.
        crops: side (px) of the centre crop of chips, by source; None: whole chips.
        pool: the chips.
        size: images per step, over all processes.
        epoch_steps: steps per pass over the chips.

    Raises:
        InputError: a source is not built, or the batch does not divide among the processes.
    """

    def __init__(
        self,
        config: PretrainConfig,
        device: torch.device,
        ranks: Ranks,
        views: Sequence[frozenset[str]] = (),
        wants_optical: bool = False,
    ) -> None:
        self._config, self._device, self._ranks, self.views = config, device, ranks, views
        self._wants_optical = wants_optical
        sources = [(name, open_source(config.data_root, name)) for name in config.sources]
        check_crop(config.data_root, config.centre_crop)
        # The published crop is for evaluation: pre-training crops only to a side (px) that the setting states.
        self.crops = {
            name: crop_side(config.centre_crop, name, shards)
            if isinstance(parse_crop(config.centre_crop, name), int)
            else None
            for name, shards in sources
        }
        self.data_sha256 = {
            name: chips_sha256(shard["sha256"] for shard in shards.index["shards"]) for name, shards in sources
        }
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
        if wants_optical and not self.pool.paired.any():
            raise InputError(
                "no optical images to hold the chips against",
                where=f"anchor {config.anchor}",
                expected="a source of pairs",
                got=", ".join(config.sources),
                hint="build synthetic-pairs or pairs:SAR_FOLDER,OPTICAL_FOLDER",
            )
        if config.paired_share is not None:
            mixed(self.pool.paired, config.paired_share, 0, 0)  # raises its error here, not in the loader's thread

    def __call__(self, step: int) -> list[Batch]:
        """The process's share of a step, on the device, in `accumulate` parts."""
        config, ranks, num_chips = self._config, self._ranks, len(self.pool)
        epoch, places = batch_indices(num_chips, self.size, config.seed, step)
        if config.paired_share is not None:
            places = mixed(self.pool.paired, config.paired_share, config.seed, epoch)[places]
        own = np.array_split(places[ranks.rank :: ranks.world_size], config.accumulate)
        return [self.augmented(epoch, part, self.pool.paired[places % num_chips]) for part in own]

    def augmented(self, epoch: int, indices: np.ndarray, paired: np.ndarray | None = None) -> Batch:
        """Chips of the pool as the method gets them, and the keys of its draws.

        Args:
            epoch: epoch of the draws.
            indices: (B,) of the images: chips, or chips and a multiple of their number (see `mixed`).
            paired: mask of the step's images with an optical image; default: these images are the step.

        Returns:
            (B, 1, S, S); (B, V, 1, S, S) for V views; (B, 4, S, S) for a chip, red, green and blue.
        """
        config, chips = self._config, indices % len(self.pool)
        keys = ImageKeys(config.seed, epoch, indices, self.pool.groups[chips])
        if self.views:
            return torch.stack([self.view(number, keys) for number in range(len(self.views))], dim=1), keys
        images, scales = self.pool.images(chips)
        low, high = config.crop_scale
        draw = draw_augmentation(config.seed, epoch, indices, self.pool.shapes[chips], scale=(low, high),
                                 contrast=config.contrast, flip=0.5 if config.flip else 0.0)  # fmt: skip
        image_B1SS = augment(images, scales, draw, config.image_size, self._device)
        if not self._wants_optical:
            return image_B1SS, keys
        own = self.pool.paired[chips]
        paired = own if paired is None else paired
        keys = replace(keys, pair_weight=own * len(paired) / max(1, paired.sum()))
        return torch.cat([image_B1SS, self._optical(chips, own, draw)], dim=1), keys

    def _optical(self, chips: np.ndarray, paired: np.ndarray, draw: Augmentation) -> torch.Tensor:
        """Optical images cropped and flipped like the chips, (B, 3, S, S); black where there is none."""
        out = torch.zeros(len(chips), 3, self._config.image_size, self._config.image_size, device=self._device)
        rows = np.flatnonzero(paired)
        if len(rows):
            planes = [plane for image in self.pool.optical(chips[rows]) for plane in image]
            thrice = draw.at(rows.repeat(3))
            cut = resample_cut(planes, [255.0] * len(planes), thrice, self._config.image_size, self._device)
            out[torch.from_numpy(rows).to(self._device)] = cut.view(len(rows), 3, *cut.shape[2:])
        return out

    def windows(self, indices: np.ndarray) -> np.ndarray:
        """Heights and widths (px) of the windows that views show, (B, 2); shifted, they stay in the centre crop."""
        return np.round(self.pool.shapes[indices] / WINDOWS_PER_CHIP).astype(np.int64)

    def drawn(self, number: int, keys: ImageKeys) -> ViewParameters:
        """What is drawn for a view of each chip."""
        names = [name for name in self._config.view_augment if name not in self.views[number]]
        key = ViewKey(keys.seed, "views", keys.epoch, keys.indices, number)
        return draw_views(self.windows(keys.indices), names, key)

    def view(self, number: int, keys: ImageKeys) -> torch.Tensor:
        """A view of each chip, (B, 1, S, S); outside of the centre crop it shows the rest of the chip."""
        images, scales = self.pool.images(keys.indices, whole=True)
        windows_B2, size = self.windows(keys.indices), self._config.image_size
        return render_views(images, scales, windows_B2, self.drawn(number, keys), size, self._device)

    def spread(self, num: int) -> Batch:
        """A few chips, evenly spaced in the pool."""
        chosen = np.linspace(0, len(self.pool) - 1, min(num, len(self.pool))).astype(np.int64)
        return self.augmented(0, chosen)

    def check_data(self, described: Mapping[str, Any]) -> None:
        """Refuse to resume a run with other chips than it was started with.

        Args:
            described: facts stored in the run's checkpoint.

        Raises:
            InputError: a source was rebuilt since, with another result.
        """
        for name, digest in described.get("data", {}).items():
            if digest != (now := self.data_sha256.get(name, "none")):
                raise InputError(
                    "the data set is not the one that the run was started with",
                    where=name,
                    expected=f"shards of checksum {str(digest)[:12]}",
                    got=now[:12],
                    hint="build it with the settings of that time, or start another run",
                )
