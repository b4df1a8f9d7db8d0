"""Gradient by ratio, the definition: four direct convolutions per scale.

SAR speckle multiplies: a bright field is noisier than a dark one, so a difference of neighbours reports edges wherever
the field is bright. A ratio of local means does not (R. Touzi, A. Lopes, P. Bousquet, IEEE TGRS 26(6), 1988), and its
logarithm treats bright-to-dark and dark-to-bright alike (F. Dellinger et al., IEEE TGRS 53(3), 2015). For radius r, on
the image reflected at its border and raised by eps (so that a shadow of zeros has a ratio):

    G_H = ln(M_left / M_right),   G_V = ln(M_up / M_down),   G_m = sqrt(G_H^2 + G_V^2)

with M_left the weighted mean over rows y-r..y+r and columns x-r..x, M_right its mirror image, M_up and M_down the same
turned by a quarter. The linear kernel weighs all pixels alike and both halves hold the centre line; the Gaussian one
weighs by exp(-(dx^2 + dy^2) / (2 s^2)), s = 0.3 (r - 1) + 0.8, and leaves the centre line out. Disjoint halves have
independent speckle and give an ideal step its full ratio; halves that share a line damp it by (r + 1) terms.

This costs 4 (2r+1)^2 multiply-adds per pixel and scale, 9,700 for the four scales of the method, and runs wherever a
convolution runs. It is the definition; `ratio_box` and `ratio_triton` compute the same number faster.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

KERNELS = ("linear", "gaussian")


def gaussian_sigma(radius: int) -> float:
    """The Gaussian kernel's standard deviation (px), by the usual rule for a window of 2r+1.

    Example:
        >>> gaussian_sigma(5)
        2.0
    """
    return 0.3 * (radius - 1) + 0.8


def profile(radius: int, kernel: str) -> np.ndarray:
    """One-dimensional weights at offsets -r..r, float64 (2r+1,), 1 in the centre; both kernels are separable.

    Example:
        >>> profile(1, "linear"), profile(1, "gaussian").round(2)
        (array([1., 1., 1.]), array([0.46, 1.  , 0.46]))
    """
    offset = np.arange(-radius, radius + 1)
    return np.exp(-((offset / gaussian_sigma(radius)) ** 2) / 2) if kernel == "gaussian" else np.ones(2 * radius + 1)


def half_profile(radius: int, kernel: str, centre: bool) -> np.ndarray:
    """The weights of the half before the centre, float64 (2r+1,): zero after it, and in it unless `centre`.

    Example:
        >>> half_profile(2, "linear", centre=True)
        array([1., 1., 1., 0., 0.])
    """
    weight = profile(radius, kernel)
    weight[radius + int(centre) :] = 0
    return weight


def reflected(size: int, margin: int) -> np.ndarray:
    """The source pixel of each pixel of a line extended by `margin` at both ends, int64 (size + 2 margin,).

    The border pixel is not repeated: (c b | a b c | b a). A line shorter than the margin is reflected several times, so
    that images smaller than the window can be extended too.

    Example:
        >>> reflected(4, 2)
        array([2, 1, 0, 1, 2, 3, 2, 1])
    """
    if size == 1:
        return np.zeros(1 + 2 * margin, dtype=np.int64)
    phase = np.abs(np.arange(-margin, size + margin)) % (2 * size - 2)
    return np.minimum(phase, 2 * size - 2 - phase)


def reflect_pad(image_NHW: Tensor, margin: int) -> Tensor:
    """The image extended by reflection: (N, H, W) to (N, H + 2 margin, W + 2 margin).

    Example:
        >>> reflect_pad(torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]), margin=1)[0, 0]
        tensor([5., 4., 5., 6., 5.])
    """
    height, width = image_NHW.shape[-2:]
    if margin < min(height, width):
        return F.pad(image_NHW[:, None], (margin,) * 4, mode="reflect")[:, 0]
    rows, columns = (torch.from_numpy(reflected(size, margin)).to(image_NHW.device) for size in (height, width))
    return image_NHW[:, rows[:, None], columns]


def half_kernels(radius: int, kernel: str, centre: bool) -> Tensor:
    """The four halves as convolution kernels, left, right, up, down: (4, 1, 2r+1, 2r+1) float64, each of sum 1.

    Example:
        >>> 3 * half_kernels(1, "linear", centre=False)[0, 0]  # left
        tensor([[1., 0., 0.],
                [1., 0., 0.],
                [1., 0., 0.]], dtype=torch.float64)
    """
    across, half = profile(radius, kernel), half_profile(radius, kernel, centre)
    left = torch.from_numpy(np.outer(across, half / half.sum()) / across.sum())
    return torch.stack([left, left.flip(1), left.T, left.T.flip(0)])[:, None]


def ratio_conv(image_NHW: Tensor, radii: Sequence[int], kernel: str, eps: float, centre: bool) -> Tensor:
    """Gradient by ratio by convolution.

    Args:
        image_NHW: (N, H, W) float32 or float64, any device.
        radii, kernel, eps, centre: as in `ratio.gradient_by_ratio`.

    Returns:
        (N, len(radii), H, W) of the image's dtype.

    Example:
        >>> step = torch.tensor([[[0.1] * 4 + [1.0] * 4] * 8])  # disjoint halves find ln 10, a shared line damps it
        >>> [round(ratio_conv(step, [2], "linear", 0.0, centre).max().item(), 3) for centre in (False, True)]
        [2.303, 1.946]
    """
    scales = []
    for radius in radii:
        weight = half_kernels(radius, kernel, centre).to(image_NHW)
        padded_N1HW = reflect_pad(image_NHW, radius)[:, None] + eps
        # TF32 would round float32 to ten bits of mantissa, which a definition may not do.
        with torch.backends.cudnn.flags(allow_tf32=False):
            left, right, up, down = F.conv2d(padded_N1HW, weight).unbind(1)
        scales.append(torch.sqrt(torch.log(left / right) ** 2 + torch.log(up / down) ** 2))
    return torch.stack(scales, dim=1)
