"""Label spreading over a graph of training chips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sarjepa.config import FewshotBenchConfig
from sarjepa.errors import InputError
from sarjepa.evaluation.benchmark import open_benchmark
from sarjepa.evaluation.fewshot import draw
from sarjepa.evaluation.metrics import scores
from sarjepa.evaluation.opened import Copy, open_checkpoint, open_features
from sarjepa.evaluation.runs import probe_runs
from sarjepa.evaluation.spreading import NUM_NEIGHBOURS, SPREAD, Spreading, graph_of
from sarjepa.evaluation.training import Training
from sarjepa.models.heads import Feature
from sarjepa.progress import Progress
from sarjepa.recipes.evaluating.record import run_record
from sarjepa.results.records import Variant

CPU = torch.device("cpu")


def rings(num: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two classes, each a closed curve in 6 dimensions, as the aspects of two targets, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    angle = torch.linspace(0, 2 * torch.pi, num + 1)[:num]
    ring = torch.stack([angle.cos(), angle.sin(), (2 * angle).cos(), (2 * angle).sin()], dim=1)
    zero = torch.zeros(num, 1)
    feature = torch.cat([torch.cat([ring, zero, zero + 0.3], 1), torch.cat([ring, zero + 0.5, zero - 0.3], 1)])
    return feature + 0.02 * torch.randn(feature.shape, generator=generator), torch.arange(2).repeat_interleave(num)


def test_scores_are_those_of_the_definition_solved_densely() -> None:
    feature, label = rings()
    graph = graph_of(feature)
    label_MC = np.zeros((120, 2))
    label_MC[[0, 7, 60], [0, 0, 1]] = 1
    centred = (feature - feature.mean(0)).double().numpy()
    covariance = centred.T @ centred / 120
    covariance = 0.5 * covariance + 0.5 * np.trace(covariance) / 6 * np.eye(6)
    inner = centred @ np.linalg.inv(covariance) @ centred.T
    cosine = inner / np.sqrt(np.outer(inner.diagonal(), inner.diagonal()))
    weight = np.zeros((120, 120))
    for i in range(120):
        near = sorted(set(range(120)) - {i}, key=lambda j: -cosine[i, j])[:NUM_NEIGHBOURS]
        weight[i, near] = cosine[i, near] ** 3
    weight = np.maximum(weight, weight.T)
    root = np.sqrt(np.outer(weight.sum(0), weight.sum(0)))
    expected = np.linalg.solve(np.eye(120) - SPREAD * weight / root, label_MC)
    np.testing.assert_allclose(graph.affinity.toarray(), weight / root, atol=1e-5)
    np.testing.assert_allclose(graph.spread(label_MC).numpy(), expected / expected.sum(0), rtol=2e-3, atol=1e-6)
    assert float((graph.spread(label_MC).argmax(1) == label).float().mean()) > 0.95


def spread_over(feature: torch.Tensor, label: torch.Tensor, tested: torch.Tensor) -> torch.Tensor:
    """Logits of some images, from one shot of each ring and the other rows without their labels."""
    spreading = Spreading(feature, label, 2, tested)
    return spreading.logits(np.array([0, 90]), np.arange(len(feature)), np.arange(len(tested)))


def test_one_label_of_each_ring_is_enough_where_nearest_neighbours_fail() -> None:
    feature, label = rings()
    assert float((spread_over(feature, label, feature).argmax(1) == label).float().mean()) > 0.95
    nearer = (torch.cdist(feature, feature[[0, 90]]).argmin(1) == label).float().mean()
    assert float(nearer) < 0.7


def test_only_the_labels_of_shots_are_read() -> None:
    feature, label = rings()
    hidden = label.clone()
    hidden[[i for i in range(120) if i not in (0, 90)]] = -1
    assert torch.equal(spread_over(feature, label, feature), spread_over(feature, hidden, feature))


def test_a_test_chip_is_classified_whatever_the_others_are() -> None:
    feature, label = rings()
    tested, _ = rings(seed=1)
    torch.testing.assert_close(spread_over(feature, label, tested)[40:50], spread_over(feature, label, tested[40:50]))


def test_chips_next_to_nodes_without_a_label_take_the_nearest_that_have_one() -> None:
    feature, label = rings()
    island = 0.01 * feature + torch.tensor([0.0, 0.0, 0.0, 0.0, 50.0, 50.0])  # no shot, and no edge to the rings
    both = torch.cat([feature, island])
    labels = torch.cat([label, torch.full_like(label, -1)])
    seed_MC = np.zeros((240, 2))
    seed_MC[0, 0] = seed_MC[90, 1] = 1
    assert float(graph_of(both).spread(seed_MC)[120:].sum()) == 0
    assert bool(spread_over(both, labels, island).isfinite().any(dim=1).all())


def test_equal_graphs_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    feature, label = rings()
    made: list[int] = []
    monkeypatch.setattr("sarjepa.evaluation.spreading.graph_of", lambda rows: made.append(len(rows)) or graph_of(rows))
    spreading, tested = Spreading(feature, label, 2, feature), np.arange(120)
    several = [spreading.logits(np.array(shots), np.arange(120), tested) for shots in ([1, 90], [1, 5, 90, 95])]
    spreading.logits(np.array([1, 90]), np.arange(1, 120), tested)
    assert made == [120, 119]
    alone = Spreading(feature, label, 2, feature).logits(np.array([1, 5, 90, 95]), np.arange(120), tested)
    assert torch.equal(several[1], alone)


def test_two_chips_make_a_graph() -> None:
    spreading = Spreading(torch.eye(2), torch.tensor([0, 1]), 2, torch.eye(2))
    assert spreading.logits(np.arange(2), np.arange(2), np.arange(2)).shape == (2, 2)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    feature, label = rings()
    whole = spread_over(feature, label, feature)
    monkeypatch.setattr("sarjepa.evaluation.spreading._BLOCK", 7)
    torch.testing.assert_close(whole, spread_over(feature, label, feature))


def test_the_graph_holds_the_training_chips_and_their_copies_and_no_test_chip(toy_root: Path) -> None:
    toy = open_benchmark(str(toy_root), "toy")
    pixels = toy.loader(16, CPU)(np.arange(len(toy.shards))).flatten(1).numpy()
    drawn = draw(toy.candidates, "published", 5, seed=0)
    blind = pixels.copy()
    blind[drawn.test] = np.nan  # the graph would be all NaN
    accuracies = []
    for rows in (pixels, blind):
        [probed] = probe_runs(rows, toy, [drawn], "label-spreading", Training(), CPU, (rows[:, ::-1],), pixels)
        assert probed.scores is not None
        accuracies.append(probed.scores.accuracy)
    assert accuracies[0] == accuracies[1] > 80


def test_chips_without_a_class_have_features_and_are_spread_over_where_asked(toy_root: Path, tmp_path: Path) -> None:
    toy = open_benchmark(str(toy_root), "toy")
    shots, test = (getattr(draw(toy.candidates, "published", 2, seed=0), side) for side in ("train", "test"))
    nameless = toy.candidates.splits == "train"
    nameless[shots] = False
    labels = np.where(nameless, -1, toy.candidates.labels)
    bare = replace(toy, candidates=replace(toy.candidates, labels=labels, nameless=nameless, pool_fraction=1.0))
    opened = open_checkpoint("pixels", 0, CPU)

    def features(copy: Copy | None = None, **given: bool) -> np.ndarray:
        return open_features(opened, bare, Feature(("cls",)), "fp32", tmp_path, CPU, Progress(), copy, **given)

    mirror = Copy(("mirror",), 1)
    assert np.isnan(features()[nameless]).all() and np.isnan(features(mirror)[nameless]).all()
    rows = features(nameless=True)
    assert np.isfinite(rows).all() and np.isfinite(features(mirror, nameless=True)[nameless]).all()
    assert np.isnan(features(mirror, nameless=True)[test]).all()

    drawn = draw(bare.candidates, "published", 2, seed=0)
    assert set(drawn.train) == set(shots) and set(drawn.spare) == set(np.flatnonzero(nameless))
    named = replace(drawn, spare=np.flatnonzero(nameless)[::-1])
    [spread], [same] = (
        probe_runs(rows, benchmark, [one], "label-spreading", Training(), CPU)
        for benchmark, one in ((bare, drawn), (toy, named))
    )
    assert spread.scores is not None and same.scores is not None
    assert (spread.scores.confusion == same.scores.confusion).all(), "a class that is known and not given is not read"


def test_near_copies_of_unlabelled_chips_count_as_those_of_shots_do(toy_root: Path) -> None:
    copies = open_benchmark(str(toy_root), "copies")  # every chip is there four times
    drawn, pixels = draw(copies.candidates, "published", 1, seed=0), open_checkpoint("pixels", 0, CPU)
    assert len(drawn.spare)
    truth = copies.candidates.labels[drawn.test]
    shares = []
    for solver in ("lda", "label-spreading"):
        variant = Variant(protocol="linear-probe", pool="pixels", solver=solver, split_policy="published")
        record = run_record(scores(truth, truth, len(copies.classes)), pixels, copies, drawn, variant, "fp32")
        shares.append(record.near_copy_percent)
    assert shares[0] is not None and shares[1] is not None and shares[0] < shares[1]


def test_a_file_of_draws_does_not_name_the_unlabelled_chips() -> None:
    with pytest.raises(InputError, match="does not name the unlabelled chips"):
        FewshotBenchConfig(draws="draws.json", solver=("lda", "label-spreading"))
