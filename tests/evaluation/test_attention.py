"""Attention distance by definition, on patterns whose distance is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sarjepa.evaluation.attention import (
    brightest_patch,
    head_distances,
    mean_distances,
    patch_distances,
    relative_to_uniform,
    rollout,
    token_maps,
    uniform_distance,
)


def pattern(patches_NN: torch.Tensor, to_class: float = 0.0) -> torch.Tensor:
    """(1, 1, 1 + N, 1 + N) attention whose patch rows keep 1 - to_class for the patches."""
    num = len(patches_NN)
    attention = torch.zeros(1, 1, 1 + num, 1 + num)
    attention[..., 0, :] = 1 / (1 + num)
    attention[..., 1:, 0] = to_class
    attention[..., 1:, 1:] = (1 - to_class) * patches_NN
    return attention


def test_distances_are_between_patch_centres_in_pixels() -> None:
    distance = patch_distances(2, 3, 16)
    assert distance.shape == (6, 6) and float(distance[0, 2]) == 32
    assert float(distance[0, 4]) == pytest.approx(16 * math.sqrt(2))
    assert torch.equal(distance, distance.T) and float(distance.diagonal().sum()) == 0


def test_a_head_that_looks_at_itself_has_distance_zero() -> None:
    assert float(head_distances(pattern(torch.eye(9)), patch_distances(3, 3, 8))) == 0


def test_a_head_that_looks_one_patch_to_the_side_has_one_patch() -> None:
    shift = torch.zeros(16, 16)
    for patch in range(16):
        shift[patch, patch + 1 if patch % 4 < 3 else patch - 1] = 1
    assert float(head_distances(pattern(shift), patch_distances(4, 4, 16))) == 16


def test_uniform_attention_gives_the_mean_distance_of_all_pairs() -> None:
    distance = patch_distances(5, 5, 16)
    uniform = torch.full((25, 25), 1 / 25)
    assert float(head_distances(pattern(uniform), distance)) == pytest.approx(float(distance.mean()), rel=1e-6)


def test_what_goes_to_the_class_token_counts_only_when_renormalised() -> None:
    distance, uniform = patch_distances(4, 4, 16), torch.full((16, 16), 1 / 16)
    full = float(head_distances(pattern(uniform), distance))
    assert float(head_distances(pattern(uniform, to_class=0.25), distance)) == pytest.approx(0.75 * full)
    assert float(head_distances(pattern(uniform, to_class=0.25), distance, True)) == pytest.approx(full)


@pytest.mark.parametrize("renormalise", [False, True])
def test_uniform_attention_has_the_uniform_distance(renormalise: bool) -> None:
    uniform = torch.full((1, 1, 16, 16), 1 / 16)
    found = head_distances(uniform, patch_distances(3, 5, 8), renormalise)
    assert uniform_distance((3, 5), 8, renormalise) == pytest.approx(float(found), rel=1e-6)


def test_where_the_class_token_looks_does_not_count() -> None:
    attention = pattern(torch.eye(9))
    attention[..., 0, :] = 0
    attention[..., 0, 9] = 1
    assert float(head_distances(attention, patch_distances(3, 3, 8))) == 0


def test_blocks_and_heads_keep_their_places() -> None:
    near, far = torch.eye(16), torch.eye(16).flip(0)
    block = torch.cat([pattern(near), pattern(far)], dim=1)
    found = mean_distances([block, block.flip(1)], (4, 4), 8)
    assert found.shape == (2, 2) and found[0, 0] == found[1, 1] == 0 and found[0, 1] == found[1, 0] > 0
    assert np.allclose(found, mean_distances([block.repeat(3, 1, 1, 1), block.flip(1).repeat(3, 1, 1, 1)], (4, 4), 8))


def test_maps_are_laid_out_row_by_row() -> None:
    attention = pattern(torch.eye(6))
    attention[..., 0, 1:] = torch.arange(6.0)
    assert token_maps(attention, (2, 3))[0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert token_maps(attention, (2, 3), token=3)[0, 0].tolist() == [[0, 0, 1], [0, 0, 0]]


def test_the_brightest_patch_is_the_one_of_the_largest_mean() -> None:
    image = torch.zeros(4, 6)
    image[0, 0] = 0.9  # one bright pixel does not make a bright patch
    image[2:, 4:] = 0.5
    assert brightest_patch(image, 2) == (1, 2)


def test_uniform_attention_is_one_everywhere_and_a_weaker_head_is_not_told_by_its_strength() -> None:
    assert torch.allclose(relative_to_uniform(torch.full((2, 3, 4), 0.01)), torch.ones(2, 3, 4))
    maps = torch.rand(2, 3, 4)
    assert torch.allclose(relative_to_uniform(maps), relative_to_uniform(0.1 * maps))


def test_rollout_of_two_blocks_by_hand() -> None:
    """Class token looks at patch 0 in the last block; patch 0 looked at patch 3 in the first."""
    first, last = torch.eye(5)[None, None].clone(), torch.eye(5)[None, None].clone()
    first[0, 0, 1] = torch.tensor([0.0, 0, 0, 0, 1])
    last[0, 0, 0] = torch.tensor([0.0, 1, 0, 0, 0])
    found = rollout([first, last], (2, 2))[0, -1]
    # Class token: half itself, half patch 0; patch 0: half itself, half patch 3. So 1/4 each, normalised to 1/2.
    assert found.flatten().tolist() == [0.5, 0, 0, 0.5]
