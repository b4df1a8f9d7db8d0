"""HOG against scikit-image where the definitions meet, HOG and SAR-HOG against a loop over pixels where they do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.feature import hog as skimage_hog

from sarjepa.errors import InputError
from sarjepa.ops.histograms import hog, oriented_histogram, ratio_components, sar_hog
from sarjepa.ops.ratio import gradient_by_ratio


def _histogram_by_loop(across: np.ndarray, down: np.ndarray, bins: int, cell: int) -> np.ndarray:
    height, width = across.shape
    histogram = np.zeros((bins, height // cell, width // cell))
    for y in range(height):
        for x in range(width):
            angle = math.atan2(across[y, x], down[y, x]) % math.pi
            histogram[int(angle / math.pi * bins) % bins, y // cell, x // cell] += math.hypot(across[y, x], down[y, x])
    return histogram / np.sqrt((histogram**2).sum(0))


def _mirrored(image: np.ndarray, y: int, x: int) -> float:
    height, width = image.shape
    y, x = abs(y), abs(x)
    return image[min(y, 2 * height - 2 - y), min(x, 2 * width - 2 - x)]


def _sobel_by_loop(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    across, down = np.zeros_like(image), np.zeros_like(image)
    for y, x in np.ndindex(image.shape):
        for k, weight in ((-1, 1), (0, 2), (1, 1)):
            across[y, x] += weight * (_mirrored(image, y + k, x + 1) - _mirrored(image, y + k, x - 1))
            down[y, x] += weight * (_mirrored(image, y + 1, x + k) - _mirrored(image, y - 1, x + k))
    return across, down


def _ratio_by_loop(image: np.ndarray, radius: int, eps: float) -> tuple[np.ndarray, np.ndarray]:
    across, down = np.zeros_like(image), np.zeros_like(image)
    for y, x in np.ndindex(image.shape):
        left = right = up = down_sum = 0.0
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                pixel = _mirrored(image, y + dy, x + dx) + eps
                left += pixel if dx <= 0 else 0
                right += pixel if dx >= 0 else 0
                up += pixel if dy <= 0 else 0
                down_sum += pixel if dy >= 0 else 0
        across[y, x], down[y, x] = math.log(left / right), math.log(up / down_sum)
    return np.where(np.abs(across) < 1e-5, 0, across), np.where(np.abs(down) < 1e-5, 0, down)


def test_a_histogram_of_central_differences_equals_scikit_image():
    image = np.random.default_rng(3).random((48, 40))
    across, down = np.zeros_like(image), np.zeros_like(image)
    across[:, 1:-1], down[1:-1] = image[:, 2:] - image[:, :-2], image[2:] - image[:-2]
    expected = skimage_hog(
        image, orientations=9, pixels_per_cell=(8, 8), cells_per_block=(1, 1), block_norm="L2", feature_vector=False
    )[:, :, 0, 0].transpose(2, 0, 1)
    # scikit-image counts angles from the horizontal: the same histogram with the two components exchanged.
    ours = oriented_histogram(torch.from_numpy(down)[None], torch.from_numpy(across)[None], 9, 8)[0].numpy()
    assert np.abs(ours - expected).max() < 1e-6


def test_hog_equals_a_loop_over_pixels():
    image = np.random.default_rng(4).random((16, 24))
    expected = _histogram_by_loop(*_sobel_by_loop(image), 9, 8)
    assert np.abs(hog(torch.from_numpy(image)[None, None])[0].numpy() - expected).max() < 1e-12


def test_hog_in_gaussian_windows_equals_a_loop_over_pixels():
    image = np.random.default_rng(4).random((16, 32))
    across, down = _sobel_by_loop(image)
    for y, x in np.ndindex(image.shape):  # windows of 16 px, deviation 8 px
        weight = math.exp(-((y % 16 - 7.5) ** 2 + (x % 16 - 7.5) ** 2) / (2 * 8**2))
        across[y, x], down[y, x] = weight * across[y, x], weight * down[y, x]
    expected = _histogram_by_loop(across, down, 9, 8)
    assert np.abs(hog(torch.from_numpy(image)[None, None], window=16)[0].numpy() - expected).max() < 1e-12


@pytest.mark.parametrize("radius", [2, 5])
def test_sar_hog_equals_a_loop_over_pixels(radius):
    image = np.random.default_rng(5).random((16, 24))
    expected = _histogram_by_loop(*_ratio_by_loop(image, radius, 1e-2), 9, 8)
    assert np.abs(sar_hog(torch.from_numpy(image)[None, None], (radius,))[0].numpy() - expected).max() < 1e-12


def test_the_ratio_components_make_up_the_gradient_by_ratio():
    image = torch.rand(2, 32, 40, dtype=torch.float64)
    strength = torch.hypot(*ratio_components(image, 5, 1e-2))
    assert torch.allclose(strength, gradient_by_ratio(image[:, None], (5,), impl="conv")[:, 0], atol=1e-12)


@pytest.mark.parametrize(("shape", "scales"), [((2, 1, 224, 224), 4), ((1, 3, 16, 32), 2)])
def test_features_lie_cell_by_cell(shape, scales):
    image = torch.rand(shape)
    batch, channels, height, width = shape
    assert hog(image).shape == (batch, 9 * channels, height // 8, width // 8)
    assert sar_hog(image, (5, 9, 13, 17)[:scales]).shape == (batch, 9 * channels * scales, height // 8, width // 8)


def test_sar_hog_keeps_scales_and_channels_in_order():
    image = torch.rand(1, 2, 16, 16)
    both = sar_hog(image, (2, 4))
    assert torch.equal(both[:, 27:], sar_hog(image[:, 1:], (4,)))


def test_every_cell_has_length_one_and_an_empty_one_has_none():
    image = torch.rand(1, 1, 32, 32)
    image[..., :16] = 0.5
    length = hog(image).norm(dim=1)
    assert torch.allclose(length[..., 3], torch.ones(4), atol=1e-6)
    assert torch.equal(length[..., 0], torch.zeros(1, 4))


def test_sar_hog_of_a_brighter_image_is_the_same_and_so_is_the_dtype():
    image = torch.rand(1, 1, 32, 32, dtype=torch.float64)
    assert torch.allclose(sar_hog(image, (5,), eps=0), sar_hog(100 * image, (5,), eps=0), atol=1e-9)
    assert sar_hog(image.half(), (5,)).dtype == torch.float16


def test_ratio_weighs_a_faint_and_a_bright_edge_alike_where_differences_do_not():
    image = torch.full((1, 1, 8, 32), 0.01)
    image[..., 4:16], image[..., 16:24], image[..., 24:] = 0.02, 0.4, 0.8
    faint, bright = (gradient_by_ratio(image, (2,), eps=0)[0, 0, 4, column] for column in (4, 24))
    assert torch.allclose(faint, bright)


@pytest.mark.parametrize(
    "arguments",
    [
        {"image": torch.rand(1, 1, 12, 16)},
        {"image": torch.rand(16, 16)},
        {"bins": 0},
        {"image": torch.ones(1, 1, 8, 8).int()},
    ],
)
def test_what_cannot_be_binned_is_one_clear_error(arguments):
    with pytest.raises(InputError):
        hog(**{"image": torch.rand(1, 1, 16, 16), **arguments})
