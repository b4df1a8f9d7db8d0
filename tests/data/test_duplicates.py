"""Near-duplicates: copies are found through brightness, contrast and re-encoding, and other chips are left alone."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarjepa.data import duplicates
from sarjepa.data.simulator import CLASSES, SimulatedChip, simulate


def _chips(num: int) -> list[np.ndarray]:
    return [simulate(SimulatedChip(0, CLASSES[i % 5], "train", i))[0] for i in range(num)]


def _group(images: list[np.ndarray]) -> duplicates.Grouping:
    descriptors = np.stack([duplicates.descriptor(image) for image in images])
    return duplicates.find_groups(descriptors, [duplicates.digest(image) for image in images])


def _jpeg(image: np.ndarray) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=92)
    return np.asarray(Image.open(stream))


def _brute(descriptors: np.ndarray) -> np.ndarray:
    vectors = descriptors.astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1)
    left, right = np.nonzero(np.triu(vectors @ vectors.T > duplicates.THRESHOLD * np.outer(norms, norms), 1))
    return duplicates._in_order(duplicates.connected(len(vectors), left, right))


def pairwise_f1(found: np.ndarray, truth: np.ndarray) -> float:
    """F1 of the pairs that two groupings put together."""
    upper = np.triu_indices(len(truth), 1)
    ours, theirs = (found[:, None] == found)[upper], (truth[:, None] == truth)[upper]
    return float(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))


def test_brighter_flatter_and_recompressed_copies_share_a_group() -> None:
    chips = _chips(40)
    images = list(chips)
    for chip in chips[:10]:
        images += [(chip * 0.6).astype(np.uint8), np.clip(chip * 0.8 + 20.0, 0, 255).astype(np.uint8), _jpeg(chip)]
    grouping = _group(images)
    assert grouping.groups[:40].tolist() == list(range(40))
    assert grouping.groups[40:].tolist() == np.repeat(np.arange(10), 3).tolist()
    assert (grouping.exact, grouping.near) == (0, 10)


def test_exact_copies_are_counted_as_such() -> None:
    chips = _chips(6)
    grouping = _group([*chips, chips[2], chips[2], chips[5]])
    assert (grouping.exact, grouping.near) == (2, 0)
    assert grouping.groups.tolist() == [0, 1, 2, 3, 4, 5, 2, 2, 5]


def test_flat_chips_resemble_nothing_but_their_copies() -> None:
    flat = [np.full((30, 30), value, np.uint8) for value in (0, 9, 9, 200)]
    assert _group(flat).groups.tolist() == [0, 1, 1, 2]


def test_sixteen_bit_and_float_copies_are_recognised() -> None:
    chip = _chips(1)[0]
    images = [chip, chip.astype(np.uint16) * 257, chip.astype(np.float32) / 255, *_chips(5)[1:]]
    assert _group(images).groups.tolist() == [0, 0, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("num", [0, 1, 2])
def test_few_chips_are_no_special_case(num: int) -> None:
    descriptors = np.zeros((0, duplicates.SIDE**2), np.int16)
    if num:
        descriptors = np.stack([duplicates.descriptor(image) for image in _chips(num)])
    grouping = duplicates.find_groups(descriptors, [bytes([i]) for i in range(num)])
    assert grouping.groups.tolist() == list(range(num))


def test_a_thousand_copies_make_no_million_edges() -> None:
    chip = _chips(1)[0].astype(float)
    random = np.random.default_rng(0)
    noisy = [np.clip(chip + random.normal(0, 1, chip.shape), 0, 255).astype(np.uint8) for _ in range(1000)]
    descriptors = np.stack([duplicates.descriptor(image) for image in noisy])
    left, right = duplicates.near_pairs(descriptors)
    _, num_tables = duplicates.plan(1000, 0.8)
    assert len(left) <= 16 * 1000 * num_tables
    assert duplicates.connected(1000, left, right).max() == 0


def test_hashing_finds_what_comparing_all_pairs_finds() -> None:
    random = np.random.default_rng(1)
    centres = random.normal(size=(300, duplicates.SIDE**2)) + 2.0 * random.normal(size=duplicates.SIDE**2)
    copies = np.repeat(centres, 4, axis=0)
    copies += random.normal(0, random.uniform(0.05, 0.5, (1200, 1)), copies.shape)
    copies -= copies.mean(axis=1, keepdims=True)
    descriptors = np.rint(copies / np.linalg.norm(copies, axis=1, keepdims=True) * duplicates.NORM).astype(np.int16)
    found = duplicates.find_groups(descriptors, [i.to_bytes(4, "little") for i in range(1200)]).groups
    assert pairwise_f1(found, _brute(descriptors)) > 0.995


def test_work_grows_slower_than_the_square() -> None:
    def expected_compares(num: int) -> float:
        bits, tables = duplicates.plan(num)
        return num * num / 2 * tables * 0.5**bits  # chips that do not resemble each other meet by chance alone

    assert expected_compares(100_000) / expected_compares(10_000) < 25
    assert expected_compares(100_000) < 100_000**2 / 2 / 1000


@pytest.mark.shared
def test_sar_acd_comes_out_as_its_distinct_chips(shared: Path) -> None:
    with (shared / "reference" / "sar_acd_near_duplicate_groups.csv").open() as stream:
        truth = {row["path"]: int(row["group"]) for row in csv.DictReader(stream)}
    with zipfile.ZipFile(shared / "data" / "SAR-ACD-main.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        images = [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names]
    grouping = _group(images)
    reference = np.array([truth[name.split("/", 1)[1]] for name in names])
    assert pairwise_f1(grouping.groups, reference) >= 0.95
    assert abs(grouping.groups.max() + 1 - 709) <= 10
    assert grouping.exact == 22
