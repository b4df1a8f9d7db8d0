"""The predictor: from the encoder's tokens to what the masked patches hold.

Blocks of the encoder's kind at a narrower width, then one linear layer to the target's values. It is thrown away after
pre-training. A depth of zero leaves the final linear layer alone (LoMaR, Chen et al. 2022).
"""

from __future__ import annotations

import torch
from torch import nn

from sarjepa.models.blocks import Block, initialise


class Predictor(nn.Module):
    """Linear to `width`, `depth` blocks, LayerNorm, linear to `num_outputs`.

    Args:
        encoder_width: length of the tokens that come in.
        num_outputs: values predicted for a patch (patch area x scales).
        width, depth, num_heads: of the blocks; with depth 0 the tokens go straight to the last layer.
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
        tokens = self.embed(tokens_BND)
        for block in self.blocks:
            tokens = block(tokens, buckets_NN)
        return self.head(self.norm(tokens))
