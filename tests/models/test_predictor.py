"""The predictor's two forms."""

from __future__ import annotations

import torch

from sarjepa.models.predictor import Predictor, QueryPredictor
from sarjepa.models.relative_position import bucket_ids


def test_depth_zero_is_one_linear_layer() -> None:
    predictor = Predictor(24, 100, depth=0)
    assert sorted(predictor.state_dict()) == ["head.bias", "head.weight"]
    assert predictor(torch.rand(2, 10, 24), bucket_ids(3, 3)).shape == (2, 10, 100)


def test_blocks_work_at_their_own_width() -> None:
    predictor = Predictor(24, 100, width=32, depth=2, num_heads=4)
    assert predictor.blocks[0].attn.qkv.weight.shape == (96, 32)
    assert predictor(torch.rand(2, 10, 24), bucket_ids(3, 3)).shape == (2, 10, 100)


def test_a_query_is_answered_by_its_place_and_not_by_its_order() -> None:
    torch.manual_seed(0)
    predictor = QueryPredictor(24, 10, width=32, depth=2, num_heads=4)
    tokens, context = torch.rand(2, 6, 24), torch.tensor([[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]])
    query = torch.tensor([[7, 9, 11], [11, 9, 7]])
    answers = predictor(tokens[:1].expand(2, -1, -1), context, query, (3, 4))
    assert answers.shape == (2, 3, 10)
    torch.testing.assert_close(answers[0], answers[1].flip(0))
    assert (answers[0, 0] - answers[0, 1]).abs().max() > 1e-3


def test_a_query_looks_at_the_context_and_at_where_it_lies() -> None:
    torch.manual_seed(0)
    predictor = QueryPredictor(24, 10, width=32, depth=2, num_heads=4)
    tokens, query = torch.rand(1, 6, 24), torch.tensor([[7, 9]])
    here, there = torch.tensor([[0, 1, 2, 3, 4]]), torch.tensor([[0, 1, 2, 3, 5]])
    answer = predictor(tokens, here, query, (3, 4))
    assert (predictor(tokens, there, query, (3, 4)) - answer).abs().max() > 1e-4
    assert (predictor(tokens + 1.0, here, query, (3, 4)) - answer).abs().max() > 1e-4
