"""Augmentation on the device equals torchvision's, and belongs to the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.v2 import functional as reference

from sarjepa.data.augment import Augmentation, augment, draw_augmentation
from sarjepa.resampling import bicubic_matrices, centre_crop, centre_crop_and_resize, resample

GREY = 1 / 255
SIZES = [(128, 128), (193, 192), (40, 300), (224, 224), (17, 9), (512, 333)]


def chip(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Speckle with a bright block: the hardest thing to resample."""
    image = np.random.default_rng(seed).gamma(1.0, 40.0, (height, width))
    image[height // 3 : height // 2, width // 3 : width // 2] += 150
    return image.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(8, 400), (400, 8), (30, 50), (64, 60)])
def test_where_no_crop_fits_it_is_the_one_that_torchvision_falls_back_to(shape: tuple[int, int]) -> None:
    scale = (4.0, 4.0)  # no crop is larger than its chip
    found = draw_augmentation(0, 0, np.arange(3), np.array([shape] * 3), scale=scale)
    theirs = RandomResizedCrop.get_params(torch.zeros(1, *shape), scale, (3 / 4, 4 / 3))
    for name, value in zip(("top", "left", "height", "width"), theirs, strict=True):
        assert getattr(found, name).tolist() == [value] * 3


def torchvision_resized_crop(image: np.ndarray, box: tuple[int, int, int, int], size: int) -> torch.Tensor:
    """Torchvision on bytes, as the published pre-training does it."""
    tensor = torch.from_numpy(image)[None]
    return reference.resized_crop(tensor, *box, [size, size], InterpolationMode.BICUBIC, antialias=True)


@pytest.mark.parametrize("size", [224, 64])
def test_resized_crop_flip_and_contrast_equal_torchvision_within_two_grey_levels(size: int) -> None:
    images = [chip(*shape, seed) for seed, shape in enumerate(SIZES)]
    indices = np.arange(len(images))
    draw = draw_augmentation(0, 0, indices, np.array(SIZES))
    ours = augment(images, [255.0] * len(images), draw, size)
    assert draw.flip.any() and not draw.flip.all()
    for index, image in enumerate(images):
        box = (draw.top[index], draw.left[index], draw.height[index], draw.width[index])
        # In float from here: on bytes torchvision's contrast cuts fractions off, half a level too dark on average.
        theirs = torchvision_resized_crop(image, tuple(map(int, box)), size).float() / 255
        theirs = reference.horizontal_flip(theirs) if draw.flip[index] else theirs
        theirs = reference.adjust_contrast(theirs, float(draw.contrast[index]))
        assert (ours[index] - theirs).abs().max() <= 2 * GREY


def test_shrinking_and_growing_equal_pillow_within_two_grey_levels() -> None:
    for height, width in SIZES:
        image = chip(height, width)
        theirs = np.asarray(Image.fromarray(image).resize((96, 96), Image.Resampling.BICUBIC), dtype=np.float32)
        assert np.abs(resample([image], [255.0], 96)[0, 0].numpy() * 255 - theirs).max() <= 2


def test_where_nothing_overshoots_it_is_the_plain_bicubic_of_torchvision() -> None:
    for height, width in SIZES:
        tensor = torch.from_numpy(chip(height, width))[None].float() / 255 * 0.2 + 0.4
        theirs = reference.resize(tensor, [96, 96], InterpolationMode.BICUBIC, antialias=True)
        torch.testing.assert_close(resample([tensor[0].numpy()], [1.0], 96)[0], theirs, atol=1e-4, rtol=0)


@pytest.mark.shared
def test_real_chips_equal_torchvision_within_two_grey_levels(shared: Path) -> None:
    chips = np.load(shared / "reference" / "gradient_by_ratio.npz")["image_u8"][:, 0]
    draw = draw_augmentation(0, 0, np.arange(len(chips)), np.array([chip.shape for chip in chips]))
    boxes = np.stack([draw.top, draw.left, draw.height, draw.width], axis=1).tolist()
    cut = [chip[t : t + h, left : left + w] for chip, (t, left, h, w) in zip(chips, boxes, strict=True)]
    ours = resample(cut, [255.0] * len(cut), 224)
    for out, chip_u8, box in zip(ours, chips, boxes, strict=True):
        assert (out * 255 - torchvision_resized_crop(chip_u8, box, 224)).abs().max() <= 2


def test_chips_of_different_sizes_do_not_touch_each_other() -> None:
    images = [chip(*shape, seed) for seed, shape in enumerate(SIZES)]
    together = resample(images, [255.0] * len(images), 64)
    apart = torch.cat([resample([image], [255.0], 64) for image in images])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)


def test_float_and_16_bit_chips_come_out_on_the_same_scale() -> None:
    image = chip(60, 50)
    forms = [(image, 255.0), (image.astype(np.uint16) * 257, 65535.0), (image.astype(np.float32) / 255, 1.0)]
    outs = [resample([form], [scale], 64) for form, scale in forms]
    mixed = resample([form for form, _ in forms], [scale for _, scale in forms], 64)
    for index, out in enumerate(outs):
        torch.testing.assert_close(out, outs[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(mixed[index : index + 1], outs[0], atol=1e-5, rtol=0)


def test_a_constant_chip_stays_constant() -> None:
    out = resample([np.full((37, 80), 100, np.uint8)], [255.0], 64)
    torch.testing.assert_close(out, torch.full_like(out, 100 / 255), atol=1e-6, rtol=0)


def test_resampling_to_its_own_size_changes_nothing() -> None:
    image = chip(64, 64)
    torch.testing.assert_close(resample([image], [255.0], 64)[0, 0], torch.from_numpy(image) / 255)


def test_rows_of_the_matrices_sum_to_one_and_ignore_the_padding() -> None:
    matrices = bicubic_matrices(torch.tensor([10, 33]), 40, 16)
    torch.testing.assert_close(matrices.sum(dim=2), torch.ones(2, 16))
    assert (matrices[0, :, 10:] == 0).all()


def test_draws_do_not_depend_on_the_batch() -> None:
    shapes = np.array([(100, 80)] * 8)
    together = draw_augmentation(1, 2, np.arange(8), shapes)
    halves = [draw_augmentation(1, 2, np.arange(start, start + 4), shapes[:4]) for start in (0, 4)]
    for name in Augmentation.__dataclass_fields__:
        parts = [getattr(half, name) for half in halves]
        np.testing.assert_array_equal(getattr(together, name), np.concatenate(parts))


def test_boxes_lie_in_the_chip_and_cover_the_share_asked_for() -> None:
    shapes = np.random.default_rng(0).integers(8, 400, (3000, 2))
    draw = draw_augmentation(0, 0, np.arange(3000), shapes, scale=(0.2, 1.0))
    assert (draw.top >= 0).all() and (draw.top + draw.height <= shapes[:, 0]).all()
    assert (draw.left >= 0).all() and (draw.left + draw.width <= shapes[:, 1]).all()
    share = draw.height * draw.width / shapes.prod(axis=1)
    compact = shapes.max(axis=1) <= 2 * shapes.min(axis=1)  # of a longer chip no crop may fit
    assert share[compact].min() > 0.15 and 0.95 < share.max() <= 1  # whole pixels move the share of a tiny chip
    length = np.maximum(draw.height, draw.width) - 1
    assert (length <= 4 / 3 * (np.minimum(draw.height, draw.width) + 1)).all()
    assert abs(draw.flip.mean() - 0.5) < 0.05
    assert 0.5 <= draw.contrast.min() < 0.52 and 1.48 < draw.contrast.max() <= 1.5


def test_a_centre_crop_pads_small_chips_and_takes_the_middle_of_large_ones() -> None:
    large = np.arange(36).reshape(6, 6)
    np.testing.assert_array_equal(centre_crop(large, 2), [[14, 15], [20, 21]])
    padded = centre_crop(np.ones((2, 3), np.uint8), 4)
    assert padded.shape == (4, 4) and padded.sum() == 6 and padded[1:3].sum() == 6


def test_the_evaluation_input_is_the_cropped_chip_resized() -> None:
    image = chip(160, 150)
    out = centre_crop_and_resize([image], 255.0, 128, 224)
    theirs = reference.resize(
        reference.center_crop(torch.from_numpy(image)[None], [128, 128]), [224, 224], InterpolationMode.BICUBIC
    )
    assert (out[0] - theirs * GREY).abs().max() <= 2 * GREY
    assert centre_crop_and_resize([image, chip(30, 40)], 255.0, None, 96).shape == (2, 1, 96, 96)
