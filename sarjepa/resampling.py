"""Chips of any size and type resampled to a batch of one size, as an encoder reads it.

Resampling is linear and separable, so for each chip it is two small matrix products,

    out = R_y chip R_x^T        (S x S) = (S x H) (H x W) (W x S),

whose matrices hold the bicubic kernel (Keys 1981, a = -0.5), widened where the image shrinks (antialiasing, as Pillow
and torchvision do). A batch of chips of different sizes is padded and takes two batched matrix products on the device
that trains, which is why two CPU cores can feed a GPU. A horizontal flip is R_x with its rows reversed.

Shapes: B chips, H x W their padded size, S the resampled side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sarjepa.errors import InputError

_ROUNDING = 1e-3  # magnitudes may exceed 1 by this much
_INTEGERS = ("uint8", "uint16")


def magnitudes(images: Any) -> list[np.ndarray]:
    """Float32 magnitudes in [0, 1] of images as a user has them.

    Args:
        images: one image (H, W), a stack (N, H, W) or (N, 1, H, W), or a list of images (H, W) or (1, H, W) of any
            sizes; numpy or tensors. 8-bit and 16-bit integers are divided by 255 and 65535; floats are magnitude
            already.

    Raises:
        InputError: an image has several channels, or is neither of such integers nor of magnitudes in [0, 1].

    Example:
        >>> magnitudes(np.array([[0, 255]], dtype=np.uint8))
        [array([[0., 1.]], dtype=float32)]
    """
    if hasattr(images, "ndim"):
        if images.ndim == 3 and images.shape[-1] in (3, 4):
            raise InputError("not a single-channel image", expected="(height, width)", got=tuple(images.shape))
        images = images[None] if images.ndim == 2 else images
    return [_magnitude(image, number) for number, image in enumerate(images)]


def _magnitude(image: Any, number: int) -> np.ndarray:
    where = f"image {number}"
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        image = (image.float() if image.is_floating_point() else image).numpy()
    image = np.asarray(image)
    image = image[0] if image.ndim == 3 and len(image) == 1 else image
    if image.ndim != 2 or not image.size:
        raise InputError("not a single-channel image", where=where, expected="(height, width)", got=image.shape)
    magnitude, got = None, str(image.dtype)
    if image.dtype.kind in "uif":
        got += f", {image.min():g} to {image.max():g}"
    if image.dtype.name in _INTEGERS:
        magnitude = image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
    elif image.dtype.kind == "f":
        magnitude = image.astype(np.float32)
    # Comparisons with NaN are false, so NaN is refused too.
    if magnitude is None or not (magnitude.min() >= 0 and magnitude.max() <= 1 + _ROUNDING):
        expected = "float magnitudes in [0, 1], or unsigned integers of 8 or 16 bits"
        raise InputError("not an image of magnitudes", where=where, expected=expected, got=got)
    return magnitude


def bicubic_matrices(lengths_B: torch.Tensor, padded: int, size: int) -> torch.Tensor:
    """The resampling matrix of each length to `size`, antialiased where it shrinks.

    Args:
        lengths_B: (B,) lengths (px), on the device of the result.
        padded: length (px) that chips are padded to; columns past a chip's own length are zero.
        size: resampled length (px).

    Returns:
        (B, size, padded) float32, rows sum to one.

    Example:
        >>> bicubic_matrices(torch.tensor([2]), padded=3, size=1)
        tensor([[[0.5000, 0.5000, 0.0000]]])
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
    """Stack chips of different sizes, zero-padded below and right, divided by their scale: (B, H, W) float32.

    Example:
        >>> pad([np.array([[255, 255]], np.uint8), np.array([[51], [51]], np.uint8)], scales=[255, 255], device="cpu")
        tensor([[[1.0000, 1.0000],
                 [0.0000, 0.0000]],
        <BLANKLINE>
                [[0.2000, 0.0000],
                 [0.2000, 0.0000]]])
    """
    height, width = max(image.shape[0] for image in images), max(image.shape[1] for image in images)
    dtypes = {image.dtype for image in images}
    padded = np.zeros((len(images), height, width), dtype=np.uint8 if dtypes == {np.dtype(np.uint8)} else np.float32)
    for row, image in zip(padded, images, strict=True):
        row[: image.shape[0], : image.shape[1]] = image
    scale_B11 = torch.as_tensor(np.asarray(scales, dtype=np.float32), device=device)[:, None, None]
    # Bytes are moved to the device as bytes and converted there: a quarter of the traffic.
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
        scales: divisor of each image that gives magnitude in [0, 1].
        size: resampled side (px).
        flip: (B,) bool, which images are mirrored left to right.
        device: device of the computation.

    Returns:
        (B, 1, size, size) float32, clipped to [0, 1].

    Example:
        >>> bar = np.array([[0, 255, 0, 0]] * 4, np.uint8)
        >>> resample([bar, bar], [255, 255], 2, flip=np.array([False, True]))[:, 0, 0]  # the second is mirrored
        tensor([[0.4587, 0.1198],
                [0.1198, 0.4587]])
    """
    chips_BHW = pad(images, scales, device)
    heights = torch.tensor([image.shape[0] for image in images], device=device)
    widths = torch.tensor([image.shape[1] for image in images], device=device)
    rows_BSH = bicubic_matrices(heights, chips_BHW.shape[1], size)
    columns_BSW = bicubic_matrices(widths, chips_BHW.shape[2], size)
    if flip is not None:
        mirrored = torch.as_tensor(flip, device=device)[:, None, None]
        columns_BSW = torch.where(mirrored, columns_BSW.flip(1), columns_BSW)
    # The kernel overshoots beside bright scatterers. Pillow and torchvision clip after each pass, rows first, because
    # they store bytes in between; without the first clip results differ from theirs by up to 16 grey levels.
    across_BHS = (chips_BHW @ columns_BSW.transpose(1, 2)).clamp(0, 1)
    return (rows_BSH @ across_BHS).clamp(0, 1)[:, None]


def centre_crop(image: np.ndarray, side: int) -> np.ndarray:
    """(side, side): the centre of a chip, zero-padded along an axis that is shorter.

    Example:
        >>> centre_crop(np.array([[1, 2, 3]]), 2)
        array([[1, 2],
               [0, 0]])
    """
    top, left = (max(0, (length - side) // 2) for length in image.shape)
    image = image[top : top + side, left : left + side]
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
        scale: divisor of stored values that gives magnitude in [0, 1].
        crop: side (px) of the crop, or None for the whole chip.
        size: resampled side (px).
        device: device of the computation.

    Returns:
        (B, 1, size, size) float32 in [0, 1].

    Example:
        >>> chip = np.zeros((6, 6), np.uint8)
        >>> chip[2:4, 2:4] = 255  # a target: it fills a crop of 2, and a crop of 12 puts zeros around it
        >>> [round(centre_crop_and_resize([chip], 255, crop, size=2).mean().item(), 2) for crop in (2, None, 12)]
        [1.0, 0.16, 0.04]
    """
    cut = [image if crop is None else centre_crop(image, crop) for image in images]
    return resample(cut, [scale] * len(cut), size, device=device)
