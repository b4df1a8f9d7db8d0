"""The predictor: from the encoder's tokens to the target of the masked patches.

Blocks of the encoder's kind at a narrower width, then one linear layer to the target's values. It is discarded after
pre-training. With a depth of zero it is the final linear layer alone (LoMaR, Chen et al. 2022).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from sarjepa.models.blocks import Block, initialise
from sarjepa.models.encoder import sincos_positions


class Predictor(nn.Module):
    """Linear to `width`, `depth` blocks, LayerNorm, linear to `num_outputs`.

    Args:
        encoder_width: length of the tokens that come in.
        num_outputs: values predicted for a patch (patch area x scales).
        width, depth, num_heads: shape of the blocks; with depth 0 the tokens go straight to the last layer.
        relative: whether the blocks use relative position.
    """

    def __init__(
        self,
        encoder_width: int,
        num_outputs: int,
        *,
        width: int = 512,
        depth: int = 8,
        num_heads: int = 16,
        relative: bool = True,
    ) -> None:
        super().__init__()
        width = width if depth else encoder_width
        self.embed = nn.Linear(encoder_width, width) if depth else nn.Identity()
        self.blocks = nn.ModuleList(Block(width, num_heads, relative) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6) if depth else nn.Identity()
        self.head = nn.Linear(width, num_outputs)
        self.apply(initialise)

    def forward(self, tokens_BND: torch.Tensor, buckets_NN: torch.Tensor) -> torch.Tensor:
        """Predictions of every token, (B, N, num_outputs)."""
        return self.decode(self.embed(tokens_BND), buckets_NN)

    def decode(
        self, tokens: torch.Tensor, buckets_NN: torch.Tensor | None = None, filler_BN: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Blocks, norm and last layer, on tokens of the predictor's own width."""
        for block in self.blocks:
            tokens = block(tokens, buckets_NN, filler_BN)
        return self.head(self.norm(tokens))


class QueryPredictor(nn.Module):
    """Predicts patches that the encoder has not seen, given their positions.

    The encoder's tokens and one mask token per query, each with the sine-cosine position of its patch, run through a
    `Predictor` without relative position; its outputs at the queries are the predictions (MAE's decoder, I-JEPA's
    predictor).

    Args:
        encoder_width, num_outputs, width, depth, num_heads: as in `Predictor`; depth at least 1, as the last layer
            alone cannot look at the context.
    """

    def __init__(self, encoder_width: int, num_outputs: int, *, width: int, depth: int, num_heads: int) -> None:
        super().__init__()
        assert depth > 0, "a query must be able to look at the context"
        self.body = Predictor(encoder_width, num_outputs, width=width, depth=depth, num_heads=num_heads, relative=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(
        self,
        tokens_BnD: torch.Tensor,
        context_Bn: torch.Tensor,
        query_Bm: torch.Tensor,
        grid: tuple[int, int],
        filler_Bn: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predictions of the queries, (B, m, num_outputs).

        Args:
            tokens_BnD: (B, 1 + n, D) from the encoder, class token first, or (B, n, D) where there is none.
            context_Bn: positions on the grid of the n tokens.
            query_Bm: positions to predict.
            grid: rows and columns.
            filler_Bn: bool, which of the n tokens are padding.
        """
        num_first = tokens_BnD.shape[1] - context_Bn.shape[1]  # the class token, or none
        if filler_Bn is not None:
            filler_Bn = functional.pad(filler_Bn, (num_first, query_Bm.shape[1]))
        tokens = self.body.embed(tokens_BnD)
        position_ND = sincos_positions(*grid, tokens.shape[-1]).to(tokens)
        queries = self.mask_token.to(tokens.dtype) + position_ND[query_Bm]
        context = tokens[:, num_first:] + position_ND[context_Bn]
        sequence = torch.cat([tokens[:, :num_first], context, queries], dim=1)
        return self.body.decode(sequence, None, filler_Bn)[:, -query_Bm.shape[1] :]
