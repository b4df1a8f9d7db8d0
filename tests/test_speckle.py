"""Speckle has the distribution that physics gives it, and each image has its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from sarjepa.speckle import amplitudes, hashed_bits, speckled


def test_the_hash_on_the_device_is_splitmix64() -> None:
    """The first outputs for seed 1234567, as its reference implementation prints them."""
    numbers = hashed_bits(torch.tensor([1234567]), 3)[0].tolist()
    assert [number % 2**64 for number in numbers] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("looks", [1, 2, 4, 8])
def test_intensity_is_a_gamma_variable_with_unit_mean_and_variance_one_over_looks(looks: int) -> None:
    exact = amplitudes(looks).double().square()
    assert exact.mean().item() == pytest.approx(1, rel=1e-4)
    assert exact.var().item() == pytest.approx(1 / looks, rel=1e-3)
    out = speckled(torch.full((8, 1, 63, 65), 0.5), np.arange(8), np.full(8, looks))
    intensity = (out / 0.5).square().flatten().numpy()
    assert stats.kstest(intensity, stats.gamma(looks, scale=1 / looks).cdf).pvalue > 1e-3
    assert abs(intensity.mean() - 1) < 4 / np.sqrt(looks * len(intensity))


def test_neither_pixels_nor_images_share_their_noise() -> None:
    noise = speckled(torch.ones(16, 1, 64, 64), np.arange(16), np.full(16, 4))[:, 0].numpy()
    rows = noise.reshape(16, -1)
    assert np.abs(np.corrcoef(rows) - np.eye(16)).max() < 5 / 64
    for step in (1, 2, 3, 4, 64):
        assert abs(np.corrcoef(rows[:, :-step].ravel(), rows[:, step:].ravel())[0, 1]) < 5 / 256


def test_zero_looks_leave_an_image_as_it_is_and_others_do_not_change_its_noise() -> None:
    image, seeds, looks = torch.rand(6, 1, 8, 8), np.arange(6), np.array([0, 2, 3, 0, 2, 8])
    together = speckled(image, seeds, looks)
    torch.testing.assert_close(together[looks == 0], image[looks == 0], atol=0, rtol=0)
    apart = torch.cat([speckled(image[i : i + 1], seeds[i : i + 1], looks[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(together, apart, atol=0, rtol=0)
