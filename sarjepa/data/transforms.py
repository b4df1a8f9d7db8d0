"""What evaluation and training do to a chip, for a user's own DataLoader: `sarjepa.transforms`.

Both take an image of any size as `sarjepa.resampling.magnitudes` reads it, and give a float32 tensor (1, S, S) in
[0, 1], so that chips of different sizes become one batch, and go before, after or in place of torchvision's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sarjepa.data.augment import augment, draw_augmentation
from sarjepa.data.shards import open_shards
from sarjepa.errors import InputError
from sarjepa.resampling import centre_crop_and_resize, magnitudes


class Evaluation:
    """Centre crop, zero-padded where a chip is smaller, then bicubic to one size.

    Args:
        image_size: side (px) that comes out.
        crop: side (px) of the crop; None: the whole chip.

    Example:
        >>> Evaluation(image_size=32)(np.zeros((50, 70), np.uint8)).shape
        torch.Size([1, 32, 32])
    """

    def __init__(self, image_size: int = 224, crop: int | None = None) -> None:
        self.image_size, self.crop = image_size, crop

    def __call__(self, image: Any) -> Tensor:
        """(1, S, S) of one image."""
        return centre_crop_and_resize(magnitudes(image), 1.0, self.crop, self.image_size)[0]


class Training:
    """Random resized crop, mirror image and contrast, as pre-training draws them.

    Draws come from torch's generator, as those of torchvision's transforms do, and not from (seed, epoch, image): a
    DataLoader does not say which image it asks for.

    Args:
        image_size: side (px) that comes out.
        scale: smallest and largest share of the area.
        contrast: the factor is uniform in 1 - contrast .. 1 + contrast.

    Example:
        >>> Training(image_size=32)(np.zeros((50, 70), np.uint8)).shape
        torch.Size([1, 32, 32])
    """

    def __init__(self, image_size: int = 224, scale: tuple[float, float] = (0.2, 1.0), contrast: float = 0.5) -> None:
        self.image_size, self.scale, self.contrast = image_size, scale, contrast

    def __call__(self, image: Any) -> Tensor:
        """(1, S, S) of one image."""
        [chip] = magnitudes(image)
        number = torch.randint(2**31, (1,)).numpy()
        drawn = draw_augmentation(0, 0, number, np.array([chip.shape]), scale=self.scale, contrast=self.contrast)
        return augment([chip], [1.0], drawn, self.image_size)[0]


class ChipDataset(Dataset[tuple[Tensor, int]]):
    """The chips of a built source for a DataLoader: (tensor (1, S, S), label), label -1 for none.

    Args:
        folder: folder of the source, such as data/shards/mstar.
        split: "train", "test" or another split of the source; None: every chip.
        transform: function of a float32 tensor (1, H, W) in [0, 1], which it may change; default: `Evaluation()`.

    Attributes:
        classes: names by label.
        class_to_idx: labels by name.
        targets: the label of each chip.

    Raises:
        InputError: the source is not built, or has no such split.

    Examples:
        >>> from torch.utils.data import DataLoader
        >>> chips = ChipDataset("data/shards/toy", split="train")
        >>> images, labels = next(iter(DataLoader(chips, batch_size=4)))
        >>> images.shape, chips.class_to_idx
        (torch.Size([4, 1, 224, 224]), {'across': 0, 'along': 1, 'blob': 2})
    """

    def __init__(
        self, folder: str | Path, split: str | None = None, transform: Callable[[Tensor], Any] | None = None
    ) -> None:
        self.shards = open_shards(folder)
        splits = self.shards.splits
        self._chosen = np.flatnonzero((splits == split) | (split is None))
        if not len(self._chosen):
            expected = ", ".join(map(repr, sorted(set(splits.tolist()))))
            raise InputError("no such split", where=folder, expected=expected, got=repr(split))
        self.transform = transform or Evaluation()
        self.classes = list(self.shards.classes)
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        self.targets: list[int] = self.shards.labels[self._chosen].tolist()

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        """Chip `number` of the split, transformed, and its label."""
        [image] = self.shards.images([self._chosen[number]])
        chip = torch.from_numpy(image.astype(np.float32) / np.float32(self.shards.scale))[None]
        return self.transform(chip), self.targets[number]
