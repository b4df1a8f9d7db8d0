"""Draws as data: what `draws.json` holds, so that another group can repeat the exact experiment.

A draw is stored as indices into the source's paths in sorted order (the same list on every machine, whatever order the
files came in), with the content hash of what it means. Reading it back recomputes the hash from the paths at hand: a
source with other files, other classes or other names is refused rather than silently trained on.

    {"format": ..., "datasets": {"mstar": {"label_set", "classes", "policy", "fingerprint", "num_chips",
        "tests": {id: [index, ...]}, "draws": [{"seed", "shots", "train": [...], "test": id, "sha256", "short"}]}}}
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from sarjepa.errors import InputError
from sarjepa.evaluation.fewshot import Candidates, Draw, draw_sha256

FORMAT = "sarjepa-draws-1"


def _sorted_order(candidates: Candidates) -> np.ndarray:
    """(N,) the source's index of each place in the sorted list of paths."""
    return np.array(sorted(range(len(candidates.paths)), key=candidates.paths.__getitem__), dtype=np.int64)


def to_record(candidates: Candidates, policy: str, draws: Sequence[Draw]) -> dict[str, Any]:
    """One data set's draws, JSON-ready; equal test sets are stored once."""
    order = _sorted_order(candidates)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    tests: dict[str, list[int]] = {}
    records = []
    for drawn in draws:
        test = place[drawn.test].tolist()
        name = hashlib.sha256(repr(test).encode()).hexdigest()[:12]
        tests[name] = test
        records.append(
            {
                "seed": drawn.seed,
                "shots": drawn.shots,
                "train": place[drawn.train].tolist(),
                "test": name,
                "sha256": drawn.sha256,
                "short": drawn.short,
            }
        )
    return {
        "label_set": candidates.name,
        "classes": list(candidates.classes),
        "policy": policy,
        "fingerprint": candidates.fingerprint(),
        "num_chips": len(order),
        "tests": tests,
        "draws": records,
    }


def from_record(candidates: Candidates, record: dict[str, Any], where: str) -> dict[tuple[int, int], Draw]:
    """The draws of one data set, by (shots, seed), without their spare chips, which are not recorded.

    Args:
        candidates: the chips at hand.
        record: from `to_record`.
        where: the file, for the error.

    Raises:
        InputError: the chips at hand are not those the draws were made from, or the record is damaged.
    """
    try:
        return _from_record(candidates, record, where)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        hint = "give a draws.json that fewshot-bench wrote"
        raise InputError("damaged draws", where=where, got=repr(error), hint=hint) from error


def _from_record(candidates: Candidates, record: dict[str, Any], where: str) -> dict[tuple[int, int], Draw]:
    if record["fingerprint"] != candidates.fingerprint():
        raise InputError(
            "the draws were made from other chips",
            where=where,
            expected=f"{record['label_set']}: {record['num_chips']} chips, fingerprint {record['fingerprint'][:12]}",
            got=f"{candidates.name}: {len(candidates.paths)} chips, fingerprint {candidates.fingerprint()[:12]}",
            hint="build the same source and name the same --label-set",
        )
    order = _sorted_order(candidates)
    found = {}
    for item in record["draws"]:
        train, test = order[np.array(item["train"], np.int64)], order[np.array(record["tests"][item["test"]], np.int64)]
        if draw_sha256(candidates, train, test) != item["sha256"]:
            raise InputError("a draw does not match its hash", where=where, expected=item["sha256"])
        key = (item["shots"], item["seed"])
        found[key] = Draw(item["seed"], item["shots"], train, test, item["sha256"], dict(item["short"]))
    return found
