r"""Relative position that depends on content (iRPE, Wu et al., ICCV 2021: product method, contextual, on keys).

An encoder without absolute positions learns from 7 x 7 windows of patches and runs on the whole grid, or on any other,
because it is told only how far apart two patches are. The offset d = position(query) - position(key) is mapped, for
rows and columns each, to a piecewise index that is exact for small offsets and logarithmic for larger ones,

    f(d) = d                                                          |d| <= a
    f(d) = sign(d) min(round(a + ln(|d|/a) / ln(g/a) (b - a)), b)     otherwise, truncated toward zero,

with a = 1.9, b = 3.8, g = 15.2, so that f takes the seven values -3 .. 3. The bucket of a pair is
(f(d_row) + 3) * 7 + f(d_col) + 3; every pair with the class token has bucket 49. Each block holds a table T of shape
(1, head_dim, 50), shared over heads, and adds q_i . T[:, bucket(i, j)] to the logit of (i, j), q unscaled.

Shapes: B sequences, H heads, N tokens, d = head_dim, K = 50 buckets.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import nn

NUM_BUCKETS = 50
CLASS_BUCKET = 49
_ALPHA, _BETA, _GAMMA = 1.9, 3.8, 15.2


def piecewise_index(offset: int) -> int:
    """f(d) of the module's formula, from an offset in patches to -3 .. 3.

    Example:
        >>> [piecewise_index(offset) for offset in (-9, -1, 0, 1, 2, 9)]
        [-3, -1, 0, 1, 2, 3]
    """
    distance = abs(offset)
    if distance <= _ALPHA:
        return offset
    spread = math.log(distance / _ALPHA) / math.log(_GAMMA / _ALPHA) * (_BETA - _ALPHA)
    # Rounding comes before the cap, and the cap 3.8 is cut to 3, as in the training of the released weights.
    return int(math.copysign(int(min(round(_ALPHA + spread), _BETA)), offset))


@functools.lru_cache(maxsize=32)
def bucket_ids(rows: int, columns: int) -> torch.Tensor:
    """The bucket of every (query, key) pair of a grid with one class token in front.

    Returns:
        (1 + rows * columns, 1 + rows * columns) int64 on the CPU; token 0 is the class token.

    Example:
        >>> bucket_ids(rows=1, columns=2)
        tensor([[49, 49, 49],
                [49, 24, 23],
                [49, 25, 24]])
    """
    row_index = torch.tensor([piecewise_index(d) for d in range(-rows + 1, rows)])
    column_index = torch.tensor([piecewise_index(d) for d in range(-columns + 1, columns)])
    row_N = torch.arange(rows).repeat_interleave(columns)
    column_N = torch.arange(columns).repeat(rows)
    row_NN = row_index[row_N[:, None] - row_N[None, :] + rows - 1]
    column_NN = column_index[column_N[:, None] - column_N[None, :] + columns - 1]
    buckets = torch.full((1 + rows * columns, 1 + rows * columns), CLASS_BUCKET)
    buckets[1:, 1:] = (row_NN + 3) * 7 + column_NN + 3
    return buckets


class ContextualBias(nn.Module):
    """The table of one block and the bias it gives.

    `forward` is the fast way: expanding T to (N, d, N) once a call turns the bias into matrix products, whose backward
    pass is matrix products too. `by_lookup` is the definition, which looks every pair up.
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.lookup_table_weight = nn.Parameter(torch.zeros(1, head_dim, NUM_BUCKETS))

    def forward(self, query_BHNd: torch.Tensor, buckets_NN: torch.Tensor) -> torch.Tensor:
        """Bias of each logit, (B, H, N, N)."""
        batch, heads, num_tokens, head_dim = query_BHNd.shape
        # The gradient of plain indexing is summed by several CPU threads in varying order; that of index_select is not.
        table_dK = self.lookup_table_weight[0].to(query_BHNd.dtype)
        table_dNN = table_dK.index_select(1, buckets_NN.flatten()).unflatten(1, buckets_NN.shape)
        query_NBd = query_BHNd.permute(2, 0, 1, 3).reshape(num_tokens, batch * heads, head_dim)
        bias_NBN = torch.bmm(query_NBd, table_dNN.transpose(0, 1))
        return bias_NBN.transpose(0, 1).reshape(batch, heads, num_tokens, num_tokens)

    def by_lookup(self, query_BHNd: torch.Tensor, buckets_NN: torch.Tensor) -> torch.Tensor:
        """The same (B, H, N, N) by gathering from q . T."""
        scores_BHNK = query_BHNd @ self.lookup_table_weight.to(query_BHNd.dtype)
        return torch.gather(scores_BHNK, -1, buckets_NN.expand(*query_BHNd.shape[:2], -1, -1))
