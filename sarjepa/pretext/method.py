"""What every self-supervised method gives the engine."""

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
    """What a method that looks at optical images makes of them.

    Attributes:
        optical_B3HW: optical images in [0, 1].
        cosine_BRC: agreement on the patch grid, NaN where none is asked for.
    """

    optical_B3HW: torch.Tensor
    cosine_BRC: torch.Tensor


@dataclass(frozen=True)
class Preview:
    """What a method makes of a few images, for a picture.

    Attributes:
        image: (B, 1, H, W).
        state_BN: int64 on the patch grid: 0 not looked at, 1 visible, 2 masked.
        target: (B, C, H, W).
        prediction: (B, C, H, W), NaN where nothing is predicted, or no picture.
        channel_names: (C,) names.
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
        exported: name of the encoder that remains after training: "encoder", or "teacher".
        target: function of an image that is predicted, or that a teacher sees; None for methods without one.
        views: for each view of a chip that the method compares, the augmentations that this view does without; empty
            for a method that looks at one augmented chip. A method of views needs the whole batch at once.
        optical: the method looks at optical images beside the chips.
    """

    encoder: Encoder
    exported: str = "encoder"
    target: Target | None = None
    views: tuple[frozenset[str], ...] = ()
    optical: bool = False

    @abc.abstractmethod
    def forward(self, image: torch.Tensor, keys: ImageKeys) -> torch.Tensor:
        """The loss of a batch; every draw comes from `keys`.

        Args:
            image: augmented chips, (B, 1, H, W), or for a method of V views (B, V, 1, H, W), or (B, 4, H, W) where
                red, green and blue of an optical image follow the chip.
            keys: seed, epoch and images of the draws.
        """

    def result(self) -> Encoder:
        """The encoder that remains after training."""
        found = getattr(self, self.exported)
        assert isinstance(found, Encoder)
        return found

    def start_from(self, encoder: Encoder) -> None:
        """Begin with the weights of `encoder`, which is of the same shape."""
        self.encoder.load_state_dict(encoder.state_dict())

    def facts(self) -> dict[str, Any]:
        """What a checkpoint says of the method beside its settings, and a run that goes on must find again."""
        return {}

    def after_step(self, share_done: float) -> None:
        """Called after every optimiser step with the share of the run that is done; teachers move here."""

    def preview(self, image_B1HW: torch.Tensor, keys: ImageKeys) -> Preview | None:
        """What to draw of a few chips; None where nothing is hidden and nothing predicted."""
        return None
