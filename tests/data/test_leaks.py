"""Leaks between sources: a chip is known again turned, mirrored, shifted, cropped and in decibels."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from sarjepa.data.leaks import matches, signature, signatures
from sarjepa.data.simulator import CLASSES, SimulatedChip, simulate
from sarjepa.formats.readers import read_image


def _decibels(image: np.ndarray) -> np.ndarray:
    return np.clip(20 * np.log10(image + 1.0) * 5, 0, 255).astype(np.uint8)


def _chips(num: int, split: str = "train") -> list[np.ndarray]:
    return [simulate(SimulatedChip(4, CLASSES[i % 5], split, i))[0] for i in range(num)]


def test_signature_ignores_any_monotonic_change_of_scale() -> None:
    image = _chips(1)[0].astype(np.float32)
    assert np.allclose(signature(image), signature(image * 8))
    assert (signature(image) * signature(np.sqrt(image))).sum() > 0.95


def test_most_copies_are_found_in_every_orientation_and_nothing_else() -> None:
    chips = _chips(80)
    random = np.random.default_rng(0)
    changed = []
    for i, chip in enumerate(chips):
        moved = np.roll(chip, random.integers(-2, 3, 2), (0, 1))
        turned = np.rot90(moved, i % 4)
        changed.append(_decibels(turned.T if i % 8 >= 4 else turned))
    found = matches(signatures([*changed, *_chips(80, "test")]), signatures(chips))
    assert all(match.left == match.right for match in found)
    assert len(found) >= 40, len(found)
    assert len({match.left % 8 for match in found}) == 8


def test_nothing_in_common_is_nothing_found() -> None:
    assert matches(signatures(_chips(20)), signatures(_chips(20, "test"))) == []
    assert matches(signatures([]), signatures(_chips(3))) == []


def test_a_flat_chip_is_a_copy_of_nothing() -> None:
    flat = signatures([np.zeros((80, 80)), np.ones((70, 70))])
    assert matches(flat[:1], flat[1:]) == [] and matches(flat, flat) == []


def test_chips_smaller_than_the_window_have_a_signature() -> None:
    assert signature(np.arange(30.0).reshape(5, 6)).shape == (21, 21)


@pytest.mark.shared
def test_a_sample_chip_is_found_in_the_mstar_test_split(shared: Path) -> None:
    (sample,) = (shared / "data" / "chips").glob("2s1_real_*.png")
    with zipfile.ZipFile(shared / "data" / "SAR-ATR-HDANet-main.zip") as archive:
        names = sorted(name for name in archive.namelist() if "/TEST/2S1/" in name and name.endswith(".jpeg"))
        mstar = [read_image(archive.read(name)).image for name in names]
    (match,) = matches(signatures([read_image(sample.read_bytes()).image]), signatures(mstar))
    assert names[match.right].endswith("HB15015.jpeg")
