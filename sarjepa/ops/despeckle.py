r"""Despeckling by Lee's filter, which tells speckle from structure by the statistics of a window.

In a window of the intensity I with mean m and variance v, speckle of L looks alone gives v = m^2 / L. The variance
beyond that is of the scene (Lee, IEEE Trans. Pattern Anal. Mach. Intell. 2, 1980, in its multiplicative form):

    out = m + k (I - m),      k = max(0, 1 - m^2 / (L v)) / (1 + 1 / L)

Homogeneous ground becomes its mean, and only the last factor changes strong scatterers. It is the simplest filter that
does not smear bright points, and takes one pass of box sums. It assumes that the speckle of neighbouring pixels is
uncorrelated and that stored values are proportional to magnitude: chips that went through a grey mapping, and chips
that were resampled, are smoothed less than the formula promises.

Shapes: B chips, H x W pixels.
"""

from __future__ import annotations

import torch
from torch.nn import functional

WINDOW = 5  # px: a vehicle's scattering centres are some 2 px wide, and clutter needs 25 samples for a mean


def despeckled(image_B1HW: torch.Tensor, looks: float = 1.0, window: int = WINDOW) -> torch.Tensor:
    """Lee's filter on the intensity.

    Args:
        image_B1HW: magnitude.
        looks: number of looks of the image's speckle; single-look complex images have 1.
        window: side (px) of the window, odd; at the border, only its pixels inside the image count.

    Returns:
        (B, 1, H, W) magnitude, float32.

    Example:
        >>> image = torch.ones(1, 1, 9, 9)
        >>> image[0, 0, 4, 4] = 20.0  # a strong scatterer on homogeneous ground
        >>> despeckled(image)[0, 0, 4, ::4]
        tensor([ 1.0000, 14.1233,  1.0000])
    """
    intensity = image_B1HW.float().square()

    def mean(values: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(values, window, stride=1, padding=window // 2, count_include_pad=False)

    average = mean(intensity)
    variance = (mean(intensity.square()) - average.square()).clamp(min=1e-12)
    share = (1 - average.square() / looks / variance).clamp(min=0) / (1 + 1 / looks)
    return (average + share * (intensity - average)).clamp(min=0).sqrt()
