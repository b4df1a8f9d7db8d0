"""The ideal low-pass against a double loop over frequencies, and its claims."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sarjepa.errors import InputError
from sarjepa.ops.lowpass import low_pass


def _by_double_loop(image: np.ndarray, radius: float) -> np.ndarray:
    height, width = image.shape
    spectrum = np.fft.fftshift(np.fft.fft2(image))
    for y in range(height):
        for x in range(width):
            cycles = np.hypot((y - height // 2) / height, (x - width // 2) / width)  # a pixel
            if cycles > radius / 224 + 1e-12:
                spectrum[y, x] = 0
    return np.fft.ifft2(np.fft.ifftshift(spectrum)).real


@pytest.mark.parametrize("shape", [(32, 32), (21, 30), (224, 224)])
@pytest.mark.parametrize("radius", [20, 60, 400])
def test_low_pass_keeps_the_disc_of_frequencies(shape, radius):
    image = np.random.default_rng(1).random(shape)
    passed = low_pass(torch.from_numpy(image)[None, None], radius)[0, 0].numpy()
    assert np.abs(passed - _by_double_loop(image, radius)).max() < 1e-12


@pytest.mark.parametrize(("cycles", "passes"), [(59, True), (60, True), (61, False)])
def test_a_wave_passes_up_to_sixty_cycles_over_224_pixels(cycles, passes):
    wave = torch.cos(2 * torch.pi * cycles * torch.arange(224, dtype=torch.float64) / 224).expand(1, 1, 224, 224)
    expected = wave if passes else torch.zeros_like(wave)
    assert torch.allclose(low_pass(wave), expected, atol=1e-10)


def test_the_mean_of_the_image_stays():
    image = torch.rand(2, 1, 40, 48)
    assert torch.allclose(low_pass(image).mean((-2, -1)), image.mean((-2, -1)), atol=1e-6)


def test_filtering_twice_is_filtering_once():
    image = torch.rand(1, 1, 64, 64, dtype=torch.float64)
    once = low_pass(image)
    assert torch.allclose(low_pass(once), once, atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "unit"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11), (torch.float32, 0), (torch.float64, 0)]
)
def test_half_precision_costs_the_rounding_of_the_output_alone(dtype, unit):
    image = torch.rand(1, 1, 30, 30).to(dtype)
    passed, exact = low_pass(image), low_pass(image.double())
    assert passed.dtype == dtype
    assert ((passed - exact).abs() <= unit * exact.abs() + 1e-6).all()


def test_a_radius_of_nothing_is_refused():
    with pytest.raises(InputError, match="radius"):
        low_pass(torch.rand(1, 1, 8, 8), 0)
