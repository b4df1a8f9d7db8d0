"""Fine-tuning: encoder and head train together.

As published, by the probe's recipe: AdamW (0.9, 0.999) at an absolute rate of 1e-3 on everything, weight decay 5e-4 on
everything that trains, batch 50, 40 epochs, the epoch-wise schedule of `linear`, no augmentation, a linear head whose
weight starts at std 2e-5; the weights of the last epoch are tested.

Options that help with few shots: views of the shots, drawn anew each epoch (`sarjepa.data.views`), since a network that
sees the same hundred chips four hundred times learns their speckle; a number of steps in place of epochs, with a half
cosine over steps; another rate for the head, which is untrained where the encoder is not; label smoothing (Szegedy et
al., CVPR 2016) and dropout on the head's feature (Srivastava et al., JMLR 2014), for the same reason as views; layer
decay (the rate of a block is that of the block above times the decay; Bao et al., BEiT, 2021).

A temperature, one number fitted on chips that were not trained on, divides the logits so that probabilities are
calibrated (Guo et al., 2017). It changes no prediction.

Shapes: B images, T test images, C classes, D width of the feature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn import functional

from sarjepa.draws import uniforms
from sarjepa.evaluation.features import ImageLoader
from sarjepa.evaluation.linear import batches, epoch_rate, initial_weight
from sarjepa.evaluation.training import Training
from sarjepa.models.heads import FINETUNE_STD, Classifier
from sarjepa.progress import Progress
from sarjepa.training.loop import StepRecord, fit
from sarjepa.training.runtime import Ranks
from sarjepa.training.schedule import warmup_cosine

WARMUP_SHARE = 0.05  # of the steps, where their number is set in place of epochs


@dataclass(frozen=True)
class Curve:
    """Each epoch's mean training loss, and the result of `watch` after it (empty without `watch`)."""

    loss: tuple[float, ...]
    watched: tuple[float, ...] = ()


def parameter_groups(
    classifier: Classifier, layer_decay: float = 1.0, head_scale: float = 1.0
) -> list[dict[str, object]]:
    """AdamW's groups, each with `scale`, its factor of the learning rate.

    The scale is `head_scale` for the head and `layer_decay` for the encoder's final norm and last block; each block
    below multiplies it by `layer_decay` once more, and patch embedding and class token come last. With a decay of 1 the
    encoder has one rate.

    Example:
        >>> from sarjepa.models.heads import Head
        >>> classifier = Classifier(sarjepa.load_encoder("runs/toy"), Head(16, 3))  # of two blocks
        >>> [group["scale"] for group in parameter_groups(classifier, layer_decay=0.5, head_scale=10.0)]
        [0.125, 0.25, 0.5, 10.0]
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
        groups.setdefault(layer_decay**above if above else head_scale, []).append(parameter)
    return [{"params": parameters, "scale": scale} for scale, parameters in groups.items()]


def start_head(classifier: Classifier, seed: int) -> None:
    """Set the head's weight to its initial value for fine-tuning, by seed, and its bias to 0.

    Example:
        >>> from sarjepa.models.heads import Head
        >>> classifier = Classifier(sarjepa.load_encoder("runs/toy"), Head(16, 3))
        >>> start_head(classifier, seed=0)
        >>> f"{classifier.head.linear.weight.std().item():.0e}", classifier.head.linear.bias.tolist()
        ('2e-05', [0.0, 0.0, 0.0])
    """
    linear = classifier.head.linear  # type: ignore[union-attr]
    with torch.no_grad():
        linear.weight.copy_(initial_weight(linear.out_features, linear.in_features, seed, FINETUNE_STD))  # type: ignore
        linear.bias.zero_()  # type: ignore[union-attr, operator]


class _Loss(nn.Module):
    """A classifier's cross-entropy; `keep_BD` multiplies the head's feature (dropout)."""

    def __init__(self, classifier: Classifier, label_smoothing: float) -> None:
        super().__init__()
        self.classifier, self.label_smoothing = classifier, label_smoothing

    def forward(self, image_B1HW: Tensor, target_B: Tensor, keep_BD: Tensor | None) -> Tensor:
        logits_BC = self.classifier(image_B1HW, keep_BD).float()
        return functional.cross_entropy(logits_BC, target_B, label_smoothing=self.label_smoothing)


def finetune(
    classifier: Classifier,
    load: Callable[[np.ndarray, int], Tensor],
    train: np.ndarray,
    labels: np.ndarray,
    seed: int,
    training: Training,
    *,
    precision: str = "fp32",
    watch: Callable[[Classifier], float] | None = None,
    progress: Progress | None = None,
) -> Curve:
    """Train a classifier in place.

    Args:
        classifier: encoder, feature and `Head`, on its device.
        load: function from indices and epoch to images, on that device.
        train: (S,) indices of the training images.
        labels: (N,) class ids.
        seed: seed of the head's first weights, the order of the batches and the dropout.
        training: settings; its normalisation and augmentations are the business of the caller.
        precision: "fp32", or "bf16" for autocast.
        watch: function called after each epoch in evaluation mode, for a curve; its result chooses nothing.
        progress: receiver of notes, warnings and progress bars.

    Raises:
        LossNotFiniteError: the loss is not a finite number.

    Example:
        >>> from sarjepa.evaluation.benchmark import open_benchmark
        >>> toy, classifier = open_benchmark("data", "toy"), sarjepa.load_classifier("runs/toy/finetune-toy").classifier
        >>> load, labels = toy.loader(32, "cpu"), toy.candidates.labels
        >>> training = Training(steps=3, batch_size=72, head_lr=0.1)
        >>> curve = finetune(classifier, lambda rows, epoch: load(rows), np.arange(72), labels, 0, training)
        >>> [round(loss, 1) for loss in curve.loss]  # of each epoch; starts at ln 3, as the head starts near zero
        [1.1, 0.9, 0.8]
    """
    start_head(classifier, seed)
    device = next(classifier.parameters()).device
    lr, dropout, head_lr = training.lr, training.dropout, training.head_lr
    groups = parameter_groups(classifier, training.layer_decay, 1.0 if head_lr is None else head_lr / lr)
    optimiser = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), weight_decay=training.weight_decay, fused=True)
    epoch_steps = sum(1 for _ in batches(len(train), training.batch_size, seed, 0))
    num_steps = training.steps or training.epochs * epoch_steps
    width: int = classifier.head.linear.in_features  # type: ignore[union-attr, assignment]
    losses, loss_E, watched_E = [], [], []

    def rate(step: int) -> float:
        if training.steps is None:
            return epoch_rate(step // epoch_steps, training.epochs, lr)
        return warmup_cosine(step, num_steps, int(WARMUP_SHARE * num_steps), lr)

    def parts() -> Iterator[list[tuple[Tensor, Tensor, Tensor | None]]]:
        for step in range(num_steps):
            epoch = step // epoch_steps
            if step % epoch_steps == 0:
                order = list(batches(len(train), training.batch_size, seed, epoch))
            index_B = train[order[step % epoch_steps]]
            keep_BD = None
            if dropout:
                kept = uniforms(seed, "head/dropout", epoch, index_B, width) >= dropout
                keep_BD = torch.from_numpy(kept).to(device).float() / (1 - dropout)
            yield [(load(index_B, epoch), torch.as_tensor(labels[index_B], device=device), keep_BD)]

    with (progress or Progress()).task("fine-tune", total=num_steps, unit="steps") as task:

        def after_step(record: StepRecord) -> bool:
            losses.append(record.loss)
            if record.step % epoch_steps == 0 or record.step == num_steps:
                loss_E.append(float(np.mean(losses)))
                losses.clear()
                if watch is not None:
                    classifier.eval()
                    watched_E.append(watch(classifier))
                    classifier.train()
            task.advance(1, f"loss {record.loss:.3f}")
            return False

        classifier.train()
        loss = _Loss(classifier, training.label_smoothing)
        fit(loss, optimiser, parts(), first_step=0, lr_at=rate, precision=precision, device=device, ranks=Ranks(),
            clip_grad=None, after_step=after_step)  # fmt: skip
    classifier.eval()
    return Curve(tuple(loss_E), tuple(watched_E))


@torch.no_grad()  # not inference mode: position buckets are cached, and a training may use them next
def predict(
    classifier: Classifier, load: ImageLoader, indices: np.ndarray, *, batch_size: int = 64, precision: str = "fp32",
    plain_head: bool = False,
) -> Tensor:  # fmt: skip
    """(T, C) float32 logits of some images, on the CPU; with `plain_head` the head is not part of the autocast.

    Example:
        >>> from sarjepa.evaluation.benchmark import open_benchmark
        >>> load = open_benchmark("data", "toy").loader(32, "cpu")
        >>> classifier = sarjepa.load_classifier("runs/toy/finetune-toy").classifier
        >>> logits = predict(classifier, load, np.arange(5))
        >>> logits.shape, torch.allclose(logits, predict(classifier, load, np.arange(5), batch_size=2), atol=1e-6)
        (torch.Size([5, 3]), True)
    """
    logits = []
    for start in range(0, len(indices), batch_size):
        image = load(indices[start : start + batch_size])
        with torch.autocast(image.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            output_BX = classifier.feature(classifier.encoder, image) if plain_head else classifier(image)
        logits.append((classifier.head(output_BX) if plain_head else output_BX).float().cpu())
    return torch.cat(logits)


def fit_temperature(logits_TC: Tensor, label_T: Tensor) -> float:
    """The temperature that makes held-out labels most likely.

    Args:
        logits_TC: logits of images that were not trained on.
        label_T: their classes.

    Returns:
        T in [0.05, 20]; divide logits by it. The negative log-likelihood is convex in 1/T, so a search over log T finds
        its one minimum.

    Example:
        >>> logits = torch.tensor([[4.0, 0.0]] * 4)  # sure of class 0, which is right in three of four images
        >>> temperature = fit_temperature(logits, torch.tensor([0, 0, 0, 1]))
        >>> round(float((logits[0] / temperature).softmax(dim=0)[0]), 2)
        0.75
    """

    def loss(log_temperature: float) -> float:
        return float(functional.cross_entropy(logits_TC.double() / np.exp(log_temperature), label_T))

    minimum = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(minimum.x))
