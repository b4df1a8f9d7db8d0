"""The transformer block that encoder and predictor share.

Pre-norm ViT block (Dosovitskiy et al., 2021) whose attention takes the bias of `relative_position`. The softmax is
written out rather than left to a fused kernel: the weights can then be looked at, and with a bias on 50-token windows
plain matrix products are also the faster way on a CPU.

Sequences of different lengths are padded to the longest, and no token attends to the padding.

Shapes: B sequences, N tokens, D width, H heads. `filler_BN` is True where a token is padding.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sarjepa.errors import InputError
from sarjepa.models.relative_position import ContextualBias


class Attention(nn.Module):
    """Multi-head self-attention, with relative position if `relative`."""

    def __init__(self, width: int, num_heads: int, relative: bool) -> None:
        super().__init__()
        if width % num_heads:
            raise InputError("the width does not divide among the heads", where=f"width {width}, {num_heads} heads")
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rpe_k = ContextualBias(width // num_heads) if relative else None

    def weights_and_values(
        self, tokens_BND: torch.Tensor, buckets_NN: torch.Tensor | None, filler_BN: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The softmax (B, H, N, N), whose rows sum to one, and the values (B, H, N, D / H)."""
        batch, num_tokens, width = tokens_BND.shape
        qkv = self.qkv(tokens_BND).reshape(batch, num_tokens, 3, self.num_heads, width // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        if self.rpe_k is not None:
            assert buckets_NN is not None, "relative position needs to know which patches these are"
            logits = logits + self.rpe_k(query, buckets_NN)
        if filler_BN is not None:
            logits = logits.masked_fill(filler_BN[:, None, None, :], -math.inf)
        if logits.dtype.itemsize < 4:  # autocast's own softmax of bf16 takes 5 times as long on a CPU
            logits = logits.float()
        return logits.softmax(dim=-1).to(value.dtype), value

    def forward(
        self, tokens_BND: torch.Tensor, buckets_NN: torch.Tensor | None, filler_BN: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Attended tokens, (B, N, D)."""
        weights, value = self.weights_and_values(tokens_BND, buckets_NN, filler_BN)
        return self.proj((weights @ value).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    `recompute` trades time for memory (activation checkpointing, Chen et al., arXiv 1604.06174, 2016): a block keeps
    its input alone and is run again in the backward pass.
    """

    recompute = False

    def __init__(self, width: int, num_heads: int, relative: bool = True, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, num_heads, relative)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        hidden = int(width * mlp_ratio)
        self.mlp = nn.Sequential(OrderedDict(
            fc1=nn.Linear(width, hidden), act=nn.GELU(), fc2=nn.Linear(hidden, width)  # the names in timm's ViT
        ))  # fmt: skip

    def forward(
        self, tokens_BND: torch.Tensor, buckets_NN: torch.Tensor | None, filler_BN: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Tokens in, tokens out, (B, N, D)."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(self._transform, tokens_BND, buckets_NN, filler_BN, use_reentrant=False)
        return self._transform(tokens_BND, buckets_NN, filler_BN)

    def _transform(
        self, tokens_BND: torch.Tensor, buckets_NN: torch.Tensor | None, filler_BN: torch.Tensor | None
    ) -> torch.Tensor:
        tokens_BND = tokens_BND + self.attn(self.norm1(tokens_BND), buckets_NN, filler_BN)
        return tokens_BND + self.mlp(self.norm2(tokens_BND))


def initialise(module: nn.Module) -> None:
    """Set linear layers to Xavier-uniform weights and zero bias, norms to one and zero; other layers are unchanged.

    Example:
        >>> network = nn.Sequential(nn.Linear(4, 2), nn.LayerNorm(2)).apply(initialise)
        >>> network[0].bias.tolist(), network[1].weight.tolist()
        ([0.0, 0.0], [1.0, 1.0])
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
