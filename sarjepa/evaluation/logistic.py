"""The probe without a learning rate: multinomial logistic regression to its optimum by L-BFGS.

The loss, mean cross-entropy plus (strength / 2) * |W|^2 (the bias is free), is convex: it has one optimum, which
depends on no rate, batch or epoch count. The strength is chosen for each run on held-out shots, as that of least mean
log-loss over five folds of the run's own training images; no label beyond the shots is used.

Two things make it quick. By the representer theorem the optimum lies in the span of the S training features, so
features (a 4 x 4 grid of a ViT-B: 12,288) are first written in at most S principal coordinates. Along coordinate k the
curvature is about variance_k / 4 + strength, so each is scaled to a curvature of one, and L-BFGS needs tens of steps
rather than hundreds. A run's folds are solved together, with weight zero for held-out images. Runs are solved one by
one: a shared line search would make a run's last digits depend on the other runs, and a resumed table would differ.

Shapes: R runs, F folds, S training images, K coordinates, D width, C classes, T test images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

STRENGTHS = tuple(10.0**exponent for exponent in range(0, -7, -1))  # for features of unit mean square length
NUM_FOLDS = 5
_MAX_ITERATIONS = 100
_CHOICE_TOLERANCE, _FINAL_TOLERANCE = 1e-3, 1e-5  # largest gradient at which to stop, in coordinates of unit curvature


@dataclass(frozen=True)
class LinearMaps:
    """R fitted linear classifiers.

    Attributes:
        mean_RD, scale_RD: mean and scale of the training features; a feature is centred, then multiplied by the scale.
        weight_RCD, bias_RC: weight and bias of the classifier of scaled features.
        strength: (R,) chosen strength of the penalty, or shrinkage.
    """

    mean_RD: Tensor
    scale_RD: Tensor
    weight_RCD: Tensor
    bias_RC: Tensor
    strength: np.ndarray

    def logits(self, run: int, feature_TD: Tensor) -> Tensor:
        """(T, C) logits of one run."""
        weight_CD, bias_C = self.linear(run)
        return feature_TD @ weight_CD.T + bias_C

    def linear(self, run: int) -> tuple[Tensor, Tensor]:
        """(C, D) weights and (C,) biases of one run for features as they are."""
        weight_CD = self.weight_RCD[run] * self.scale_RD[run]
        return weight_CD, self.bias_RC[run] - weight_CD @ self.mean_RD[run]


def solve(
    z_SK: Tensor,
    target_SC: Tensor,
    weight_SF: Tensor,
    strength: float,
    start: Tensor | None = None,
    tolerance: float = _FINAL_TOLERANCE,
) -> Tensor:
    """The optimum of every fold of one run.

    Args:
        z_SK: features, best in principal coordinates.
        target_SC: one-hot classes.
        weight_SF: weight of each image in a fold's mean; zero leaves it out.
        strength: strength of the penalty.
        start: (K + 1, F, C) initial weights; None: zero.
        tolerance: the largest gradient, in coordinates of unit curvature, at which to stop.

    Returns:
        (K + 1, F, C) weights, the last of the K + 1 being the bias.

    Example:
        >>> z, target, weight = torch.tensor([[-1.0], [1.0]]), torch.eye(2), torch.ones(2, 1)  # one chip of each class
        >>> [round(float(solve(z, target, weight, strength)[0, 0, 1]), 2) for strength in (1.0, 0.1, 0.01)]
        [0.34, 1.06, 1.96]
    """
    share_SF = weight_SF / weight_SF.sum(dim=0)
    scale_K = (0.25 * z_SK.square().mean(dim=0) + strength).rsqrt()
    scaled_SK, penalty_K11 = z_SK * scale_K, (strength * scale_K.square())[:, None, None]
    scale_K11 = torch.cat([scale_K, scale_K.new_ones(1)])[:, None, None]
    if start is None:
        start = z_SK.new_zeros(z_SK.shape[1] + 1, weight_SF.shape[1], target_SC.shape[1])
    theta = (start / scale_K11).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [theta],
        max_iter=_MAX_ITERATIONS,
        history_size=10,
        tolerance_grad=tolerance,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        nll_SF = _log_loss(scaled_SK, target_SC, theta)
        total = (share_SF * nll_SF).sum() + 0.5 * (penalty_K11 * theta[:-1].square()).sum()
        total.backward()
        return total

    optimiser.step(loss)
    return theta.detach() * scale_K11


def _log_loss(z_SK: Tensor, target_SC: Tensor, theta_KFC: Tensor) -> Tensor:
    """(S, F) negative log-likelihood of each image under each fold's weights."""
    logits_SFC = torch.addmm(theta_KFC[-1].flatten(), z_SK, theta_KFC[:-1].flatten(1)).unflatten(1, theta_KFC.shape[1:])
    return logits_SFC.logsumexp(dim=2) - (logits_SFC * target_SC[:, None]).sum(dim=2)


def fit_logistic(
    feature_ND: Tensor, label_N: Tensor, train_RS: np.ndarray, num_classes: int, copies: int = 1
) -> LinearMaps:
    """Fit each run at the strength of least log-loss on its held-out folds.

    Args:
        feature_ND: (N, D) features.
        label_N: (N,) class ids.
        train_RS: (R, S) indices of the training rows.
        num_classes: C.
        copies: number of successive rows that belong to one image; they stay in one fold.

    Example:
        >>> features, runs = torch.tensor([[0.0, 0.0], [0.0, 1.0], [4.0, 0.0], [4.0, 1.0]]), np.array([[0, 1, 2, 3]])
        >>> maps = fit_logistic(features, torch.tensor([0, 0, 1, 1]), runs, num_classes=2)
        >>> maps.logits(0, torch.tensor([[0.5, 0.5], [3.5, 0.5]])).argmax(dim=1)
        tensor([0, 1])
        >>> fit_logistic(features, torch.tensor([0, 1, 1, 0]), runs, num_classes=2).strength  # no line parts these
        array([1.])
    """
    runs = [_fit_run(feature_ND[index], label_N[index], num_classes, copies)
            for index in torch.as_tensor(train_RS, device=feature_ND.device)]  # fmt: skip
    mean, scale, weight, bias, strength = zip(*runs, strict=True)
    return LinearMaps(torch.stack(mean), torch.stack(scale), torch.stack(weight), torch.stack(bias), np.array(strength))


def _fit_run(
    feature_SD: Tensor, label_S: Tensor, num_classes: int, copies: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """One run's mean, scale, weights, biases and strength."""
    spread_D, mean_D = torch.std_mean(feature_SD, dim=0, correction=0)
    # A dimension that never varies in training has no scale; unit mean square length makes strengths comparable.
    scale_D = torch.where(spread_D > 1e-6, 1 / spread_D.clamp_min(1e-6), 0) / feature_SD.shape[1] ** 0.5
    z_SK, back_KD = _coordinates((feature_SD - mean_D) * scale_D)
    target_SC = functional.one_hot(label_S, num_classes).to(z_SK.dtype)
    strength = _choose_strength(z_SK, target_SC, label_S, copies)
    theta_KC = solve(z_SK, target_SC, z_SK.new_ones(len(z_SK), 1), strength)[:, 0]
    return mean_D, scale_D, theta_KC[:-1].T @ back_KD, theta_KC[-1], strength


def _coordinates(x_SD: Tensor) -> tuple[Tensor, Tensor]:
    """Centred features in principal coordinates (S, K), and the (K, D) matrix that maps weights back.

    The smaller of the two Gram matrices is decomposed; K is at most the smaller of S and D.
    """
    if x_SD.shape[1] <= x_SD.shape[0]:
        back_KD = torch.linalg.eigh(x_SD.T @ x_SD).eigenvectors.T
    else:
        value_S, vector_SS = torch.linalg.eigh(x_SD @ x_SD.T)
        kept = value_S > 1e-8 * value_S[-1]
        back_KD = (vector_SS[:, kept] / value_S[kept].sqrt()).T @ x_SD
    return x_SD @ back_KD.T, back_KD


def _folds(label_S: Tensor, copies: int) -> Tensor:
    """(S,) the fold of each training row: its image's number within the class, modulo the number of folds."""
    label_G = label_S[::copies]
    same_GG = label_G[:, None] == label_G[None]
    return (same_GG.tril(-1).sum(dim=1) % NUM_FOLDS).repeat_interleave(copies)


def _choose_strength(z_SK: Tensor, target_SC: Tensor, label_S: Tensor, copies: int) -> float:
    """The strength of least held-out log-loss; the middle one where a single fold would hold all images."""
    held_SF = functional.one_hot(_folds(label_S, copies)).to(z_SK.dtype)
    if held_SF.shape[1] < 2:
        return STRENGTHS[len(STRENGTHS) // 2]
    theta, losses = None, []
    for strength in STRENGTHS:  # from strong to weak, each starting at the optimum of the last
        theta = solve(z_SK, target_SC, 1 - held_SF, strength, theta, _CHOICE_TOLERANCE)
        losses.append(float((held_SF * _log_loss(z_SK, target_SC, theta)).sum()))
        if len(losses) > 2 and losses[-1] > losses[-2] > losses[-3]:
            break  # the loss rose twice: weaker penalties only get worse
    return STRENGTHS[int(np.argmin(losses))]
