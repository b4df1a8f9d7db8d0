"""Two classifiers without training: k nearest neighbours and the nearest class mean.

Both compare directions, not lengths: features are centred on the training images' mean and scaled to unit length
(SimpleShot, Wang et al. 2019: with few shots this beats many learnt heads). Neighbours vote with exp(cosine / 0.07), as
in the k-NN test of DINO (Caron et al. 2021). k is 20, or the number of training images if that is smaller.

Shapes: R runs, S training images per run, T test images, D width, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

NUM_NEIGHBOURS = 20
VOTE_TEMPERATURE = 0.07


@dataclass(frozen=True)
class Neighbours:
    """Each run's training images, which vote; `logits` are the logarithms of the votes.

    Attributes:
        feature_RSD: training features, centred and of unit length.
        label_RS: their classes.
        mean_RD: mean of the training features.
        num_classes: C.
    """

    feature_RSD: Tensor
    label_RS: Tensor
    mean_RD: Tensor
    num_classes: int

    def logits(self, run: int, feature_TD: Tensor) -> Tensor:
        """(T, C) log votes of one run; -inf for a class without a neighbour."""
        test_TD = functional.normalize(feature_TD - self.mean_RD[run], dim=1)
        cosine_TS = test_TD @ self.feature_RSD[run].T
        nearest = cosine_TS.topk(min(NUM_NEIGHBOURS, cosine_TS.shape[1]), dim=1)
        vote_TK = nearest.values / VOTE_TEMPERATURE
        is_class_TKC = functional.one_hot(self.label_RS[run][nearest.indices], self.num_classes).bool()
        return vote_TK[:, :, None].masked_fill(~is_class_TKC, -torch.inf).logsumexp(dim=1)


@dataclass(frozen=True)
class Centroids:
    """Each run's class means; `logits` are cosines with them.

    Attributes:
        centroid_RCD: class means at unit length; zero for a class without training images.
        mean_RD: mean of the training features.
    """

    centroid_RCD: Tensor
    mean_RD: Tensor

    def logits(self, run: int, feature_TD: Tensor) -> Tensor:
        """(T, C) cosines of one run."""
        return functional.normalize(feature_TD - self.mean_RD[run], dim=1) @ self.centroid_RCD[run].T


def _training(feature_ND: Tensor, label_N: Tensor, train_RS: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Each run's training features (R, S, D), centred and of unit length, their classes (R, S) and mean (R, D)."""
    index_RS = torch.as_tensor(train_RS, device=feature_ND.device)
    feature_RSD = feature_ND[index_RS]
    mean_RD = feature_RSD.mean(dim=1)
    feature_RSD = functional.normalize(feature_RSD - mean_RD[:, None], dim=2)
    return feature_RSD, label_N.to(feature_ND.device)[index_RS], mean_RD


def fit_neighbours(feature_ND: Tensor, label_N: Tensor, train_RS: np.ndarray, num_classes: int) -> Neighbours:
    """Store each run's training images.

    Args:
        feature_ND: (N, D) features.
        label_N: (N,) class ids.
        train_RS: (R, S) indices of the training images.
        num_classes: C.

    Example:
        >>> features, labels = torch.tensor([[0.0, 1.0], [0.0, 2.0], [3.0, 0.0]]), torch.tensor([0, 0, 1])
        >>> neighbours = fit_neighbours(features, labels, np.array([[0, 1, 2]]), num_classes=2)
        >>> neighbours.logits(0, torch.tensor([[0.0, 3.0], [2.0, 0.0]])).argmax(dim=1)
        tensor([0, 1])
    """
    return Neighbours(*_training(feature_ND, label_N, train_RS), num_classes)


def fit_centroids(feature_ND: Tensor, label_N: Tensor, train_RS: np.ndarray, num_classes: int) -> Centroids:
    """Average each run's training images by class; arguments as of `fit_neighbours`.

    Example:
        >>> features, labels = torch.tensor([[0.0, 1.0], [0.0, 2.0], [3.0, 0.0]]), torch.tensor([0, 0, 1])
        >>> centroids = fit_centroids(features, labels, np.array([[0, 1, 2]]), num_classes=2)
        >>> centroids.logits(0, torch.tensor([[0.0, 3.0], [2.0, 0.0]])).argmax(dim=1)
        tensor([0, 1])
    """
    feature_RSD, label_RS, mean_RD = _training(feature_ND, label_N, train_RS)
    is_class_RCS = functional.one_hot(label_RS, num_classes).transpose(1, 2).to(feature_RSD.dtype)
    return Centroids(functional.normalize(is_class_RCS @ feature_RSD, dim=2), mean_RD)
