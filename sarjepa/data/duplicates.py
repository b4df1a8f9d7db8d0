"""Near-duplicates: which chips show the same scene.

Public sets hold copies: the same chip under two names, brightness and contrast versions, a chip that two classes share.
With copies on both sides of a split, a test measures memory. So every chip carries a group number, and a split can keep
groups together.

Descriptor: the chip at 24 x 24 px, clipped at its 99th percentile, zero mean, unit norm. Two chips are near-duplicates
when their descriptors correlate by more than 0.98, which a change of gain or offset leaves alone and another aspect
angle does not reach. Groups are the connected components.

Comparing all pairs is quadratic. Random hyperplanes (Charikar, STOC 2002) make it sub-quadratic: the signs of b
random projections are a key; at correlation c a sign agrees with probability 1 - arccos(c) / pi, so near-duplicates
share a key often, others hardly ever. b grows with log2 of the number of chips, so that keys hold few chips; as many
tables are used as it takes for a pair at the threshold to meet in one with probability 0.999. Only chips that share a
key are compared.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE = 24  # px
CLIP_PERCENTILE = 99.0
THRESHOLD = 0.98
MISS = 1e-3  # chance that a pair at the threshold meets in no table
SEED = 20240918
BLOCK = 2048  # chips compared at once within one key
FLAT = 1e-6  # norm below which a chip shows nothing that could be compared


@dataclass(frozen=True)
class Grouping:
    """Groups of chips.

    Attributes:
        groups: (N,) int64, numbered in the order of their first chip.
        exact: number of groups of two or more pixel-identical chips.
        near: number of groups of two or more chips that are not all pixel-identical.
    """

    groups: np.ndarray
    exact: int
    near: int


def digest(image: np.ndarray) -> bytes:
    """16 bytes that two chips share when they have the same shape, type and pixels."""
    head = f"{image.shape}{image.dtype}".encode()
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16, key=head[:64]).digest()


def descriptor(image: np.ndarray) -> np.ndarray:
    """(SIDE * SIDE,) float16 of zero mean and unit norm; zeros for a chip that shows nothing.

    Args:
        image: (H, W) of any real type.
    """
    values = image if image.dtype == np.uint8 else image.astype(np.float32)
    small = np.asarray(
        Image.fromarray(values).resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0), dtype=np.float32
    )
    small = np.minimum(small, np.percentile(small, CLIP_PERCENTILE)).ravel()
    small -= small.mean()
    norm = np.linalg.norm(small)
    return (small / norm if norm > FLAT else np.zeros_like(small)).astype(np.float16)


def find_groups(descriptors_ND: np.ndarray, digests: list[bytes]) -> Grouping:
    """Group chips.

    Args:
        descriptors_ND: (N, SIDE * SIDE) from `descriptor`.
        digests: N from `digest`.
    """
    # Exact copies first: one of each goes on, so that a thousand copies of one chip are no thousand thousand pairs.
    first_of: dict[bytes, int] = {}
    representative = np.array([first_of.setdefault(key, i) for i, key in enumerate(digests)], dtype=np.int64)
    unique, copies = np.unique(representative, return_counts=True)
    left, right = near_pairs(descriptors_ND[unique]) if len(unique) else (unique, unique)
    component = connected(len(unique), left, right)[np.searchsorted(unique, representative)]
    distinct = np.bincount(component[unique]) if len(unique) else np.zeros(0, np.int64)
    return Grouping(_in_order(component), exact=int((copies > 1).sum()), near=int((distinct > 1).sum()))


def _in_order(labels: np.ndarray) -> np.ndarray:
    """Renumber labels by their first appearance."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse] if len(labels) else np.zeros(0, np.int64)


def connected(num: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(num,) a component number for each node of the graph with edges left[i] - right[i]."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(num, num))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def near_pairs(descriptors_ND: np.ndarray, threshold: float = THRESHOLD) -> tuple[np.ndarray, np.ndarray]:
    """Edges (left, right) that connect the descriptors correlating by more than `threshold`.

    They connect what the pairs themselves would connect; a group of a thousand copies yields about a thousand edges a
    table, not half a million.
    """
    vectors = descriptors_ND.astype(np.float32)
    alive = np.flatnonzero(np.linalg.norm(vectors, axis=1) > 0.5)  # flat chips have no descriptor, and resemble nothing
    # Planes through the mean: chips of one set resemble each other, and it is their differences that must tell.
    mean = vectors[alive].mean(axis=0) if len(alive) else np.zeros(vectors.shape[1], np.float32)
    num_bits, num_tables = plan(len(alive), 1 - (1 - threshold) / max(1 - float(mean @ mean), 0.1))
    random = np.random.Generator(np.random.Philox(key=SEED))
    edges = [np.zeros((0, 2), dtype=np.int64)]
    for _ in range(num_tables):
        planes = random.standard_normal((vectors.shape[1], num_bits)).astype(np.float32)
        keys = _pack(vectors[alive] @ planes > mean @ planes)
        order = np.argsort(keys, kind="stable")
        bounds = np.flatnonzero(np.diff(keys[order])) + 1
        edges.extend(_edges(vectors, bucket, threshold) for bucket in np.split(alive[order], bounds) if len(bucket) > 1)
    joined = np.concatenate(edges)
    return joined[:, 0], joined[:, 1]


def plan(num: int, threshold: float = THRESHOLD) -> tuple[int, int]:
    """How many bits a key has and how many tables there are, for so many chips."""
    num_bits = max(8, math.ceil(math.log2(max(num, 2))) + 2)
    agreement = 1 - math.acos(threshold) / math.pi
    num_tables = math.ceil(math.log(MISS) / math.log(1 - agreement**num_bits))
    return num_bits, num_tables


def _pack(bits_NB: np.ndarray) -> np.ndarray:
    """(N, B) booleans to (N,) int64 keys."""
    return bits_NB @ (np.int64(1) << np.arange(bits_NB.shape[1], dtype=np.int64))


def _edges(vectors: np.ndarray, bucket: np.ndarray, threshold: float) -> np.ndarray:
    """(E, 2) edges that connect the near pairs among the chips of one key, compared block by block."""
    lefts, rights = [], []
    for start in range(0, len(bucket), BLOCK):
        for other in range(start, len(bucket), BLOCK):
            near = vectors[bucket[start : start + BLOCK]] @ vectors[bucket[other : other + BLOCK]].T > threshold
            left, right = np.nonzero(near)
            lefts.append(left + start)
            rights.append(right + other)
    left, right = np.concatenate(lefts), np.concatenate(rights)
    left, right = left[left < right], right[left < right]
    if len(left) > 2 * len(bucket):  # crowded: a star from each group's first member connects as much
        component = connected(len(bucket), left, right)
        _, first = np.unique(component, return_index=True)
        left, right = first[component], np.arange(len(bucket))
        left, right = left[left != right], right[left != right]
    return np.column_stack([bucket[left], bucket[right]])
