"""Scores of predictions, all computed from the confusion matrix.

Accuracy alone flatters a classifier where most of the test set is easy (FUSAR-Ship: 80% scene classes), so balanced
accuracy (the mean of the classes' recalls) and macro-F1 (the mean of their F1) are given with it. All are in percent.
A class without test images has no recall and is left out of both means; one that is never predicted has F1 = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scores:
    """The scores and their confusion matrix.

    Attributes:
        accuracy, balanced_accuracy, macro_f1: percent.
        recall: (C,) percent, NaN for a class without test images.
        precision: (C,) percent, NaN for a class that was never predicted.
        confusion: (C, C) int64, rows true, columns predicted.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    recall: np.ndarray
    precision: np.ndarray
    confusion: np.ndarray


def confusion_matrix(true_T: np.ndarray, predicted_T: np.ndarray, num_classes: int) -> np.ndarray:
    """(C, C) counts, rows true, columns predicted.

    Example:
        >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), num_classes=2)
        array([[1, 1],
               [0, 1]])
    """
    flat = np.asarray(true_T, np.int64) * num_classes + np.asarray(predicted_T, np.int64)
    return np.bincount(flat, minlength=num_classes**2).reshape(num_classes, num_classes)


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(100.0 * part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def scores(true_T: np.ndarray, predicted_T: np.ndarray, num_classes: int) -> Scores:
    """The scores of one set of predictions.

    Args:
        true_T, predicted_T: (T,) class ids, T at least 1.
        num_classes: C.

    Example:
        >>> result = scores(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]), num_classes=2)
        >>> result.accuracy, result.balanced_accuracy
        (75.0, 50.0)
    """
    confusion = confusion_matrix(true_T, predicted_T, num_classes)
    hits, true_C, predicted_C = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    recall = _percent(hits, true_C)
    f1 = _percent(2 * hits, true_C + predicted_C)[true_C > 0]
    return Scores(
        accuracy=float(100.0 * hits.sum() / confusion.sum()),
        balanced_accuracy=float(np.nanmean(recall)),
        macro_f1=float(f1.mean()),
        recall=recall,
        precision=_percent(hits, predicted_C),
        confusion=confusion,
    )
