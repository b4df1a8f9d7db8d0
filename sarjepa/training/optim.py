"""AdamW (Loshchilov & Hutter, 2019) with weight decay on everything but biases and norms, as published.

These are the parameters of one dimension; tokens and position tables have three.
"""

from __future__ import annotations

import torch
from torch import nn


def adamw(module: nn.Module, weight_decay: float, betas: tuple[float, float] = (0.9, 0.95)) -> torch.optim.AdamW:
    """The optimiser of a module's trainable parameters; its rate is set each step by the loop."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=True)
