"""Speckle put onto a chip, to be seen through.

Where many scatterers share a resolution cell, intensity is exponentially distributed about its mean; the mean of L
looks is a gamma variable with unit mean and variance 1/L. Magnitude is multiplied by its square root. Real chips carry
such noise already, so what is added makes them chips of fewer looks.

A number is needed for every pixel and look, millions in a batch: they are hashed on the device, SplitMix64 again (see
`sarjepa.draws`), from one seed per image.
"""

from __future__ import annotations

import torch

from sarjepa.draws import uniforms
from sarjepa.pretext.masking import ImageKeys

LOOKS = 4  # added to chips of about one look: enough to blur edges, not to drown targets
SHARE = 0.5  # of the chips; Liu et al., arXiv 2512.16635


def _signed(constant: int) -> int:
    """A 64-bit constant as torch's int64 holds it; products wrap around all the same."""
    return constant - (1 << 64) if constant >> 63 else constant


_GAMMA, _FIRST, _SECOND = map(_signed, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _shift(bits: torch.Tensor, places: int) -> torch.Tensor:
    """Shift right, filling with zeros; torch's own shift copies the sign."""
    return (bits >> places) & ((1 << (64 - places)) - 1)


def pixel_uniforms(seed_B: torch.Tensor, first: int, num: int) -> torch.Tensor:
    """Numbers `first` .. `first + num - 1` of each seed's sequence, (B, num) float64 in [0, 1), on its device."""
    counter_N = torch.arange(first + 1, first + num + 1, device=seed_B.device)
    state_BN = seed_B[:, None] + counter_N * _GAMMA
    state_BN = (state_BN ^ _shift(state_BN, 30)) * _FIRST
    state_BN = (state_BN ^ _shift(state_BN, 27)) * _SECOND
    return _shift(state_BN ^ _shift(state_BN, 31), 11).double() * 2.0**-53


def add_speckle(image_B1HW: torch.Tensor, keys: ImageKeys) -> torch.Tensor:
    """Speckle of `LOOKS` looks on a share of the chips, clipped to [0, 1]; which ones, and how, is up to the keys."""
    draws = uniforms(keys.seed, "speckle", keys.epoch, keys.indices, 2)
    chosen = torch.from_numpy((draws[:, 0] < SHARE).nonzero()[0]).to(image_B1HW.device)
    seed_B = torch.from_numpy((draws[:, 1] * 2.0**53).astype("int64")).to(image_B1HW.device)[chosen]
    num_pixels = image_B1HW.shape[2] * image_B1HW.shape[3]
    intensity_BN = torch.zeros(len(chosen), num_pixels, dtype=torch.float64, device=image_B1HW.device)
    for look in range(LOOKS):
        intensity_BN -= torch.log1p(-pixel_uniforms(seed_B, look * num_pixels, num_pixels)) / LOOKS
    factor = intensity_BN.sqrt().to(image_B1HW.dtype).view(-1, 1, *image_B1HW.shape[2:])
    return image_B1HW.index_copy(0, chosen, (image_B1HW[chosen] * factor).clamp(0, 1))
