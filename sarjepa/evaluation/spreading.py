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

from dataclasses import dataclass, fields

import numpy as np
import torch
from scipy.sparse import csr_array, eye_array
from scipy.sparse.linalg import cg
from torch import Tensor, nn
from torch.nn import functional

NUM_NEIGHBOURS = 5
SPREAD = 0.99  # a, the share of a node's scores that comes from its neighbours
POWER = 3
SHRINKAGE = 0.5
_BLOCK = 1024  # images whose cosines with all nodes are held at once
_LEAST_COSINE = 1e-2  # so that every node has edges
_TOLERANCE = 1e-5  # of the solution's residual, relative to the labels
_LEAST_SHARE = 1e-6  # of a class whose label has reached no neighbour: unlikely, not impossible


@dataclass(frozen=True)
class Nodes:
    """The training chips that labels spread over.

    Attributes:
        mean_D: mean of the nodes' features.
        root_DD: lower Cholesky factor of their shrunk covariance.
        node_MD: the nodes, whitened by the two and of unit length.
        degree_M: sum of the weights of each node's edges.
    """

    mean_D: Tensor
    root_DD: Tensor
    node_MD: Tensor
    degree_M: Tensor

    def edges(self, feature_TD: Tensor, among: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Weights and numbers of the nodes that are nearest to each image, both (T, K).

        Args:
            feature_TD: features of the images.
            among: (M,) bool, nodes that count; default: all.
        """
        node_M = torch.arange(len(self.node_MD), device=feature_TD.device)[slice(None) if among is None else among]
        kept_MD, parts = self.node_MD[node_M], []
        for block_BD in _whitened(feature_TD, self.mean_D, self.root_DD).split(_BLOCK):
            weight_BK, place_BK = _nearest(block_BD @ kept_MD.T)
            parts.append((weight_BK / self.degree_M[node_M[place_BK]].sqrt(), node_M[place_BK]))
        weights, nodes = zip(*parts, strict=True)
        return torch.cat(weights), torch.cat(nodes)

    def scores(self, score_MC: Tensor, feature_TD: Tensor, edges: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(T, C) scores of images by those of the nodes; `edges` as of the images, if they are at hand."""
        score_TC = _mean(score_MC, *(edges or self.edges(feature_TD)))
        if len(lost := torch.nonzero(score_TC.sum(dim=1) == 0)[:, 0]):  # no label has reached the nodes nearest to them
            score_TC[lost] = _mean(score_MC, *self.edges(feature_TD[lost], among=score_MC.sum(dim=1) > 0))
        return score_TC


@dataclass(frozen=True)
class Graph:
    """Nodes and the edges between them.

    Attributes:
        nodes: the nodes.
        affinity: W, divided by the roots of both degrees; sparse, (M, M).
    """

    nodes: Nodes
    affinity: csr_array

    def spread(self, label_MC: np.ndarray) -> Tensor:
        """F of the module's text, (M, C); a class without a label has zeros.

        Args:
            label_MC: Y, 1 where a node is a shot of a class.
        """
        system = eye_array(len(label_MC), format="csr") - SPREAD * self.affinity
        columns = []
        for label_M in label_MC.T:
            score_M, is_unfinished = cg(system, label_M, rtol=_TOLERANCE)
            assert not is_unfinished  # the system's condition number is at most (1 + a) / (1 - a)
            columns.append(score_M)
        score_MC = np.stack(columns, axis=1).clip(0)
        return torch.from_numpy(score_MC / score_MC.sum(axis=0).clip(1e-300)).to(self.nodes.node_MD)


class SpreadHead(nn.Module):
    """Labels that were spread, as the head of a classifier of new chips.

    Args:
        nodes: nodes that the labels were spread over.
        score_MC: F of the module's text.
    """

    score_MC: Tensor

    def __init__(self, nodes: Nodes, score_MC: Tensor) -> None:
        super().__init__()
        for name, value in (*vars(nodes).items(), ("score_MC", score_MC)):
            self.register_buffer(name, value)

    @property
    def nodes(self) -> Nodes:
        """The nodes, on the device of the head."""
        return Nodes(*(getattr(self, field.name) for field in fields(Nodes)))

    def forward(self, feature_BD: Tensor, keep_BD: Tensor | None = None) -> Tensor:
        """(B, D) features to (B, C) logarithms of the shares of the classes; `keep_BD` as of `Head`."""
        score_BC = self.nodes.scores(self.score_MC, feature_BD if keep_BD is None else feature_BD * keep_BD)
        return (score_BC / score_BC.sum(dim=1, keepdim=True)).clamp_min(_LEAST_SHARE).log()


def _whitened(feature_TD: Tensor, mean_D: Tensor, root_DD: Tensor) -> Tensor:
    """Features of unit length, whose products are cosines under the inverse covariance."""
    return functional.normalize(torch.linalg.solve_triangular(root_DD, (feature_TD - mean_D).T, upper=False).T, dim=1)


def _nearest(cosine_BM: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and places of each image's nearest nodes, both (B, K)."""
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
        weight_BK, node_BK = _nearest(cosine_BM)
        own_BK = torch.arange(first, first + len(node_BK))[:, None].expand(node_BK.shape)
        entries.append(torch.stack([weight_BK.cpu().double(), own_BK.double(), node_BK.cpu().double()]).flatten(1))
    weight_E, own_E, node_E = torch.cat(entries, dim=1).numpy()
    one_way = csr_array((weight_E, (own_E.astype(np.int64), node_E.astype(np.int64))), shape=(num, num))
    both_ways = one_way.maximum(one_way.T)
    degree_M = both_ways.sum(axis=1)
    affinity = both_ways.multiply(1 / np.sqrt(degree_M)[:, None]).multiply(1 / np.sqrt(degree_M)[None]).tocsr()
    return Graph(Nodes(mean_D, root_DD, node_MD, torch.from_numpy(degree_M).to(node_MD)), affinity)


class Spreading:
    """Classifies by label spreading, many runs on one matrix of features; equal graphs and test sets are made once.

    Args:
        feature_ND: (N, D) features of training chips.
        label_N: (N,) class ids, of which only those of shots are read.
        num_classes: C.
        tested_ND: features of test chips.

    Example:
        >>> features = torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.2, 0.1], [4.0, 4.0], [4.1, 4.0], [4.2, 4.1]])
        >>> labels, tested = torch.tensor([0, -1, -1, 1, -1, -1]), torch.tensor([[0.3, 0.1], [4.3, 4.0]])
        >>> spreading = Spreading(features, labels, 2, tested)
        >>> spreading.logits(np.array([0, 3]), np.arange(6), np.arange(2)).argmax(dim=1)
        tensor([0, 1])
    """

    def __init__(self, feature_ND: Tensor, label_N: Tensor, num_classes: int, tested_ND: Tensor) -> None:
        self.feature_ND, self.tested_ND = feature_ND, tested_ND
        self.label_N, self.num_classes = label_N.cpu().numpy(), num_classes
        self._graphs: dict[bytes, Graph] = {}
        self._edges: dict[tuple[bytes, bytes], tuple[Tensor, Tensor]] = {}

    def fit(self, train_S: np.ndarray, node_M: np.ndarray) -> SpreadHead:
        """The labels of a run's shots, spread over its nodes.

        Args:
            train_S: rows of the shots.
            node_M: sorted rows of all training chips, the shots among them.
        """
        graph = self._graph(node_M)
        label_MC = np.zeros((len(node_M), self.num_classes))
        label_MC[np.searchsorted(node_M, train_S), self.label_N[train_S]] = 1
        return SpreadHead(graph.nodes, graph.spread(label_MC))

    def logits(self, train_S: np.ndarray, node_M: np.ndarray, test_T: np.ndarray) -> Tensor:
        """(T, C) logarithms of the scores of a run's test chips.

        Args:
            train_S, node_M: as of `fit`.
            test_T: rows of the test chips.
        """
        nodes, key = self._graph(node_M).nodes, (node_M.tobytes(), test_T.tobytes())
        tested_TD = self.tested_ND[torch.from_numpy(test_T).to(self.feature_ND.device)]
        if key not in self._edges:
            self._edges[key] = nodes.edges(tested_TD)
        return nodes.scores(self.fit(train_S, node_M).score_MC, tested_TD, self._edges[key]).log()

    def _graph(self, node_M: np.ndarray) -> Graph:
        key = node_M.tobytes()
        if key not in self._graphs:
            self._graphs[key] = graph_of(self.feature_ND[torch.from_numpy(node_M).to(self.feature_ND.device)])
        return self._graphs[key]


def _mean(score_MC: Tensor, weight_TK: Tensor, node_TK: Tensor) -> Tensor:
    return (weight_TK[:, :, None] * score_MC[node_TK]).sum(dim=1)
