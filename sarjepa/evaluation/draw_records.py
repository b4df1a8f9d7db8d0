"""Draws as data: what `draws.json` holds, so that another group can repeat the exact experiment.

A draw is stored as indices into the source's sorted paths (the same list on every machine, whatever the order of the
files), with a content hash of its paths and classes. Reading it back recomputes the hash from the paths at hand, so a
source with other files, classes or names is refused rather than silently trained on.

    {"format": ..., "datasets": {"mstar": {"label_set", "classes", "policy", "fingerprint", "num_chips",
        "tests": {id: [index, ...]}, "draws": [{"seed", "shots", "train": [...], "test": id, "sha256", "short"}]}}}
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sarjepa.errors import InputError
from sarjepa.evaluation.fewshot import Candidates, Draw, draw_sha256

FORMAT: Literal["sarjepa-draws-1"] = "sarjepa-draws-1"
HINT = "give a draws.json that fewshot-bench wrote"


@dataclass(frozen=True, kw_only=True)
class DrawRecord:
    """One draw; `train` are positions in the sorted list of paths, `test` is the name of a test set."""

    seed: int
    shots: int
    train: tuple[int, ...]
    test: str
    sha256: str
    short: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class DatasetDraws:
    """The draws of one data set by one policy; equal test sets are stored once, by name."""

    label_set: str
    classes: tuple[str, ...]
    policy: str
    fingerprint: str
    num_chips: int
    tests: dict[str, tuple[int, ...]]
    draws: tuple[DrawRecord, ...]


@dataclass(frozen=True, kw_only=True)
class DrawsFile:
    """The content of draws.json: the draws by data set and policy."""

    format: Literal["sarjepa-draws-1"]
    indices: str = "into the source's paths in sorted order"
    datasets: dict[str, dict[str, DatasetDraws]]


def _sorted_order(candidates: Candidates) -> np.ndarray:
    """(N,) the source's index of each position in the sorted list of paths."""
    return np.array(sorted(range(len(candidates.paths)), key=candidates.paths.__getitem__), dtype=np.int64)


def to_record(candidates: Candidates, policy: str, draws: Sequence[Draw]) -> DatasetDraws:
    """One data set's draws as they are stored.

    Example:
        >>> from sarjepa.evaluation.fewshot import draw
        >>> columns = np.zeros(3, np.int64), np.full(3, ""), np.arange(3)  # classes, splits, groups
        >>> chips = Candidates("toy/all", ("ship",), *columns, ["b.png", "c.png", "a.png"], "fraction-of-all")
        >>> drawn = draw(chips, "published", shots=1, seed=0)
        >>> drawn.train, to_record(chips, "published", [drawn]).draws[0].train  # in the source, in its sorted paths
        (array([0]), (1,))
    """
    order = _sorted_order(candidates)
    position_N = np.empty(len(order), dtype=np.int64)
    position_N[order] = np.arange(len(order))
    tests: dict[str, tuple[int, ...]] = {}
    records = []
    for drawn in draws:
        assert drawn.shots is not None, "a draw of the whole training split is not one of a grid"
        test = position_N[drawn.test].tolist()
        name = hashlib.sha256(repr(test).encode()).hexdigest()[:12]
        tests[name] = tuple(test)
        train = tuple(position_N[drawn.train].tolist())
        records.append(
            DrawRecord(
                seed=drawn.seed, shots=drawn.shots, train=train, test=name, sha256=drawn.sha256, short=drawn.short
            )
        )
    return DatasetDraws(
        label_set=candidates.name,
        classes=tuple(candidates.classes),
        policy=policy,
        fingerprint=candidates.fingerprint(),
        num_chips=len(order),
        tests=tests,
        draws=tuple(records),
    )


def from_record(candidates: Candidates, record: DatasetDraws, where: str) -> dict[tuple[int, int], Draw]:
    """The draws of one data set, by (shots, seed), without their spare chips, which are not recorded.

    Args:
        candidates: the chips at hand.
        record: result of `to_record`.
        where: name of the file, for errors.

    Raises:
        InputError: the draws were made from other chips than those at hand, or the record is damaged.

    Example:
        >>> from sarjepa.evaluation.fewshot import draw
        >>> columns = np.zeros(3, np.int64), np.full(3, ""), np.arange(3)  # classes, splits, groups
        >>> orders = (["a", "b", "c"], ["c", "a", "b"])  # of the same files
        >>> first, other = (Candidates("toy/all", ("ship",), *columns, paths, "fraction-of-all") for paths in orders)
        >>> record = to_record(first, "published", [draw(first, "published", shots=1, seed=0)])
        >>> [chips.paths[from_record(chips, record, "draws.json")[1, 0].train[0]] for chips in (first, other)]
        ['a', 'a']
    """
    if record.fingerprint != candidates.fingerprint():
        raise InputError(
            "the draws were made from other chips",
            where=where,
            expected=f"{record.label_set}: {record.num_chips} chips, fingerprint {record.fingerprint[:12]}",
            got=f"{candidates.name}: {len(candidates.paths)} chips, fingerprint {candidates.fingerprint()[:12]}",
            hint="build the same source and name the same --label-set",
        )
    order = _sorted_order(candidates)

    def chips(positions: Sequence[int], key: str) -> np.ndarray:
        if stray := [position for position in positions if not 0 <= position < len(order)]:
            expected = f"0 to {len(order) - 1}"
            got = repr(stray[0])[:60]
            raise InputError("damaged draws", where=f"{key} in {where}", expected=expected, got=got, hint=HINT)
        return order[np.array(positions, np.int64)]

    draws = {}
    for stored in record.draws:
        if stored.test not in record.tests:
            raise InputError("damaged draws", where=f"tests in {where}", expected=stored.test, hint=HINT)
        train, test = chips(stored.train, "train"), chips(record.tests[stored.test], f"tests.{stored.test}")
        if draw_sha256(candidates, train, test) != stored.sha256:
            raise InputError("a draw does not match its hash", where=where, expected=stored.sha256)
        draws[stored.shots, stored.seed] = Draw(
            stored.seed, stored.shots, train, test, stored.sha256, dict(stored.short)
        )
    return draws
