"""The loader: which chips a pool holds, and which of them a step takes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sarjepa.data.loader import ChipPool, ahead, batch_indices, mixed
from sarjepa.data.shards import Shards, ShardWriter, open_shards
from sarjepa.errors import InputError
from sarjepa.files import write_json

NUM = 40


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Shards]]:
    """Two sources of chips whose every pixel is the chip's own number, 0 to 39 and 40 to 79; all of them train."""
    found = []
    for start, name in ((0, "first"), (NUM, "second")):
        folder = tmp_path_factory.mktemp(name)
        writer = ShardWriter(folder, name)
        for number in range(start, start + NUM):
            writer.add(np.full((6 + number % 3, 8), number, np.uint8), 0, "train", f"{number}.png")
        shards = writer.finish(np.arange(NUM))
        write_json(folder / "index.json", {"source": name, "num_chips": NUM, "classes": ["any"], "shards": shards,
                                           "normalisation": {"scale": 255.0}})  # fmt: skip
        found.append((name, open_shards(folder)))
    return found


def numbers(pool: ChipPool) -> list[int]:
    """The own numbers of a pool's chips, whose stored shapes must be those the pool tells."""
    images, _ = pool.images(np.arange(len(pool)))
    assert [image.shape for image in images] == [tuple(shape) for shape in pool.shapes]
    return [int(image[0, 0]) for image in images]


def test_the_whole_share_is_the_pool_in_its_order(sources: list[tuple[str, Shards]]) -> None:
    assert numbers(ChipPool(sources, ["train"], [None, None])) == list(range(2 * NUM))


def test_a_smaller_share_is_part_of_a_larger_one(sources: list[tuple[str, Shards]]) -> None:
    shares = [numbers(ChipPool(sources, ["train"], [None, None], fraction, 3)) for fraction in (0.1, 0.25, 0.5, 1.0)]
    assert [len(share) for share in shares] == [8, 20, 40, 80]
    for smaller, larger in itertools.pairwise(shares):
        assert set(smaller) < set(larger)
    assert shares[2] != list(range(NUM)) and min(sum(n < NUM for n in shares[2]), sum(n >= NUM for n in shares[2])) > 8


def test_the_seed_decides_which_chips_are_kept(sources: list[tuple[str, Shards]]) -> None:
    first, again, other = (numbers(ChipPool(sources, ["train"], [None, None], 0.5, seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_the_smallest_share_is_one_chip(sources: list[tuple[str, Shards]]) -> None:
    assert len(ChipPool(sources, ["train"], [4, None], 1e-6)) == 1


def test_no_chip_of_a_split_is_refused(sources: list[tuple[str, Shards]]) -> None:
    with pytest.raises(InputError, match=r"no chips to train on: first: 0 of 40 chips.*test.*train.*--splits all"):
        ChipPool(sources, ["test"], [None, None], 0.5)


def test_a_split_that_no_source_has_is_named_with_the_nearest(tmp_path: Path) -> None:
    sources = one_source(tmp_path / "some", ["train", "test", "holdout"], None)
    with pytest.raises(InputError, match=r"no such split: 'holdot'; did you mean 'holdout'"):
        ChipPool(sources, ("test", "holdot"), [None])
    assert len(ChipPool(sources, ("test", "holdout"), [None])) == 2


def one_source(
    folder: Path, splits: Sequence[str], benchmark: dict | None, groups: Sequence[int] | None = None
) -> list[tuple[str, Shards]]:
    """Chips 0, 1, 2, .. of the classes a, b, c, a, b, c, .. in some splits, each a group of its own or as told."""
    folder.mkdir()
    writer = ShardWriter(folder, "some")
    for number, split in enumerate(splits):
        writer.add(np.full((6, 8), number, np.uint8), number % 3, split, f"{number}.png")
    index = {"source": "some", "num_chips": len(splits), "classes": ["a", "b", "c"], "benchmark": benchmark,
             "label_sets": {"two": {"classes": ["c", "a"]}}, "normalisation": {"scale": 255.0},
             "shards": writer.finish(np.array(groups or range(len(splits))))}  # fmt: skip
    write_json(folder / "index.json", index)
    return [("some", open_shards(folder))]


WITH, WITHOUT = ["train", "test", "test", "train", "extended", "train"], [""] * 6
TESTED = {"label_set": "two"}


@pytest.mark.parametrize(
    ("stored", "benchmark", "asked", "expected"),
    [
        (WITH, TESTED, None, [0, 3, 5]),
        (WITH, None, None, [0, 3, 5]),
        (WITHOUT, TESTED, None, [1, 4]),
        (WITHOUT, None, None, [0, 1, 2, 3, 4, 5]),
        (WITH, TESTED, ["test", "extended"], [1, 2, 4]),
        (WITH, None, ["train"], [0, 3, 5]),
        (WITHOUT, TESTED, ["train"], [1, 4]),
        (WITHOUT, None, ["train"], [0, 1, 2, 3, 4, 5]),
        (WITH, TESTED, ["all"], [0, 1, 2, 3, 4, 5]),
        (WITHOUT, TESTED, ["train", "all"], [0, 1, 2, 3, 4, 5]),
    ],
)
def test_every_chip_counts_that_no_benchmark_tests_unless_splits_are_named(
    tmp_path: Path, stored: list[str], benchmark: dict | None, asked: list[str] | None, expected: list[int]
) -> None:
    pool = ChipPool(one_source(tmp_path / "some", stored, benchmark), asked, [None])
    assert numbers(pool) == expected
    said = [line for line in pool.left_out if line.startswith(f"some: {len(expected)} of 6 chips, ")]
    assert len(said) == len(pool.left_out) == (len(expected) < 6)


@pytest.mark.parametrize(
    ("stored", "benchmark", "asked", "is_tested"),
    [(WITH, TESTED, None, False), (WITH, None, ["all"], True), (WITHOUT, TESTED, None, False),
     (WITHOUT, TESTED, ["all"], True), (WITHOUT, None, None, True), (WITH, None, ["extended"], False)],
)  # fmt: skip
def test_a_source_is_named_of_which_tested_chips_are_taken(
    tmp_path: Path, stored: list[str], benchmark: dict | None, asked: list[str] | None, is_tested: bool
) -> None:
    pool = ChipPool(one_source(tmp_path / "some", stored, benchmark), asked, [None])
    assert pool.tested == (("some",) if is_tested else ())


def test_a_near_copy_of_a_chip_that_may_be_tested_is_left_out(tmp_path: Path) -> None:
    """Chip 4, of the class that no benchmark tests, is one of the copies of chip 3, as 12 of SAR-ACD's A320/321 are."""
    pool = ChipPool(one_source(tmp_path / "some", WITHOUT, TESTED, [0, 1, 2, 3, 3, 5]), None, [None])
    assert numbers(pool) == [1] and "no near-copy" in pool.left_out[0]
    whole = ChipPool(one_source(tmp_path / "whole", WITHOUT, TESTED, [0, 1, 2, 3, 3, 5]), ["all"], [None])
    assert len(whole) == 6


def test_why_chips_are_left_out_is_said(tmp_path: Path) -> None:
    cases = {"its training split": (WITH, None), r"the classes.*\(c, a\)": (WITHOUT, None), "test": (WITH, ["test"])}
    for number, (words, (stored, asked)) in enumerate(cases.items()):
        (line,) = ChipPool(one_source(tmp_path / str(number), stored, TESTED), asked, [None]).left_out
        assert re.search(words, line)


def test_an_epoch_takes_every_chip_once() -> None:
    batches = [batch_indices(12, 4, seed=0, step=step) for step in range(3)]
    assert sorted(np.concatenate([chips for _, chips in batches])) == list(range(12))
    assert {epoch for epoch, _ in batches} == {0} and batch_indices(12, 4, 0, 3)[0] == 1


@pytest.mark.parametrize(("num_paired", "share"), [(3, 0.7), (18, 0.25), (20, 1.0), (3, 0.0)])
def test_a_mix_has_its_share_of_pairs_and_no_image_twice(num_paired: int, share: float) -> None:
    paired = np.random.default_rng(0).permutation(np.arange(20) < num_paired)
    epoch = mixed(paired, share, seed=0, epoch=1)
    assert len(set(epoch.tolist())) == len(epoch) == 20 and epoch.min() >= 0
    of_pairs = epoch[paired[epoch % 20]] % 20
    assert len(of_pairs) == round(share * 20)
    counts = np.bincount(of_pairs, minlength=20)[paired]
    assert counts.max() - counts.min() <= 1
    assert num_paired == 20 or not np.array_equal(epoch, mixed(paired, share, seed=0, epoch=2))


def test_a_mix_of_a_kind_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="with an optical image"):
        mixed(np.zeros(4, bool), 0.5, 0, 0)


@pytest.mark.parametrize("num_threads", [1, 3])
def test_loading_ahead_keeps_the_order(num_threads: int) -> None:
    assert list(ahead(lambda step: 10 * step, range(9), num_threads)) == [10 * step for step in range(9)]
