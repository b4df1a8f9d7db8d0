"""What is done to test chips: its statistics, and that it hangs on the chip alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sarjepa.data.disturbances import disturbed

CHIPS = np.arange(8)


@pytest.mark.parametrize("looks", [1, 2, 4, 8])
def test_speckle_multiplies_intensity_by_a_gamma_variable_of_its_looks(looks: int) -> None:
    noisy = disturbed(torch.full((8, 1, 64, 64), 0.1), f"speckle={looks}", CHIPS)
    ratio = (noisy / 0.1) ** 2
    assert ratio.mean().item() == pytest.approx(1, abs=0.02)
    assert ratio.var().item() == pytest.approx(1 / looks, rel=0.05)


def test_the_noise_of_a_chip_hangs_on_its_index_alone() -> None:
    image = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0)) / 4
    together = disturbed(image, "speckle=2", CHIPS)
    alone = disturbed(image[5:6], "speckle=2", CHIPS[5:6])
    assert torch.equal(together[5:6], alone)
    assert not torch.equal(together[5:6], disturbed(image[5:6], "speckle=2", CHIPS[4:5]))


def test_a_gain_saturates_and_a_ramp_keeps_the_middle() -> None:
    image = torch.full((1, 1, 5, 5), 0.4)
    assert disturbed(image, "gain=2", CHIPS[:1]).unique().tolist() == pytest.approx([0.8])
    assert disturbed(image, "gain=3", CHIPS[:1]).unique().tolist() == [1.0]
    ramp = disturbed(image, "ramp=4", CHIPS[:1])[0, 0, 0]
    assert ramp.tolist() == pytest.approx([0.2, 0.2 * 2**0.5, 0.4, 0.4 * 2**0.5, 0.8])


@pytest.mark.parametrize("neutral", ["none", "gain=1", "ramp=1"])
def test_nothing_is_done_where_nothing_is_asked(neutral: str) -> None:
    image = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(disturbed(image, neutral, CHIPS[:2]), image)
