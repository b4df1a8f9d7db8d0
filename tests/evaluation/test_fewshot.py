"""Draws: nested, seeded, independent of order, honest about copies and shortage."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarjepa.evaluation.fewshot import (
    POLICIES,
    Candidates,
    draw,
    mixed_groups,
    near_copy_share,
    split,
)

CLASSES = ("bmp2", "t72", "zil131")


def with_split(num: int = 60) -> Candidates:
    """Three classes of `num` chips, every third one in the test set, every chip its own group."""
    labels = np.repeat(np.arange(3), num)
    splits = np.where(np.arange(3 * num) % 3 == 2, "test", "train")
    paths = [f"{CLASSES[label]}/{number:04d}.png" for number, label in enumerate(labels)]
    return Candidates("toy/all", CLASSES, labels, splits, np.arange(3 * num), paths)


def with_copies(num: int = 160, copies: int = 4) -> Candidates:
    """Three classes without a split, every chip stored `copies` times under shuffled numbers."""
    labels = np.repeat(np.arange(3), num)
    order = np.random.default_rng(0).permutation(3 * num)
    groups = np.empty(3 * num, dtype=np.int64)
    for label in range(3):
        groups[order[labels[order] == label]] = label * 1000 + np.arange(num) // copies
    paths = [f"{CLASSES[label]}/{number:04d}.jpg" for number, label in enumerate(labels)]
    splits = np.full(3 * num, "")
    return Candidates("copies/all", CLASSES, labels, splits, groups, paths, "fraction-of-all", 0.1, 0.5)


def permuted(candidates: Candidates, order: np.ndarray) -> Candidates:
    return dataclasses.replace(
        candidates,
        labels=candidates.labels[order],
        splits=candidates.splits[order],
        groups=candidates.groups[order],
        paths=[candidates.paths[i] for i in order],
    )


def per_class(candidates: Candidates, indices: np.ndarray) -> list[int]:
    return np.bincount(candidates.labels[indices], minlength=3).tolist()


def test_published_pool_is_four_fifths_of_the_training_split_a_class() -> None:
    candidates = with_split()
    parts = split(candidates, "published", 0)
    assert per_class(candidates, parts.pool) == [32, 32, 32] and per_class(candidates, parts.held) == [8, 8, 8]
    assert set(parts.test) == set(np.flatnonzero(candidates.splits == "test"))
    assert not set(parts.pool) & set(parts.held)


def test_published_pool_without_a_split_is_a_tenth_and_the_rest_is_tested() -> None:
    candidates = with_copies()
    parts = split(candidates, "published", 3)
    assert per_class(candidates, parts.pool) == [16, 16, 16] and per_class(candidates, parts.test) == [144, 144, 144]
    assert len(parts.held) == 0


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), policy=st.sampled_from(POLICIES), copies=st.booleans())
def test_draws_are_nested_and_never_tested(seed: int, policy: str, copies: bool) -> None:
    candidates = with_copies() if copies else with_split()
    draws = [draw(candidates, policy, shots, seed) for shots in (1, 5, 10, 20)]
    for smaller, larger in itertools.pairwise(draws):
        assert set(smaller.train) <= set(larger.train)
        assert np.array_equal(smaller.test, larger.test)
    for drawn in draws:
        assert not set(drawn.train) & set(drawn.test)
        assert not set(drawn.spare) & (set(drawn.train) | set(drawn.test))
        assert len(set(drawn.train)) == len(drawn.train)
        expected = [min(drawn.shots or 0, had) for had in per_class(candidates, split(candidates, policy, seed).pool)]
        if policy == "published":
            assert per_class(candidates, drawn.train) == expected


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), policy=st.sampled_from(POLICIES), shuffle=st.integers(0, 1000))
def test_the_order_of_files_changes_nothing(seed: int, policy: str, shuffle: int) -> None:
    candidates = with_copies()
    other = permuted(candidates, np.random.default_rng(shuffle).permutation(len(candidates.paths)))
    first, second = draw(candidates, policy, 10, seed), draw(other, policy, 10, seed)
    assert [candidates.paths[i] for i in first.train] == [other.paths[i] for i in second.train]
    assert [candidates.paths[i] for i in first.test] == [other.paths[i] for i in second.test]
    assert first.sha256 == second.sha256


def test_seeds_differ_and_seed_zero_is_one_of_them() -> None:
    hashes = {draw(with_split(), "published", 5, seed).sha256 for seed in range(20)}
    assert len(hashes) == 20
    assert draw(with_split(), "published", 5, 0).sha256 == draw(with_split(), "published", 5, 0).sha256


def test_a_draw_is_the_same_on_every_platform() -> None:
    """Held by a literal: another machine, Python or numpy must come to the same chips."""
    candidates = with_split()
    drawn = draw(candidates, "published", 2, 0)
    assert [candidates.paths[i] for i in drawn.train] == [
        "bmp2/0046.png",
        "bmp2/0022.png",
        "t72/0112.png",
        "t72/0069.png",
        "zil131/0171.png",
        "zil131/0157.png",
    ]


def test_a_draw_does_not_depend_on_the_process() -> None:
    code = (
        "import numpy as np\nfrom sarjepa.evaluation.fewshot import *\n"
        "c = Candidates('a/b', ('x',), np.zeros(50, int), np.full(50, 'train'), np.arange(50),"
        " [f'p{i}' for i in range(50)])\nprint(draw(c, 'published', 5, 7).sha256)"
    )
    printed = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
               for _ in range(2)}  # fmt: skip
    assert len(printed) == 1 and len(printed.pop().strip()) == 64


@pytest.mark.parametrize("seed", range(5))
def test_grouped_policy_keeps_copies_on_one_side_and_draws_distinct_chips(seed: int) -> None:
    candidates = with_copies()
    parts = split(candidates, "grouped", seed)
    assert not set(candidates.groups[parts.pool]) & set(candidates.groups[parts.test])
    drawn = draw(candidates, "grouped", 10, seed)
    assert len(set(candidates.groups[drawn.train])) == len(drawn.train) == 30
    assert near_copy_share(candidates, drawn) == 0


def test_published_policy_tests_near_copies_of_what_was_learnt() -> None:
    candidates = with_copies()
    shares = [near_copy_share(candidates, draw(candidates, "published", 10, seed)) for seed in range(5)]
    assert min(shares) > 0.1


def test_grouped_policy_drops_training_chips_whose_copies_are_tested() -> None:
    candidates = with_split()
    groups = candidates.groups.copy()
    groups[0] = groups[2]  # a training chip and a test chip of one scene
    candidates = dataclasses.replace(candidates, groups=groups)
    assert candidates.splits[0] == "train" and candidates.splits[2] == "test"
    for seed in range(10):
        parts = split(candidates, "grouped", seed)
        assert 0 not in parts.pool and 0 not in parts.held and 2 in parts.test


def test_a_group_of_two_classes_is_on_neither_side_under_the_grouped_policy() -> None:
    candidates = with_copies()
    groups = candidates.groups.copy()
    groups[candidates.groups == 1000] = 0
    candidates = dataclasses.replace(candidates, groups=groups)
    assert mixed_groups(candidates).tolist() == [0]
    parts = split(candidates, "grouped", 0)
    assert not (set(np.flatnonzero(groups == 0)) & (set(parts.pool) | set(parts.test)))


@pytest.mark.parametrize("with_test", [True, False])
def test_a_named_group_may_hold_two_classes_and_still_lies_on_one_side(with_test: bool) -> None:
    candidates = with_split() if with_test else with_copies()
    dates = np.random.default_rng(1).integers(0, 12, len(candidates.labels))  # every class on every date
    candidates = dataclasses.replace(candidates, groups=dates, listed=np.full(len(dates), True))
    if with_test:
        candidates = dataclasses.replace(candidates, splits=np.where(dates < 4, "test", "train"))
    assert not len(mixed_groups(candidates))
    for seed in range(5):
        parts = split(candidates, "grouped", seed)
        assert len(parts.pool) and len(parts.test)
        assert set(dates[parts.pool]).isdisjoint(dates[parts.test])
        assert min(per_class(candidates, parts.pool)) > 0 and min(per_class(candidates, parts.test)) > 0


def test_a_class_with_fewer_chips_than_shots_gives_all_and_is_named() -> None:
    drawn = draw(with_split(15), "published", 10, 0)
    assert drawn.short == {"bmp2": 8, "t72": 8, "zil131": 8} and len(drawn.train) == 24


def test_without_shots_the_whole_training_split_is_learnt_from() -> None:
    candidates = with_split()
    drawn = draw(candidates, "published", None, 0)
    assert set(drawn.train) == set(np.flatnonzero(candidates.splits == "train")) and not drawn.short


def test_training_chips_of_no_class_are_spare_unless_a_near_copy_is_tested() -> None:
    named = with_split()
    nameless = (named.splits == "train") & (np.arange(len(named.labels)) % 2 == 0)
    candidates = dataclasses.replace(named, labels=np.where(nameless, -1, named.labels), nameless=nameless)
    drawn = draw(candidates, "published", 3, 0)
    assert set(np.flatnonzero(nameless)) <= set(drawn.spare) and not set(drawn.test) & set(drawn.spare)
    assert (candidates.labels[drawn.train] >= 0).all()

    copied = np.flatnonzero(nameless)[0]
    groups = candidates.groups.copy()
    groups[copied] = groups[drawn.test[0]]
    grouped = draw(dataclasses.replace(candidates, groups=groups), "grouped", 3, 0)
    assert copied not in grouped.spare and set(np.flatnonzero(nameless)[1:]) <= set(grouped.spare)


def test_chips_outside_the_label_set_are_on_no_side() -> None:
    candidates = with_split()
    labels = np.where(candidates.labels == 1, -1, candidates.labels)
    candidates = dataclasses.replace(candidates, labels=labels)
    drawn = draw(candidates, "published", 5, 0)
    assert (candidates.labels[np.concatenate([drawn.train, drawn.test, drawn.spare])] >= 0).all()
    assert drawn.short == {"t72": 0}


def test_the_hash_is_of_what_was_drawn() -> None:
    candidates = with_split()
    renamed = dataclasses.replace(candidates, paths=[f"x/{path}" for path in candidates.paths])
    same_place = dataclasses.replace(candidates, name="toy/other")
    hashes = {draw(c, "published", 5, 0).sha256 for c in (candidates, renamed, same_place)}
    assert len(hashes) == 3
