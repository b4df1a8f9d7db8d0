"""Which chips are learnt from and which are tested: the split of a source and the few-shot draws in it.

Every choice sorts chips by a key of their own: a uniform number that depends on the seed, the purpose and the chip's
path. So a draw does not depend on the order of files, on the platform, or on which other chips there are; the 10-shot
set of a seed lies inside its 20-shot set; and seed 0 is a seed like any other.

Two policies:

- published: the pool is a random 80% of each class of the training split (MSTAR, FUSAR-Ship; the rest is held for
  validation), or, for a source without a split (SAR-ACD), a random tenth of each class of everything, the other nine
  tenths being the test set. The share comes with the data set. SAR-ACD's files are brightness and contrast copies of
  far fewer chips, so here its test set holds near-copies of what was learnt.
- grouped: the same, but whole near-duplicate groups go to one side, and a draw takes one chip per group, so that ten
  shots are ten distinct chips. A group of near-duplicates with two classes has no true label and is left out, but a
  group that a list of images names (a scene, a date) is kept. A source without a split gives half of its groups to the
  pool instead of a tenth: SAR-ACD's smallest class has 37 distinct chips, a tenth of which would be four.

A class with fewer chips than shots gives all it has, and the draw records how many.
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
        groups: (N,) int64 groups of near-duplicates, tiles of one scene and chips of one named group.
        paths: N names, unique, the same on every machine.
        pool_kind: "fraction-of-train" or "fraction-of-all".
        pool_fraction: the published share.
        grouped_fraction: share of a class's groups by the grouped policy; None: the published one.
        listed: (N,) bool, whether a list of images names the chip's group; None: no group is named.
        nameless: (N,) bool, whether the chip has no class in the source, and is no test chip; None: none of them is.
    """

    name: str
    classes: tuple[str, ...]
    labels: np.ndarray
    splits: np.ndarray
    groups: np.ndarray
    paths: Sequence[str]
    pool_kind: str = "fraction-of-train"
    pool_fraction: float = 0.8
    grouped_fraction: float | None = None
    listed: np.ndarray | None = None
    nameless: np.ndarray | None = None

    def fingerprint(self) -> str:
        """A hash of the chips' paths and classes, independent of their order."""
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
    """One few-shot experiment: the chips that are learnt from and those that are tested.

    Attributes:
        seed: seed of the draw.
        shots: chips asked for per class; None: the whole training split.
        train: indices, class by class, each class in the order drawn.
        test: indices, sorted by path.
        sha256: checksum of the paths and classes on both sides.
        short: {class: chips it had} for classes with fewer chips than shots.
        spare: training chips that were not drawn, each class in the order in which they would be next, and then those
            of no class.
    """

    seed: int
    shots: int | None
    train: np.ndarray
    test: np.ndarray
    sha256: str
    short: dict[str, int] = field(default_factory=dict)
    spare: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def known(self) -> np.ndarray:
        """All training chips, drawn or not."""
        return np.append(self.train, self.spare)


def chip_keys(paths: Sequence[str], seed: int, stream: str) -> np.ndarray:
    """(N,) uniform numbers, each a function of (seed, stream, path) alone.

    Example:
        >>> chip_keys(["a.png", "b.png"], seed=0, stream="pool").round(2)
        array([0.67, 0.27])
        >>> chip_keys(["b.png"], seed=0, stream="pool").round(2)  # whichever other chips there are
        array([0.27])
    """
    ids = np.array([int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "little") >> 1 for path in paths])
    return uniforms(seed, stream, 0, ids.astype(np.int64), 1)[:, 0] if len(ids) else np.zeros(0)


def _share(num: int, fraction: float) -> int:
    """The count of a fraction of `num`, rounded half up; below a fraction of 1 it is at least 1 and less than `num`."""
    if num < 2 or fraction >= 1:
        return num
    return min(max(int(num * fraction + 0.5), 1), num - 1)


def _group_keys(candidates: Candidates, members: np.ndarray, keys_N: np.ndarray) -> np.ndarray:
    """(M,) for each member the smallest key in its group, so that a group is drawn when its first chip is."""
    group_M, key_M = candidates.groups[members], keys_N[members]
    _, inverse = np.unique(group_M, return_inverse=True)
    smallest = np.full(inverse.max() + 1 if len(inverse) else 0, np.inf)
    np.minimum.at(smallest, inverse, key_M)
    return smallest[inverse]


def mixed_groups(candidates: Candidates) -> np.ndarray:
    """The groups with chips of two or more classes of the label set, but for groups that a list of images names.

    Example:
        >>> labels, groups = np.array([0, 1, 1]), np.array([7, 7, 8])
        >>> mixed_groups(Candidates("toy/all", ("ship", "tank"), labels, np.full(3, ""), groups, ["a", "b", "c"]))
        array([7])
    """
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

    Example:
        >>> splits, groups = np.array([*["train"] * 5, "test"]), np.array([0, 1, 2, 3, 4, 4])  # f is a near-copy of e
        >>> chips = Candidates("toy/all", ("ship",), np.zeros(6, np.int64), splits, groups, list("abcdef"))
        >>> sides = [split(chips, policy, seed=0) for policy in ("published", "grouped")]
        >>> [(side.pool, side.held) for side in sides]  # grouped learns nothing from e
        [(array([0, 3, 1, 2]), array([4])), (array([0, 3, 1]), array([2]))]
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
    fraction = candidates.pool_fraction
    if grouped and candidates.grouped_fraction is not None:
        fraction = candidates.grouped_fraction
    sources = np.flatnonzero(source_N)
    first_N = keys_N.copy()
    if grouped:
        first_N[sources] = _group_keys(candidates, sources, keys_N)
    pools, others = [], []
    for label in range(len(candidates.classes)):
        members = np.flatnonzero(source_N & (candidates.labels == label))
        first = first_N[members]
        drawn = np.unique(first)[: _share(len(np.unique(first)), fraction)]
        order = np.lexsort((keys_N[members], first))
        inside = np.isin(first[order], drawn)
        pools.append(members[order][inside])
        others.append(members[order][~inside])
    pool, other = np.concatenate(pools), np.concatenate(others)
    if grouped:  # a named group may hold several classes, and be drawn for one of them alone
        other = other[~np.isin(candidates.groups[other], candidates.groups[pool])]
    held, test = (other, np.flatnonzero(test_N)) if from_train else (np.zeros(0, np.int64), other)
    by_path = sorted(test.tolist(), key=lambda index: candidates.paths[index])
    return Split(pool, held, np.array(by_path, dtype=np.int64))


def draw_sha256(candidates: Candidates, train: np.ndarray, test: np.ndarray) -> str:
    """The content hash of a draw: of data set, label set, and each side's paths with their classes.

    Example:
        >>> chips = Candidates("toy/all", ("ship",), np.zeros(3, np.int64), np.full(3, ""), np.arange(3), list("abc"))
        >>> drawn = draw_sha256(chips, np.array([0, 1]), np.array([2]))
        >>> drawn == draw_sha256(chips, np.array([1, 0]), np.array([2]))  # the order does not count
        True
        >>> drawn == draw_sha256(chips, np.array([0, 2]), np.array([1]))  # the side does
        False
    """
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

    Example:
        >>> labels, splits = np.repeat([0, 1], 4), np.tile(["train", "train", "train", "test"], 2)
        >>> chips = Candidates("toy/all", ("ship", "tank"), labels, splits, np.arange(8), list("abcdefgh"))
        >>> drawn = draw(chips, "published", 1, seed=0)
        >>> drawn.train, drawn.test
        (array([0, 6]), array([3, 7]))
    """
    sides = split(candidates, policy, seed)
    source = sides.pool if shots is not None else np.concatenate([sides.pool, sides.held])
    train, spare, short = [], [], {}
    for label, name in enumerate(candidates.classes):
        ordered = source[candidates.labels[source] == label]
        if policy == "grouped" and shots is not None:  # the first chip of every group
            _, first = np.unique(candidates.groups[ordered], return_index=True)
            ordered = ordered[np.sort(first)]
        taken = ordered if shots is None else ordered[:shots]
        if len(taken) < (shots or 0):
            short[name] = len(taken)
        held = sides.held[candidates.labels[sides.held] == label] if shots is not None else sides.held[:0]
        train.append(taken)
        spare.append(np.concatenate([ordered[len(taken) :], held]))
    if candidates.nameless is not None:
        is_spare_N = candidates.nameless.copy()
        if policy == "grouped":
            is_spare_N &= ~np.isin(candidates.groups, candidates.groups[sides.test])
        spare.append(np.flatnonzero(is_spare_N))
    train_all = np.concatenate(train)
    sha256 = draw_sha256(candidates, train_all, sides.test)
    return Draw(seed, shots, train_all, sides.test, sha256, short, np.concatenate(spare))


def near_copy_share(candidates: Candidates, drawn: Draw) -> float:
    """The share of the test set that is of a group of chips learnt from: near-duplicates, one scene or a named group.

    Example:
        >>> from sarjepa.evaluation.benchmark import open_benchmark
        >>> chips = open_benchmark("data", "copies").candidates  # every chip is there four times
        >>> [round(near_copy_share(chips, draw(chips, policy, 5, seed=0)), 2) for policy in ("published", "grouped")]
        [0.39, 0.0]
    """
    is_copy_T = np.isin(candidates.groups[drawn.test], candidates.groups[drawn.train])
    return float(is_copy_T.mean()) if len(is_copy_T) else 0.0
