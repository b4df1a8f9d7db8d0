"""Metrics from the confusion matrix."""

from __future__ import annotations

import numpy as np
import pytest

from sarjepa.evaluation.metrics import confusion_matrix, scores


def test_a_majority_guess_is_seen_through() -> None:
    true = np.array([0] * 80 + [1] * 10 + [2] * 10)
    found = scores(true, np.zeros(100, int), 3)
    assert found.accuracy == 80
    assert found.balanced_accuracy == pytest.approx(100 / 3)
    assert found.macro_f1 == pytest.approx(100 * (2 * 80 / 180) / 3)


def test_rows_are_true_and_columns_predicted() -> None:
    assert confusion_matrix(np.array([0, 0, 1]), np.array([1, 1, 1]), 2).tolist() == [[0, 2], [0, 1]]


def test_perfect_predictions_score_a_hundred() -> None:
    true = np.arange(12) % 4
    found = scores(true, true, 4)
    assert (found.accuracy, found.balanced_accuracy, found.macro_f1) == (100, 100, 100)


def test_a_class_without_test_images_is_left_out_of_the_means() -> None:
    found = scores(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), 3)
    assert np.isnan(found.recall[2]) and np.isnan(found.precision[2])
    assert found.balanced_accuracy == 75
    assert found.macro_f1 == pytest.approx(100 * (4 / 5 + 2 / 3) / 2)


def test_precision_counts_what_was_called_by_that_name() -> None:
    found = scores(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    assert found.precision.tolist() == [100, 50] and found.recall.tolist() == [50, 100]
