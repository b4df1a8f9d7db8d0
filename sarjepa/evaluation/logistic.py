"""The probe without a learning rate: multinomial logistic regression to its optimum by L-BFGS.

The loss, mean cross-entropy plus (strength / 2) * |W|^2 (the bias is free), is convex: there is one answer, and no
rate, batch or epoch count on which it could depend. The strength is chosen for each run on held-out shots: five folds
of the run's own training images, least mean log-loss; no label beyond the shots is looked at.

Two things make it quick. By the representer theorem the optimum lies in the span of the S training features, so wide
features (a 4 x 4 grid of a ViT-B: 12,288) are first written in S coordinates. And the problems of all runs and folds
are solved as one, a held-out image being one of weight zero; they share no number, so the joint optimum is each one's
own.

Shapes: R runs, P problems (runs x folds), S training images a run, K coordinates, D width, C classes, T test images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

STRENGTHS = tuple(10.0**exponent for exponent in range(-6, 1))  # for features of unit mean square length
NUM_FOLDS = 5
_MAX_ITERATIONS = 200


@dataclass(frozen=True)
class Regressions:
    """R fitted regressions.

    Attributes:
        mean_RD, scale_RD: of the training features; a feature is centred, then multiplied by the scale.
        weight_RCD, bias_RC: of the scaled feature.
        strength: (R,) what was chosen.
    """

    mean_RD: Tensor
    scale_RD: Tensor
    weight_RCD: Tensor
    bias_RC: Tensor
    strength: np.ndarray

    def logits(self, run: int, feature_TD: Tensor) -> Tensor:
        """(T, C) logits of one run."""
        weight_CD = self.weight_RCD[run] * self.scale_RD[run]
        return feature_TD @ weight_CD.T + (self.bias_RC[run] - weight_CD @ self.mean_RD[run])


def solve(z_PSK: Tensor, target_PSC: Tensor, weight_PS: Tensor, strength_P: Tensor, start: Tensor) -> Tensor:
    """The optimum of every problem.

    Args:
        z_PSK: features.
        target_PSC: one-hot classes.
        weight_PS: of each image in the mean; zero leaves it out.
        strength_P: of the penalty.
        start: (P, C, K + 1) where to begin; the last column is the bias.

    Returns:
        (P, C, K + 1).
    """
    theta = start.clone().requires_grad_()
    share_PS = weight_PS / weight_PS.sum(dim=1, keepdim=True)
    optimiser = torch.optim.LBFGS(
        [theta],
        max_iter=_MAX_ITERATIONS,
        history_size=20,
        tolerance_grad=1e-5,
        tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        logits_PSC = torch.baddbmm(theta[:, None, :, -1], z_PSK, theta[:, :, :-1].transpose(1, 2))
        nll_PS = -(target_PSC * functional.log_softmax(logits_PSC, dim=2)).sum(dim=2)
        penalty_P = 0.5 * strength_P * theta[:, :, :-1].square().sum(dim=(1, 2))
        total = ((share_PS * nll_PS).sum(dim=1) + penalty_P).sum()
        total.backward()
        return total

    optimiser.step(loss)
    return theta.detach()


def fit_logistic(feature_ND: Tensor, label_N: Tensor, train_RS: np.ndarray, num_classes: int) -> Regressions:
    """Fit each run at the strength that its held-out folds prefer.

    Args:
        feature_ND: (N, D) features.
        label_N: (N,) class ids.
        train_RS: (R, S) indices of the training images.
        num_classes: C.
    """
    train = torch.as_tensor(train_RS, device=feature_ND.device)
    feature_RSD, label_RS = feature_ND[train], label_N.to(feature_ND.device)[train]
    mean_RD = feature_RSD.mean(dim=1)
    spread_RD = feature_RSD.std(dim=1, correction=0)
    # A dimension that never varies in training has no scale; unit mean square length makes strengths comparable.
    scale_RD = torch.where(spread_RD > 1e-6, 1 / spread_RD.clamp_min(1e-6), 0) / feature_RSD.shape[2] ** 0.5
    x_RSD = (feature_RSD - mean_RD[:, None]) * scale_RD[:, None]
    z_RSK, back_RKD = _coordinates(x_RSD)
    target_RSC = functional.one_hot(label_RS, num_classes).to(z_RSK.dtype)
    strength_R = _choose_strength(z_RSK, target_RSC, label_RS)
    everything = torch.ones_like(label_RS, dtype=z_RSK.dtype)
    start = z_RSK.new_zeros(len(train), num_classes, z_RSK.shape[2] + 1)
    theta = solve(z_RSK, target_RSC, everything, strength_R, start)
    weight_RCD = theta[:, :, :-1] @ back_RKD
    return Regressions(mean_RD, scale_RD, weight_RCD, theta[:, :, -1], strength_R.cpu().numpy())


def _coordinates(x_RSD: Tensor) -> tuple[Tensor, Tensor]:
    """Features in at most S coordinates, and the (R, K, D) matrix that leads weights back."""
    num_images, width = x_RSD.shape[1:]
    if width <= num_images:
        return x_RSD, torch.eye(width, device=x_RSD.device).expand(len(x_RSD), -1, -1)
    value_RS, vector_RSS = torch.linalg.eigh(x_RSD @ x_RSD.transpose(1, 2))
    root_RS = value_RS.clamp_min(0).sqrt()
    inverse_RS = torch.where(root_RS > 1e-4 * root_RS[:, -1:], 1 / root_RS.clamp_min(1e-30), 0)
    back_RKD = (vector_RSS * inverse_RS[:, None]).transpose(1, 2) @ x_RSD
    return x_RSD @ back_RKD.transpose(1, 2), back_RKD


def _folds(label_RS: Tensor) -> Tensor:
    """(R, S) the fold of each training image: its number among its class's, modulo the number of folds."""
    same_RSS = label_RS[:, :, None] == label_RS[:, None, :]
    number_RS = same_RSS.tril(-1).sum(dim=2)
    return number_RS % NUM_FOLDS


def _choose_strength(z_RSK: Tensor, target_RSC: Tensor, label_RS: Tensor) -> Tensor:
    """(R,) the strength of least held-out log-loss; where a fold would leave nothing to learn from, the middle one."""
    fold_RS = _folds(label_RS)
    num_folds = int(fold_RS.max()) + 1
    if num_folds < 2:
        return z_RSK.new_full((len(z_RSK),), STRENGTHS[len(STRENGTHS) // 2])
    kept_PS = torch.cat([(fold_RS != fold).to(z_RSK.dtype) for fold in range(num_folds)])
    z_PSK, target_PSC = z_RSK.repeat(num_folds, 1, 1), target_RSC.repeat(num_folds, 1, 1)
    theta = z_PSK.new_zeros(len(z_PSK), target_PSC.shape[2], z_PSK.shape[2] + 1)
    losses = []
    for strength in reversed(STRENGTHS):  # from smooth to sharp, each starting where the last one ended
        theta = solve(z_PSK, target_PSC, kept_PS, z_PSK.new_full((len(z_PSK),), strength), theta)
        logits_PSC = torch.baddbmm(theta[:, None, :, -1], z_PSK, theta[:, :, :-1].transpose(1, 2))
        nll_PS = -(target_PSC * functional.log_softmax(logits_PSC, dim=2)).sum(dim=2)
        losses.append(((1 - kept_PS) * nll_PS).sum(dim=1).view(num_folds, -1).sum(dim=0))
    best_R = torch.stack(losses).argmin(dim=0)
    return z_RSK.new_tensor(tuple(reversed(STRENGTHS)))[best_R]
