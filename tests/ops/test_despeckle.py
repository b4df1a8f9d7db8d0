"""Lee's filter flattens speckle to its mean, and leaves scatterers and edges standing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sarjepa.ops.despeckle import WINDOW, despeckled


def speckle(looks: int, side: int = 64) -> torch.Tensor:
    gamma = np.random.default_rng(0).gamma(looks, 1 / looks, (4, 1, side, side))
    return torch.from_numpy(np.sqrt(gamma)).float()


def by_loop(image: np.ndarray, looks: float) -> np.ndarray:
    """The formula pixel by pixel."""
    intensity, out, half = image.astype(np.float64) ** 2, np.zeros(image.shape), WINDOW // 2
    for row, column in np.ndindex(*image.shape):
        window = intensity[max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1]
        k = max(0.0, 1 - window.mean() ** 2 / (looks * window.var())) / (1 + 1 / looks)
        out[row, column] = window.mean() + k * (intensity[row, column] - window.mean())
    return np.sqrt(out)


@pytest.mark.parametrize("looks", [1, 4])
def test_it_is_the_formula(looks: int) -> None:
    image = speckle(1, 20)[0, 0].numpy() * np.linspace(0.1, 2, 20, dtype=np.float32)
    ours = despeckled(torch.from_numpy(image)[None, None], looks)[0, 0].numpy()
    np.testing.assert_allclose(ours, by_loop(image, looks), atol=2e-4)


@pytest.mark.parametrize("looks", [1, 4])
def test_homogeneous_ground_keeps_its_mean_and_loses_most_of_its_variance(looks: int) -> None:
    before, after = (speckle(looks).square(), despeckled(0.2 * speckle(looks), looks).square() / 0.04)
    assert after.mean().item() == pytest.approx(before.mean().item(), rel=0.05)
    assert after.var() < 0.3 * before.var()


def test_a_bright_scatterer_and_an_edge_stand() -> None:
    image = 0.1 * speckle(1)
    image[:, :, :, 32:] *= 5
    image[:, :, 10, 10] = 1.0
    clean = despeckled(image)
    assert clean[:, :, 10, 10].min() > 0.65
    assert clean[:, :, 20:, 36:].mean() > 4 * clean[:, :, 20:, :28].mean()


def test_a_constant_image_stays_and_gradients_are_finite() -> None:
    flat = torch.full((1, 1, 16, 16), 0.3, requires_grad=True)
    out = despeckled(flat)
    torch.testing.assert_close(out, flat)
    out.sum().backward()
    assert flat.grad is not None and flat.grad.isfinite().all()
