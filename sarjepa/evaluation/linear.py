"""The linear probe as published, all runs of a cell at once.

A frozen encoder without augmentation gives the same feature every time, so the whole probe is arithmetic on a matrix:
batch-normalise, multiply, softmax, AdamW. The runs of a cell (ten seeds of one shot count) have problems of one shape,
so they are stacked, runs x images x dimensions against runs x classes x dimensions, and one matrix product serves all.
AdamW updates every number by itself, so a run's weights are those of the run alone, which a test checks. A run's chips,
their order and its initial weights depend on its seed only. The features are constants, so the gradient is two lines,
(softmax - one-hot)^T z / B, and no graph is recorded.

The recipe (METHOD, section 5): AdamW (0.9, 0.999), weight decay 5e-4 on weight and bias, batch 50 with the last short
batch dropped where there are at least 50 images, 40 epochs. The rate changes once an epoch: 1e-5 in epochs 0 and 1,
then rate * (1 + cos(pi j / epochs)) / 2 in epoch 2 + j. The weights of the last epoch are tested.

Shapes: R runs, S training images per run, T test images, D feature width, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sarjepa.draws import permutation, stream_key
from sarjepa.evaluation.training import Training
from sarjepa.models.heads import BATCH_NORM_EPS, PROBE_STD

WARMUP_EPOCHS = 2
WARMUP_RATE = 1e-5
MOMENTUM = 0.1


@dataclass(frozen=True)
class LinearProbes:
    """R trained probes; `logits` folds the normalisation into the linear layer.

    Attributes:
        mean, var: (R, D) running statistics of the normalisation.
        weight: (R, C, D) weights of the normalised feature.
        bias: (R, C) biases.
        loss: (R,) mean training loss of the last epoch.
    """

    mean: Tensor
    var: Tensor
    weight: Tensor
    bias: Tensor
    loss: Tensor

    def logits(self, run: int, feature_TD: Tensor) -> Tensor:
        """(T, C) logits of one run."""
        weight_CD, bias_C = self.linear(run)
        return feature_TD @ weight_CD.T + bias_C

    def linear(self, run: int) -> tuple[Tensor, Tensor]:
        """(C, D) weights and (C,) biases of one run for features as they are."""
        scaled_CD = self.weight[run] / torch.sqrt(self.var[run] + BATCH_NORM_EPS)
        return scaled_CD, self.bias[run] - scaled_CD @ self.mean[run]


def epoch_rate(epoch: int, epochs: int, lr: float) -> float:
    """The learning rate of an epoch: two epochs at the warm-up rate, then a half cosine from the peak `lr`.

    Example:
        >>> [round(epoch_rate(epoch, 40, lr=1e-3), 6) for epoch in (0, 1, 2, 22)]
        [1e-05, 1e-05, 0.001, 0.0005]
    """
    if epoch < WARMUP_EPOCHS:
        return WARMUP_RATE
    return lr * (1 + math.cos(math.pi * (epoch - WARMUP_EPOCHS) / epochs)) / 2


def batches(num: int, batch_size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """The positions of each batch of an epoch, shuffled by (seed, epoch); see the module's text for the last batch.

    Example:
        >>> [batch.tolist() for batch in batches(num=5, batch_size=2, seed=0, epoch=0)]
        [[0, 4], [2, 3]]
    """
    order = permutation(seed, "probe/batches", epoch, num)
    stop = num - num % batch_size if num >= batch_size else num
    for start in range(0, stop, batch_size):
        yield order[start : start + batch_size]


def initial_weight(num_classes: int, width: int, seed: int, std: float = PROBE_STD) -> Tensor:
    """The (C, D) initial weight of a seed, the same on every device.

    Example:
        >>> weight = initial_weight(num_classes=10, width=384, seed=0)
        >>> round(float(weight.std()), 3), torch.equal(weight, initial_weight(10, 384, seed=0))
        (0.01, True)
    """
    generator = torch.Generator().manual_seed(stream_key(seed, "probe/weight") >> 1)
    return nn.init.trunc_normal_(torch.empty(num_classes, width), std=std, generator=generator)


def train_probes(
    feature_ND: Tensor,
    label_N: Tensor,
    train_RS: np.ndarray,
    num_classes: int,
    seeds: Sequence[int],
    training: Training,
) -> LinearProbes:
    """Train one probe per run, all together.

    Args:
        feature_ND: (N, D) float32 features.
        label_N: (N,) class ids.
        train_RS: (R, S) indices of each run's training images.
        num_classes: C.
        seeds: R seeds of the initial weights and of the order of the batches.
        training: epochs, batch size, rate and weight decay.

    Returns:
        The last epoch's probes.

    Example:
        >>> features, labels = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]]), torch.tensor([0, 0, 1, 1])
        >>> train_RS = np.array([[0, 1, 2, 3], [0, 2, 0, 2]])  # two runs
        >>> probes = train_probes(features, labels, train_RS, 2, seeds=(0, 1), training=Training(lr=0.1))
        >>> [probes.logits(run, torch.tensor([[-3.0], [3.0]])).argmax(dim=1).tolist() for run in (0, 1)]
        [[0, 1], [0, 1]]
    """
    device = feature_ND.device
    train = torch.as_tensor(train_RS, device=device)
    num_runs, num_images = train.shape
    width, size = feature_ND.shape[1], training.batch_size
    target_RSC = functional.one_hot(label_N.to(device)[train], num_classes).to(feature_ND.dtype)
    weight = torch.stack([initial_weight(num_classes, width, seed) for seed in seeds]).to(device)
    bias = torch.zeros(num_runs, 1, num_classes, device=device)
    weight.grad, bias.grad = torch.zeros_like(weight), torch.zeros_like(bias)
    mean, var = torch.zeros(num_runs, width, device=device), torch.ones(num_runs, width, device=device)
    decay = training.weight_decay
    optimiser = torch.optim.AdamW([weight, bias], lr=training.lr, betas=(0.9, 0.999), weight_decay=decay)
    run_R1 = torch.arange(num_runs, device=device)[:, None]
    loss_R = torch.zeros(num_runs, device=device)
    for epoch in range(training.epochs):
        optimiser.param_groups[0]["lr"] = epoch_rate(epoch, training.epochs, training.lr)
        order_RS = np.stack([np.concatenate(list(batches(num_images, size, seed, epoch))) for seed in seeds])
        losses = []
        for batch_RB in torch.as_tensor(order_RS, device=device).split(size, dim=1):
            z_RBD = _normalise(feature_ND[train[run_R1, batch_RB]], mean, var)
            logp_RBC = torch.baddbmm(bias, z_RBD, weight.transpose(1, 2)).log_softmax(dim=2)
            target_RBC = target_RSC[run_R1, batch_RB]
            residual_RBC = (logp_RBC.exp() - target_RBC) / batch_RB.shape[1]
            torch.bmm(residual_RBC.transpose(1, 2), z_RBD, out=weight.grad)
            torch.sum(residual_RBC, dim=1, keepdim=True, out=bias.grad)
            optimiser.step()
            losses.append(-(logp_RBC * target_RBC).sum(dim=2).mean(dim=1))
        loss_R = torch.stack(losses).mean(dim=0)
    return LinearProbes(mean, var, weight, bias[:, 0], loss_R)


def _normalise(batch_RBD: Tensor, mean_RD: Tensor, var_RD: Tensor) -> Tensor:
    """Batch-normalise each run's batch, in place, and move the running statistics, as BatchNorm1d does."""
    size = batch_RBD.shape[1]
    average = batch_RBD.mean(dim=1, keepdim=True)
    centred_RBD = batch_RBD.sub_(average)
    variance = centred_RBD.square().mean(dim=1, keepdim=True)  # var_mean over a middle dimension is 20 times slower
    mean_RD.lerp_(average[:, 0], MOMENTUM)
    var_RD.lerp_(variance[:, 0] * (size / max(size - 1, 1)), MOMENTUM)
    return centred_RBD.mul_(torch.rsqrt(variance + BATCH_NORM_EPS))
