"""Copies of the shots: views of chips that may be learnt from, through the encoder once, and never tested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sarjepa.evaluation.benchmark import Benchmark, open_benchmark
from sarjepa.evaluation.fewshot import draw
from sarjepa.evaluation.lda import fit_lda
from sarjepa.evaluation.opened import Copy, open_checkpoint, open_features
from sarjepa.evaluation.runs import probe_runs
from sarjepa.evaluation.training import Training
from sarjepa.models.heads import Feature
from sarjepa.progress import Progress

CPU = torch.device("cpu")


@pytest.fixture
def toy(toy_root: Path) -> Benchmark:
    return open_benchmark(str(toy_root), "toy")


def features(toy: Benchmark, folder: Path, copy: Copy | None = None, checkpoint: str = "log-pixels") -> np.ndarray:
    opened = open_checkpoint(checkpoint, 0, CPU)
    return open_features(opened, toy, Feature(("cls",)), "fp32", folder, CPU, Progress(), copy)


def test_mirroring_alone_makes_the_exact_mirror_image_of_chips_to_learn_from(toy: Benchmark, tmp_path: Path) -> None:
    plain = features(toy, tmp_path)
    mirrored = features(toy, tmp_path, Copy(("mirror",), number=1))
    is_train = toy.shards.splits == "train"
    assert np.allclose(
        mirrored[is_train].reshape(-1, 16, 16), plain[is_train].reshape(-1, 16, 16)[:, :, ::-1], atol=1e-5
    )
    assert np.isnan(mirrored[~is_train]).all(), "no view of a test chip is made"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_copy_is_drawn_by_its_number(toy: Benchmark, tmp_path: Path) -> None:
    first, second = (features(toy, tmp_path, Copy(("shift", "speckle"), number)) for number in (1, 2))
    assert not np.array_equal(first, second, equal_nan=True)
    again = features(toy, tmp_path / "other", Copy(("shift", "speckle"), 1))
    assert np.array_equal(first, again, equal_nan=True)


@pytest.mark.parametrize("solver", ["adamw", "lbfgs", "lda", "knn", "centroid", "label-spreading"])
def test_every_solver_learns_from_the_copies_and_is_tested_on_the_chips(
    toy: Benchmark, tmp_path: Path, solver: str
) -> None:
    plain, copy = features(toy, tmp_path), features(toy, tmp_path, Copy(("mirror",), 1))
    draws = [draw(toy.candidates, "published", 4, seed) for seed in (0, 1)]
    found = probe_runs(plain, toy, draws, solver, Training(), CPU, (copy,))
    alone = probe_runs(plain, toy, draws[1:], solver, Training(), CPU, (copy,))
    assert all(probed.scores is not None and probed.scores.accuracy > 70 for probed in found)
    assert found[1].scores is not None and alone[0].scores is not None
    assert np.array_equal(found[1].scores.confusion, alone[0].scores.confusion)


def test_an_image_and_its_copies_are_rows_in_succession(toy: Benchmark, tmp_path: Path) -> None:
    plain, copy = features(toy, tmp_path), features(toy, tmp_path, Copy(("shift",), 1))
    drawn = draw(toy.candidates, "published", 4, 0)
    [probed] = probe_runs(plain, toy, [drawn], "lda", Training(), CPU, (copy,))
    rows = torch.from_numpy(np.stack([plain[drawn.train], copy[drawn.train]], axis=1)).flatten(0, 1)
    label = torch.from_numpy(toy.candidates.labels[drawn.train]).repeat_interleave(2)
    fitted = fit_lda(rows, label, np.arange(len(rows))[None], 3, copies=2)
    predicted = fitted.logits(0, torch.from_numpy(plain[drawn.test])).argmax(dim=1).numpy()
    assert probed.scores is not None
    wanted = 100 * (predicted == toy.candidates.labels[drawn.test]).mean()
    assert probed.scores.accuracy == pytest.approx(wanted)
