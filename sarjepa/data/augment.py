"""From chips of any size to a batch of one size: crop, resample, flip, contrast.

Chips become a batch by `sarjepa.resampling`. The draws of the random resized crop are pure functions of (seed, epoch,
image index); see `sarjepa.draws`.

Shapes: B chips, S the side that comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from sarjepa.draws import uniforms
from sarjepa.resampling import resample

_CROP_ATTEMPTS = 10  # as torchvision's RandomResizedCrop, before it falls back to the middle of the image


@dataclass(frozen=True)
class Augmentation:
    """One draw for each of B chips: the box (px, int64), flip (bool) and contrast factor (float64), each (B,)."""

    top: np.ndarray
    left: np.ndarray
    height: np.ndarray
    width: np.ndarray
    flip: np.ndarray
    contrast: np.ndarray

    def at(self, rows: np.ndarray) -> Augmentation:
        """The draws of the chips at `rows`, in that order; a row may stand there several times."""
        return Augmentation(*(getattr(self, field.name)[rows] for field in fields(self)))


def draw_augmentation(
    seed: int,
    epoch: int,
    indices: np.ndarray,
    shapes_B2: np.ndarray,
    *,
    scale: tuple[float, float] = (0.2, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    contrast: float = 0.5,
    flip: float = 0.5,
) -> Augmentation:
    """Random resized crop, horizontal flip and contrast of each chip, by its index.

    Args:
        seed, epoch, indices: seed, epoch and (B,) images of the draws.
        shapes_B2: heights and widths (px).
        scale: range of the crop's share of the area.
        ratio: range of its width / height, drawn log-uniformly.
        contrast: the factor is uniform in 1 - contrast .. 1 + contrast.
        flip: probability of the flip.

    Returns:
        The draws. As in torchvision, ten candidates are tried; if none fits, the box is the middle of the chip: the
        whole chip, its longer side cut to the range of ratios.

    Example:
        >>> draw = draw_augmentation(0, 1, np.array([7]), np.array([[64, 96]]))
        >>> draw.top.item(), draw.left.item(), draw.height.item(), draw.width.item(), draw.flip.item()
        (0, 27, 56, 47, True)
    """
    draws = uniforms(seed, "augment", epoch, indices, 2 * _CROP_ATTEMPTS + 4)
    height_B1, width_B1 = shapes_B2[:, :1].astype(np.float64), shapes_B2[:, 1:].astype(np.float64)
    area = height_B1 * width_B1 * (scale[0] + (scale[1] - scale[0]) * draws[:, :_CROP_ATTEMPTS])
    low, high = np.log(ratio[0]), np.log(ratio[1])
    aspect = np.exp(low + (high - low) * draws[:, _CROP_ATTEMPTS : 2 * _CROP_ATTEMPTS])
    crop_width = np.round(np.sqrt(area * aspect)).astype(np.int64)
    crop_height = np.round(np.sqrt(area / aspect)).astype(np.int64)
    fits = (crop_width >= 1) & (crop_height >= 1) & (crop_width <= width_B1) & (crop_height <= height_B1)
    rows = np.arange(len(draws))
    first = fits.argmax(axis=1)
    has_fit = fits.any(axis=1)
    most_height, most_width = np.round(width_B1[:, 0] / ratio[0]), np.round(height_B1[:, 0] * ratio[1])
    height = np.where(has_fit, crop_height[rows, first], np.minimum(shapes_B2[:, 0], most_height)).astype(np.int64)
    width = np.where(has_fit, crop_width[rows, first], np.minimum(shapes_B2[:, 1], most_width)).astype(np.int64)
    room_top, room_left = shapes_B2[:, 0] - height, shapes_B2[:, 1] - width
    draw_top, draw_left, draw_flip, draw_contrast = draws[:, 2 * _CROP_ATTEMPTS :].T
    return Augmentation(
        top=np.where(has_fit, draw_top * (room_top + 1), room_top // 2).astype(np.int64),
        left=np.where(has_fit, draw_left * (room_left + 1), room_left // 2).astype(np.int64),
        height=height,
        width=width,
        flip=draw_flip < flip,
        contrast=1 - contrast + 2 * contrast * draw_contrast,
    )


def augment(
    images: Sequence[np.ndarray],
    scales: Sequence[float],
    draw: Augmentation,
    size: int,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Apply drawn augmentations: (B, 1, size, size) float32 in [0, 1].

    Contrast blends with the image's own mean and clips, as torchvision's `adjust_contrast`.

    Example:
        >>> draw = draw_augmentation(0, 1, np.array([7]), np.array([[64, 96]]))
        >>> augment([np.zeros((64, 96), np.uint8)], [255.0], draw, 32).shape
        torch.Size([1, 1, 32, 32])
    """
    out = resample_cut(images, scales, draw, size, device)
    mean = out.mean(dim=(1, 2, 3), keepdim=True)
    factor = torch.as_tensor(draw.contrast, dtype=torch.float32, device=device)[:, None, None, None]
    return (factor * out + (1 - factor) * mean).clamp(0, 1)


def resample_cut(
    images: Sequence[np.ndarray],
    scales: Sequence[float],
    draw: Augmentation,
    size: int,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """The drawn boxes of images, flipped where drawn, and nothing else: (B, 1, size, size) float32 in [0, 1].

    Example:
        >>> image, one = np.arange(16, dtype=np.uint8).reshape(4, 4), np.ones(1, int)
        >>> draw = Augmentation(top=one, left=one, height=2 * one, width=2 * one, flip=one > 0, contrast=0.5 * one)
        >>> (255 * resample_cut([image], [255.0], draw, 2)).round().flatten().tolist()  # the middle, mirrored
        [6.0, 5.0, 10.0, 9.0]
    """
    boxes = zip(draw.top, draw.left, draw.height, draw.width, strict=True)
    cut = [image[t : t + h, left : left + w] for image, (t, left, h, w) in zip(images, boxes, strict=True)]
    return resample(cut, scales, size, flip=draw.flip, device=device)
