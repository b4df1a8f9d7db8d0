"""Added speckle has the statistics of speckle and belongs to the image."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from sarjepa.pretext.masking import ImageKeys
from sarjepa.pretext.speckle import LOOKS, add_speckle


def keys(*indices: int, epoch: int = 0) -> ImageKeys:
    return ImageKeys(seed=0, epoch=epoch, indices=np.array(indices))


def test_intensity_is_a_gamma_variable_with_unit_mean() -> None:
    grey = torch.full((40, 1, 32, 32), 0.2)
    shown = add_speckle(grey, keys(*range(40)))
    noisy = shown[(shown != grey).flatten(1).any(dim=1)]
    intensity = (noisy / 0.2).square().flatten().numpy()
    assert stats.kstest(intensity, stats.gamma(LOOKS, scale=1 / LOOKS).cdf).pvalue > 1e-3


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


def test_the_result_stays_a_magnitude() -> None:
    shown = add_speckle(torch.rand(16, 1, 16, 16), keys(*range(16)))
    assert shown.min() >= 0 and shown.max() <= 1 and shown.dtype == torch.float32
