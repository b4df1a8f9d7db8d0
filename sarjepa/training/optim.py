"""AdamW (Loshchilov & Hutter, 2019) with weight decay on everything but biases and norms, as published.

Biases and norms are the parameters of one dimension; tokens and position tables have three.
"""

from __future__ import annotations

import torch
from torch import nn


def adamw(module: nn.Module, weight_decay: float, betas: tuple[float, float] = (0.9, 0.95)) -> torch.optim.AdamW:
    """The optimiser of a module's trainable parameters; the loop sets its rate each step.

    Example:
        >>> groups = adamw(nn.Linear(3, 2), weight_decay=0.05).param_groups
        >>> [(group["weight_decay"], len(group["params"])) for group in groups]
        [(0.05, 1), (0.0, 1)]
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=True)
