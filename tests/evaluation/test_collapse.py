"""Signs of collapse on features whose answer is known."""

from __future__ import annotations

import pytest
import torch

from sarjepa.evaluation.collapse import deviation, effective_rank, patch_deviation


def test_the_rank_of_independent_features_is_near_their_number() -> None:
    feature = torch.randn(4000, 8, generator=torch.Generator().manual_seed(0))
    assert effective_rank(feature) == pytest.approx(8, rel=0.02)


def test_features_on_a_line_have_rank_one_wherever_the_line_is() -> None:
    line = torch.linspace(-1, 1, 50)[:, None] * torch.ones(1, 8) + 100
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)


def test_the_rank_ignores_scale() -> None:
    feature = torch.randn(100, 6, generator=torch.Generator().manual_seed(1))
    assert effective_rank(1000 * feature) == pytest.approx(effective_rank(feature), rel=1e-6)


def test_equal_patches_have_no_deviation_and_independent_ones_have_all() -> None:
    equal = torch.ones(3, 1, 16).expand(3, 10, 16)
    assert patch_deviation(equal) == pytest.approx(0, abs=1e-6)
    independent = torch.randn(8, 401, 64, generator=torch.Generator().manual_seed(2))
    assert patch_deviation(independent) == pytest.approx(1, abs=0.01)


def test_features_that_are_nearly_equal_deviate_little_whatever_their_rank() -> None:
    remainder = torch.randn(400, 8, generator=torch.Generator().manual_seed(3))
    assert deviation(100 + remainder) == pytest.approx(0.01, rel=0.05)
    assert effective_rank(100 + remainder) > 7
    assert deviation(remainder) == pytest.approx(1, abs=0.01)
