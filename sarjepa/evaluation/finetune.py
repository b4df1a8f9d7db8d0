"""Fine-tuning as published: encoder and head train together, by the probe's recipe.

AdamW (0.9, 0.999) at an absolute rate of 1e-3 on everything, weight decay 5e-4 on everything that trains, batch 50, 40
epochs, the epoch-wise schedule of `linear`, no augmentation, head weight of std 2e-5; the last epoch is what is tested.
As options: layer decay (the rate of a block is that of the one above times the decay; Bao et al., BEiT, 2021), and a
temperature, one number found on chips that were not trained on, by which logits are divided so that probabilities mean
what they say (Guo et al., 2017). It moves no prediction.

Shapes: B images, T test images, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn import functional

from sarjepa.evaluation.features import ImageLoader
from sarjepa.evaluation.linear import batches, epoch_rate, initial_weight
from sarjepa.models.heads import FINETUNE_STD, Classifier
from sarjepa.progress import Progress


class DivergedError(ArithmeticError):
    """A training whose loss is no longer a number."""


@dataclass(frozen=True)
class Curve:
    """What each epoch came to: mean training loss, and whatever `watch` returned (empty without it)."""

    loss: tuple[float, ...]
    watched: tuple[float, ...] = ()


def parameter_groups(classifier: Classifier, layer_decay: float) -> list[dict[str, object]]:
    """AdamW's groups, each with `scale`, its share of the learning rate.

    The head has 1, the encoder's final norm `layer_decay`, its last block the same, each block below once more, and
    patch embedding and class token lowest. With a decay of 1 this is one rate for everything.
    """
    depth = len(classifier.encoder.blocks)  # type: ignore[arg-type]
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in classifier.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith("encoder.blocks."):
            above = depth - int(name.split(".")[2])
        elif name.startswith("encoder.norm."):
            above = 1
        else:
            above = depth + 1 if name.startswith("encoder.") else 0
        groups.setdefault(layer_decay**above, []).append(parameter)
    return [{"params": parameters, "scale": scale} for scale, parameters in groups.items()]


def start_head(classifier: Classifier, seed: int) -> None:
    """Set the head's weight to its start for fine-tuning, by seed."""
    linear = classifier.head.linear  # type: ignore[union-attr]
    with torch.no_grad():
        linear.weight.copy_(initial_weight(linear.out_features, linear.in_features, seed, FINETUNE_STD))  # type: ignore
        linear.bias.zero_()  # type: ignore[union-attr, operator]


def finetune(
    classifier: Classifier,
    load: ImageLoader,
    train: np.ndarray,
    labels: np.ndarray,
    seed: int,
    *,
    epochs: int = 40,
    batch_size: int = 50,
    lr: float = 1e-3,
    weight_decay: float = 5e-4,
    layer_decay: float = 1.0,
    precision: str = "fp32",
    watch: Callable[[Classifier], float] | None = None,
    progress: Progress | None = None,
) -> Curve:
    """Train a classifier in place.

    Args:
        classifier: encoder, feature and `Head`, on its device.
        load: gives the images of some indices on that device.
        train: (S,) indices of the training images.
        labels: (N,) class ids.
        seed: of the head's start and of the order of the batches.
        epochs, batch_size, lr, weight_decay, layer_decay: of AdamW.
        precision: "fp32", or "bf16" for autocast.
        watch: called after each epoch, in evaluation mode, for a curve; it chooses nothing.
        progress: where to tell how far it is.

    Raises:
        DivergedError: the loss is not a finite number.
    """
    start_head(classifier, seed)
    groups = parameter_groups(classifier, layer_decay)
    optimiser = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), weight_decay=weight_decay)
    loss_E, watched_E = [], []
    with (progress or Progress()).task("fine-tune", total=epochs, unit="epochs") as task:
        for epoch in range(epochs):
            for group in optimiser.param_groups:
                group["lr"] = epoch_rate(epoch, epochs, lr) * group["scale"]
            classifier.train()
            losses = [
                _step(classifier, optimiser, load(train[batch]), labels[train[batch]], precision)
                for batch in batches(len(train), batch_size, seed, epoch)
            ]
            loss_E.append(float(torch.stack(losses).mean()))
            if not np.isfinite(loss_E[-1]):
                raise DivergedError(f"the loss of epoch {epoch} is {loss_E[-1]}")
            classifier.eval()
            if watch is not None:
                watched_E.append(watch(classifier))
            task.advance(1, f"loss {loss_E[-1]:.3f}")
    return Curve(tuple(loss_E), tuple(watched_E))


def _step(
    classifier: Classifier, optimiser: torch.optim.Optimizer, image: Tensor, label_B: np.ndarray, precision: str
) -> Tensor:
    """One step of the optimiser; the loss, detached."""
    target_B = torch.as_tensor(label_B, device=image.device)
    with torch.autocast(image.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        loss = functional.cross_entropy(classifier(image).float(), target_B)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()


@torch.no_grad()  # not inference mode: position buckets made here are kept and may meet a training next
def predict(
    classifier: Classifier, load: ImageLoader, indices: np.ndarray, *, batch_size: int = 64, precision: str = "fp32"
) -> Tensor:
    """(T, C) float32 logits of some images, on the CPU."""
    logits = []
    for start in range(0, len(indices), batch_size):
        image = load(indices[start : start + batch_size])
        with torch.autocast(image.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            logits.append(classifier(image).float().cpu())
    return torch.cat(logits)


def fit_temperature(logits_TC: Tensor, label_T: Tensor) -> float:
    """The temperature that makes held-out labels most likely.

    Args:
        logits_TC: logits of images that were not trained on.
        label_T: their classes.

    Returns:
        T in [0.05, 20]; divide logits by it. The negative log-likelihood is convex in 1/T, so a search over log T finds
        its one minimum.
    """

    def loss(log_temperature: float) -> float:
        return float(functional.cross_entropy(logits_TC.double() / np.exp(log_temperature), label_T))

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(found.x))
