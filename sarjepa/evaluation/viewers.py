"""Encoders whose attention is looked at, and the rule by which an image becomes an input.

An input rule resamples an image to the side an encoder was trained at or to any other height and width in whole
patches; the rule "native" keeps its pixels and cuts it to whole patches, for scenes that are not square. A viewer is a
checkpoint's encoder with its rule.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sarjepa.data.subjects import Subject
from sarjepa.errors import InputError
from sarjepa.evaluation.opened import open_checkpoint
from sarjepa.models.addresses import bare, is_address
from sarjepa.models.encoder import Encoder
from sarjepa.progress import Progress
from sarjepa.resampling import bicubic_matrices

NATIVE = "native"
_FILES_OF_A_RUN = ("encoder", "encoder-ema", "checkpoint-last", "classifier")
_LARGEST_BYTES, _BATCH_BYTES = 2**32, 2**28  # of the softmax of all blocks: of one subject, and of a batch
_LARGEST_BATCH = 64


@dataclass(frozen=True)
class InputRule:
    """How a subject becomes an input.

    Attributes:
        size: height and width (px) to resample to; None: the image is cut to whole patches, not resampled.
        patch: side (px) of a patch.
        device: device of the inputs.
    """

    size: tuple[int, int] | None
    patch: int
    device: torch.device

    def cut(self, subject: Subject) -> np.ndarray:
        """The part of the image that is shown: all of it, or its centre in whole patches, padded to at least one."""
        if self.size is not None:
            return subject.image_HW
        image, patch = subject.image_HW, self.patch
        missing = [max(0, patch - side) for side in image.shape]
        image = np.pad(image, [(pixels // 2, pixels - pixels // 2) for pixels in missing])
        height, width = (side - side % patch for side in image.shape)
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        return image[top : top + height, left : left + width]

    def grid(self, subject: Subject) -> tuple[int, int]:
        """Rows and columns of patches of its input."""
        height, width = self.size or self.cut(subject).shape
        return height // self.patch, width // self.patch

    def __call__(self, subject: Subject) -> torch.Tensor:
        """The input, (1, 1, H, W) float32 in [0, 1]."""
        image_HW = torch.from_numpy(np.ascontiguousarray(self.cut(subject))).to(self.device)
        if self.size is not None:  # as the evaluation resamples chips, but to any height and width
            height_1, width_1 = (torch.tensor([side], device=self.device) for side in image_HW.shape)
            [rows_SH] = bicubic_matrices(height_1, image_HW.shape[0], self.size[0])
            [columns_SW] = bicubic_matrices(width_1, image_HW.shape[1], self.size[1])
            image_HW = (rows_SH @ (image_HW @ columns_SW.T).clamp(0, 1)).clamp(0, 1)
        return image_HW[None, None]


def input_rule(setting: str | None, image_size: int, patch: int, device: torch.device) -> InputRule:
    """The rule that an image-size setting stands for.

    Args:
        setting: "native", "N", "HxW", or None for the encoder's own side.
        image_size: the side (px) the encoder was trained at.
        patch: side (px) of its patches.
        device: device of the inputs.

    Raises:
        InputError: the setting has another form, or is not in whole patches.

    Example:
        >>> input_rule("64x96", image_size=224, patch=16, device=torch.device("cpu")).size
        (64, 96)
    """
    if setting == NATIVE:
        return InputRule(None, patch, device)
    words = (setting or str(image_size)).lower().split("x")
    if len(words) > 2 or not all(word.strip().isdecimal() for word in words):
        raise InputError("no such image size", where=repr(setting), expected="native, N or HxW (px)")
    height, width = int(words[0]), int(words[-1])
    if not height or not width or height % patch or width % patch:
        near = "x".join(str(max(1, round(side / patch)) * patch) for side in (height, width))
        raise InputError(
            "the image size is not in whole patches",
            where="image-size",
            expected=f"multiples of {patch} px",
            got=setting,
            hint=f"try {near}, or native",
        )
    return InputRule((height, width), patch, device)


@dataclass(frozen=True)
class Viewer:
    """An encoder with its rule for inputs.

    Attributes:
        name: name of its checkpoint, as the user wrote it.
        label: name in pictures.
        encoder: encoder in evaluation mode.
        rule: rule that makes inputs of images.
        sources: sources of its training, as far as its checkpoint states them.
    """

    name: str
    label: str
    encoder: Encoder
    rule: InputRule
    sources: tuple[str, ...] = ()

    def inputs(self, subjects: Sequence[Subject]) -> Tensor:
        """A batch, (B, 1, H, W), of subjects whose inputs are of one size."""
        return torch.cat([self.rule(subject) for subject in subjects])

    def softmax_bytes(self, subject: Subject) -> int:
        """Memory (bytes) of the softmax of all blocks; it grows with the square of the number of patches."""
        rows, columns = self.rule.grid(subject)
        return 4 * self.encoder.shape.depth * self.encoder.shape.num_heads * (1 + rows * columns) ** 2

    def batch_size(self, subjects: Sequence[Subject]) -> int:
        """How many subjects the encoder takes at a time: one where each may have a size of its own."""
        if self.rule.size is None:
            return 1
        return max(1, min(_LARGEST_BATCH, _BATCH_BYTES // self.softmax_bytes(subjects[0])))

    def check_memory(self, subject: Subject) -> None:
        """Refuse an input whose softmax would not fit.

        Raises:
            InputError: more than 4 GiB; the hint is a size that fits.
        """
        (rows, columns), num_bytes = self.rule.grid(subject), self.softmax_bytes(subject)
        if num_bytes <= _LARGEST_BYTES:
            return
        shrink = (_LARGEST_BYTES / num_bytes) ** 0.25
        fits = [max(1, int(shrink * side)) * self.rule.patch for side in (rows, columns)]
        raise InputError(
            "the image is too large to look at",
            where=subject.title.replace("\n", ", "),
            expected="attention of at most 4 GiB",
            got=f"{num_bytes / 2**30:.0f} GiB for {rows} x {columns} patches",
            hint=f"give --image-size {fits[0]}x{fits[1]}, or a --crop",
        )


def open_viewers(
    names: Sequence[str], image_size: str | None, seed: int, device: torch.device, progress: Progress
) -> list[Viewer]:
    """The encoders of some checkpoints, each with a unique label.

    Args:
        names: checkpoints, as the user wrote them.
        image_size: the image-size setting.
        seed: seed of a random initialisation.
        device: device of the encoders.
        progress: receiver of a note on each checkpoint.

    Raises:
        InputError: a checkpoint is missing, cannot be read or has no attention, or the size does not fit it.

    Example:
        >>> [viewer] = open_viewers(["runs/toy"], "64x96", 0, torch.device("cpu"), Progress())
        >>> viewer.label, viewer.rule.size, viewer.sources
        ('toy', (64, 96), ('toy',))
    """
    viewers = []
    for name, label in zip(names, labels_of(names), strict=True):
        opened = open_checkpoint(name, seed, device, progress)
        encoder, facts = opened.encoder, opened.describe
        if not isinstance(encoder, Encoder):
            raise InputError("no attention to look at", where=opened.name, hint="give a run folder or a checkpoint")
        sources = facts.get("sources") or facts.get("sources_of_run") or ()
        rule = input_rule(image_size, opened.image_size, encoder.patch_size, device)
        viewers.append(Viewer(opened.name, label, encoder, rule, tuple(map(str, sources))))  # type: ignore[call-overload]
    return viewers


def labels_of(names: Sequence[str]) -> list[str]:
    """Short unique names of checkpoints, for pictures and folders.

    A label is the end of a path or address without its suffix; a file that every run has is named after its folder.

    Example:
        >>> labels_of(["runs/a/encoder.safetensors", "runs/b/a"])
        ['a', 'a-2']
    """
    labels: list[str] = []
    for name in names:
        location = bare(name.removeprefix("random:"))
        path = Path(location) if is_address(location) else Path(location).resolve()
        label = path.stem if path.suffix in (".pt", ".pth", ".safetensors") else path.name
        label = path.parent.name if label in _FILES_OF_A_RUN else label
        label = ("random-" if name.startswith("random:") else "") + re.sub(r"[^A-Za-z0-9._-]+", "-", label)
        unique, number = label, 2
        while unique in labels:
            unique, number = f"{label}-{number}", number + 1
        labels.append(unique)
    return labels
