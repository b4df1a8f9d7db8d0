"""The predictor's two forms."""

from __future__ import annotations

import torch

from sarjepa.models.predictor import Predictor
from sarjepa.models.relative_position import bucket_ids


def test_depth_zero_is_one_linear_layer() -> None:
    predictor = Predictor(24, 100, depth=0)
    assert sorted(predictor.state_dict()) == ["head.bias", "head.weight"]
    assert predictor(torch.rand(2, 10, 24), bucket_ids(3, 3)).shape == (2, 10, 100)


def test_blocks_work_at_their_own_width() -> None:
    predictor = Predictor(24, 100, width=32, depth=2, num_heads=4)
    assert predictor.blocks[0].attn.qkv.weight.shape == (96, 32)
    assert predictor(torch.rand(2, 10, 24), bucket_ids(3, 3)).shape == (2, 10, 100)
