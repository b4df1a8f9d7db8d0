"""draws.json: another group can repeat the experiment, and cannot repeat it wrongly."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from sarjepa.errors import InputError
from sarjepa.evaluation.draw_records import from_record, to_record
from sarjepa.evaluation.fewshot import Candidates, draw


def candidates(num: int = 40) -> Candidates:
    labels = np.arange(num) % 2
    paths = [f"{'ab'[label]}/{number}.png" for number, label in enumerate(labels)]
    return Candidates("toy/all", ("a", "b"), labels, np.full(num, "train"), np.arange(num) // 4 * 2 + labels, paths,
                      "fraction-of-all", 0.5)  # fmt: skip


def record(policy: str = "published") -> dict:
    draws = [draw(candidates(), policy, shots, seed) for shots in (2, 4) for seed in (0, 1)]
    return json.loads(json.dumps(to_record(candidates(), policy, draws)))


@pytest.mark.parametrize("policy", ["published", "grouped"])
def test_what_is_written_is_read_back(policy: str) -> None:
    found = from_record(candidates(), record(policy), "draws.json")
    for (shots, seed), drawn in found.items():
        made = draw(candidates(), policy, shots, seed)
        assert np.array_equal(drawn.train, made.train) and np.array_equal(drawn.test, made.test)
        assert drawn.sha256 == made.sha256 and drawn.short == made.short


def test_files_in_another_order_give_the_same_experiment() -> None:
    ours = candidates()
    order = np.random.default_rng(1).permutation(len(ours.paths))
    theirs = dataclasses.replace(ours, labels=ours.labels[order], groups=ours.groups[order],
                                 splits=ours.splits[order], paths=[ours.paths[i] for i in order])  # fmt: skip
    drawn = from_record(theirs, record(), "draws.json")[(4, 1)]
    made = draw(ours, "published", 4, 1)
    assert [theirs.paths[i] for i in drawn.train] == [ours.paths[i] for i in made.train]


def test_other_chips_are_refused() -> None:
    with pytest.raises(InputError, match="other chips"):
        from_record(candidates(44), record(), "draws.json")


def test_an_edited_draw_is_refused() -> None:
    edited = record()
    edited["draws"][0]["train"][0] = edited["draws"][0]["train"][1]
    with pytest.raises(InputError, match="does not match its hash"):
        from_record(candidates(), edited, "draws.json")


def test_equal_test_sets_are_stored_once() -> None:
    assert len(record()["tests"]) == 2, "one a seed, shared by the shot counts"


@pytest.mark.parametrize("key", ["fingerprint", "tests", "draws"])
def test_a_damaged_record_is_refused_in_one_line(key: str) -> None:
    damaged = record()
    del damaged[key]
    with pytest.raises(InputError, match=f"damaged draws.*{key}"):
        from_record(candidates(), damaged, "draws.json")


def test_a_place_beyond_the_chips_is_refused() -> None:
    damaged = record()
    damaged["draws"][0]["train"][0] = 10_000
    with pytest.raises(InputError, match="damaged draws"):
        from_record(candidates(), damaged, "draws.json")
