"""A teacher: a slow average of the student that is trained, without a gradient of its own.

teacher <- t teacher + (1 - t) student after every step, t from 0.996 to 1 over the run (Grill et al., BYOL, 2020; the
constants are I-JEPA's and MSN's). The outputs of a teacher that lags behind change slowly, and the student cannot lower
the loss by changing them.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

_FIRST_MOMENTUM = 0.996

Module = TypeVar("Module", bound=nn.Module)


def teacher_of(student: Module) -> Module:
    """A copy of the student that is not trained.

    Example:
        >>> student = nn.Linear(2, 1)
        >>> teacher = teacher_of(student)
        >>> teacher.weight.equal(student.weight), teacher.weight.requires_grad
        (True, False)
    """
    return copy.deepcopy(student).requires_grad_(False)


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, share_done: float) -> None:
    """Move the teacher towards the student, by less as the share (0 to 1) of the run done grows.

    Example:
        >>> teacher, student = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(teacher.weight), nn.init.ones_(student.weight)
        >>> follow(teacher, student, share_done=0.0)
        >>> round(teacher.weight.item(), 4)
        0.004
    """
    momentum = _FIRST_MOMENTUM + (1 - _FIRST_MOMENTUM) * min(1.0, share_done)
    for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
        slow.lerp_(fast, 1 - momentum)
