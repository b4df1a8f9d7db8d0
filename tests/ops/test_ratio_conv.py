"""The definition against a double loop over the window, written from the formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sarjepa.ops.ratio_conv import gaussian_sigma, ratio_conv, reflect_pad, reflected


def _at_pixel(padded: np.ndarray, y: int, x: int, radius: int, gaussian: bool, centre: bool) -> float:
    """The strength at a pixel of an image that is padded by the radius already."""
    sums = dict.fromkeys(("left", "right", "up", "down"), 0.0)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            spread = 2 * gaussian_sigma(radius) ** 2
            weighted = padded[y + radius + dy, x + radius + dx] * (
                math.exp(-(dx * dx + dy * dy) / spread) if gaussian else 1
            )
            inside = {"left": -dx, "right": dx, "up": -dy, "down": dy}
            for side, depth in inside.items():
                sums[side] += weighted if depth > 0 or (centre and depth == 0) else 0
    return math.hypot(math.log(sums["left"] / sums["right"]), math.log(sums["up"] / sums["down"]))


@pytest.mark.parametrize("kernel", ["linear", "gaussian"])
@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("radius", [1, 3])
def test_convolution_equals_the_formula_written_out(kernel, centre, radius):
    image = np.random.default_rng(0).random((6, 9))
    padded = np.pad(image, radius, mode="reflect") + 1e-2
    expected = [[_at_pixel(padded, y, x, radius, kernel == "gaussian", centre) for x in range(9)] for y in range(6)]
    strength = ratio_conv(torch.from_numpy(image)[None], (radius,), kernel, 1e-2, centre)[0, 0].numpy()
    assert np.abs(strength - expected).max() < 1e-12


@pytest.mark.parametrize(("height", "width", "margin"), [(7, 7, 17), (5, 9, 4), (1, 6, 3), (2, 3, 11), (1, 1, 2)])
def test_reflection_goes_on_where_the_margin_is_longer_than_the_image(height, width, margin):
    image = np.random.default_rng(0).random((height, width))
    assert np.array_equal(reflect_pad(torch.from_numpy(image)[None], margin)[0], np.pad(image, margin, mode="reflect"))
    assert np.array_equal(reflected(width, margin), np.pad(np.arange(width), margin, mode="reflect"))


@pytest.mark.parametrize(("radius", "sigma"), [(1, 0.8), (5, 2.0), (17, 5.6)])
def test_the_gaussian_is_as_wide_as_published(radius, sigma):
    assert gaussian_sigma(radius) == pytest.approx(sigma)
