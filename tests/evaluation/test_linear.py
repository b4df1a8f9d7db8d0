"""The batched probe is the plain loop, and the harness is honest: Bayes rate, chance, certainty, order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from sarjepa.evaluation.linear import LinearProbes, batches, epoch_rate, initial_weight, train_probes
from sarjepa.evaluation.training import Training
from sarjepa.models.heads import Head
from sarjepa.results.statistics import summarise


def mixture(num: int, width: int, num_classes: int, separation: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Equal spherical Gaussians around orthogonal centres `separation` from the origin."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(num) % num_classes
    feature = torch.randn(num, width, generator=generator)
    feature[torch.arange(num), label] += separation
    return feature, label


def first_of_each(label: torch.Tensor, num: int, offset: int = 0) -> np.ndarray:
    return np.concatenate(
        [np.flatnonzero(label.numpy() == c)[offset : offset + num] for c in range(int(label.max()) + 1)]
    )


def plain_loop(feature: torch.Tensor, label: torch.Tensor, train: np.ndarray, num_classes: int, seed: int) -> Head:
    """The published recipe as anyone would write it: one run, a module, an optimiser, a loop."""
    head = Head(feature.shape[1], num_classes)
    with torch.no_grad():
        head.linear.weight.copy_(initial_weight(num_classes, feature.shape[1], seed))
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3, betas=(0.9, 0.999), weight_decay=5e-4)
    head.train()
    for epoch in range(40):
        for group in optimiser.param_groups:
            group["lr"] = 1e-5 if epoch < 2 else 1e-3 * (1 + math.cos(math.pi * (epoch - 2) / 40)) / 2
        for batch in batches(len(train), 50, seed, epoch):
            loss = nn.functional.cross_entropy(head(feature[train[batch]]), label[train[batch]])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return head.eval()


@pytest.mark.parametrize(("shots", "width"), [(4, 24), (10, 24), (30, 48)])
def test_batched_runs_equal_the_one_by_one_loop(shots: int, width: int) -> None:
    feature, label = mixture(800, width, 8, 1.5, seed=0)
    train_RS = np.stack([first_of_each(label, shots, offset=10 * run) for run in range(5)])
    probes = train_probes(feature, label, train_RS, 8, range(5), Training())
    for run in range(5):
        plain = plain_loop(feature, label, train_RS[run], 8, run)
        with torch.no_grad():
            assert torch.allclose(probes.logits(run, feature), plain(feature), atol=2e-5)


def test_a_run_does_not_depend_on_its_neighbours() -> None:
    feature, label = mixture(400, 16, 4, 1.0, seed=1)
    train_RS = np.stack([first_of_each(label, 10, offset=10 * run) for run in range(6)])
    together = train_probes(feature, label, train_RS, 4, range(6), Training())
    alone = train_probes(feature, label, train_RS[4:5], 4, [4], Training())
    assert torch.allclose(together.logits(4, feature), alone.logits(0, feature), atol=1e-5)


def test_accuracy_agrees_with_the_bayes_rate() -> None:
    """Two Gaussians 2d apart: no rule is right more often than Phi(d); with many shots the probe comes to it."""
    centre, num_test = 1.0, 40_000
    feature, label = mixture(num_test + 4000, 10, 2, 0.0, seed=2)
    feature[:, 0] += centre * (2 * label - 1)
    train = np.arange(4000)
    probes = train_probes(feature, label, train[None], 2, [0], Training())
    hits = probes.logits(0, feature[4000:]).argmax(dim=1) == label[4000:]
    bayes = 0.5 * (1 + math.erf(centre / math.sqrt(2)))
    sampling = math.sqrt(bayes * (1 - bayes) / num_test)
    assert bayes - 0.005 - 3 * sampling < float(hits.float().mean()) < bayes + 3 * sampling


def test_shuffled_labels_give_chance_within_the_interval() -> None:
    num_classes = 5
    feature, label = mixture(6000, 32, num_classes, 2.0, seed=3)
    shuffled = label[torch.randperm(len(label), generator=torch.Generator().manual_seed(4))]
    test = np.arange(3000, 6000)
    trains = np.stack([first_of_each(shuffled[:3000], 20, offset=20 * run) for run in range(10)])
    probes = train_probes(feature, shuffled, trains, num_classes, range(10), Training())
    accuracy = [100 * float((probes.logits(run, feature[test]).argmax(1) == shuffled[test]).float().mean())
                for run in range(10)]  # fmt: skip
    low, high = summarise(accuracy).ci95
    assert low < 100 / num_classes < high


def test_a_feature_that_equals_the_label_gives_every_hit() -> None:
    label = torch.arange(600) % 10
    feature = nn.functional.one_hot(label, 10).float()
    probes = train_probes(feature, label, first_of_each(label, 10)[None], 10, [0], Training())
    assert bool((probes.logits(0, feature).argmax(1) == label).all())


def test_permuting_the_images_changes_nothing() -> None:
    feature, label = mixture(600, 20, 6, 1.0, seed=5)
    train = first_of_each(label, 10)
    order = torch.randperm(600, generator=torch.Generator().manual_seed(6))
    where = torch.argsort(order).numpy()
    straight = train_probes(feature, label, train[None], 6, [0], Training())
    permuted = train_probes(feature[order], label[order], where[train][None], 6, [0], Training())
    assert torch.equal(straight.weight, permuted.weight)


def test_the_rate_follows_the_published_schedule() -> None:
    rates = [epoch_rate(epoch, 40, 1e-3) for epoch in range(40)]
    assert rates[:3] == [1e-5, 1e-5, 1e-3]
    assert rates[-1] == pytest.approx(1.38e-5, abs=5e-8), "the last epoch's rate as the protocol states it"
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[2:]))


@pytest.mark.parametrize(("num", "sizes"), [(49, [49]), (50, [50]), (99, [50]), (120, [50, 50]), (10, [10])])
def test_the_short_last_batch_is_dropped_only_from_fifty_images_on(num: int, sizes: list[int]) -> None:
    assert [len(batch) for batch in batches(num, 50, 0, 0)] == sizes


def test_an_epoch_is_a_new_shuffle_of_every_image() -> None:
    first, second = (np.concatenate(list(batches(100, 50, 0, epoch))) for epoch in (0, 1))
    assert sorted(first) == list(range(100)) and not np.array_equal(first, second)


def test_a_diverging_run_shows_and_spares_the_others() -> None:
    feature, label = mixture(200, 8, 2, 1.0, seed=7)
    feature[:10] = float("inf")
    train_RS = np.stack([np.arange(20), np.arange(20, 40)])
    probes = train_probes(feature, label, train_RS, 2, [0, 1], Training())
    assert torch.isfinite(probes.loss).tolist() == [False, True]
    assert isinstance(probes, LinearProbes) and bool(torch.isfinite(probes.weight[1]).all())
