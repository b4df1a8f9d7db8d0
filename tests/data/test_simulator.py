"""The simulator: physics that can be measured, classes that can be told apart, draws that belong to a chip."""

from __future__ import annotations

import numpy as np
import pytest

from sarjepa.data import simulator
from sarjepa.data.simulator import CLASSES, SIZE, SimulatedChip, simulate, simulate_optical


def _set(split: str, num: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    chips = [SimulatedChip(seed, name, split, i) for name in CLASSES for i in range(num)]
    made = [simulate(chip) for chip in chips]
    labels = np.repeat(np.arange(len(CLASSES)), num)
    return np.stack([image for image, _ in made]), labels, np.array([float(c["azimuth"]) for _, c in made])


def test_a_chip_depends_on_itself_alone() -> None:
    chips = [SimulatedChip(3, name, "train", i) for name in CLASSES[:2] for i in range(3)]
    forward = [simulate(chip)[0] for chip in chips]
    backward = [simulate(chip)[0] for chip in reversed(chips)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forward, backward, strict=True))
    assert not np.array_equal(forward[0], forward[1])
    assert not np.array_equal(forward[0], simulate(SimulatedChip(4, CLASSES[0], "train", 0))[0])
    assert not np.array_equal(forward[0], simulate(SimulatedChip(3, CLASSES[0], "test", 0))[0])


def test_chips_are_8_bit_with_the_depression_of_their_split() -> None:
    for split, depression in (("train", "17"), ("test", "15")):
        image, columns = simulate(SimulatedChip(0, "tank", split, 0))
        assert image.dtype == np.uint8
        assert image.shape == (SIZE, SIZE)
        assert columns["depression"] == depression


def test_the_optical_image_shows_the_same_target_at_the_same_place() -> None:
    """Bright scatterers lie near the roofs of their own optical image, and not near those of the next chip's."""
    own, others = [], []
    chips = [SimulatedChip(0, name, "train", i) for name in CLASSES for i in range(8)]
    optical = [simulate_optical(chip) for chip in chips]
    is_roof = [np.abs(image - np.median(image, axis=(1, 2), keepdims=True)).sum(axis=0) > 60 for image in optical]
    for number, chip in enumerate(chips):
        image = simulate(chip)[0]
        bright = image >= np.quantile(image, 0.99)
        own.append(is_roof[number][bright].mean())
        others.append(is_roof[number - 1][bright].mean())
    assert optical[0].shape == (3, SIZE, SIZE) and optical[0].dtype == np.uint8
    assert np.mean(own) > 1.5 * np.mean(others) and np.mean(own) > 0.4


def test_clutter_is_speckle_of_the_looks_and_texture_it_was_made_with() -> None:
    lit = np.ones((SIZE, SIZE))
    fields = [simulator._band_limit(simulator._clutter(lit, np.random.default_rng(i))) for i in range(40)]
    intensity = np.stack([(np.abs(field) ** 2).mean(axis=0) for field in fields])
    assert abs(intensity.mean() - 1.02) < 0.05  # clutter of mean 1 and receiver noise of 0.15^2
    contrast = intensity.var() / intensity.mean() ** 2
    assert 1 / simulator.NUM_LOOKS < contrast < 1 / simulator.NUM_LOOKS + 1 / simulator.TEXTURE_ORDER


def test_impulse_response_has_the_resolution_it_claims() -> None:
    point = np.zeros((1, SIZE, SIZE), complex)
    point[0, SIZE // 2, SIZE // 2] = 1
    response = np.abs(simulator._band_limit(point))[0, SIZE // 2]
    fine = np.interp(np.arange(0, SIZE, 0.01), np.arange(SIZE), response**2)
    width_m = (fine > fine.max() / 2).sum() * 0.01 * simulator.SPACING_M
    assert abs(width_m - simulator.RESOLUTION_M) < 0.15 * simulator.RESOLUTION_M


def test_shadow_lengthens_as_the_radar_sinks() -> None:
    def dark(depression: float) -> float:
        return float((simulator._lit(simulator.TARGETS["tank"], 30.0, depression, np.zeros(2)) == 0).mean())

    assert dark(10) > dark(15) > dark(17) > dark(45) > 0


def test_a_broadside_flashes() -> None:
    def peak(azimuth: float) -> float:
        random = np.random.default_rng(0)
        return float((simulator._scatterers("carrier", azimuth, 17.0, random)[:, 2] ** 2).sum())

    assert peak(90.0) > 2 * peak(60.0)


def _features(images: np.ndarray) -> np.ndarray:
    cells = np.log1p(images[:, 4:68, 4:68].reshape(-1, 16, 4, 16, 4).mean(axis=(2, 4))).reshape(len(images), -1)
    cells = cells - cells.mean(axis=1, keepdims=True)
    return cells / np.linalg.norm(cells, axis=1, keepdims=True)


def _nearest(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    return labels[(test @ train.T).argmax(axis=1)]


def test_classes_can_be_told_apart_but_not_from_ten_chips() -> None:
    images, labels, _ = _set("train", 100)
    tested, truth, _ = _set("test", 40)
    train, test = _features(images), _features(tested)
    few = np.flatnonzero(np.arange(len(labels)) % 100 < 10)
    ten = (_nearest(train[few], labels[few], test) == truth).mean()
    hundred = (_nearest(train, labels, test) == truth).mean()
    assert hundred > 0.55
    assert 0.25 < ten < 0.8
    assert hundred > ten + 0.05


def test_azimuth_matters_more_than_brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "SHIFT_PX", 0.0)  # of one position: where a target lies matters to pixels, too
    images, labels, azimuths = _set("train", 60)
    features = _features(images)
    same_class = labels[:, None] == labels
    apart = np.abs((azimuths[:, None] - azimuths + 180) % 360 - 180)
    similarity = features @ features.T
    near, far = same_class & (apart < 8) & (apart > 0), same_class & (apart > 60) & (apart < 120)
    assert similarity[near].mean() > similarity[far].mean() + 0.1
    means = np.array([images[labels == label].mean() for label in range(len(CLASSES))])
    spread = np.array([images[labels == label].mean(axis=(1, 2)).std() for label in range(len(CLASSES))])
    assert np.ptp(means) < spread.min()  # the mean level does not give a class away
