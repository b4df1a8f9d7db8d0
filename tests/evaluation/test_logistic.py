"""L-BFGS finds the one optimum, whatever it is batched with and however wide the features are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from sarjepa.evaluation.logistic import STRENGTHS, _folds, fit_logistic, solve


def data(num: int = 300, width: int = 12, num_classes: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(num) % num_classes
    feature = torch.randn(num, width, generator=generator)
    feature[torch.arange(num), label] += 2
    return feature, label


def test_the_optimum_is_scipys() -> None:
    feature, label = data(80)
    target = torch.nn.functional.one_hot(label, 4).float()
    theta = solve(feature, target, torch.ones(80, 1), 0.01)[:, 0].T
    x, y = feature.double().numpy(), label.numpy()

    def loss(flat: np.ndarray) -> float:
        weight = flat.reshape(4, 13)
        logits = x @ weight[:, :-1].T + weight[:, -1]
        peak = logits.max(axis=1)
        log_sum = peak + np.log(np.exp(logits - peak[:, None]).sum(axis=1))
        return float((log_sum - logits[np.arange(80), y]).mean() + 0.005 * (weight[:, :-1] ** 2).sum())

    best = minimize(loss, np.zeros(52), method="L-BFGS-B", options={"maxiter": 1000, "maxfun": 10**6})
    assert loss(theta.double().numpy().ravel()) == pytest.approx(best.fun, abs=1e-6)
    assert np.allclose(theta[:, :-1], best.x.reshape(4, 13)[:, :-1], atol=5e-3)


def test_a_run_does_not_depend_on_its_neighbours() -> None:
    feature, label = data()
    train_RS = np.stack([np.arange(40), np.arange(40, 80), np.arange(80, 120)])
    together = fit_logistic(feature, label, train_RS, 4)
    alone = fit_logistic(feature, label, train_RS[1:2], 4)
    assert torch.equal(together.logits(1, feature), alone.logits(0, feature))


def test_copies_of_an_image_are_in_its_fold() -> None:
    label = torch.tensor([0, 1, 0, 1, 0, 1]).repeat_interleave(3)
    assert _folds(label, 3).tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]


def test_a_fold_does_not_see_the_images_it_holds_out() -> None:
    feature, label = data(80)
    target = torch.nn.functional.one_hot(label, 4).float()
    weight = torch.ones(80, 1)
    weight[60:] = 0
    spoilt = feature.clone()
    spoilt[60:] = -feature[60:]
    one, other = (solve(x, target, weight, 0.01) for x in (feature, spoilt))
    assert torch.allclose(one, other, atol=1e-3)


def test_features_wider_than_the_shots_lose_nothing_in_their_coordinates() -> None:
    """A feature repeated many times is the same problem: the wide path must predict what the narrow one does."""
    feature, label = data(width=12)
    train_RS = np.arange(40)[None]
    narrow = fit_logistic(feature, label, train_RS, 4)
    wide = fit_logistic(feature.repeat(1, 20), label, train_RS, 4)
    assert wide.weight_RCD.shape == (1, 4, 240)
    assert torch.allclose(narrow.logits(0, feature), wide.logits(0, feature.repeat(1, 20)), atol=2e-2)


def test_noise_is_answered_with_a_stronger_penalty_than_signal() -> None:
    generator = torch.Generator().manual_seed(1)
    noise, label = torch.randn(400, 40, generator=generator), torch.arange(400) % 4
    signal = noise.clone()
    signal[torch.arange(400), label] += 6
    train_RS = np.arange(400).reshape(10, 40)
    chosen = [np.median(fit_logistic(feature, label, train_RS, 4).strength) for feature in (noise, signal)]
    assert chosen[0] == pytest.approx(max(STRENGTHS)) and chosen[1] < 1e-3


def test_one_shot_a_class_is_enough_to_fit() -> None:
    feature, label = data()
    fitted = fit_logistic(feature, label, np.arange(4)[None], 4)
    assert bool(torch.isfinite(fitted.logits(0, feature)).all())


def test_a_dimension_that_never_varies_is_ignored() -> None:
    feature, label = data()
    constant = torch.cat([feature, torch.full((300, 1), 5.0)], dim=1)
    train_RS = np.arange(40)[None]
    fitted = fit_logistic(constant, label, train_RS, 4)
    other = constant.clone()
    other[:, -1] = 1e3
    assert torch.equal(fitted.logits(0, constant).argmax(1), fitted.logits(0, other).argmax(1))


@pytest.mark.parametrize("width", [4, 50])
def test_features_that_never_vary_give_the_classes_their_shares(width: int) -> None:
    label = torch.tensor([0] * 10 + [1] * 20 + [2] * 10)
    fitted = fit_logistic(torch.full((40, width), 0.5), label, np.arange(40)[None], 3)
    share = fitted.logits(0, torch.full((2, width), 0.5)).softmax(dim=1)
    assert torch.allclose(share, torch.tensor([0.25, 0.5, 0.25]), atol=1e-3)
