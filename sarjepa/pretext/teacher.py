"""A teacher: a slow average of what is trained, which gets no gradient.

teacher <- t teacher + (1 - t) student after every step, t from 0.996 to 1 over the run (Grill et al., BYOL, 2020; the
constants are I-JEPA's and MSN's). A teacher that lags behind gives the student something to predict that does not jump,
and that it cannot lower the loss by changing.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

_FIRST_MOMENTUM = 0.996

Module = TypeVar("Module", bound=nn.Module)


def teacher_of(student: Module) -> Module:
    """A copy that is not trained."""
    return copy.deepcopy(student).requires_grad_(False)


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, share_done: float) -> None:
    """Move the teacher towards the student, less and less as the run goes on."""
    momentum = _FIRST_MOMENTUM + (1 - _FIRST_MOMENTUM) * min(1.0, share_done)
    for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
        slow.lerp_(fast, 1 - momentum)
