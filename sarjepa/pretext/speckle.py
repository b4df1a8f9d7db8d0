"""Speckle added to a chip, the input of sarmae's encoder.

This is SARE (Liu et al., arXiv 2512.16635, 2025) with its released constants. Half of the chips get noise, each of a
strength s that is uniform in 0 to 0.7; magnitude is multiplied by

    exp(s n - s^2 / 2), n standard normal                 where s > 0.05
    a gamma variable of unit mean and shape 1 / (2 s)^2   else

and clipped to [1e-8, 1]. The term s^2 / 2 restores the mean: the expected one, as the chip's own would leak masked
patches into visible ones. The shape k of the gamma variable is never below 100, where the variable is
(1 - 1 / (9 k) + n / (3 sqrt(k)))^3 up to a hundredth of its deviation (Wilson and Hilferty, PNAS 17, 1931); so both
branches look up one normal number per pixel.
"""

from __future__ import annotations

import numpy as np
import torch

from sarjepa.draws import uniforms
from sarjepa.pretext.masking import ImageKeys
from sarjepa.speckle import levels, normals

SHARE, STRONGEST, LOG_NORMAL_ABOVE = 0.5, 0.7, 0.05
_WEAKEST = 1e-4  # keeps the shape finite; far below a grey level


def noise(normal: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """The factor of a pixel, from a standard normal number and its chip's strength.

    Example:
        >>> noise(torch.tensor([-1.0, 0.0, 1.0]), strength=torch.tensor(0.5))
        tensor([0.5353, 0.8825, 1.4550])
    """
    shape = (2 * strength.clamp(min=_WEAKEST)).square().reciprocal()
    gamma = (1 - 1 / (9 * shape) + normal / (3 * shape.sqrt())) ** 3
    return torch.where(strength > LOG_NORMAL_ABOVE, (strength * normal - strength.square() / 2).exp(), gamma)


def add_speckle(image_B1HW: torch.Tensor, keys: ImageKeys) -> torch.Tensor:
    """Add noise to a share of the chips; the keys decide which chips, its strength and its values.

    Example:
        >>> chips = torch.full((4, 1, 32, 32), 0.5)
        >>> noisy = add_speckle(chips, ImageKeys(seed=0, epoch=1, indices=np.arange(4)))
        >>> noisy.std(dim=(1, 2, 3)).round(decimals=2)  # two of them, of different strength
        tensor([0.0000, 0.2300, 0.0500, 0.0000])
    """
    draws = uniforms(keys.seed, "speckle", keys.epoch, keys.indices, 3)
    rows = np.flatnonzero(draws[:, 0] < SHARE)
    device, row_n = image_B1HW.device, torch.from_numpy(rows).to(image_B1HW.device)
    seed_n, (height, width) = (draws[rows, 1] * 2.0**53).astype(np.int64), image_B1HW.shape[2:]
    level_n1HW = levels(seed_n, height, width, device)
    strength_n111 = torch.from_numpy(STRONGEST * draws[rows, 2]).float().to(device)[:, None, None, None]
    noisy = image_B1HW[row_n] * noise(normals().to(device)[level_n1HW], strength_n111)
    return image_B1HW.index_copy(0, row_n, noisy.clamp(1e-8, 1))
