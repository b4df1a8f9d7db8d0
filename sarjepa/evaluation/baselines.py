"""Baselines: features of a few lines of signal processing, which an encoder has to beat.

A baseline is named in place of a checkpoint (`--checkpoint log-pixels`). It has one feature, no weights and no seed.

    pixels      magnitude averaged to 16 x 16
    log-pixels  ln(pixels + 0.02): speckle is multiplicative, so its logarithm has the same spread in clutter and on
                bright scatterers, and one covariance for both (lda) is nearer to the truth
    ratio       gradient by ratio at radii 2, 4, 6, 8 of a 64 px input, averaged to 16 x 16: the places of edges at four
                scales, whatever the brightness
    hog         histograms of oriented gradients (Dalal & Triggs, CVPR 2005), by scikit-image

Shapes: B images, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from skimage.feature import hog
from torch import Tensor, nn
from torch.nn import functional

from sarjepa.ops.ratio import gradient_by_ratio

GRID = 16  # rows and columns of the pooled chip
LOG_OFFSET = 0.02  # about the level of radar shadow, below which there is only noise
RADII = (2, 4, 6, 8)


class Baseline(nn.Module):
    """A feature without weights, in the place of an encoder.

    Args:
        feature: function from (B, 1, S, S) magnitude in [0, 1] to (B, D) features.
        image_size: S (px).
        about: description in a few words.
    """

    def __init__(self, feature: Callable[[Tensor], Tensor], image_size: int, about: str) -> None:
        super().__init__()
        self.feature, self.image_size, self.about = feature, image_size, about

    def forward_features(self, image_B1SS: Tensor) -> Tensor:
        """(B, 1, D): the feature, as the one token of an image."""
        return self.feature(image_B1SS)[:, None]


def pixels(image_B1SS: Tensor) -> Tensor:
    """(B, 256) pooled pixels, row by row.

    Example:
        >>> pixels(torch.ones(2, 1, 64, 64)).shape
        torch.Size([2, 256])
    """
    return functional.adaptive_avg_pool2d(image_B1SS, GRID).flatten(1)


def log_pixels(image_B1SS: Tensor) -> Tensor:
    """(B, 256) logarithms of pooled pixels.

    Example:
        >>> log_pixels(torch.zeros(1, 1, 64, 64))[0, 0]  # of radar shadow
        tensor(-3.9120)
    """
    return torch.log(pixels(image_B1SS) + LOG_OFFSET)


def ratio(image_B1SS: Tensor) -> Tensor:
    """(B, 1024) pooled edge strengths, one radius after the other.

    Example:
        >>> ratio(torch.ones(1, 1, 64, 64)).shape
        torch.Size([1, 1024])
    """
    return functional.adaptive_avg_pool2d(gradient_by_ratio(image_B1SS, RADII), GRID).flatten(1)


def oriented_gradients(image_B1SS: Tensor) -> Tensor:
    """(B, D) histograms of the gradients of the square root of magnitude, 14 px cells in blocks of 2 x 2 cells.

    Example:
        >>> oriented_gradients(torch.ones(1, 1, 112, 112)).shape
        torch.Size([1, 1764])
    """
    features = [
        hog(image, orientations=9, pixels_per_cell=(14, 14), cells_per_block=(2, 2), transform_sqrt=True)
        for image in image_B1SS[:, 0].cpu().numpy()
    ]
    return torch.from_numpy(np.stack(features).astype(np.float32)).to(image_B1SS.device)


BASELINES: dict[str, Callable[[], Baseline]] = {
    "pixels": lambda: Baseline(pixels, 224, "16 x 16 pooled pixels"),  # 224 px: as the published evaluation resizes
    "log-pixels": lambda: Baseline(log_pixels, 64, "logarithm of 16 x 16 pooled pixels"),
    "ratio": lambda: Baseline(ratio, 64, "gradient by ratio at four radii, pooled to 16 x 16"),
    "hog": lambda: Baseline(oriented_gradients, 112, "histograms of oriented gradients in 14 px cells"),
}
