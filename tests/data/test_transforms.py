"""Chips for a DataLoader: what training and evaluation do, batch by batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.transforms import v2

import sarjepa
from sarjepa.data.transforms import ChipDataset, Evaluation, Training
from sarjepa.errors import InputError
from sarjepa.evaluation.benchmark import open_benchmark


def test_a_loader_takes_chips_as_the_evaluation_sees_them(toy_root: Path) -> None:
    chips = sarjepa.ChipDataset(
        toy_root / "shards" / "toy", split="test", transform=sarjepa.transforms.Evaluation(24, 20)
    )
    images, labels = next(iter(DataLoader(chips, batch_size=len(chips), num_workers=1)))
    benchmark = open_benchmark(str(toy_root), "toy", crop="20")
    chosen = np.flatnonzero(benchmark.shards.splits == "test")
    torch.testing.assert_close(images, benchmark.loader(24, "cpu")(chosen), atol=1e-5, rtol=0)
    assert labels.tolist() == chips.targets == benchmark.shards.labels[chosen].tolist()
    assert [chips.class_to_idx[name] for name in chips.classes] == [0, 1, 2]
    assert len(ChipDataset(toy_root / "shards" / "toy")) == 72
    with pytest.raises(InputError, match=r"no such split: .*; expected 'test', 'train'; got 'val'"):
        ChipDataset(toy_root / "shards" / "toy", split="val")


def test_a_transform_gets_a_chip_that_is_its_own_to_change(toy_root: Path) -> None:
    seen = []

    def darken(chip: torch.Tensor) -> torch.Tensor:
        seen.append(chip.mul_(0.5).clone())
        return chip

    chips = ChipDataset(toy_root / "shards" / "toy", transform=darken)
    assert torch.equal(chips[0][0], chips[0][0]) and seen[0].shape == (1, 32, 32) and seen[0].max() <= 0.5
    theirs = v2.Compose([v2.RandomHorizontalFlip(1.0), Evaluation(16)])
    flipped, _ = ChipDataset(toy_root / "shards" / "toy", transform=theirs)[0]
    plain, _ = ChipDataset(toy_root / "shards" / "toy", transform=Evaluation(16))[0]
    torch.testing.assert_close(flipped, plain.flip(2), atol=1e-5, rtol=0)


def test_training_views_follow_the_generator_and_stay_in_range() -> None:
    chip = np.random.default_rng(0).random((40, 30))
    torch.manual_seed(0)
    views = [Training(24)(chip) for _ in range(3)]
    torch.manual_seed(0)
    assert all(torch.equal(view, Training(24)(chip)) for view in views)
    assert not torch.equal(views[0], views[1])
    assert all(view.shape == (1, 24, 24) and view.min() >= 0 and view.max() <= 1 for view in views)
