"""Added speckle has the statistics of speckle and belongs to the image."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from sarjepa.pretext.masking import ImageKeys
from sarjepa.pretext.speckle import add_speckle, noise
from sarjepa.speckle import normals


def keys(*indices: int, epoch: int = 0) -> ImageKeys:
    return ImageKeys(seed=0, epoch=epoch, indices=np.array(indices))


def test_strong_noise_is_log_normal_and_weak_noise_gamma_of_unit_mean() -> None:
    normal = normals()[::16]
    for strength in (0.06, 0.3, 0.7):
        found = noise(normal, torch.tensor(strength)).numpy()
        assert (
            stats.kstest(found, stats.lognorm(strength, scale=np.exp(-(strength**2) / 2)).cdf).statistic < 1e-3
        )  # equally likely values, not draws
    for strength in (0.001, 0.02, 0.05):
        shape = 1 / (2 * strength) ** 2
        found = noise(normal, torch.tensor(strength)).numpy()
        assert stats.kstest(found, stats.gamma(shape, scale=1 / shape).cdf).statistic < 2e-3
        assert abs(found.astype(np.float64).mean() - 1) < 1e-4


def test_strengths_are_uniform_up_to_seven_tenths_and_chips_keep_their_mean() -> None:
    grey = torch.full((600, 1, 32, 32), 0.05)
    shown = add_speckle(grey, keys(*range(600)))
    noisy = shown[(shown != grey).flatten(1).any(dim=1)].flatten(1)
    assert abs(noisy.mean().item() / 0.05 - 1) < 0.01  # five standard errors
    strength = noisy.log().std(dim=1).numpy()
    strong = strength[strength > 0.12]
    assert len(strong) > 200 and stats.kstest(strong, stats.uniform(0.12, 0.58).cdf).pvalue > 1e-3
    logs = (noisy.log() - noisy.log().mean(dim=1, keepdim=True)).numpy()[strength > 0.12] / strong[:, None]
    assert stats.kstest(logs[:, ::50].flatten(), "norm").pvalue > 1e-3


def test_half_of_the_chips_are_touched_and_others_in_the_next_epoch() -> None:
    grey = torch.full((400, 1, 2, 2), 0.2)
    touched = [(add_speckle(grey, keys(*range(400), epoch=e)) != grey).flatten(1).any(dim=1) for e in (0, 1)]
    assert 160 < touched[0].sum() < 240
    assert 160 < (touched[0] != touched[1]).sum() < 240


def test_speckle_does_not_depend_on_the_batch() -> None:
    image = torch.rand(8, 1, 16, 16)
    whole = add_speckle(image, keys(*range(8)))
    parts = torch.cat([add_speckle(image[start : start + 2], keys(start, start + 1)) for start in (0, 2, 4, 6)])
    torch.testing.assert_close(whole, parts, atol=0, rtol=0)
    alone = [add_speckle(image[i : i + 1], keys(i)) for i in range(8)]  # also where no chip of a batch gets any
    torch.testing.assert_close(whole, torch.cat(alone), atol=0, rtol=0)


def test_the_result_stays_a_magnitude() -> None:
    shown = add_speckle(torch.rand(16, 1, 16, 16), keys(*range(16)))
    assert shown.min() >= 0 and shown.max() <= 1 and shown.dtype == torch.float32
