"""AdamW (Loshchilov & Hutter, 2019) with weight decay on matrices alone.

Biases, norms, the class and mask tokens and the relative-position tables are left free: decay would pull them to zero
for no gain in generalisation.
"""

from __future__ import annotations

import torch
from torch import nn

_UNDECAYED = ("cls_token", "mask_token", "lookup_table_weight")


def adamw(module: nn.Module, weight_decay: float, betas: tuple[float, float] = (0.9, 0.95)) -> torch.optim.AdamW:
    """The optimiser of a module's trainable parameters; its rate is set each step by the loop."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            is_free = parameter.ndim < 2 or name.endswith(_UNDECAYED)
            (free if is_free else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=True)
