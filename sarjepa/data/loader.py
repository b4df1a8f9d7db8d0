"""From shards to batches of chips, in an order that only the seed decides.

The order of an epoch is a permutation drawn from (seed, epoch); step s of it takes the next `batch_size` chips, and
rank k of K every K-th of these. So a batch is a pure function of the step, a resumed run goes on exactly where it was,
and k ranks see what one rank with the whole batch would see.

For scaling studies a pool can be a share of the chips: the first of a permutation that the seed alone decides, so a
smaller share is part of every larger one, and two points of a scaling curve differ by added chips only.

Where optical images come with some chips, the share of an epoch that is drawn from these can be set (`mixed`).

Chips are copied out of memory-mapped shards by background threads, a few batches ahead of the training.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from sarjepa.data.shards import Shards
from sarjepa.data.slicing import middle
from sarjepa.draws import permutation
from sarjepa.errors import InputError, nearest

Loaded = TypeVar("Loaded")


class ChipPool:
    """The chips of some splits of some sources, numbered from 0 on.

    Args:
        sources: (name, built source) of each.
        splits: the splits that count, or "all"; None: every chip that no benchmark tests. See `_chosen`.
        crops: side (px) of the centre kept of each source's chips, or None.
        fraction: share of these chips to keep, in (0, 1]; rounded, at least one chip.
        seed: seed of the choice of chips that are kept.

    Attributes:
        shapes: (N, 2) heights and widths (px), after the crop.
        groups: (N,) int64, equal for near-duplicates of one source.
        paired: (N,) bool, whether a chip comes with an optical image.
        source_names: the sources, in order.
        left_out: a line with the reason for each source of which `splits` leaves chips out.
        tested: the sources of which chips are taken that an evaluation tests.

    Raises:
        InputError: no chip is left, or no source has a split of a name.
    """

    def __init__(
        self,
        sources: Sequence[tuple[str, Shards]],
        splits: Sequence[str] | None,
        crops: Sequence[int | None],
        fraction: float = 1.0,
        seed: int = 0,
    ) -> None:
        self._shards = [shards for _, shards in sources]
        self._crops = list(crops)
        self.source_names = tuple(name for name, _ in sources)
        known = {"all", "train", "test"}.union(*(np.unique(shards.splits).tolist() for shards in self._shards)) - {""}
        if unknown := [split for split in splits or () if split not in known]:
            raise InputError("no such split", where=repr(unknown[0]), hint=nearest(unknown[0], known))
        choices = [_chosen(shards, splits) for shards in self._shards]
        chosen = [rows for rows, _ in choices]
        self.left_out = tuple(
            f"{name}: {len(rows)} of {len(shards)} chips, {reason}"
            for (name, shards), (rows, reason) in zip(sources, choices, strict=True)
            if len(rows) < len(shards)
        )
        self.tested = tuple(
            name for (name, shards), rows in zip(sources, chosen, strict=True) if _is_tested(shards)[rows].any()
        )
        source_N = np.concatenate([np.full(len(rows), number) for number, rows in enumerate(chosen)])
        row_N = np.concatenate(chosen)
        if not len(row_N):
            raise InputError(
                "no chips to train on",
                where="; ".join(self.left_out),
                hint="--splits all takes every chip, --splits NAME those of a split",
            )
        shapes = [
            shards.shapes[rows] if crop is None else np.minimum(shards.shapes[rows], crop)
            for shards, rows, crop in zip(self._shards, chosen, crops, strict=True)
        ]
        # In the order of the pool; the chips of a smaller fraction are among those of a larger one.
        kept = np.sort(permutation(seed, "fraction", 0, len(row_N))[: max(1, round(fraction * len(row_N)))])
        groups, num_groups = [], 0
        for shards, rows in zip(self._shards, chosen, strict=True):
            groups.append(num_groups + shards.groups[rows])
            num_groups += int(shards.groups.max(initial=-1)) + 1
        self.groups = np.concatenate(groups).astype(np.int64)[kept]
        paired = [shards.paired[rows] for shards, rows in zip(self._shards, chosen, strict=True)]
        self.paired = np.concatenate(paired)[kept]
        self._source_N, self._row_N = source_N[kept], row_N[kept]
        self.shapes = np.concatenate(shapes).astype(np.int64)[kept]

    def __len__(self) -> int:
        """How many chips."""
        return len(self._row_N)

    def images(self, indices: np.ndarray, *, whole: bool = False) -> tuple[list[np.ndarray], list[float]]:
        """The chips at `indices` as stored, centre-cropped unless `whole`, and the divisor that scales each to 1."""
        images, scales = [], []
        for index in indices:
            shards, crop = self._shards[self._source_N[index]], self._crops[self._source_N[index]]
            image = shards[int(self._row_N[index])].image
            images.append(image if whole or crop is None else middle(image, crop)[0])
            scales.append(shards.scale)
        return images, scales

    def optical(self, indices: np.ndarray) -> list[np.ndarray]:
        """The optical images of paired chips at `indices`, cropped like them: (3, H, W) uint8 each."""
        images = []
        for index in indices:
            source = self._source_N[index]
            image, crop = self._shards[source].optical(int(self._row_N[index])), self._crops[source]
            assert image is not None, "the chip is paired"
            images.append(image if crop is None else np.stack([middle(plane, crop)[0] for plane in image]))
        return images


def mixed(paired_N: np.ndarray, share: float, seed: int, epoch: int) -> np.ndarray:
    """The N images of an epoch, of which a share are chips with an optical image and the others chips without.

    Chips of either sort come in an order drawn for the epoch, and from the start again where the epoch takes more of
    them than there are: then as chip + N, chip + 2 N and so on, so that the draws for an image differ.

    Args:
        paired_N: (N,) bool, which chips have an optical image.
        share: share of the images, in [0, 1].
        seed, epoch: seed and epoch of the order.

    Returns:
        (N,) int64, the images of the epoch, those with an optical image first; modulo N they are chips.

    Raises:
        InputError: there is no chip of a sort that is wanted.

    Example:
        >>> mixed(np.array([True, False, False, False]), 0.5, seed=0, epoch=1)
        array([0, 4, 2, 3])
    """
    num, parts = len(paired_N), []
    for is_paired, wanted in ((True, round(share * num)), (False, num - round(share * num))):
        chips = np.flatnonzero(paired_N == is_paired)
        if wanted and not len(chips):
            missing = "with an optical image" if is_paired else "without"
            raise InputError(f"no chip {missing}", where="paired-share", got=share, hint="leave it out")
        if wanted:
            turn, position = np.divmod(np.arange(wanted), len(chips))
            parts.append(chips[permutation(seed, f"mix-{is_paired}", epoch, len(chips))][position] + num * turn)
    return np.concatenate(parts).astype(np.int64)


def _is_tested(shards: Shards) -> np.ndarray:
    """(N,) bool, whether an evaluation may test a chip: one of the test split, without splits any that counts."""
    is_labelled = shards.labels >= 0
    if {"train", "test"} <= set(shards.splits[is_labelled].tolist()):
        return is_labelled & (shards.splits == "test")
    if benchmark := shards.index.get("benchmark"):
        counted = shards.index["label_sets"][benchmark["label_set"]]["classes"]
        return np.isin(shards.labels, [shards.classes.index(name) for name in counted])
    return is_labelled


def _chosen(shards: Shards, splits: Sequence[str] | None) -> tuple[np.ndarray, str]:
    """Rows of the splits asked for, and the reason for the choice; "all" is every chip.

    The default is every chip that no benchmark tests: all of a source without a benchmark, the training split of one
    with splits. Without splits, any chip of the benchmark's classes may be a test chip of some draw, so the chips of
    the other classes are taken (SAR-ACD: A320/321) that are no near-copies of one; naming splits changes nothing for
    such a source.
    """
    whole, benchmark = np.arange(len(shards)), shards.index.get("benchmark")
    own = [str(split) for split in np.unique(shards.splits) if split]
    if "all" in (splits or ()):
        return whole, ""
    if own and splits is not None:
        rows = np.flatnonzero(np.isin(shards.splits, list(splits)))
        return rows, f"those of {', '.join(splits)} among its splits {', '.join(own)}"
    if not benchmark and not {"train", "test"} <= set(own):
        return whole, ""
    if own:
        return np.flatnonzero(shards.splits == "train"), "its training split: its benchmark may test the others"
    assert benchmark, "a source without splits and without a benchmark is taken whole"
    tested = shards.index["label_sets"][benchmark["label_set"]]["classes"]
    rows = np.flatnonzero(~np.isin(shards.groups, shards.groups[_is_tested(shards)]))
    return rows, f"none of the classes that its benchmark tests ({', '.join(tested)}), no near-copy of their chips"


def batch_indices(num_chips: int, batch_size: int, seed: int, step: int) -> tuple[int, np.ndarray]:
    """Epoch and chips of a step, of which rank k of K takes every K-th.

    Args:
        num_chips: number of chips in the pool; a short last batch of an epoch is dropped unless it is the only one.
        batch_size: size of the batch over all ranks.
        seed: seed of the shuffle.
        step: number of the step, from 0 over the whole run.

    Example:
        >>> batch_indices(4, 2, seed=0, step=3)
        (1, array([2, 3]))
    """
    epoch, position = divmod(step, steps_per_epoch(num_chips, batch_size))
    order = permutation(seed, "order", epoch, num_chips)
    return epoch, order[position * batch_size : (position + 1) * batch_size]


def steps_per_epoch(num_chips: int, batch_size: int) -> int:
    """Whole batches in an epoch, at least one.

    Example:
        >>> steps_per_epoch(70, 32)
        2
    """
    return max(1, num_chips // batch_size)


def ahead(load: Callable[[int], Loaded], steps: Sequence[int], num_threads: int = 1) -> Iterator[Loaded]:
    """Yield load(step) in order, while threads work on the next few.

    Example:
        >>> list(ahead(lambda step: step**2, range(4)))
        [0, 1, 4, 9]
    """
    with ThreadPoolExecutor(num_threads) as pool:
        waiting: collections.deque[Future[Loaded]] = collections.deque()
        for step in steps:
            waiting.append(pool.submit(load, step))
            if len(waiting) > 2 * num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
