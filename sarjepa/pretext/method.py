"""The interface of every self-supervised method."""

from __future__ import annotations

import abc
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from sarjepa.models.encoder import Encoder
from sarjepa.pretext.masking import ImageKeys
from sarjepa.pretext.targets import Target

UNSEEN, VISIBLE, MASKED = 0, 1, 2


@dataclass(frozen=True)
class Alignment:
    """Optical images, and a method's agreement with them.

    Attributes:
        optical_B3HW: optical images in [0, 1].
        cosine_BRC: agreement on the patch grid, NaN where there is none.
    """

    optical_B3HW: torch.Tensor
    cosine_BRC: torch.Tensor


@dataclass(frozen=True)
class Preview:
    """A method's inputs, masks, targets and predictions of a few images, for a picture.

    Attributes:
        image: (B, 1, H, W) input of the encoder.
        state_BN: int64 on the patch grid: 0 unseen, 1 visible, 2 masked.
        target: (B, C, H, W) target, or input of the teacher.
        prediction: (B, C, H, W) prediction, NaN where there is none or it is not a picture.
        channel_names: (C,) names of the channels.
        alignment: alignment with optical images, if the method uses them.
    """

    image: torch.Tensor
    state_BN: torch.Tensor
    target: torch.Tensor
    prediction: torch.Tensor
    channel_names: tuple[str, ...]
    alignment: Alignment | None = None

    def beside(self, alignment: Alignment) -> Preview:
        """The same with the optical images."""
        return replace(self, alignment=alignment)


class Method(nn.Module, abc.ABC):
    """A pretext task around an encoder.

    `forward(image, keys)` is the loss, a scalar, so that wrappers that call modules (DistributedDataParallel) work.

    Attributes:
        encoder: encoder that is trained.
        exported: attribute of the encoder that is kept after training: "encoder" or "teacher".
        target: function of an image that is predicted, or that a teacher sees; None for methods without one.
        views: for each view of a chip that the method compares, the augmentations that this view lacks; empty for a
            method of one augmented chip. A method of views needs the whole batch at once.
        optical: whether the method takes optical images beside the chips.
    """

    encoder: Encoder
    exported: str = "encoder"
    target: Target | None = None
    views: tuple[frozenset[str], ...] = ()
    optical: bool = False

    @abc.abstractmethod
    def forward(self, image: torch.Tensor, keys: ImageKeys) -> torch.Tensor:
        """The loss of a batch, a scalar; every draw comes from `keys`.

        Args:
            image: augmented chips, (B, 1, H, W), or for a method of V views (B, V, 1, H, W), or (B, 4, H, W) where
                red, green and blue of an optical image follow the chip.
            keys: seed, epoch and images of the draws.
        """

    def result(self) -> Encoder:
        """The encoder that is kept after training."""
        encoder = getattr(self, self.exported)
        assert isinstance(encoder, Encoder)
        return encoder

    def start_from(self, encoder: Encoder) -> None:
        """Start from the weights of `encoder`, which has the same shape."""
        self.encoder.load_state_dict(encoder.state_dict())

    def facts(self) -> dict[str, Any]:
        """Facts that a checkpoint stores beside the settings, and that must be the same when a run resumes."""
        return {}

    def after_step(self, share_done: float) -> None:
        """Move the teacher, if there is one, after an optimiser step; `share_done` (0 to 1) is of the whole run."""

    def preview(self, image_B1HW: torch.Tensor, keys: ImageKeys) -> Preview | None:
        """The preview of a few chips; None for a method that hides and predicts nothing."""
        return None
