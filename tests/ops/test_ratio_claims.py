"""What the literature claims of the gradient by ratio, held against the paths that compute it."""

from __future__ import annotations

import math

import pytest
import torch

from sarjepa.ops.ratio import gradient_by_ratio

impls = pytest.mark.parametrize("impl", ["conv", "box"])
kernels = pytest.mark.parametrize("kernel", ["linear", "gaussian"])


def speckle(shape: tuple[int, ...], looks: int, mean: float, seed: int) -> torch.Tensor:
    """Intensity of a homogeneous field seen with L looks: gamma of shape L about its mean."""
    generator = torch.Generator().manual_seed(seed)
    exponential = torch.empty((looks, *shape), dtype=torch.float64).exponential_(generator=generator)
    return exponential.mean(0) * mean


@impls
@kernels
@pytest.mark.parametrize("level", [0.0, 1e-3, 1.0, 1e6])
def test_a_constant_field_has_no_edge(impl, kernel, level):
    image = torch.full((1, 1, 40, 50), level)
    assert gradient_by_ratio(image, (3, 9), kernel, impl=impl).max() < 1e-5


@kernels
def test_ratio_ignores_global_brightness(kernel):
    image = torch.rand(1, 1, 40, 50, dtype=torch.float64) + 0.01
    plain = gradient_by_ratio(image, (5,), kernel, eps=0)
    assert torch.allclose(gradient_by_ratio(image * 1000, (5,), kernel, eps=0), plain, atol=1e-12)
    assert torch.allclose(gradient_by_ratio(image * 1000, (5,), kernel, eps=10), gradient_by_ratio(image, (5,), kernel))


def test_eps_is_all_that_ties_the_strength_to_brightness():
    image = torch.rand(1, 1, 40, 50, dtype=torch.float64) + 1
    bound = 2 * math.sqrt(2) * 1e-2  # each mean moves by less than eps / 1, each log ratio by twice that
    assert (gradient_by_ratio(image, (5,)) - gradient_by_ratio(image, (5,), eps=0)).abs().max() < bound


@impls
@kernels
@pytest.mark.parametrize("centre", [True, False])
def test_mirrored_and_transposed_images_have_mirrored_and_transposed_edges(impl, kernel, centre):
    image = torch.rand(1, 1, 33, 41, dtype=torch.float64)

    def strength(turned: torch.Tensor) -> torch.Tensor:
        return gradient_by_ratio(turned, (2, 7), kernel, impl=impl, centre=centre)

    plain = strength(image)
    assert torch.allclose(strength(image.flip(-1)), plain.flip(-1), atol=1e-12)
    assert torch.allclose(strength(image.flip(-2)), plain.flip(-2), atol=1e-12)
    assert torch.allclose(strength(image.mT), plain.mT, atol=1e-12)


@pytest.mark.parametrize("looks", [1, 4])
def test_false_alarms_are_as_frequent_in_a_bright_field_as_in_a_dark_one(looks):
    num = 4000  # windows that share no pixel: independent samples
    dark = gradient_by_ratio(speckle((num, 1, 11, 11), looks, 0.01, seed=1), (5,), eps=0)[:, 0, 5, 5]
    bright = gradient_by_ratio(speckle((num, 1, 11, 11), looks, 100.0, seed=2), (5,), eps=0)[:, 0, 5, 5]
    deviation = math.sqrt((dark.var() + bright.var()) / num)
    assert abs(dark.mean() - bright.mean()) < 4 * deviation
    threshold = dark.quantile(0.95)
    share = (bright > threshold).double().mean()
    assert abs(share - 0.05) < 4 * math.sqrt(2 * 0.05 * 0.95 / num)


def test_a_difference_has_no_constant_false_alarm_rate():
    dark, bright = speckle((200, 30), 4, 0.01, seed=1), speckle((200, 30), 4, 100.0, seed=1)
    assert bright.diff(dim=1).abs().mean() > 1000 * dark.diff(dim=1).abs().mean()


@impls
@kernels
@pytest.mark.parametrize("radius", [5, 9, 17])
def test_disjoint_halves_see_the_whole_ratio_of_a_step(impl, kernel, radius):
    step = torch.ones(1, 1, 60, 80, dtype=torch.float64)
    step[..., 40:] = 10
    strength = gradient_by_ratio(step, (radius,), kernel, eps=0, impl=impl, centre=False)
    # The line before the edge and the line behind it: all that is left of either is of one level, or one line short.
    assert strength[0, 0, 30, 40] == pytest.approx(math.log(10), abs=1e-12)
    assert strength[0, 0, 30, 39] == pytest.approx(math.log(10), abs=1e-12)


@impls
@pytest.mark.parametrize("radius", [5, 9, 17])
def test_a_shared_centre_line_blurs_a_step_by_one_line_in_r_plus_one(impl, radius):
    step = torch.ones(1, 1, 60, 80, dtype=torch.float64)
    step[..., 40:] = 10
    strength = gradient_by_ratio(step, (radius,), eps=0, impl=impl)
    # At the last dark column the right half holds itself, dark, and r bright columns; at the first bright one the left
    # half holds r dark columns and itself, bright.
    last_dark = math.log((1 + 10 * radius) / (radius + 1))
    first_bright = math.log(10 * (radius + 1) / (radius + 10))
    assert strength[0, 0, 30, 39] == pytest.approx(last_dark, abs=1e-12)
    assert strength[0, 0, 30, 40] == pytest.approx(first_bright, abs=1e-12)
    assert strength.max() < math.log(10)


@impls
@kernels
@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", [(0, 0), (20, 31), (39, 12)])
def test_what_is_not_finite_stays_in_its_windows(impl, kernel, centre, value, where):
    image = torch.rand(2, 1, 40, 50)
    clean = gradient_by_ratio(image, (2, 5), kernel, impl=impl, centre=centre)
    image[1, 0, where[0], where[1]] = value
    strength = gradient_by_ratio(image, (2, 5), kernel, impl=impl, centre=centre)
    row, column = torch.arange(40)[:, None] - where[0], torch.arange(50)[None, :] - where[1]
    for k, radius in enumerate((2, 5)):
        near = (row.abs() <= radius) & (column.abs() <= radius)
        assert torch.equal(strength[1, k].isnan(), near)
        assert torch.equal(strength[1, k][~near], clean[1, k][~near])
    assert torch.equal(strength[0], clean[0])
