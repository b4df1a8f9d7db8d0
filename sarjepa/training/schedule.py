"""Learning rate by step: linear warm-up from zero, then half a cosine to zero (Loshchilov & Hutter, 2017).

A pure function of the step, so that a resumed run needs no state for it.
"""

from __future__ import annotations

import math


def warmup_cosine(step: int, num_steps: int, num_warmup_steps: int, peak: float) -> float:
    """The rate of step `step` (from 0) out of `num_steps`.

    Example:
        >>> [round(warmup_cosine(step, 10, 2, peak=1.0), 2) for step in (0, 1, 2, 6, 10)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if step < num_warmup_steps:
        return peak * step / num_warmup_steps
    share = (step - num_warmup_steps) / max(1, num_steps - num_warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * share))
