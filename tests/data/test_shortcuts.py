"""Shortcuts: what one feature alone predicts, and that chance is called chance."""

from __future__ import annotations

import numpy as np
import pytest

from sarjepa.data.shortcuts import Shortcut, looks_of, shortcuts

NUM, CLASSES = 600, 3
LABELS = np.repeat(np.arange(CLASSES), NUM // CLASSES)
SPLITS = np.where(np.arange(NUM) % 2, "train", "test")
NONE = np.full(NUM, "")


@pytest.mark.parametrize("splits", [SPLITS, NONE])
def test_a_feature_that_tells_classes_is_found_and_noise_is_chance(splits: np.ndarray) -> None:
    random = np.random.default_rng(0)
    brightness = LABELS + 0.1 * random.standard_normal(NUM)
    features = {
        "brightness": brightness,
        "noise": random.standard_normal(NUM),
        "size": np.array(["64 x 64", "96 x 96"])[(LABELS == 2).astype(int)],
        "unique": np.arange(NUM).astype(str),
        "constant": np.full(NUM, 7.0),
    }
    found = {one.kind: one for one in shortcuts(LABELS, splits, features)}
    assert found["brightness"].accuracy > 95 and found["brightness"].is_large
    assert abs(found["noise"].accuracy - 100 / 3) < 8 and not found["noise"].is_large
    assert found["size"].accuracy == pytest.approx(200 / 3, abs=0.01), "one of two classes of a size, and the third"
    assert found["unique"].accuracy == found["constant"].accuracy == pytest.approx(100 / 3, abs=0.01)


def test_a_small_class_counts_as_much_as_a_large_one() -> None:
    labels = np.array([0] * 540 + [1] * 60)
    [one] = shortcuts(labels, NONE, {"noise": np.random.default_rng(0).standard_normal(NUM)})
    assert (one.chance, one.is_large) == (50, False)


def test_chips_without_a_label_few_chips_and_one_class_are_left_alone() -> None:
    feature = {"size": LABELS.astype(float)}
    assert shortcuts(np.full(NUM, -1), NONE, feature) == shortcuts(np.zeros(NUM, int), NONE, feature) == []
    assert shortcuts(LABELS[::20], NONE[::20], {"size": feature["size"][::20]}) == []
    half = np.where(LABELS == 1, -1, LABELS)
    assert shortcuts(half, NONE, feature) == [Shortcut("size", 100, 50)]


def test_the_border_is_the_outer_part_of_a_chip() -> None:
    image = np.zeros((32, 64), np.uint8)
    image[2:-2, 4:-4] = 100
    mean, border = looks_of(image)
    assert border == 0 and mean == pytest.approx(100 * 28 * 56 / (32 * 64))
    assert looks_of(np.ones((1, 1))) == (1, 1)
