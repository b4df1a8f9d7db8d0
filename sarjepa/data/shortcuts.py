"""Shortcuts: how much of the labels one trivial feature alone predicts, for which no encoder deserves credit.

A set may give its classes away by features that have nothing to do with the targets: chips cut larger around larger
vehicles, one class recorded on a brighter day, a border left by another processor, one scene or one serial number on
both sides of the split. Each such feature makes a classifier: the feature is cut into bins (a number at the quantiles
of the training chips, a name as it is), and a bin predicts the class that has the largest share of its own chips in it.
Its accuracy on the test split, or without splits on five held-out fifths, tells how much the feature gives away.

Accuracy is the mean over the classes (balanced), so that chance is one in the number of classes. A chip whose bin holds
no training chip counts as chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sarjepa.data.shards import Shards
from sarjepa.draws import permutation

NUM_BINS = 32
NUM_FOLDS = 5
FRAME_SHARE = 16  # the border's width is a side divided by this
COLUMNS = ("serial", "date")  # further columns that tell recordings apart
MIN_CHIPS = 50  # with fewer, the accuracy is mostly luck
LARGE = 0.25  # share of the way from chance to 100%


@dataclass(frozen=True)
class Shortcut:
    """What one feature alone predicts.

    Attributes:
        kind: the feature.
        accuracy: balanced, in percent.
        chance: accuracy of a guess, in percent.
    """

    kind: str
    accuracy: float
    chance: float

    @property
    def is_large(self) -> bool:
        """Whether it is large enough to be told beside a table of accuracy."""
        return self.accuracy > self.chance + LARGE * (100 - self.chance)

    def __str__(self) -> str:
        return f"{self.kind} alone predicts {self.accuracy:.0f}% of the labels (chance {self.chance:.0f}%)"


def looks_of(image: np.ndarray) -> tuple[float, float]:
    """The mean of a chip and the mean of its border, as stored.

    Example:
        >>> looks_of(np.pad(np.ones((2, 2)), 1))
        (0.25, 0.0)
    """
    rows, columns = (max(1, side // FRAME_SHARE) for side in image.shape)
    frame = np.ones(image.shape, bool)
    frame[rows:-rows, columns:-columns] = False
    return float(image.mean()), float(image[frame].mean())


def shortcuts(labels: np.ndarray, splits: np.ndarray, features: Mapping[str, np.ndarray]) -> list[Shortcut]:
    """What each feature alone predicts of the labels; empty for fewer than MIN_CHIPS chips or a single class.

    Args:
        labels: (N,) of the chips, -1 for none.
        splits: (N,) "train", "test" or others.
        features: (N,) numbers or texts, by kind.

    Example:
        >>> labels, sizes = np.repeat([0, 1], 30), np.repeat(["64 x 64", "96 x 96"], 30)
        >>> print(*shortcuts(labels, np.full(60, ""), {"chip size": sizes}))
        chip size alone predicts 100% of the labels (chance 50%)
    """
    known = np.flatnonzero(labels >= 0)
    classes, label_M = np.unique(labels[known], return_inverse=True)
    if len(classes) < 2 or len(known) < MIN_CHIPS:
        return []
    sides = _sides(splits[known])
    results = []
    for kind, values in features.items():
        right = np.concatenate([_right(values[known], label_M, train, test) for train, test in sides])
        tested = np.concatenate([label_M[test] for _, test in sides])
        recalls = [right[tested == label].mean() for label in np.unique(tested)]
        results.append(Shortcut(kind, round(100 * float(np.mean(recalls)), 2), round(100 / len(classes), 2)))
    return results


def _sides(splits: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(training chips, test chips) of the split, or of each fold."""
    if {"train", "test"} <= set(splits.tolist()):
        return [(np.flatnonzero(splits == "train"), np.flatnonzero(splits == "test"))]
    fold = np.empty(len(splits), np.int64)
    fold[permutation(0, "shortcuts", 0, len(splits))] = np.arange(len(splits)) % NUM_FOLDS
    return [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(NUM_FOLDS)]


def _right(values: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """(T,) score of each test chip's prediction: 1, 0, or chance where its bin holds no training chip."""
    if values.dtype.kind in "fi":
        edges = np.quantile(values[train], np.linspace(0, 1, NUM_BINS + 1)[1:-1])
        bins = np.searchsorted(edges, values)
    else:
        bins = np.unique(values, return_inverse=True)[1]
    num_classes = labels.max() + 1
    share = np.zeros((bins.max() + 1, num_classes))
    np.add.at(share, (bins[train], labels[train]), 1)
    share /= np.maximum(share.sum(axis=0), 1)
    guess = share.argmax(axis=1)[bins[test]] == labels[test]
    return np.where(share.sum(axis=1)[bins[test]] > 0, guess, 1 / num_classes)


def features_of(
    shapes_N2: np.ndarray, looks_N2: np.ndarray, groups: np.ndarray, columns: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    """The features that may give labels away, by kind.

    Args:
        shapes_N2: heights and widths (px) of the chips.
        looks_N2: results of `looks_of`.
        groups: (N,) scenes.
        columns: further columns of the source, by name; those of `COLUMNS` are taken.

    Example:
        >>> list(features_of(np.array([[64, 96]]), np.array([[0.2, 0.1]]), np.array([0]), {"serial": ["9563"]}))
        ['chip size', 'mean brightness', 'border', 'scene', 'serial']
    """
    return {
        "chip size": np.array([f"{height} x {width}" for height, width in shapes_N2.tolist()]),
        "mean brightness": looks_N2[:, 0],
        "border": looks_N2[:, 1],
        "scene": groups.astype(str),
        **{key: np.array(columns[key]) for key in COLUMNS if key in columns},
    }


def shortcuts_of(shards: Shards, images: Iterable[np.ndarray]) -> list[Shortcut]:
    """What each feature of a built source alone predicts; `images` are its chips, in order.

    Example:
        >>> shards = sarjepa.open_shards("data/shards/toy")
        >>> found = shortcuts_of(shards, (chip.image for chip in shards))
        >>> print(max(found, key=lambda shortcut: shortcut.accuracy))
        mean brightness alone predicts 56% of the labels (chance 33%)
    """
    looks_N2 = np.array([looks_of(image) for image in images])
    columns = {key: shards.meta(key) for key in COLUMNS if shards.has_meta(key)}
    return shortcuts(shards.labels, shards.splits, features_of(shards.shapes, looks_N2, shards.groups, columns))
