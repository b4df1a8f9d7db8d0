"""draws.json: another group can repeat the experiment, and cannot repeat it wrongly."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from sarjepa.documents import parse_record
from sarjepa.errors import InputError
from sarjepa.evaluation.draw_records import DatasetDraws, from_record, to_record
from sarjepa.evaluation.fewshot import Candidates, draw
from sarjepa.files import json_text


def candidates(num: int = 40) -> Candidates:
    labels = np.arange(num) % 2
    paths = [f"{'ab'[label]}/{number}.png" for number, label in enumerate(labels)]
    return Candidates("toy/all", ("a", "b"), labels, np.full(num, "train"), np.arange(num) // 4 * 2 + labels, paths,
                      "fraction-of-all", 0.5)  # fmt: skip


def record(policy: str = "published") -> DatasetDraws:
    draws = [draw(candidates(), policy, shots, seed) for shots in (2, 4) for seed in (0, 1)]
    return to_record(candidates(), policy, draws)


def read(content: dict) -> DatasetDraws:
    return parse_record(json_text(content).encode(), DatasetDraws, "draws.json")


def as_stored(policy: str = "published") -> dict:
    return json.loads(json_text(record(policy)))


@pytest.mark.parametrize("policy", ["published", "grouped"])
def test_what_is_written_is_read_back(policy: str) -> None:
    found = from_record(candidates(), read(as_stored(policy)), "draws.json")
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
    edited = as_stored()
    edited["draws"][0]["train"][0] = edited["draws"][0]["train"][1]
    with pytest.raises(InputError, match="does not match its hash"):
        from_record(candidates(), read(edited), "draws.json")


def test_equal_test_sets_are_stored_once() -> None:
    assert len(record().tests) == 2, "one a seed, shared by the shot counts"


@pytest.mark.parametrize("key", ["fingerprint", "tests", "draws"])
def test_a_record_without_a_key_is_refused_in_one_line(key: str) -> None:
    damaged = as_stored()
    del damaged[key]
    with pytest.raises(InputError, match=rf"a key is missing: {key} in draws\.json"):
        read(damaged)


@pytest.mark.parametrize("place", [10_000, -1, 10**40])
def test_a_place_beyond_the_chips_is_refused(place: int) -> None:
    damaged = as_stored()
    damaged["draws"][0]["train"][0] = place
    with pytest.raises(InputError, match=r"damaged draws: train in draws\.json"):
        from_record(candidates(), read(damaged), "draws.json")
    damaged = as_stored()
    next(iter(damaged["tests"].values()))[0] = place
    with pytest.raises(InputError, match=r"damaged draws: tests\.\w+ in draws\.json"):
        from_record(candidates(), read(damaged), "draws.json")


def test_a_test_set_that_is_not_there_is_refused() -> None:
    damaged = as_stored()
    damaged["tests"] = {}
    with pytest.raises(InputError, match=r"damaged draws: tests in draws\.json"):
        from_record(candidates(), read(damaged), "draws.json")
