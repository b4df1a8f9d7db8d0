"""Shrinkage LDA is its formula, in either form, and leaves images out exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sarjepa.evaluation.lda import SHRINKAGES, choose_shrinkage, discriminants, fit_lda, left_out_logits, scatter


def data(num: int = 60, width: int = 20, num_classes: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(num) % num_classes
    feature = torch.randn(num, width, generator=generator, dtype=torch.float64)
    feature = feature @ torch.randn(width, width, generator=generator, dtype=torch.float64)
    feature[torch.arange(num), label] += 4
    return feature, label


def covariance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    within = x - np.stack([x[y == label].mean(axis=0) for label in y])
    return within.T @ within / (len(x) - len(np.unique(y)))


def formula(x: np.ndarray, y: np.ndarray, test: np.ndarray, shrinkage: float, trace: float | None = None) -> np.ndarray:
    """The definition, by an explicit covariance and its inverse."""
    mean = np.stack([x[y == label].mean(axis=0) for label in np.unique(y)])
    own = covariance(x, y)
    across = np.trace(own) if trace is None else trace
    sigma = (1 - shrinkage) * own + shrinkage * across / x.shape[1] * np.eye(x.shape[1])
    weight = np.linalg.inv(sigma) @ mean.T
    return test @ weight - 0.5 * np.einsum("cd,dc->c", mean, weight)


@pytest.mark.parametrize("width", [20, 90])
@pytest.mark.parametrize("dual", [False, True])
@pytest.mark.parametrize("shrinkage", [0.1, 0.7])
def test_both_forms_give_the_formula(width: int, dual: bool, shrinkage: float) -> None:
    feature, label = data(width=width)
    weight, bias = discriminants(scatter(feature[:40], label[:40], 4, dual), shrinkage)
    wanted = formula(feature[:40].numpy(), label[:40].numpy(), feature[40:].numpy(), shrinkage)
    found = (feature[40:] @ weight.T + bias).numpy()
    assert np.allclose(found - found[:, :1], wanted - wanted[:, :1], atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("width", [20, 90])
@pytest.mark.parametrize("copies", [1, 3])
def test_leaving_out_is_refitting_without_the_image_and_its_copies(width: int, copies: int) -> None:
    feature, label = data(num=36, width=width)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(36, copies, width, generator=generator, dtype=torch.float64)
    rows = (feature[:, None] + noise).flatten(0, 1)
    labels = label.repeat_interleave(copies)
    found = left_out_logits(scatter(rows, labels, 4), labels, 0.3, copies).numpy()
    trace = np.trace(covariance(rows.numpy(), labels.numpy()))
    for image in range(36):
        own = np.arange(image * copies, (image + 1) * copies)
        kept = np.setdiff1d(np.arange(len(rows)), own)
        wanted = formula(rows[kept].numpy(), labels[kept].numpy(), rows[own[:1]].numpy(), 0.3, trace)[0]
        assert np.allclose(found[image] - found[image].max(), wanted - wanted.max(), atol=1e-6 * np.abs(wanted).max())


def test_classes_that_one_direction_hides_are_found_with_little_shrinkage() -> None:
    """Where all scatter lies along one direction that covers the class means, a round covariance cannot see them."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(80) % 2
    hidden = torch.randn(80, generator=generator) * 2
    feature = torch.stack([hidden, hidden + label], dim=1) + 0.1 * torch.randn(80, 2, generator=generator)
    found = fit_lda(feature, label, np.arange(40)[None], 2)
    assert found.strength[0] == min(SHRINKAGES)
    assert (found.logits(0, feature[40:]).argmax(dim=1) == label[40:]).float().mean() > 0.95


def test_a_run_does_not_depend_on_its_neighbours() -> None:
    feature, label = data(120)
    train_RS = np.stack([np.arange(40), np.arange(40, 80), np.arange(80, 120)])
    together = fit_lda(feature.float(), label, train_RS, 4)
    alone = fit_lda(feature.float(), label, train_RS[1:2], 4)
    assert torch.equal(together.logits(1, feature.float()), alone.logits(0, feature.float()))


def test_one_shot_is_the_nearest_mean_and_a_class_without_shots_is_never_said() -> None:
    feature, label = data(40)
    train = np.array([[0, 1, 3]])  # classes 0, 1 and 3, an image of each
    found = fit_lda(feature, label, train, 4)
    z = (feature - found.mean_RD[0]) * found.scale_RD[0]
    nearest = torch.cdist(z, z[train[0]]).argmin(dim=1)
    assert torch.equal(found.logits(0, feature).argmax(dim=1), torch.tensor([0, 1, 3])[nearest])


def test_the_shrinkage_is_of_the_grid_and_sees_an_image_and_its_copies_as_one() -> None:
    """Exact copies: left out one by one each would meet its twin, and no shrinkage at all would look best."""
    feature, label = data(24, width=60)
    twice, labels = feature.repeat_interleave(2, dim=0), label.repeat_interleave(2)
    found = scatter(twice, labels, 4)
    assert choose_shrinkage(found, labels, copies=2) == choose_shrinkage(scatter(feature, label, 4), label)
