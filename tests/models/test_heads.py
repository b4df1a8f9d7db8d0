"""Pooling and the probe's head."""

from __future__ import annotations

import pytest
import torch

from sarjepa.models.heads import POOLS, Classifier, Feature, Head, pool_tokens


def test_a_grid_keeps_where_things_are() -> None:
    tokens = torch.zeros(1, 17, 2)
    tokens[0, 1 + 5, 0] = 1.0  # patch in row 1, column 1 of a 4 x 4 grid: first cell of a 2 x 2
    assert pool_tokens(tokens, "grid2")[0].reshape(4, 2)[:, 0].tolist() == [0.25, 0, 0, 0]
    assert pool_tokens(tokens, "grid4")[0].reshape(16, 2)[:, 0].argmax() == 5


@pytest.mark.parametrize("name", ["cls", "cls+grid4", "mean@2", "cls+grid2@3,6"])
def test_a_feature_is_read_from_its_name(name: str) -> None:
    feature = Feature.read(name)
    assert feature.name == name
    assert feature.num_tokens == {"cls": 1, "cls+grid4": 17, "mean@2": 1, "cls+grid2@3,6": 10}[name]


@pytest.mark.parametrize("pool", POOLS)
def test_widths_are_as_the_table_says(pool: str) -> None:
    assert pool_tokens(torch.rand(3, 1 + 5 * 7, 6), pool, (5, 7)).shape == (3, 6 * POOLS[pool])


def test_the_head_has_the_published_start() -> None:
    head = Head(1000, 50, generator=torch.Generator().manual_seed(0))
    assert float(head.linear.weight.detach().std()) == pytest.approx(0.01, rel=0.02)
    assert float(head.linear.bias.detach().abs().sum()) == 0
    assert head.norm.eps == 1e-6 and head.norm.momentum == 0.1 and not list(head.norm.parameters())


def test_at_test_a_prediction_does_not_depend_on_its_neighbours() -> None:
    head = Head(8, 3)
    head.train()(torch.randn(50, 8))
    head.eval()
    feature = torch.randn(5, 8)
    assert torch.allclose(head(feature)[:1], head(feature[:1]))


def test_a_classifier_reads_oblong_chips() -> None:
    class Stub(torch.nn.Module):
        patch_size = 8

        def forward_features(self, image: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(image), 1 + (image.shape[2] // 8) * (image.shape[3] // 8), 4)

    assert Classifier(Stub(), Head(16, 3), Feature(("grid2",))).eval()(torch.rand(2, 1, 16, 40)).shape == (2, 3)
