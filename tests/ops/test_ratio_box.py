"""The fast CPU path against the float64 definition: one bound, whatever stands in the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sarjepa.ops.ratio import gradient_by_ratio
from sarjepa.ops.ratio_box import Scratch, growing_sums, window_sum

RADII = (5, 9, 13, 17)
BOUND = 1e-5  # absolute, of a log ratio


def content(name: str, height: int, width: int) -> torch.Tensor:
    """Images that lose digits, each in its way: (H, W) float32."""
    generator = torch.Generator().manual_seed(7)
    uniform = torch.rand(height, width, generator=generator)
    exponential = torch.empty(height, width).exponential_(generator=generator)
    if name == "single bright pixel on clutter":
        exponential *= 1e-3
        exponential[height // 3, width // 2] = 1e6
        return exponential
    if name == "bright cross on clutter":  # next to nothing remains of a square once its brightest line is taken away
        exponential *= 1e-3
        exponential[height // 3] = 1e6
        exponential[:, width // 2] = 1e6
        return exponential
    if name == "bright half, dark half":
        exponential[:, : width // 2] *= 1e6
        exponential[:, width // 2 :] *= 1e-3
        return exponential
    return {
        "constant": torch.full((height, width), 0.3),
        "zeros": torch.zeros(height, width),
        "uniform": uniform,
        "one-look speckle": exponential,
        "up to a million": uniform * 1e6,
        "wide range": 10 ** (9 * uniform - 3),
    }[name]


CONTENTS = (
    "constant",
    "zeros",
    "uniform",
    "one-look speckle",
    "up to a million",
    "wide range",
    "single bright pixel on clutter",
    "bright cross on clutter",
    "bright half, dark half",
)


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("shape", [(7, 7), (64, 97), (224, 224)])
@pytest.mark.parametrize("kernel", ["linear", "gaussian"])
def test_float32_box_is_within_a_hundred_thousandth_of_the_definition(name, shape, kernel):
    image = content(name, *shape)[None, None]
    exact = gradient_by_ratio(image.double(), RADII, kernel, impl="conv")
    assert (gradient_by_ratio(image, RADII, kernel, impl="box") - exact).abs().max() < BOUND


@pytest.mark.parametrize("name", CONTENTS)
def test_float64_box_is_the_definition(name):
    image = content(name, 80, 70)[None, None].double()
    exact = gradient_by_ratio(image, RADII, impl="conv")
    assert (gradient_by_ratio(image, RADII, impl="box") - exact).abs().max() < 1e-12


@pytest.mark.parametrize("corner", [(0, 0), (2030, 2030), (4096 - 60, 1000), (1000, 4096 - 60)])
def test_a_large_scene_is_as_exact_as_a_chip(corner):
    image = content("bright half, dark half", 4096, 4096)
    image[2048, 2000] = 1e6
    top, left = corner
    part = tuple(slice(max(first - 17, 0), first + 60 + 17) for first in corner)
    inner = tuple(slice(first - max(first - 17, 0), first - max(first - 17, 0) + 60) for first in corner)
    exact = gradient_by_ratio(image[part].double(), (17,), impl="conv")[0][inner]
    strength = gradient_by_ratio(image, (17,), impl="box")[0, top : top + 60, left : left + 60]
    assert (strength - exact).abs().max() < BOUND


@pytest.mark.parametrize(("dtype", "unit"), [(torch.float16, 2**-11), (torch.bfloat16, 2**-8)])
@pytest.mark.parametrize("impl", ["conv", "box"])
def test_half_precision_costs_the_rounding_of_input_and_output_alone(dtype, unit, impl):
    image = torch.rand(1, 1, 64, 64)
    strength = gradient_by_ratio(image.to(dtype), RADII, impl=impl)
    assert strength.dtype == dtype
    exact_of_rounded = gradient_by_ratio(image.to(dtype).double(), RADII, impl="conv")
    assert ((strength - exact_of_rounded).abs() <= unit * exact_of_rounded + BOUND).all()
    # A pixel moves by a share `unit`, so does a mean, and a log ratio by twice that; two of them make the strength.
    explained = 2 * 2**0.5 * unit
    exact = gradient_by_ratio(image.double(), RADII, impl="conv")
    assert ((strength - exact).abs() <= explained + unit * (exact + explained) + BOUND).all()


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    radii=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    kernel=st.sampled_from(["linear", "gaussian"]),
    centre=st.booleans(),
)
def test_box_agrees_with_the_definition_for_any_size_and_radii(height, width, radii, kernel, centre):
    image = torch.rand(1, 1, height, width, dtype=torch.float64)
    exact = gradient_by_ratio(image, radii, kernel, impl="conv", centre=centre)
    assert (gradient_by_ratio(image, radii, kernel, impl="box", centre=centre) - exact).abs().max() < 1e-12


def test_tiles_meet_without_a_seam():
    image = torch.rand(2, 1, 270, 530)
    exact = gradient_by_ratio(image.double(), (2, 6), impl="conv")
    assert (gradient_by_ratio(image, (2, 6), impl="box") - exact).abs().max() < BOUND


def test_the_number_of_threads_does_not_change_a_bit():
    image, threads = torch.rand(3, 1, 100, 300), torch.get_num_threads()
    results = []
    for num in (1, 2, 5):
        torch.set_num_threads(num)
        results.append(gradient_by_ratio(image, RADII))
    torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_the_image_is_left_as_it_was():
    image = torch.rand(1, 1, 40, 40)
    before = image.clone()
    gradient_by_ratio(image, (3,))
    assert torch.equal(image, before)


@pytest.mark.parametrize("length", [*range(1, 20), 35, 64])
@pytest.mark.parametrize("step", [1, 3])
def test_window_sums_are_sums_of_windows(length, step):
    values = np.random.default_rng(0).random(500)
    sums = window_sum(values, length, step, Scratch(), "sum")
    expected = [values[k : k + length * step : step].sum() for k in range(500 - (length - 1) * step)]
    assert np.allclose(sums, expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("lengths", [(6, 10, 14, 18), (1, 2, 20), (5,), (7, 8, 23, 64)])
@pytest.mark.parametrize("step", [1, 3])
def test_sums_that_grow_are_window_sums(lengths, step):
    values = np.random.default_rng(0).random(500)
    scratch = Scratch()
    for length, sums in zip(lengths, growing_sums(values, lengths, step, scratch, "line"), strict=True):
        assert np.allclose(sums, window_sum(values, length, step, scratch, "sum"), rtol=1e-14, atol=0)
        assert sums.shape == (500 - (length - 1) * step,)
