"""Speckle: the noise of coherent imaging, as random numbers that are functions of image and pixel.

Where many scatterers share a resolution cell, intensity is exponentially distributed about its mean; the mean of L
looks is a gamma variable with unit mean and variance 1/L (Goodman, J. Opt. Soc. Am. 66, 1976). Magnitude is multiplied
by its square root. Real chips carry such noise already, so what is added makes them chips of fewer looks.

A batch needs millions of such numbers. SplitMix64 (see `sarjepa.draws`) makes them on the device from one seed per
image: each 64-bit number gives 16 bits to each of four pixels, and these choose one of 65,536 equally likely values of
the amplitude, the quantiles of its distribution. That takes one table look-up per pixel for any L, and the variance is
within 0.01% of 1/L.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from scipy.special import gammaincinv, ndtri

_NUM_LEVELS = 1 << 16


def _signed(constant: int) -> int:
    """A 64-bit constant as torch's int64 holds it; products wrap around in the same way."""
    return constant - (1 << 64) if constant >> 63 else constant


_GAMMA, _FIRST, _SECOND = map(_signed, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _shift(bits: torch.Tensor, places: int) -> torch.Tensor:
    """Shift right, filling with zeros; torch's own shift copies the sign."""
    return (bits >> places) & ((1 << (64 - places)) - 1)


def hashed_bits(seed_B: torch.Tensor, num: int) -> torch.Tensor:
    """The first 64-bit numbers of each seed's SplitMix64 sequence, (B, num) int64, on its device.

    Example:
        >>> [hex(bits % 2**64) for bits in hashed_bits(torch.tensor([0]), 2)[0].tolist()]  # as of any SplitMix64
        ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """
    counter_N = torch.arange(1, num + 1, device=seed_B.device)
    state_BN = seed_B[:, None] + counter_N * _GAMMA
    state_BN = (state_BN ^ _shift(state_BN, 30)) * _FIRST
    state_BN = (state_BN ^ _shift(state_BN, 27)) * _SECOND
    return state_BN ^ _shift(state_BN, 31)


@functools.lru_cache(maxsize=32)
def amplitudes(looks: int) -> torch.Tensor:
    """Equally likely amplitudes of speckle of a number of looks, (65536,) float32, ascending.

    Example:
        >>> power = amplitudes(4).square()
        >>> round(power.mean().item(), 3), round(power.var().item(), 3)  # 1 and 1 / looks
        (1.0, 0.25)
    """
    quantile = (np.arange(_NUM_LEVELS) + 0.5) / _NUM_LEVELS
    return torch.from_numpy(np.sqrt(gammaincinv(looks, quantile) / looks)).float()


@functools.lru_cache(maxsize=1)
def normals() -> torch.Tensor:
    """Equally likely values of a standard normal variable, (65536,) float32, ascending.

    Example:
        >>> round(normals().std().item(), 3), round(normals()[-1].item(), 2)  # deviation, and the largest value
        (1.0, 4.32)
    """
    return torch.from_numpy(ndtri((np.arange(_NUM_LEVELS) + 0.5) / _NUM_LEVELS)).float()


def levels(seed_B: np.ndarray, height: int, width: int, device: torch.device) -> torch.Tensor:
    """Random indices into a table of 65,536 values, (B, 1, height, width) int32, from one seed per image.

    Example:
        >>> levels(np.array([3, 3, 4]), height=1, width=2, device=torch.device("cpu"))[:, 0, 0]  # equal by seed
        tensor([[ 4077, 23297],
                [ 4077, 23297],
                [ 2762, 25139]], dtype=torch.int32)
    """
    bits = hashed_bits(torch.from_numpy(seed_B).to(device), -(-height * width // 4))
    level_BN = bits.view(torch.int16)[:, : height * width].int() + _NUM_LEVELS // 2
    return level_BN.view(len(seed_B), 1, height, width)


def speckled(image_B1HW: torch.Tensor, seed_B: np.ndarray, looks_B: np.ndarray) -> torch.Tensor:
    """Multiply magnitude by the square root of a gamma variable of L looks.

    Args:
        image_B1HW: magnitude, float32.
        seed_B: (B,) int64; an image's noise is a function of its seed, its size and its number of looks.
        looks_B: (B,) int64, L of each image; 0 leaves the image as it is.

    Returns:
        (B, 1, H, W), not clipped.

    Example:
        >>> image = torch.ones(2, 1, 256, 256)
        >>> noisy = speckled(image, seed_B=np.array([1, 2]), looks_B=np.array([4, 0]))
        >>> noisy.square().var(dim=(1, 2, 3)).round(decimals=2)  # of intensity: 1 / looks, and none
        tensor([0.2500, 0.0000])
    """
    out, (height, width), device = image_B1HW.clone(), image_B1HW.shape[2:], image_B1HW.device
    for looks in np.unique(looks_B[looks_B > 0]):
        rows = np.flatnonzero(looks_B == looks)
        level_B1HW = levels(seed_B[rows], height, width, device)
        out[torch.from_numpy(rows).to(device)] *= amplitudes(int(looks)).to(device)[level_B1HW]
    return out
