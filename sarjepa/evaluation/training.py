"""The settings by which a probe or a whole classifier is trained; without any they are the published ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Training:
    """How a probe or a whole classifier is trained; the adamw probe reads the first four settings.

    Attributes:
        epochs, batch_size, lr, weight_decay: passes over the images, images per step, AdamW's peak rate and decay.
        steps: number of steps, with a warm-up and half a cosine over them, in place of epochs.
        head_lr: the head's rate; None: that of everything.
        layer_decay: factor of the rate from each block to the one before it.
        label_smoothing: share of the target that goes to all classes alike.
        dropout: share of the feature's values that the head does not see, drawn by image and epoch.
        normalise: whether the fine-tuned head has a normalisation.
        augment: augmentations of the fine-tuned chips, drawn anew each epoch.
    """

    epochs: int = 40
    batch_size: int = 50
    lr: float = 1e-3
    weight_decay: float = 5e-4
    steps: int | None = None
    head_lr: float | None = None
    layer_decay: float = 1.0
    label_smoothing: float = 0.0
    dropout: float = 0.0
    normalise: bool = False
    augment: tuple[str, ...] = ()
