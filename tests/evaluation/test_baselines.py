"""Baselines are what they are called, each one feature an image, in the place of an encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sarjepa.config import BASELINES as NAMES
from sarjepa.evaluation.baselines import BASELINES, LOG_OFFSET, RADII
from sarjepa.evaluation.features import extract
from sarjepa.ops.ratio import gradient_by_ratio


def images(size: int) -> torch.Tensor:
    return torch.rand(4, 1, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
def test_every_baseline_of_the_settings_gives_one_feature_of_its_own_input_size(name: str) -> None:
    assert set(BASELINES) == set(NAMES)
    baseline = BASELINES[name]()
    image = images(baseline.image_size)
    features = extract(baseline, lambda index: image[index], 4, batch_size=3)
    assert list(features) == ["cls"] and features["cls"].shape[0] == 4
    assert np.isfinite(features["cls"]).all() and features["cls"].std(axis=0).min() > 0


def test_pixels_are_averaged_to_sixteen_by_sixteen_and_log_pixels_are_their_logarithm() -> None:
    image = images(64)
    pooled = nn.functional.avg_pool2d(image, 4).flatten(1)
    assert torch.allclose(BASELINES["pixels"]().forward_features(image)[:, 0], pooled, atol=1e-6)
    assert torch.allclose(BASELINES["log-pixels"]().forward_features(image)[:, 0], (pooled + LOG_OFFSET).log())


def test_ratio_is_the_pooled_edge_strength_radius_by_radius() -> None:
    image = images(64)
    wanted = [nn.functional.avg_pool2d(gradient_by_ratio(image, (radius,)), 4).flatten(1) for radius in RADII]
    assert torch.allclose(BASELINES["ratio"]().forward_features(image)[:, 0], torch.cat(wanted, dim=1), atol=1e-5)


def test_histograms_tell_the_direction_of_an_edge() -> None:
    """A stripe pattern and the same turned by 90 degrees have the same brightness and other histograms."""
    stripes = torch.zeros(1, 1, 64, 64)
    stripes[..., ::8, :] = stripes[..., 1::8, :] = 1
    across, along = (BASELINES["hog"]().forward_features(x)[0, 0] for x in (stripes, stripes.transpose(2, 3)))
    assert float(across @ along / (across.norm() * along.norm())) < 0.5
