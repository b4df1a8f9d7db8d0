"""The block both networks are made of."""

from __future__ import annotations

import pytest
import torch

from sarjepa.models.blocks import Block, initialise
from sarjepa.models.relative_position import bucket_ids


@pytest.mark.parametrize("relative", [True, False])
def test_recomputing_activations_changes_neither_output_nor_gradient(relative: bool) -> None:
    torch.manual_seed(0)
    block, tokens, buckets = Block(16, 2, relative), torch.rand(2, 10, 16, requires_grad=True), bucket_ids(3, 3)
    results = []
    for recompute in (False, True):
        block.recompute = recompute
        output = block(tokens, buckets)
        results.append((output, torch.autograd.grad(output.square().sum(), [tokens, *block.parameters()])))
    torch.testing.assert_close(results[0], results[1], atol=0, rtol=0)


def test_a_block_without_relative_position_needs_no_buckets_and_one_with_it_does() -> None:
    tokens = torch.rand(1, 5, 16)
    assert Block(16, 2, relative=False)(tokens, None).shape == (1, 5, 16)
    with pytest.raises(AssertionError, match="which patches"):
        Block(16, 2)(tokens, None)


def test_linear_layers_start_xavier_uniform_with_zero_bias() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(200, 400)
    initialise(layer)
    bound = (6 / 600) ** 0.5
    assert 0.99 * bound < layer.weight.abs().max() <= bound and (layer.bias == 0).all()
