"""From chips of any size to a batch of one size: crop, resample, flip, contrast.

Resampling is linear and separable, so for each chip it is two small matrix products,

    out = R_y chip R_x^T        (S x S) = (S x H) (H x W) (W x S),

whose matrices hold the bicubic kernel (Keys 1981, a = -0.5), widened where the image shrinks (antialiasing, as Pillow
and torchvision do). A batch of chips of different sizes is padded and becomes two batched matrix products on whatever
device trains, which is why two CPU cores can feed a GPU. A horizontal flip is R_x with its rows reversed.

The draws of the random resized crop are pure functions of (seed, epoch, image index); see `sarjepa.draws`.

Shapes: B chips, H x W their padded size, S the side that comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sarjepa.data.slicing import middle
from sarjepa.draws import uniforms

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


def draw_augmentation(
    seed: int,
    epoch: int,
    indices: np.ndarray,
    shapes_B2: np.ndarray,
    *,
    scale: tuple[float, float] = (0.2, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    contrast: float = 0.5,
) -> Augmentation:
    """Random resized crop, horizontal flip (p = 0.5) and contrast of each chip, by its index.

    Args:
        seed, epoch, indices: what the draws are for; indices is (B,).
        shapes_B2: heights and widths (px).
        scale: range of the crop's share of the area.
        ratio: range of its width / height, drawn log-uniformly.
        contrast: the factor is uniform in 1 - contrast .. 1 + contrast.

    Returns:
        The draws. As in torchvision, ten candidates are tried; if none fits, the middle of the chip is taken: all of
        it, but for what makes a chip longer than the range of ratios allows.
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
    found = fits.any(axis=1)
    most_height, most_width = np.round(width_B1[:, 0] / ratio[0]), np.round(height_B1[:, 0] * ratio[1])
    height = np.where(found, crop_height[rows, first], np.minimum(shapes_B2[:, 0], most_height)).astype(np.int64)
    width = np.where(found, crop_width[rows, first], np.minimum(shapes_B2[:, 1], most_width)).astype(np.int64)
    room_top, room_left = shapes_B2[:, 0] - height, shapes_B2[:, 1] - width
    place_top, place_left, flip, factor = draws[:, 2 * _CROP_ATTEMPTS :].T
    return Augmentation(
        top=np.where(found, place_top * (room_top + 1), room_top // 2).astype(np.int64),
        left=np.where(found, place_left * (room_left + 1), room_left // 2).astype(np.int64),
        height=height,
        width=width,
        flip=flip < 0.5,
        contrast=1 - contrast + 2 * contrast * factor,
    )


def bicubic_matrices(lengths_B: torch.Tensor, padded: int, size: int) -> torch.Tensor:
    """The resampling matrix of each length to `size`, antialiased where it shrinks.

    Args:
        lengths_B: (B,) lengths (px) on the device that is to hold the result.
        padded: the common length that chips are padded to; columns past a chip's own length are zero.
        size: the length that comes out.

    Returns:
        (B, size, padded) float32, rows sum to one.
    """
    length_B11 = lengths_B.to(torch.float32)[:, None, None]
    step = length_B11 / size
    stretch = step.clamp(min=1.0)
    out = torch.arange(size, device=lengths_B.device, dtype=torch.float32)[None, :, None]
    source = torch.arange(padded, device=lengths_B.device, dtype=torch.float32)[None, None, :]
    distance = ((source + 0.5 - (out + 0.5) * step) / stretch).abs()
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weight = torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))
    weight = weight * (source < length_B11)
    return weight / weight.sum(dim=2, keepdim=True)


def pad(images: Sequence[np.ndarray], scales: Sequence[float], device: torch.device | str) -> torch.Tensor:
    """Stack chips of different sizes, zero-padded below and right, divided by their scale: (B, H, W) float32."""
    height, width = max(image.shape[0] for image in images), max(image.shape[1] for image in images)
    dtypes = {image.dtype for image in images}
    padded = np.zeros((len(images), height, width), dtype=np.uint8 if dtypes == {np.dtype(np.uint8)} else np.float32)
    for row, image in zip(padded, images, strict=True):
        row[: image.shape[0], : image.shape[1]] = image
    scale_B11 = torch.as_tensor(np.asarray(scales, dtype=np.float32), device=device)[:, None, None]
    # Bytes travel to the device as bytes and become float there: a quarter of the traffic.
    return torch.from_numpy(padded).to(device).float() / scale_B11


def resample(
    images: Sequence[np.ndarray],
    scales: Sequence[float],
    size: int,
    *,
    flip: np.ndarray | None = None,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Bicubic resampling of whole chips to `size` x `size`.

    Args:
        images: 2-D arrays of any size and dtype.
        scales: what each is divided by to give magnitude in [0, 1].
        size: the side (px) that comes out.
        flip: (B,) bool, mirror left and right.
        device: where the work is done.

    Returns:
        (B, 1, size, size) float32, clipped to [0, 1].
    """
    chips_BHW = pad(images, scales, device)
    heights = torch.tensor([image.shape[0] for image in images], device=device)
    widths = torch.tensor([image.shape[1] for image in images], device=device)
    rows_BSH = bicubic_matrices(heights, chips_BHW.shape[1], size)
    columns_BSW = bicubic_matrices(widths, chips_BHW.shape[2], size)
    if flip is not None:
        mirrored = torch.as_tensor(flip, device=device)[:, None, None]
        columns_BSW = torch.where(mirrored, columns_BSW.flip(1), columns_BSW)
    # The kernel overshoots beside bright scatterers. Pillow and torchvision cut that off after each pass, rows first,
    # because they store bytes in between; without the first cut results differ from theirs by up to 16 grey levels.
    across_BHS = (chips_BHW @ columns_BSW.transpose(1, 2)).clamp(0, 1)
    return (rows_BSH @ across_BHS).clamp(0, 1)[:, None]


def augment(
    images: Sequence[np.ndarray],
    scales: Sequence[float],
    draw: Augmentation,
    size: int,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Apply drawn augmentations: (B, 1, size, size) float32 in [0, 1].

    Contrast blends with the image's own mean and clips, as torchvision's `adjust_contrast`.
    """
    boxes = zip(draw.top, draw.left, draw.height, draw.width, strict=True)
    cut = [image[t : t + h, left : left + w] for image, (t, left, h, w) in zip(images, boxes, strict=True)]
    out = resample(cut, scales, size, flip=draw.flip, device=device)
    mean = out.mean(dim=(1, 2, 3), keepdim=True)
    factor = torch.as_tensor(draw.contrast, dtype=torch.float32, device=device)[:, None, None, None]
    return (factor * out + (1 - factor) * mean).clamp(0, 1)


def centre_crop(image: np.ndarray, side: int) -> np.ndarray:
    """(side, side): the middle of a chip, zero-padded around it along an axis that is shorter."""
    image, _ = middle(image, side)
    if image.shape == (side, side):
        return image
    above, before = (side - image.shape[0]) // 2, (side - image.shape[1]) // 2
    out = np.zeros((side, side), dtype=image.dtype)
    out[above : above + image.shape[0], before : before + image.shape[1]] = image
    return out


def centre_crop_and_resize(
    images: Sequence[np.ndarray], scale: float, crop: int | None, size: int, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """The evaluation's input: centre crop (zero-padded where a chip is smaller), then bicubic to `size`.

    Args:
        images: chips as stored.
        scale: what stored values are divided by.
        crop: side (px) of the crop, or None for the whole chip.
        size: side (px) that comes out.
        device: where the work is done.

    Returns:
        (B, 1, size, size) float32 in [0, 1].
    """
    cut = [image if crop is None else centre_crop(image, crop) for image in images]
    return resample(cut, [scale] * len(cut), size, device=device)
