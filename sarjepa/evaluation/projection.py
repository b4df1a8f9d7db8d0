"""Features in the plane, and the nearest neighbours of a chip.

The plane is that of principal components (Pearson, 1901): of all planes through the features' mean it keeps the most
variance. With the singular value decomposition  feature - mean = U S V^T  a chip's point is its row of U S, and the
share of the variance along axis i is S_i^2 over the sum of all. It is linear and has nothing to tune: two chips are at
least as far apart in feature space as in the plane. Chips that are close in the plane may still be apart along other
directions, and the shares say how much variance those hold; t-SNE and UMAP draw tighter clusters, but also clusters of
noise.

Neighbours are nearest by the angle between features centred on the gallery's mean, as in the kNN probe
(`sarjepa.evaluation.knn`): class tokens share a large common part, so without centring every cosine is near one.

Shapes: N chips of the gallery, Q queries, D width, K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_TINY = 1e-12


@dataclass(frozen=True)
class Plane:
    """The chips' points, point_N2, and the share (0 to 1) of the variance that each axis holds, share_2."""

    point_N2: np.ndarray
    share_2: np.ndarray


@dataclass(frozen=True)
class Nearest:
    """The neighbours of each query: gallery indices (Q, K), nearest first, and 1 - cosine (Q, K), 0 to 2."""

    index_QK: np.ndarray
    distance_QK: np.ndarray


def principal_plane(feature_ND: np.ndarray) -> Plane:
    """The first two principal components.

    Args:
        feature_ND: (N, D), at least one chip.

    Returns:
        The plane. A singular vector's sign is arbitrary; here its largest entry is positive, so that the same features
        give the same picture. Where the features span less than a plane, the other coordinates are zero.

    Example:
        >>> plane = principal_plane(np.array([[0.0, 0.0, 0.0], [0.0, 3.0, 4.0]]))
        >>> plane.point_N2[:, 0].round(2), plane.share_2.round(2)
        (array([-2.5,  2.5]), array([1., 0.]))
    """
    centred_ND = feature_ND.astype(np.float64) - feature_ND.mean(axis=0, dtype=np.float64)
    left_NR, size_R, right_RD = np.linalg.svd(centred_ND, full_matrices=False)
    size_R = np.where(size_R > _TINY * max(1.0, float(np.abs(feature_ND).max())), size_R, 0.0)
    largest_R = np.abs(right_RD).argmax(axis=1)
    sign_R = np.sign(right_RD[np.arange(len(right_RD)), largest_R])
    point_NR = left_NR * size_R * sign_R
    share_R = size_R**2 / max(float((size_R**2).sum()), _TINY)
    missing = max(0, 2 - len(size_R))
    return Plane(np.pad(point_NR, ((0, 0), (0, missing)))[:, :2], np.pad(share_R, (0, missing))[:2])


def nearest(query_QD: np.ndarray, gallery_ND: np.ndarray, left_out_QN: np.ndarray, num: int) -> Nearest:
    """The chips of a gallery that point in the most similar direction.

    Args:
        query_QD: features of the queries.
        gallery_ND: features to search.
        left_out_QN: bool, chips that a query must not find: itself and its near-duplicates.
        num: K; it is lowered where a query has fewer chips left.

    Example:
        >>> gallery = np.array([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.1]])
        >>> nearest(gallery, gallery, np.eye(4, dtype=bool), num=1).index_QK[:, 0]
        array([1, 0, 3, 2])
    """
    mean_D = gallery_ND.mean(axis=0, dtype=np.float64)
    cosine_QN = _directions(query_QD - mean_D) @ _directions(gallery_ND - mean_D).T
    distance_QN = np.where(left_out_QN, np.inf, 1 - cosine_QN)
    num = min(num, int((~left_out_QN).sum(axis=1).min(initial=num)))
    index_QK = distance_QN.argsort(axis=1, kind="stable")[:, :num]
    return Nearest(index_QK, np.take_along_axis(distance_QN, index_QK, axis=1).clip(0, 2))


def _directions(feature_ND: np.ndarray) -> np.ndarray:
    """Features at unit length; a zero stays zero."""
    return feature_ND / np.maximum(np.linalg.norm(feature_ND, axis=1, keepdims=True), _TINY)
