"""Linear discriminant analysis with shrinkage: a classifier in closed form.

Each class is modelled as a normal distribution, all with one covariance (Fisher 1936). With few shots the covariance C
within classes has far more entries than there are images, so it is shrunk towards a multiple of the identity,

    Sigma = (1 - l) C + l tr(C)/D I,      logits_c(x) = x' Sigma^-1 m_c - m_c' Sigma^-1 m_c / 2,

on features standardised by the training images (Friedman 1989). The shrinkage l is chosen for each run by exact
leave-one-out on its own shots: leaving an image out changes its class's mean and takes one direction out of C, so its
logits under the other images follow from one eigendecomposition (Sherman-Morrison-Woodbury) for every l of a grid,
without refitting. Copies of an image (augmentation) are left out together with it, since they resemble it. The l under
which the left-out images are most likely is taken. On held-out training chips of MSTAR it is within 0.3 points of the
best fixed l; choosing by left-out errors loses up to 0.8 points, and the formulas of Ledoit-Wolf and OAS, which aim at
the covariance and not at the classes, up to 13 (benchmarks/results/shrinkage).

Where there are fewer images than values of a feature, the eigenvectors come from the S x S products of the images (dual
form), else from the D x D scatter (primal form); the two give the same numbers. Runs are solved one by one, so that a
run's digits do not depend on other runs.

Shapes: R runs, S training rows (G images of m copies), D width, K directions, C classes, T test images, L shrinkages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sarjepa.evaluation.logistic import LinearMaps

SHRINKAGES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_RANK_TOLERANCE = 1e-6  # share of the largest eigenvalue below which a direction of the scatter counts as empty


@dataclass(frozen=True)
class Scatter:
    """One run's class means, and the eigendecomposition of the scatter within its classes.

    Attributes:
        mean_CD: class means of the standardised feature; zero for a class without images.
        count_C: training rows per class.
        value_K: eigenvalues of the scatter within classes (a sum over rows).
        vector_KX, span_XD: factors of its eigenvectors, `vector_KX @ span_XD`; the product itself is never computed.
        within_SK, mean_CK: each row's difference from its class mean, and the class means, along the eigenvectors.
        trace: trace of the scatter.
    """

    mean_CD: Tensor
    count_C: Tensor
    value_K: Tensor
    vector_KX: Tensor
    span_XD: Tensor
    within_SK: Tensor
    mean_CK: Tensor
    trace: float

    def freedom(self, copies: int = 0) -> int:
        """The divisor that makes a covariance of the scatter of all rows but `copies`."""
        return max(len(self.within_SK) - int((self.count_C > 0).sum()) - copies, 1)

    def round_part(self, shrinkage: float) -> float:
        """The term that shrinkage adds to the covariance along every direction; 1 without scatter (one shot)."""
        return shrinkage * self.trace / self.freedom() / self.mean_CD.shape[1] or 1.0


def scatter(z_SD: Tensor, label_S: Tensor, num_classes: int, dual: bool | None = None) -> Scatter:
    """Class means and eigendecomposition of the scatter within classes.

    Args:
        z_SD: standardised features.
        label_S: class ids.
        num_classes: C.
        dual: whether to take the dual form; None: the form with the smaller matrix.

    Example:
        >>> features = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 1.0], [7.0, 1.0]])
        >>> scattered = scatter(features, torch.tensor([0, 0, 1, 1]), num_classes=2)
        >>> scattered.mean_CD.tolist(), scattered.value_K  # within classes there is spread along one axis alone
        ([[1.0, 0.0], [6.0, 1.0]], tensor([0., 4.]))
    """
    target_SC = functional.one_hot(label_S, num_classes).to(z_SD.dtype)
    count_C = target_SC.sum(dim=0)
    mean_CD = (target_SC.T @ z_SD) / count_C.clamp_min(1)[:, None]
    within_SD = z_SD - mean_CD[label_S]
    if len(z_SD) < z_SD.shape[1] if dual is None else dual:
        value_K, vector_SK = torch.linalg.eigh(within_SD @ within_SD.T)
        kept = value_K > _RANK_TOLERANCE * value_K[-1]
        value_K, vector_SK = value_K[kept], vector_SK[:, kept]
        vector_KX, span_XD = (vector_SK / value_K.sqrt()).T, within_SD
        within_SK = vector_SK * value_K.sqrt()
    else:
        value_K, vector_DK = torch.linalg.eigh(within_SD.T @ within_SD)
        vector_KX, span_XD = vector_DK.T, torch.eye(len(vector_DK), dtype=z_SD.dtype, device=z_SD.device)
        within_SK = within_SD @ vector_DK
    mean_CK = (mean_CD @ span_XD.T) @ vector_KX.T
    trace = float(within_SD.square().sum())
    return Scatter(mean_CD, count_C, value_K.clamp_min(0), vector_KX, span_XD, within_SK, mean_CK, trace)


def discriminants(scattered: Scatter, shrinkage: float) -> tuple[Tensor, Tensor]:
    """Weights (C, D) and biases (C,) of the standardised feature; -inf for a class without images.

    Example:
        >>> features = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [4.0, 2.0]])
        >>> scattered = scatter(features, torch.tensor([0, 0, 1, 1]), num_classes=2)  # spread along the first axis
        >>> weight, bias = discriminants(scattered, shrinkage=0.5)
        >>> weight[1] - weight[0]  # the means differ by 2 along both axes
        tensor([1.3333, 4.0000])
    """
    across = scattered.round_part(shrinkage)
    inverse_K = 1 / ((1 - shrinkage) * scattered.value_K / scattered.freedom() + across)
    along_CX = (scattered.mean_CK * (inverse_K - 1 / across)) @ scattered.vector_KX
    weight_CD = scattered.mean_CD / across + along_CX @ scattered.span_XD
    bias_C = -0.5 * (weight_CD * scattered.mean_CD).sum(dim=1)
    return weight_CD, bias_C.masked_fill(scattered.count_C == 0, -torch.inf)


def left_out_logits(scattered: Scatter, label_S: Tensor, shrinkage: float, copies: int = 1) -> Tensor:
    """(G, C) logits of each image (the first of its copies) by the classifier of the other images.

    Standardisation and the size of the round part are measured on all images. NaN for the only image of its class.

    Args:
        scattered: the run's classes, a result of `scatter`.
        label_S: class ids of the rows.
        shrinkage: l.
        copies: m; rows k m .. k m + m - 1 are one image.

    Example:
        >>> features = torch.tensor([[0.0], [1.0], [9.0], [8.0], [9.0], [8.5]])
        >>> labels = torch.tensor([0, 0, 0, 1, 1, 1])  # the third chip looks like the other class
        >>> left_out_logits(scatter(features, labels, 2), labels, shrinkage=0.5).argmax(dim=1)
        tensor([0, 0, 1, 1, 1, 1])
    """
    label_G = label_S[::copies]
    image_G = torch.arange(len(label_G), device=label_S.device)
    count_G, freedom = scattered.count_C[label_G], scattered.freedom(copies)
    left_G1 = (count_G - copies).clamp_min(1)[:, None]
    across = scattered.round_part(shrinkage) * freedom
    keep = 1 - shrinkage
    # Inner products of rows w and class means m under the inverse of keep * scatter + across * I, of all images.
    scaled_SK = scattered.within_SK / (keep * scattered.value_K + across)
    ww_Gmm = scaled_SK.unflatten(0, (-1, copies)) @ scattered.within_SK.unflatten(0, (-1, copies)).transpose(1, 2)
    wm_GmC = (scaled_SK @ scattered.mean_CK.T).unflatten(0, (-1, copies))
    outside_CC = scattered.mean_CD @ scattered.mean_CD.T - scattered.mean_CK @ scattered.mean_CK.T
    mm_CC = (scattered.mean_CK / (keep * scattered.value_K + across)) @ scattered.mean_CK.T + outside_CC / across
    # Without an image the scatter loses w' (I + 11' / left) w. Woodbury: its inverse P gains P w' gain w P.
    one_mm = torch.eye(copies, dtype=ww_Gmm.dtype, device=ww_Gmm.device)
    gain_Gmm = keep * torch.linalg.inv(one_mm - 1 / (left_G1[:, :, None] + copies) - keep * ww_Gmm)
    turned_GmC = gain_Gmm @ wm_GmC
    mine_GmC = wm_GmC[image_G, :, label_G][:, None] @ turned_GmC
    own_GC = mm_CC[label_G] + mine_GmC[:, 0]
    square_GC = mm_CC.diagonal() + (wm_GmC * turned_GmC).sum(dim=1)
    wm_GmC = wm_GmC + ww_Gmm @ turned_GmC
    ww_Gmm = ww_Gmm + ww_Gmm @ gain_Gmm @ ww_Gmm
    logits_GC = own_GC + wm_GmC[:, 0] - 0.5 * square_GC
    # The mean of the image's own class moves to m - (sum of w) / left.
    moved_Gm = ww_Gmm.sum(dim=2) / left_G1
    logits_GC[image_G, label_G] += -moved_Gm[:, 0] - 0.5 * moved_Gm.sum(dim=1) / left_G1[:, 0]
    logits_GC = freedom * logits_GC.masked_fill(scattered.count_C == 0, -torch.inf)
    return logits_GC.masked_fill((count_G <= copies)[:, None], torch.nan)


def choose_shrinkage(scattered: Scatter, label_S: Tensor, copies: int = 1) -> float:
    """The shrinkage under which the left-out images are most likely; the middle one if none can be left out.

    Example:
        >>> line, labels = torch.tensor([-3.0, 0.0, 3.0, -3.0, 0.0, 3.0]), torch.tensor([0, 0, 0, 1, 1, 1])
        >>> lines = torch.stack([line, line + labels], dim=1)  # two parallel lines, told apart by their scatter
        >>> choose_shrinkage(scatter(lines, labels, 2), labels)
        0.02
        >>> choose_shrinkage(scatter(lines[::3], labels[::3], 2), labels[::3])  # of one shot, none can be left out
        0.4
    """
    losses_L = []
    for shrinkage in SHRINKAGES:
        logits_GC = left_out_logits(scattered, label_S, shrinkage, copies)
        losses_L.append(float(functional.cross_entropy(logits_GC, label_S[::copies], reduction="none").nanmean()))
    return SHRINKAGES[int(np.nanargmin(losses_L))] if np.isfinite(losses_L).any() else SHRINKAGES[len(SHRINKAGES) // 2]


def fit_lda(feature_ND: Tensor, label_N: Tensor, train_RS: np.ndarray, num_classes: int, copies: int = 1) -> LinearMaps:
    """Fit each run at the shrinkage under which its left-out images are most likely.

    Args:
        feature_ND: (N, D) features.
        label_N: (N,) class ids.
        train_RS: (R, S) indices of the training rows.
        num_classes: C.
        copies: number of successive rows that belong to one image.

    Example:
        >>> features = torch.tensor([[0.0, 0.0], [0.0, 1.0], [4.0, 0.0], [4.0, 1.0]])
        >>> maps = fit_lda(features, torch.tensor([0, 0, 1, 1]), np.array([[0, 1, 2, 3]]), num_classes=2)
        >>> maps.logits(0, torch.tensor([[0.5, 0.5], [3.5, 0.5]])).argmax(dim=1)
        tensor([0, 1])
    """
    runs = []
    for index in torch.as_tensor(train_RS, device=feature_ND.device):
        feature_SD, label_S = feature_ND[index], label_N.to(feature_ND.device)[index]
        spread_D, mean_D = torch.std_mean(feature_SD, dim=0, correction=0)
        scale_D = torch.where(spread_D > 1e-6, 1 / spread_D.clamp_min(1e-6), 0)  # a constant dimension has no scale
        scattered = scatter((feature_SD - mean_D) * scale_D, label_S, num_classes)
        shrinkage = choose_shrinkage(scattered, label_S, copies)
        runs.append((mean_D, scale_D, *discriminants(scattered, shrinkage), shrinkage))
    mean, scale, weight, bias, chosen = zip(*runs, strict=True)
    return LinearMaps(torch.stack(mean), torch.stack(scale), torch.stack(weight), torch.stack(bias), np.array(chosen))
