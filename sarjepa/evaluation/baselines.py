"""Baselines: what a few lines of signal processing know of a chip, as features that an encoder has to beat.

A baseline stands where a checkpoint stands (`--checkpoint log-pixels`): it has one feature, no weights, and no seed.

    pixels      magnitude averaged to 16 x 16
    log-pixels  ln(pixels + 0.02): speckle is multiplicative, so in the logarithm its spread is the same in clutter and
                on bright scatterers, and one covariance for all of it (lda) is nearer to the truth
    ratio       gradient by ratio at radii 2, 4, 6, 8 of a 64 px input, averaged to 16 x 16: where edges are, at four
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

GRID = 16  # rows and columns that are left of a chip
LOG_OFFSET = 0.02  # about the level of radar shadow: below it there is noise only
RADII = (2, 4, 6, 8)


class Baseline(nn.Module):
    """A feature without weights, in the place of an encoder.

    Args:
        feature: (B, 1, S, S) magnitude in [0, 1] to (B, D).
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
    """(B, 256) pooled pixels, row by row."""
    return functional.adaptive_avg_pool2d(image_B1SS, GRID).flatten(1)


def log_pixels(image_B1SS: Tensor) -> Tensor:
    """(B, 256) logarithms of pooled pixels."""
    return torch.log(pixels(image_B1SS) + LOG_OFFSET)


def ratio(image_B1SS: Tensor) -> Tensor:
    """(B, 1024) pooled edge strengths, one radius after the other."""
    return functional.adaptive_avg_pool2d(gradient_by_ratio(image_B1SS, RADII), GRID).flatten(1)


def oriented_gradients(image_B1SS: Tensor) -> Tensor:
    """(B, D) histograms of the gradients of the square root of magnitude, cells of 8 x 8 in blocks of 2 x 2."""
    found = [
        hog(image, orientations=9, pixels_per_cell=(14, 14), cells_per_block=(2, 2), transform_sqrt=True)
        for image in image_B1SS[:, 0].cpu().numpy()
    ]
    return torch.from_numpy(np.stack(found).astype(np.float32)).to(image_B1SS.device)


BASELINES: dict[str, Callable[[], Baseline]] = {
    "pixels": lambda: Baseline(pixels, 224, "16 x 16 pooled pixels"),  # 224 px: as the published evaluation resizes
    "log-pixels": lambda: Baseline(log_pixels, 64, "logarithm of 16 x 16 pooled pixels"),
    "ratio": lambda: Baseline(ratio, 64, "gradient by ratio at four radii, pooled to 16 x 16"),
    "hog": lambda: Baseline(oriented_gradients, 112, "histograms of oriented gradients in 14 px cells"),
}
