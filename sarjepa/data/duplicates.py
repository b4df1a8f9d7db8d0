"""Near-duplicates: which chips show the same scene.

Public sets hold copies: the same chip under two names, brightness and contrast versions, a chip that two classes share.
With copies on both sides of a split, a test measures memory. So every chip carries a group number, and a split can keep
groups together.

Descriptor: the chip at 40 x 40 px, clipped at its 99th percentile, zero mean, unit norm. Two chips are near-duplicates
when their descriptors correlate by more than 0.98. A change of gain or offset leaves that alone; another pass over the
same target from the same side stays below it, because its speckle differs (at 24 x 24 px it sometimes exceeds it: the
target's own flash is then nearly all there is). Groups are the connected components.

Comparing all pairs is quadratic. Random hyperplanes (Charikar, STOC 2002) make it sub-quadratic: the signs of b random
projections are a key; at correlation c a sign agrees with probability 1 - arccos(c) / pi, so near-duplicates share a
key often, others hardly ever. b grows with log2 of the number of chips, so that keys hold few chips; as many tables are
used as it takes for a pair at the threshold to meet in one with probability 0.999. Only chips that share a key are
compared.

Everything is done in whole numbers, or in floating point that is exact for them (|sum| < 2^24), so that the groups are
the same on every machine and with every matrix library.

Shapes: N chips, D = SIDE * SIDE values of a descriptor, T tables, B bits of a key.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE = 40  # px
CLIP_SHARE = 0.99
THRESHOLD = 0.98
NORM = 2000  # of a descriptor; its square, which bounds every dot product, stays below 2^24
MISS = 1e-3  # chance that a pair at the threshold meets in no table
SEED = 20240918
BLOCK = 2048  # chips taken at once


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
    """16 bytes that two chips share when they have the same shape, type and pixels.

    Example:
        >>> digest(np.zeros((2, 2), np.uint8)) == digest(np.zeros((1, 4), np.uint8))
        False
    """
    head = f"{image.shape}{image.dtype}".encode()
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16, key=head[:64]).digest()


def descriptor(image: np.ndarray) -> np.ndarray:
    """(D,) int16 of zero mean and norm NORM, both up to rounding; zeros for a chip that shows nothing.

    Args:
        image: (H, W) of any real type; other types than uint8 are scaled to 8 bits by the chip's maximum.

    Example:
        >>> descriptor(np.full((8, 8), 7, np.uint8)).shape, descriptor(np.full((8, 8), 7, np.uint8)).any().item()
        ((1600,), False)
    """
    if image.dtype != np.uint8:
        peak = float(image.max(initial=0))
        image = (image.astype(np.float64) * (255 / peak if peak > 0 else 0)).round().astype(np.uint8)
    resized = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    small = np.asarray(resized, dtype=np.int64).ravel()
    small = np.minimum(small, np.sort(small)[int(CLIP_SHARE * (len(small) - 1))])
    centred = len(small) * small - small.sum()
    norm = math.sqrt(int((centred**2).sum()))
    return np.rint(centred * (NORM / norm) if norm else centred).astype(np.int16)


def find_groups(descriptors_ND: np.ndarray, digests: list[bytes]) -> Grouping:
    """Group chips.

    Args:
        descriptors_ND: (N, D) from `descriptor`.
        digests: N from `digest`.

    Example:
        >>> from sarjepa.data.simulator import SimulatedChip, simulate
        >>> first, second = (simulate(SimulatedChip(0, "tank", "train", index))[0] for index in (0, 1))
        >>> chips = [first, second, first, second // 2]  # a copy of the first, a darker one of the second
        >>> find_groups(np.stack([descriptor(chip) for chip in chips]), [digest(chip) for chip in chips])
        Grouping(groups=array([0, 1, 0, 1]), exact=1, near=1)
    """
    # Exact copies first: one of each is compared, so that a thousand copies of one chip do not make a million pairs.
    first_of: dict[bytes, int] = {}
    representative = np.array([first_of.setdefault(key, i) for i, key in enumerate(digests)], dtype=np.int64)
    unique, copies = np.unique(representative, return_counts=True)
    left, right = near_pairs(descriptors_ND[unique] if len(unique) < len(digests) else descriptors_ND)
    component = connected(len(unique), left, right)
    near = int((np.bincount(component) > 1).sum()) if len(component) else 0
    return Grouping(_in_order(component[np.searchsorted(unique, representative)]), int((copies > 1).sum()), near)


def joined(groups: np.ndarray, scenes: Sequence[Hashable]) -> np.ndarray:
    """(N,) int64 groups, numbered in the order of their first chip, in which chips of one scene are together.

    Args:
        groups: (N,) numbers from 0 on.
        scenes: N keys, equal for chips that were cut from one scene.

    Example:
        >>> joined(np.array([0, 1, 2, 0]), ["a", "b", "c", "b"])  # the last chip joins group 0 and scene b
        array([0, 0, 1, 0])
    """
    numbers: dict[Hashable, int] = {}
    scene_N = np.array([numbers.setdefault(scene, len(numbers)) for scene in scenes], dtype=np.int64)
    num = int(groups.max(initial=-1)) + 1
    return _in_order(connected(num + len(numbers), groups, num + scene_N)[groups])


def _in_order(labels: np.ndarray) -> np.ndarray:
    """Renumber labels by their first appearance."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def connected(num: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(num,) a component number for each node of the graph with edges left[i] - right[i].

    Example:
        >>> connected(4, np.array([0, 2]), np.array([2, 3]))  # 0 - 2 - 3, and 1 by itself
        array([0, 1, 0, 0])
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(num, num))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def near_pairs(descriptors_ND: np.ndarray, threshold: float = THRESHOLD) -> tuple[np.ndarray, np.ndarray]:
    """Edges (left, right) that connect the descriptors correlating by more than `threshold`.

    They connect the same chips as all near pairs would; a group of a thousand copies yields about a thousand edges per
    table, not half a million.

    Example:
        >>> chips = np.random.default_rng(0).integers(0, 256, (3, 40, 40), np.uint8)
        >>> near_pairs(np.stack([descriptor(chip) for chip in (*chips, chips[1] // 2)]))  # the last is chip 1, darker
        (array([1]), array([3]))
    """
    squares = np.zeros(len(descriptors_ND), dtype=np.int64)
    for start in range(0, len(squares), BLOCK):
        squares[start : start + BLOCK] = (descriptors_ND[start : start + BLOCK].astype(np.int64) ** 2).sum(axis=1)
    alive = np.flatnonzero(squares)  # a flat chip has no descriptor, and resembles nothing
    # Planes through the mean: chips of one set resemble each other, and it is their differences that must tell.
    total_D = descriptors_ND.sum(axis=0, dtype=np.int64)
    shared = int(total_D @ total_D) / (max(len(alive), 1) * NORM) ** 2
    num_bits, num_tables = plan(len(alive), 1 - (1 - threshold) / max(1 - shared, 0.1))
    edges = np.zeros((0, 2), dtype=np.int64)
    component = np.arange(len(descriptors_ND))
    for keys_N in _keys(descriptors_ND, total_D, len(alive), num_bits, num_tables):
        keys = keys_N[alive]
        order = np.argsort(keys, kind="stable")
        bounds = np.flatnonzero(np.diff(keys[order])) + 1
        parts = [edges]
        for bucket in np.split(alive[order], bounds):
            if len(bucket) > 1 and (component[bucket] != component[bucket[0]]).any():
                parts.append(_edges(descriptors_ND, squares, bucket, threshold))
        edges = np.concatenate(parts)
        component = connected(len(component), edges[:, 0], edges[:, 1])
    return edges[:, 0], edges[:, 1]


def plan(num: int, threshold: float = THRESHOLD) -> tuple[int, int]:
    """Bits of a key and number of tables for this many chips.

    Example:
        >>> plan(1000)
        (12, 12)
    """
    num_bits = max(8, math.ceil(math.log2(max(num, 2))) + 2)
    agreement = 1 - math.acos(threshold) / math.pi
    num_tables = math.ceil(math.log(MISS) / math.log(1 - agreement**num_bits))
    return num_bits, num_tables


def _keys(descriptors_ND: np.ndarray, total_D: np.ndarray, num: int, num_bits: int, num_tables: int) -> np.ndarray:
    """(T, N) int64: on which side of each of B planes through the mean a descriptor lies, as the bits of a number."""
    random = np.random.Generator(np.random.Philox(key=SEED))
    planes = random.integers(0, 2, (descriptors_ND.shape[1], num_tables * num_bits)) * 2 - 1
    level = total_D @ planes  # num times the mean's projection
    planes = planes.astype(np.float32)
    weights_B = np.int64(1) << np.arange(num_bits, dtype=np.int64)
    keys_TN = np.empty((num_tables, len(descriptors_ND)), dtype=np.int64)
    for start in range(0, len(descriptors_ND), BLOCK):
        projected = (descriptors_ND[start : start + BLOCK].astype(np.float32) @ planes).astype(np.int64)
        above = (num * projected > level).reshape(len(projected), num_tables, num_bits)
        keys_TN[:, start : start + BLOCK] = (above @ weights_B).T
    return keys_TN


def _edges(descriptors_ND: np.ndarray, squares: np.ndarray, bucket: np.ndarray, threshold: float) -> np.ndarray:
    """(E, 2) edges that connect the near pairs among the chips of one key, compared block by block."""
    lefts, rights = [], []
    norms = np.sqrt(squares[bucket].astype(np.float64))
    for start in range(0, len(bucket), BLOCK):
        rows = descriptors_ND[bucket[start : start + BLOCK]].astype(np.float32)
        for other in range(start, len(bucket), BLOCK):
            columns = rows if other == start else descriptors_ND[bucket[other : other + BLOCK]].astype(np.float32)
            least = threshold * norms[start : start + BLOCK, None] * norms[None, other : other + BLOCK]
            left, right = np.nonzero(rows @ columns.T > least)
            lefts.append(left + start)
            rights.append(right + other)
    left, right = np.concatenate(lefts), np.concatenate(rights)
    left, right = left[left < right], right[left < right]
    if len(left) > 16 * len(bucket):  # crowded: a star from each group's first member connects as much
        component = connected(len(bucket), left, right)
        _, first = np.unique(component, return_index=True)
        left, right = first[component], np.arange(len(bucket))
        left, right = left[left != right], right[left != right]
    return np.column_stack([bucket[left], bucket[right]])
