"""Linear discriminant analysis with shrinkage: a classifier in closed form.

Classes are taken as normal clouds of one covariance (Fisher 1936). With few shots the covariance C within classes has
far more entries than there are images, so it is shrunk towards a round one,

    Sigma = (1 - l) C + l tr(C)/D I,      logits_c(x) = x' Sigma^-1 m_c - m_c' Sigma^-1 m_c / 2,

on features standardised by the training images (Friedman 1989). The one number, l, is chosen for each run by exact
leave-one-out on its own shots: taking an image away changes its class's mean and takes one direction out of C, so what
the rest would say of it follows from the one eigendecomposition (Sherman-Morrison-Woodbury) for every l of a grid,
without refitting. Copies of an image (augmentation) are left out together with it, since an image is no stranger to its
mirror image. The l under which the left-out images are most likely is taken. On held-out training chips of MSTAR it is
within 0.3 points of the best fixed l; choosing by left-out errors loses up to 0.8 points, and the formulas of
Ledoit-Wolf and OAS, which aim at the covariance and not at the classes, up to 13 (benchmarks/results/shrinkage).

Where the feature is wider than the images are many, the eigenvectors come from the S x S products of the images
(dual form), else from the D x D scatter (primal form); the two give the same numbers. Runs are solved one by one, so
that a run's digits do not depend on its neighbours.

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
    """One run's classes, in the directions in which they scatter.

    Attributes:
        mean_CD: class means of the standardised feature; zero for a class without images.
        count_C: training rows per class.
        value_K: eigenvalues of the scatter within classes (a sum over rows).
        vector_KX, span_XD: factors of its eigenvectors, `vector_KX @ span_XD`; the product is never needed.
        within_SK, mean_CK: along them, each row's difference from its class mean, and the class means.
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
        """What the scatter of all but some rows is divided by to be a covariance."""
        return max(len(self.within_SK) - int((self.count_C > 0).sum()) - copies, 1)

    def round_part(self, shrinkage: float) -> float:
        """What shrinkage adds to the covariance along every direction; 1 where nothing scatters (one shot)."""
        return shrinkage * self.trace / self.freedom() / self.mean_CD.shape[1] or 1.0


def scatter(z_SD: Tensor, label_S: Tensor, num_classes: int, dual: bool | None = None) -> Scatter:
    """Class means and eigendecomposition of the scatter within classes.

    Args:
        z_SD: standardised features.
        label_S: class ids.
        num_classes: C.
        dual: whether to take the dual form; None: the form with the smaller matrix.
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


def discriminants(found: Scatter, shrinkage: float) -> tuple[Tensor, Tensor]:
    """Weights (C, D) and biases (C,) of the standardised feature; -inf for a class without images."""
    across = found.round_part(shrinkage)
    inverse_K = 1 / ((1 - shrinkage) * found.value_K / found.freedom() + across)
    along_CX = (found.mean_CK * (inverse_K - 1 / across)) @ found.vector_KX
    weight_CD = found.mean_CD / across + along_CX @ found.span_XD
    bias_C = -0.5 * (weight_CD * found.mean_CD).sum(dim=1)
    return weight_CD, bias_C.masked_fill(found.count_C == 0, -torch.inf)


def left_out_logits(found: Scatter, label_S: Tensor, shrinkage: float, copies: int = 1) -> Tensor:
    """(G, C) what the other images' classifier says of each image: the first of its copies, all of them left out.

    Standardisation and the size of the round part are measured on all images. NaN for the only image of its class.

    Args:
        found: result of `scatter`.
        label_S: class ids of the rows.
        shrinkage: l.
        copies: m; rows k m .. k m + m - 1 are one image.
    """
    label_G = label_S[::copies]
    image_G = torch.arange(len(label_G), device=label_S.device)
    count_G, freedom = found.count_C[label_G], found.freedom(copies)
    left_G1 = (count_G - copies).clamp_min(1)[:, None]
    across = found.round_part(shrinkage) * freedom
    keep = 1 - shrinkage
    # Inner products under the inverse of keep * scatter + across * I, all images in it: rows w, class means m.
    scaled_SK = found.within_SK / (keep * found.value_K + across)
    ww_Gmm = scaled_SK.unflatten(0, (-1, copies)) @ found.within_SK.unflatten(0, (-1, copies)).transpose(1, 2)
    wm_GmC = (scaled_SK @ found.mean_CK.T).unflatten(0, (-1, copies))
    outside_CC = found.mean_CD @ found.mean_CD.T - found.mean_CK @ found.mean_CK.T
    mm_CC = (found.mean_CK / (keep * found.value_K + across)) @ found.mean_CK.T + outside_CC / across
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
    # The own mean moves to m - (sum of w) / left.
    moved_Gm = ww_Gmm.sum(dim=2) / left_G1
    logits_GC[image_G, label_G] += -moved_Gm[:, 0] - 0.5 * moved_Gm.sum(dim=1) / left_G1[:, 0]
    logits_GC = freedom * logits_GC.masked_fill(found.count_C == 0, -torch.inf)
    return logits_GC.masked_fill((count_G <= copies)[:, None], torch.nan)


def choose_shrinkage(found: Scatter, label_S: Tensor, copies: int = 1) -> float:
    """The shrinkage of the grid under which the left-out images are most likely; the middle one where none can be."""
    losses_L = []
    for shrinkage in SHRINKAGES:
        logits_GC = left_out_logits(found, label_S, shrinkage, copies)
        losses_L.append(float(functional.cross_entropy(logits_GC, label_S[::copies], reduction="none").nanmean()))
    return SHRINKAGES[int(np.nanargmin(losses_L))] if np.isfinite(losses_L).any() else SHRINKAGES[len(SHRINKAGES) // 2]


def fit_lda(feature_ND: Tensor, label_N: Tensor, train_RS: np.ndarray, num_classes: int, copies: int = 1) -> LinearMaps:
    """Fit each run at the shrinkage that its left-out images prefer.

    Args:
        feature_ND: (N, D) features.
        label_N: (N,) class ids.
        train_RS: (R, S) indices of the training rows.
        num_classes: C.
        copies: number of successive rows that belong to one image.
    """
    runs = []
    for index in torch.as_tensor(train_RS, device=feature_ND.device):
        feature_SD, label_S = feature_ND[index], label_N.to(feature_ND.device)[index]
        spread_D, mean_D = torch.std_mean(feature_SD, dim=0, correction=0)
        scale_D = torch.where(spread_D > 1e-6, 1 / spread_D.clamp_min(1e-6), 0)  # a constant dimension has no scale
        found = scatter((feature_SD - mean_D) * scale_D, label_S, num_classes)
        shrinkage = choose_shrinkage(found, label_S, copies)
        runs.append((mean_D, scale_D, *discriminants(found, shrinkage), shrinkage))
    mean, scale, weight, bias, chosen = zip(*runs, strict=True)
    return LinearMaps(torch.stack(mean), torch.stack(scale), torch.stack(weight), torch.stack(bias), np.array(chosen))
