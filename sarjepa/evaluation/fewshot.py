"""Which chips are learnt from and which are tested: the split of a source and the few-shot draws in it.

Every choice is a sort by a key that belongs to the chip: the uniform number of (seed, what it is for, the chip's path).
So a draw does not depend on the order of files, on the platform, or on which other chips are there; the 10-shot set of
a seed lies inside its 20-shot set; and seed 0 is a seed like any other.

Two policies:

- published: the pool is a random 80% of each class of the training split (MSTAR, FUSAR-Ship; the rest is held for
  validation), or, for a source without a split (SAR-ACD), a random tenth of each class of everything, the other nine
  tenths being the test set. The share comes with the data set. SAR-ACD's files are brightness and contrast copies of
  far fewer chips, so here its test set holds near-copies of what was learnt.
- grouped: the same, but whole near-duplicate groups go to one side, and a draw takes one chip per group, so that ten
  shots are ten distinct chips. Near-duplicates of two classes have no true label and are left out, which a group that a
  list of images names (a scene, a date) is not. A source without a
  split gives half of its groups to the pool instead of a tenth: SAR-ACD's smallest class has 37 distinct chips, a tenth
  of which would be four.

A class with fewer chips than shots gives all it has, and the draw says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sarjepa.draws import uniforms

POLICIES = ("published", "grouped")
GROUPED_POOL_SHARE = 0.5  # of a class's groups, where the source has no split of its own


@dataclass(frozen=True)
class Candidates:
    """The chips that count for one label set, as columns.

    Attributes:
        name: the data set and its label set, part of every key and hash.
        classes: C class names; a label indexes them.
        labels: (N,) int64, -1 for a chip outside the label set.
        splits: (N,) str: "train", "test", or "" where the source has none.
        groups: (N,) int64 near-duplicate groups.
        paths: N names, unique, the same on every machine.
        pool_kind: "fraction-of-train" or "fraction-of-all".
        pool_fraction: the published share.
        listed: (N,) bool, whether a list of images names the chip's group; None: no group is named.
    """

    name: str
    classes: tuple[str, ...]
    labels: np.ndarray
    splits: np.ndarray
    groups: np.ndarray
    paths: Sequence[str]
    pool_kind: str = "fraction-of-train"
    pool_fraction: float = 0.8
    listed: np.ndarray | None = None

    def fingerprint(self) -> str:
        """A hash of which chips there are and what they are called, whatever their order."""
        inside = np.flatnonzero(self.labels >= 0).tolist()
        lines = sorted(f"{self.paths[i]}\t{self.classes[self.labels[i]]}" for i in inside)
        return hashlib.sha256("\n".join([self.name, *lines]).encode()).hexdigest()


@dataclass(frozen=True)
class Split:
    """One seed's split: indices into the source, each class's in the order in which they are drawn.

    Attributes:
        pool: chips that shots are drawn from.
        held: training chips that no shot may come from (validation).
        test: sorted by path.
    """

    pool: np.ndarray
    held: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Draw:
    """One few-shot experiment: what is learnt from and what is tested.

    Attributes:
        seed: seed of the draw.
        shots: chips asked for per class; None: the whole training split.
        train: indices, class by class, each class in the order drawn.
        test: indices, sorted by path.
        sha256: checksum of the paths and classes on both sides.
        short: {class: chips it had} for classes with fewer chips than shots.
        spare: training chips that were not drawn, each class in the order in which they would be next.
    """

    seed: int
    shots: int | None
    train: np.ndarray
    test: np.ndarray
    sha256: str
    short: dict[str, int] = field(default_factory=dict)
    spare: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def chip_keys(paths: Sequence[str], seed: int, stream: str) -> np.ndarray:
    """(N,) uniform numbers, each a function of (seed, stream, path) alone."""
    ids = np.array([int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "little") >> 1 for path in paths])
    return uniforms(seed, stream, 0, ids.astype(np.int64), 1)[:, 0] if len(ids) else np.zeros(0)


def _by_path(candidates: Candidates, indices: np.ndarray) -> np.ndarray:
    return np.array(sorted(indices.tolist(), key=lambda index: candidates.paths[index]), dtype=np.int64)


def _share(num: int, fraction: float) -> int:
    """How many of `num` a share is: rounded half up; a share below one is at least one and never all."""
    if num < 2 or fraction >= 1:
        return num
    return min(max(int(num * fraction + 0.5), 1), num - 1)


def _group_keys(candidates: Candidates, members: np.ndarray, keys_N: np.ndarray) -> np.ndarray:
    """(M,) for each member the smallest key of its group's members: a group is drawn when its first chip is."""
    group_M, key_M = candidates.groups[members], keys_N[members]
    _, inverse = np.unique(group_M, return_inverse=True)
    smallest = np.full(inverse.max() + 1 if len(inverse) else 0, np.inf)
    np.minimum.at(smallest, inverse, key_M)
    return smallest[inverse]


def mixed_groups(candidates: Candidates) -> np.ndarray:
    """The groups of near-duplicates in the label set that hold chips of two classes or more."""
    inside = candidates.labels >= 0
    pairs = np.unique(np.stack([candidates.groups[inside], candidates.labels[inside]]), axis=1)
    group, count = np.unique(pairs[0], return_counts=True)
    mixed = group[count > 1]
    return mixed if candidates.listed is None else np.setdiff1d(mixed, candidates.groups[candidates.listed])


def split(candidates: Candidates, policy: str, seed: int) -> Split:
    """Pool, held-out training chips and test set of one seed.

    Args:
        candidates: the chips.
        policy: "published" or "grouped".
        seed: seed of the run.
    """
    assert policy in POLICIES, policy
    grouped = policy == "grouped"
    counts_N = candidates.labels >= 0
    keys_N = chip_keys(candidates.paths, seed, f"pool/{candidates.name}")
    from_train = candidates.pool_kind == "fraction-of-train"
    test_N = counts_N & (candidates.splits == "test") if from_train else np.zeros_like(counts_N)
    source_N = counts_N & (candidates.splits == "train") if from_train else counts_N.copy()
    if grouped:
        source_N &= ~np.isin(candidates.groups, mixed_groups(candidates))
        source_N &= ~np.isin(candidates.groups, candidates.groups[test_N])
    fraction = GROUPED_POOL_SHARE if grouped and not from_train else candidates.pool_fraction
    sources = np.flatnonzero(source_N)
    first_N = keys_N.copy()
    if grouped:
        first_N[sources] = _group_keys(candidates, sources, keys_N)
    pool, rest = [], []
    for label in range(len(candidates.classes)):
        members = np.flatnonzero(source_N & (candidates.labels == label))
        first = first_N[members]
        drawn = np.unique(first)[: _share(len(np.unique(first)), fraction)]
        order = np.lexsort((keys_N[members], first))
        inside = np.isin(first[order], drawn)
        pool.append(members[order][inside])
        rest.append(members[order][~inside])
    rest_all, pool_all = np.concatenate(rest), np.concatenate(pool)
    if grouped:  # a named group may hold several classes, and be drawn for one of them alone
        rest_all = rest_all[~np.isin(candidates.groups[rest_all], candidates.groups[pool_all])]
    if from_train:
        return Split(pool_all, rest_all, _by_path(candidates, np.flatnonzero(test_N)))
    return Split(pool_all, np.zeros(0, np.int64), _by_path(candidates, rest_all))


def _one_per_group(candidates: Candidates, ordered: np.ndarray) -> np.ndarray:
    """The first chip of every group, in the order given."""
    _, first = np.unique(candidates.groups[ordered], return_index=True)
    return ordered[np.sort(first)]


def draw_sha256(candidates: Candidates, train: np.ndarray, test: np.ndarray) -> str:
    """The content hash of a draw: data set, label set, and each side's paths with their classes."""
    lines = [candidates.name]
    for side, indices in (("train", train), ("test", test)):
        lines.append(side)
        lines.extend(sorted(f"{candidates.paths[i]}\t{candidates.classes[candidates.labels[i]]}" for i in indices))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def draw(candidates: Candidates, policy: str, shots: int | None, seed: int) -> Draw:
    """One experiment's chips.

    Args:
        candidates: the chips.
        policy: "published" or "grouped".
        shots: chips per class; None: the whole training side (pool and held-out chips together).
        seed: seed of the run.
    """
    parts = split(candidates, policy, seed)
    source = parts.pool if shots is not None else np.concatenate([parts.pool, parts.held])
    train, spare, short = [], [], {}
    for label, name in enumerate(candidates.classes):
        ordered = source[candidates.labels[source] == label]
        if policy == "grouped" and shots is not None:
            ordered = _one_per_group(candidates, ordered)
        taken = ordered if shots is None else ordered[:shots]
        if len(taken) < (shots or 0):
            short[name] = len(taken)
        held = parts.held[candidates.labels[parts.held] == label] if shots is not None else parts.held[:0]
        train.append(taken)
        spare.append(np.concatenate([ordered[len(taken) :], held]))
    train_all = np.concatenate(train)
    sha256 = draw_sha256(candidates, train_all, parts.test)
    return Draw(seed, shots, train_all, parts.test, sha256, short, np.concatenate(spare))


def near_copy_share(candidates: Candidates, drawn: Draw) -> float:
    """The share of the test set that has a near-duplicate among the chips learnt from."""
    return (
        float(np.isin(candidates.groups[drawn.test], candidates.groups[drawn.train]).mean()) if len(drawn.test) else 0
    )
