"""A draw belongs to (seed, stream, epoch, image) and to nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sarjepa.draws import permutation, stream_key, uniforms


def test_an_image_draws_the_same_whatever_its_batch() -> None:
    together = uniforms(3, "crop", 5, np.arange(8), 6)
    apart = np.concatenate([uniforms(3, "crop", 5, np.arange(start, start + 2), 6) for start in (0, 2, 4, 6)])
    np.testing.assert_array_equal(together, apart)
    np.testing.assert_array_equal(uniforms(3, "crop", 5, np.array([6, 1]), 6), together[[6, 1]])


def test_asking_for_more_numbers_keeps_the_first() -> None:
    np.testing.assert_array_equal(
        uniforms(0, "crop", 0, np.arange(4), 9)[:, :3], uniforms(0, "crop", 0, np.arange(4), 3)
    )


@pytest.mark.parametrize("changed", [(1, "crop", 0), (0, "mask", 0), (0, "crop", 1)])
def test_seed_stream_and_epoch_each_change_every_number(changed: tuple[int, str, int]) -> None:
    assert not np.isin(uniforms(*changed, np.arange(100), 5), uniforms(0, "crop", 0, np.arange(100), 5)).any()


def test_the_numbers_do_not_change_between_versions_or_platforms() -> None:
    """Written down once: a changed draw would silently change every published result."""
    assert stream_key(0, "crop", 0) == 13388886573656557987
    np.testing.assert_array_equal(
        uniforms(0, "crop", 0, np.array([0, 10**6]), 2),
        [[0.09394573850165922, 0.6994835244556232], [0.6139954109725753, 0.4283668883246695]],
    )


def test_the_numbers_are_uniform_and_neighbours_unrelated() -> None:
    numbers = uniforms(0, "crop", 0, np.arange(2000), 10)
    assert numbers.min() >= 0 and numbers.max() < 1
    assert stats.kstest(numbers.ravel(), "uniform").pvalue > 1e-3
    between_images = np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]
    between_positions = np.corrcoef(numbers[:, :-1].ravel(), numbers[:, 1:].ravel())[0, 1]
    assert max(abs(between_images), abs(between_positions)) < 0.03  # four standard errors of 20,000 pairs


def test_a_permutation_holds_every_number_once_and_changes_with_the_epoch() -> None:
    first, second = permutation(0, "order", 0, 1000), permutation(0, "order", 1, 1000)
    np.testing.assert_array_equal(np.sort(first), np.arange(1000))
    assert (first != second).mean() > 0.9
