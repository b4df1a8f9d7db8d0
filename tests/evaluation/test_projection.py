"""The plane of principal components and cosine neighbours, on features whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from sarjepa.evaluation.projection import nearest, principal_plane


def spread(*deviations: float, num: int = 400) -> np.ndarray:
    """Independent features of the given standard deviations, in a turned coordinate system, away from the origin."""
    generator = np.random.default_rng(0)
    turn, _ = np.linalg.qr(generator.normal(size=(len(deviations), len(deviations))))
    return (generator.normal(size=(num, len(deviations))) * deviations) @ turn + 7


def test_shares_are_those_of_the_covariance_matrix() -> None:
    feature = spread(3, 2, 1, 0.5)
    variance = np.sort(np.linalg.eigvalsh(np.cov(feature.T)))[::-1]
    assert principal_plane(feature).share_2 == pytest.approx(variance[:2] / variance.sum())


def test_two_directions_are_kept_without_loss() -> None:
    feature = spread(3, 2, 0, 0)
    plane = principal_plane(feature)
    assert plane.share_2.sum() == pytest.approx(1)
    apart = np.linalg.norm(feature[:20, None] - feature[None, :20], axis=2)
    assert np.allclose(np.linalg.norm(plane.point_N2[:20, None] - plane.point_N2[None, :20], axis=2), apart)


def test_the_picture_does_not_flip() -> None:
    """Singular vectors are known up to their sign: a turn of the decomposition's order must not turn the picture."""
    feature = spread(3, 2, 1)
    order = np.random.default_rng(1).permutation(len(feature))
    assert np.allclose(principal_plane(feature).point_N2[order], principal_plane(feature[order]).point_N2)


@pytest.mark.parametrize("shape", [(1, 5), (2, 5), (6, 1), (5, 5)])
def test_features_that_span_no_plane_still_have_a_place(shape: tuple[int, int]) -> None:
    plane = principal_plane(np.full(shape, 3.0))
    assert plane.point_N2.shape == (shape[0], 2) and not plane.point_N2.any() and not plane.share_2.any()


def test_nearest_is_by_angle_and_not_by_length() -> None:
    gallery = np.array([[10.0, 0], [0, 10], [-10, 0], [0, -10]])  # mean zero
    found = nearest(np.array([[0.1, 0.02]]), gallery, np.zeros((1, 4), bool), 4)
    assert found.index_QK.tolist() == [[0, 1, 3, 2]]
    assert found.distance_QK[0, 0] < 0.03 and found.distance_QK[0, 3] > 1.97


def test_a_common_part_of_all_features_does_not_count() -> None:
    generator = np.random.default_rng(0)
    gallery, query = generator.normal(size=(30, 4)), generator.normal(size=(3, 4))
    nothing = np.zeros((3, 30), bool)
    first, second = nearest(query, gallery, nothing, 5), nearest(query + 100, gallery + 100, nothing, 5)
    assert np.array_equal(first.index_QK, second.index_QK) and np.allclose(first.distance_QK, second.distance_QK)


def test_what_is_left_out_is_not_found_and_shortens_the_list() -> None:
    gallery = np.random.default_rng(0).normal(size=(5, 3))
    left_out = np.eye(5, dtype=bool)
    left_out[2, :4] = True
    found = nearest(gallery, gallery, left_out, 6)
    assert found.index_QK.shape == (5, 1), "query 2 has one chip left"
    assert all(row not in found.index_QK[row] for row in range(5)) and found.index_QK[2, 0] == 4


def test_without_anything_left_there_is_no_neighbour() -> None:
    gallery = np.ones((2, 3))
    assert nearest(gallery, gallery, np.ones((2, 2), bool), 6).index_QK.shape == (2, 0)
