"""The buckets are the released implementation's, and the fast bias is the definition's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sarjepa.models.relative_position import CLASS_BUCKET, NUM_BUCKETS, ContextualBias, bucket_ids, piecewise_index

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.1}


@pytest.mark.shared
@pytest.mark.parametrize("side", [4, 7, 14])
def test_buckets_equal_the_released_ones(shared: Path, side: int) -> None:
    golden = np.load(shared / "reference" / "relative_position_buckets.npz")[f"grid{side}"]
    np.testing.assert_array_equal(bucket_ids(side, side).numpy(), golden)


def test_piecewise_index_is_exact_nearby_and_coarse_further_out() -> None:
    assert [piecewise_index(d) for d in range(-5, 6)] == [-3, -3, -2, -2, -1, 0, 1, 2, 2, 3, 3]
    assert piecewise_index(1000) == 3


def test_a_window_has_the_buckets_of_its_place_on_any_grid() -> None:
    """Weights trained on 3 x 3 windows mean the same on a 5 x 8 grid."""
    rows, columns, side = 5, 8, 3
    inside = [0] + [1 + (r + 1) * columns + c + 4 for r in range(side) for c in range(side)]
    torch.testing.assert_close(bucket_ids(rows, columns)[inside][:, inside], bucket_ids(side, side))


def test_every_pair_with_the_class_token_has_its_own_bucket() -> None:
    buckets = bucket_ids(3, 4)
    assert (buckets[0] == CLASS_BUCKET).all() and (buckets[:, 0] == CLASS_BUCKET).all()
    assert (buckets[1:, 1:] < CLASS_BUCKET).all() and buckets.max() < NUM_BUCKETS


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("grid", [(1, 1), (2, 5), (7, 7)])
def test_fast_bias_equals_looking_every_pair_up(dtype: torch.dtype, grid: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    bias = ContextualBias(16)
    torch.nn.init.normal_(bias.lookup_table_weight, generator=generator)
    buckets = bucket_ids(*grid)
    query = torch.randn(3, 2, len(buckets), 16, generator=generator).to(dtype)
    bound = TOLERANCE[dtype]
    torch.testing.assert_close(bias(query, buckets), bias.by_lookup(query, buckets), atol=bound, rtol=bound)


def test_fast_bias_has_the_gradients_of_the_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    bias = ContextualBias(8).double()
    torch.nn.init.normal_(bias.lookup_table_weight, generator=generator)
    buckets = bucket_ids(3, 3)
    query = torch.randn(2, 2, 10, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 2, 10, 10, generator=generator, dtype=torch.float64)
    inputs = (query, bias.lookup_table_weight)
    fast = torch.autograd.grad((bias(query, buckets) * weight).sum(), inputs)
    plain = torch.autograd.grad((bias.by_lookup(query, buckets) * weight).sum(), inputs)
    torch.testing.assert_close(fast, plain)


def test_the_gradient_is_the_same_to_the_bit_whatever_the_threads_do() -> None:
    generator, threads = torch.Generator().manual_seed(0), torch.get_num_threads()
    bias, buckets = ContextualBias(64), bucket_ids(14, 14)
    query = torch.randn(2, 2, len(buckets), 64, generator=generator)
    torch.set_num_threads(2)
    try:
        first, *others = (
            torch.autograd.grad(bias(query, buckets).sin().sum(), bias.lookup_table_weight)[0] for _ in range(10)
        )
    finally:
        torch.set_num_threads(threads)
    assert first.abs().max() > 0 and all(torch.equal(first, other) for other in others)
