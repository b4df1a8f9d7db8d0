r"""Label spreading: a classifier in closed form that also reads the unlabelled training chips.

A radar that flies past a target sees it from one aspect after another, so the chips of a pass form chains of neighbours
that resemble each other, and a few labelled chips tell the class of the whole chain. A graph joins each training chip,
labelled or not, to the chips nearest to it, and the labels spread along its edges (Zhou et al., Learning with local and
global consistency, NIPS 2003; on an encoder's features, Iscen et al., CVPR 2019). With W the symmetric weights of the
edges, D their row sums and Y the labels of the shots, one column a class,

    F = (I - a D^-1/2 W D^-1/2)^-1 Y,         a = 0.99,

each column divided by its sum, so that no class wins by having more chips. A test chip is no node. It takes the
weighted mean of F over the nearest nodes that a label reached (Delalleau et al., AISTATS 2005), so other test chips do
not change its class.

Chips are compared by the cosine under the inverse covariance of the nodes, shrunk halfway towards a multiple of the
identity; without that, a few strong directions decide who is whose neighbour. An edge weighs the third power of the
cosine. a and the power are those of Iscen et al.; the shrinkage and five neighbours in place of their 50 were chosen on
held-out training chips (benchmarks/results/label-spreading).

It needs unlabelled chips of the classes in question, and no others among them. A number obtained by it may be compared
only with numbers that read the same unlabelled chips.

Shapes: N rows of a feature matrix, M nodes of a graph, B images of a block, T test images, K neighbours, D width, C
classes, R runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array, eye_array
from scipy.sparse.linalg import cg
from torch import Tensor
from torch.nn import functional

NUM_NEIGHBOURS = 5
SPREAD = 0.99  # a, the share of a node's scores that comes from its neighbours
POWER = 3
SHRINKAGE = 0.5
_BLOCK = 1024  # images whose cosines with all nodes are held at once
_LEAST_COSINE = 1e-2  # so that every node has edges
_TOLERANCE = 1e-5  # of the solution's residual, relative to the labels


@dataclass(frozen=True)
class Graph:
    """The chips that labels spread over.

    Attributes:
        mean_D: mean of the nodes' features.
        root_DD: lower Cholesky factor of their shrunk covariance.
        node_MD: the nodes, whitened by the two and of unit length.
        degree_M: sum of the weights of each node's edges.
        affinity: W between the nodes, divided by the roots of both degrees; sparse, (M, M).
    """

    mean_D: Tensor
    root_DD: Tensor
    node_MD: Tensor
    degree_M: Tensor
    affinity: csr_array

    def spread(self, label_MC: np.ndarray) -> Tensor:
        """F of the module's text, (M, C); a class without a label has zeros.

        Args:
            label_MC: Y, 1 where a node is a shot of a class.
        """
        system = eye_array(len(self.node_MD), format="csr") - SPREAD * self.affinity
        score_MC = np.stack([cg(system, label_M, rtol=_TOLERANCE)[0] for label_M in label_MC.T], axis=1).clip(0)
        return torch.from_numpy(score_MC / score_MC.sum(axis=0).clip(1e-300)).to(self.node_MD)

    def scores(self, score_MC: Tensor, feature_TD: Tensor) -> Tensor:
        """(T, C) scores of test images, from those of the nearest nodes that a label has reached."""
        reached_M = score_MC.sum(dim=1) > 0
        node_MD, score_MC, root_M = self.node_MD[reached_M], score_MC[reached_M], self.degree_M[reached_M].sqrt()
        parts = []
        for block_BD in _whitened(feature_TD, self.mean_D, self.root_DD).split(_BLOCK):
            weight_BK, node_BK = _edges(block_BD @ node_MD.T)
            parts.append(((weight_BK / root_M[node_BK])[:, :, None] * score_MC[node_BK]).sum(dim=1))
        return torch.cat(parts)


def _whitened(feature_TD: Tensor, mean_D: Tensor, root_DD: Tensor) -> Tensor:
    """Features of unit length, whose products are cosines under the inverse covariance."""
    return functional.normalize(torch.linalg.solve_triangular(root_DD, (feature_TD - mean_D).T, upper=False).T, dim=1)


def _edges(cosine_BM: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and numbers of each image's nearest nodes, both (B, K)."""
    nearest = cosine_BM.topk(min(NUM_NEIGHBOURS, cosine_BM.shape[1]), dim=1)
    return nearest.values.clamp_min(_LEAST_COSINE) ** POWER, nearest.indices


def graph_of(feature_MD: Tensor) -> Graph:
    """The graph of some training chips.

    Example:
        >>> chain = torch.tensor([[1.0, 0.2]]) * torch.arange(8)[:, None] + torch.tensor([[0.0, 5.0]])
        >>> graph, labels = graph_of(torch.cat([chain, -chain])), np.zeros((16, 2))
        >>> labels[0, 0] = labels[8, 1] = 1  # one end of each chain
        >>> graph.spread(labels).argmax(dim=1).tolist()
        [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    mean_D = feature_MD.mean(dim=0)
    covariance_DD = torch.cov(feature_MD.T, correction=0)
    round_part_D = covariance_DD.diagonal().mean().clamp_min(1e-12).expand(len(covariance_DD))
    root_DD = torch.linalg.cholesky((1 - SHRINKAGE) * covariance_DD + SHRINKAGE * round_part_D.diag())
    node_MD = _whitened(feature_MD, mean_D, root_DD)
    num, entries = len(node_MD), []
    for first in range(0, num, _BLOCK):
        cosine_BM = node_MD[first : first + _BLOCK] @ node_MD.T
        cosine_BM[:, first:].fill_diagonal_(-1)  # no node is its own neighbour
        weight_BK, node_BK = _edges(cosine_BM)
        own_BK = torch.arange(first, first + len(node_BK))[:, None].expand(node_BK.shape)
        entries.append(torch.stack([weight_BK.cpu().double(), own_BK.double(), node_BK.cpu().double()]).flatten(1))
    weight_E, own_E, node_E = torch.cat(entries, dim=1).numpy()
    one_way = csr_array((weight_E, (own_E.astype(np.int64), node_E.astype(np.int64))), shape=(num, num))
    both_ways = one_way.maximum(one_way.T)
    degree_M = both_ways.sum(axis=1)
    affinity = both_ways.multiply(1 / np.sqrt(degree_M)[:, None]).multiply(1 / np.sqrt(degree_M)[None]).tocsr()
    return Graph(mean_D, root_DD, node_MD, torch.from_numpy(degree_M).to(node_MD), affinity)


@dataclass(frozen=True)
class Spread:
    """Each run's graph and the scores of its nodes, (M, C)."""

    graph_R: Sequence[Graph]
    score_RMC: Sequence[Tensor]

    def logits(self, run: int, feature_TD: Tensor) -> Tensor:
        """(T, C) logarithms of the scores of one run."""
        return self.graph_R[run].scores(self.score_RMC[run], feature_TD).log()


class Spreading:
    """Fits runs on one matrix of features; runs with the same training chips share a graph.

    Args:
        feature_ND: (N, D) features.
        label_N: (N,) class ids, of which only those of shots are read.
        num_classes: C.

    Example:
        >>> features = torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.2, 0.1], [4.0, 4.0], [4.1, 4.0], [4.2, 4.1]])
        >>> labels = torch.tensor([0, -1, -1, 1, -1, -1])
        >>> spread = Spreading(features, labels, num_classes=2).fit([np.array([0, 3])], [np.arange(6)])
        >>> spread.logits(0, torch.tensor([[0.3, 0.1], [4.3, 4.0]])).argmax(dim=1)
        tensor([0, 1])
    """

    def __init__(self, feature_ND: Tensor, label_N: Tensor, num_classes: int) -> None:
        self.feature_ND, self.label_N, self.num_classes = feature_ND, label_N.cpu().numpy(), num_classes
        self._graphs: dict[bytes, Graph] = {}

    def fit(self, train_RS: Iterable[np.ndarray], node_RM: Iterable[np.ndarray]) -> Spread:
        """Spread the labels of each run.

        Args:
            train_RS: rows of each run's shots.
            node_RM: sorted rows of all its training chips, shots among them.
        """
        graphs, scores = [], []
        for train_S, node_M in zip(train_RS, node_RM, strict=True):
            if (key := node_M.tobytes()) not in self._graphs:
                self._graphs[key] = graph_of(self.feature_ND[torch.from_numpy(node_M).to(self.feature_ND.device)])
            label_MC = np.zeros((len(node_M), self.num_classes))
            label_MC[np.searchsorted(node_M, train_S), self.label_N[train_S]] = 1
            graphs.append(self._graphs[key])
            scores.append(graphs[-1].spread(label_MC))
        return Spread(graphs, scores)
