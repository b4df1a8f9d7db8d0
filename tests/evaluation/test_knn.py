"""Nearest neighbours and class means."""

from __future__ import annotations

import numpy as np
import torch

from sarjepa.evaluation.knn import fit_centroids, fit_neighbours


def blobs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(300) % 3
    feature = torch.randn(300, 8, generator=generator)
    feature[torch.arange(300), label] += 6
    return feature, label


def test_both_find_well_separated_classes_in_every_run() -> None:
    feature, label = blobs()
    train_RS = np.stack([np.arange(30), np.arange(30, 60)])
    for fitted in (fit_neighbours(feature, label, train_RS, 3), fit_centroids(feature, label, train_RS, 3)):
        for run in range(2):
            assert float((fitted.logits(run, feature).argmax(1) == label).float().mean()) > 0.98


def test_lengths_and_offsets_of_features_do_not_matter() -> None:
    feature, label = blobs()
    train_RS = np.arange(30)[None]
    for fit in (fit_neighbours, fit_centroids):
        plain = fit(feature, label, train_RS, 3).logits(0, feature)
        moved = fit(feature * 7 + 3, label, train_RS, 3).logits(0, feature * 7 + 3)
        assert torch.equal(plain.argmax(1), moved.argmax(1))


def test_the_nearest_class_mean_by_hand() -> None:
    feature = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 3.0], [2.5, 0.1], [0.1, 9.0]])
    label = torch.tensor([0, 0, 1, 1, 0, 1])
    fitted = fit_centroids(feature, label, np.arange(4)[None], 2)
    assert fitted.logits(0, feature[4:]).argmax(1).tolist() == [0, 1]


def test_a_class_without_shots_is_never_chosen_by_neighbours() -> None:
    feature, label = blobs()
    fitted = fit_neighbours(feature, label, np.arange(9)[None], 4)
    assert bool((fitted.logits(0, feature)[:, 3] == -torch.inf).all())
