"""Histograms of oriented gradients, differential (HOG) and by ratio (SAR-HOG), as targets to predict.

N. Dalal and B. Triggs (CVPR 2005) describe a cell of 8 x 8 pixels by the sum of its gradients in each of 9 directions,
whatever their sign; MaskFeat (C. Wei et al., CVPR 2022) predicts that of masked patches. A pixel of gradient (g_x, g_y)
adds its magnitude to the bin of its direction,

    bin = floor(atan2(g_x, g_y) / pi * 9) mod 9,     weight = sqrt(g_x^2 + g_y^2)

a cell sums its pixels' weights, and the 9 sums are divided by their Euclidean length. The angle is counted from the
vertical, as in MaskFeat; scikit-image counts it from the horizontal, so that with 9 bins the edges of its bins fall on
the middles of these.

Dalal and Triggs weight a pixel by a Gaussian about the middle of its block (16 px; its deviation is half of that), so
that pixels on a block's border count less; FG-MAE (Wang et al., 2024) does so with windows side by side. `window` is
the side of these windows; without it all pixels count alike.

On SAR a differential gradient is large wherever the field is bright. SAR-HOG (S. Song, B. Xu, J. Yang, Remote Sensing
8(8):683, 2016) puts the ratio gradient in its place, G_H = ln(left / right) and G_V = ln(up / down) of `ratio_conv`,
one histogram per scale.

HOG's Sobel gradient and the means of the ratio gradient reflect the border. A cell without gradient gives zeros.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sarjepa.errors import InputError
from sarjepa.ops.ratio_conv import half_profile, profile, reflect_pad

_RESOLUTION = 1e-5  # smallest log ratio that float32 sums can tell from 0; 0.0001 dB


def _check(image: Tensor, bins: int, cell: int) -> None:
    if image.ndim != 4 or not image.is_floating_point():
        raise InputError("no such image", expected="(B, 1, H, W), floating", got=(tuple(image.shape), image.dtype))
    if bins < 1 or cell < 1:
        raise InputError("value out of range", where="bins, cell", expected="at least 1", got=(bins, cell))
    if image.shape[-2] % cell or image.shape[-1] % cell:
        raise InputError(
            "image does not divide into cells", expected=f"sides in multiples of {cell}", got=tuple(image.shape[-2:])
        )


def oriented_histogram(across_NHW: Tensor, down_NHW: Tensor, bins: int, cell: int) -> Tensor:
    """Magnitudes by direction, summed over cells and normalised.

    Args:
        across_NHW, down_NHW: (N, H, W) gradient along x (from column to column) and along y (from row to row).
        bins: number of directions over half a turn.
        cell: side (px) of a cell; divides H and W.

    Returns:
        (N, bins, H / cell, W / cell), of Euclidean length 1 along the bins, or 0 where there is no gradient.

    Example:
        >>> oriented_histogram(torch.ones(1, 2, 2), torch.zeros(1, 2, 2), bins=3, cell=2).flatten()
        tensor([0., 1., 0.])
    """
    magnitude_NHW = torch.hypot(across_NHW, down_NHW)
    turns_NHW = torch.atan2(across_NHW, down_NHW) / math.pi * bins
    bin_NHW = turns_NHW.nan_to_num().floor().long() % bins  # where the gradient is NaN, so is the weight
    num, height, width = magnitude_NHW.shape
    dense_NKHW = magnitude_NHW.new_zeros(num, bins, height, width)
    dense_NKHW.scatter_(1, bin_NHW[:, None], magnitude_NHW[:, None])
    return F.normalize(F.avg_pool2d(dense_NKHW, cell) * cell**2, dim=1)


def sobel_components(image_NHW: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel's gradient along x and along y, (N, H, W) each; differences first, so that a mirrored border gives 0.

    Example:
        >>> across, down = sobel_components(torch.arange(4.0).expand(1, 3, 4))
        >>> across[0, 0], down[0, 0]
        (tensor([0., 8., 8., 0.]), tensor([0., 0., 0., 0.]))
    """
    padded = reflect_pad(image_NHW, 1)
    across = padded[:, :, 2:] - padded[:, :, :-2]
    down = padded[:, 2:] - padded[:, :-2]
    return (
        across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:],
        down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:],
    )


def gaussian_windows(height: int, width: int, side: int) -> Tensor:
    """Gaussian windows side by side, 1 at the centre of each, deviation half the side: (height, width) float64.

    Example:
        >>> gaussian_windows(3, 6, side=3)[1]
        tensor([0.8007, 1.0000, 0.8007, 0.8007, 1.0000, 0.8007], dtype=torch.float64)
    """

    def along(length: int) -> Tensor:
        offset = torch.arange(length, dtype=torch.float64) % side - (side - 1) / 2
        return torch.exp(-0.5 * (offset / (side / 2)).square())

    return along(height)[:, None] * along(width)[None, :]


@torch.no_grad()
def hog(image: Tensor, bins: int = 9, cell: int = 8, window: int | None = None) -> Tensor:
    """Histogram of Sobel gradients, L2-normalised per cell.

    Args:
        image: (B, C, H, W) magnitude of a floating dtype; H and W multiples of `cell`.
        bins: number of directions over half a turn.
        cell: side (px) of a cell.
        window: side (px) of the Gaussian windows; None: all pixels count alike.

    Returns:
        (B, C * bins, H / cell, W / cell), the bins of a channel together; the image's dtype; no gradient.

    Raises:
        InputError: the image has another shape, or bins or cell is below 1.

    Example:
        >>> hog(torch.rand(2, 1, 16, 24)).shape
        torch.Size([2, 9, 2, 3])
    """
    _check(image, bins, cell)
    batch, channels, height, width = image.shape
    planes_NHW = image.to(torch.promote_types(image.dtype, torch.float32)).reshape(-1, height, width)
    across, down = sobel_components(planes_NHW)
    if window is not None:
        weight_HW = gaussian_windows(height, width, window).to(across)
        across, down = across * weight_HW, down * weight_HW
    histogram = oriented_histogram(across, down, bins, cell)
    return histogram.reshape(batch, channels * bins, height // cell, width // cell).to(image.dtype)


def ratio_components(image_NHW: Tensor, radius: int, eps: float) -> tuple[Tensor, Tensor]:
    """G_H and G_V of the linear kernel with a shared centre line, signed: (N, H, W) each.

    The mean over a rectangle is separable, so one axis follows the other (the window's width, then the halves along the
    other axis): 2 (3r + 2) multiply-adds per pixel rather than 4 (2r+1)^2. On the image's border reflection makes the
    halves equal, and there rounding must not choose the direction, so values below `_RESOLUTION` become 0.

    Example:
        >>> step = torch.tensor([[[0.1] * 4 + [1.0] * 4] * 8])  # dark on the left: ln(left / right) < 0
        >>> across, down = ratio_components(step, radius=2, eps=0)
        >>> across[0, 4], bool(down.any())
        (tensor([ 0.0000,  0.0000, -1.3863, -1.9459, -0.9163, -0.3567,  0.0000,  0.0000]), False)
    """
    padded_N1HW = reflect_pad(image_NHW, radius)[:, None] + eps
    whole = torch.from_numpy(profile(radius, "linear")).to(padded_N1HW)
    before = torch.from_numpy(half_profile(radius, "linear", centre=True)).to(padded_N1HW)
    halves = torch.stack([before, before.flip(0)])
    with torch.backends.cudnn.flags(allow_tf32=False):
        columns_2 = F.conv2d(F.conv2d(padded_N1HW, whole.view(1, 1, -1, 1)), halves.view(2, 1, 1, -1))
        rows_2 = F.conv2d(F.conv2d(padded_N1HW, whole.view(1, 1, 1, -1)), halves.view(2, 1, -1, 1))
    across, down = (torch.log(half[:, 0] / half[:, 1]) for half in (columns_2, rows_2))
    return across.masked_fill(across.abs() < _RESOLUTION, 0), down.masked_fill(down.abs() < _RESOLUTION, 0)


@torch.no_grad()
def sar_hog(
    image: Tensor, radii: Sequence[int] = (5, 9, 13, 17), bins: int = 9, cell: int = 8, eps: float = 1e-2
) -> Tensor:
    """Histogram of ratio gradients, L2-normalised per cell, one histogram per scale.

    Args:
        image: (B, C, H, W) magnitude in [0, 1] of a floating dtype; H and W multiples of `cell`.
        radii: half the sides (px) of the ratio's windows.
        bins: number of directions over half a turn.
        cell: side (px) of a cell.
        eps: number added to every pixel before the ratio, in the image's unit.

    Returns:
        (B, C * len(radii) * bins, H / cell, W / cell): channel by channel, scale by scale, the bins together; the
        image's dtype; no gradient.

    Raises:
        InputError: the image has another shape, or bins or cell is below 1.

    Example:
        >>> sar_hog(torch.rand(2, 1, 16, 24), radii=(3, 5)).shape
        torch.Size([2, 18, 2, 3])
    """
    _check(image, bins, cell)
    batch, channels, height, width = image.shape
    planes_NHW = image.to(torch.promote_types(image.dtype, torch.float32)).reshape(-1, height, width)
    scales = [oriented_histogram(*ratio_components(planes_NHW, radius, eps), bins, cell) for radius in radii]
    histogram = torch.stack(scales, dim=1)
    return histogram.reshape(batch, channels * len(radii) * bins, height // cell, width // cell).to(image.dtype)
