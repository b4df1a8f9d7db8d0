"""How sure a number is.

Over runs (different draws): the mean, the sample standard deviation (divisor n - 1) and Student's t interval. It says
what another draw of the same kind would give; the runs of one pre-trained model share that model, so it says nothing
about another pre-training. For a single run: the bootstrap over test images (percentile method), which says how the
accuracy would move with other test images, the training set held fixed.

Two checkpoints on the same draws are compared pair by pair: draws differ far more than checkpoints do, and the
difference of a pair is free of that. Wilcoxon's signed-rank test is stated beside the t interval because ten
differences are few and their distribution is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sarjepa.draws import stream_key

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Mean of some runs with its spread, in the unit of what was given.

    Attributes:
        num: how many.
        mean: their mean.
        std: sample standard deviation, NaN for one run.
        ci95: lower and upper end of the 95% interval of the mean, NaN for one run.
    """

    num: int
    mean: float
    std: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """Paired difference `first - second` over common draws.

    Attributes:
        num: how many pairs.
        difference: mean difference.
        ci95: its 95% t interval, NaN for one pair.
        p_value: two-sided Wilcoxon signed-rank; 1 where all differences are zero.
    """

    num: int
    difference: float
    ci95: tuple[float, float]
    p_value: float


def summarise(values: Sequence[float]) -> Summary:
    """Mean, sample standard deviation and t interval.

    Args:
        values: one number a run, at least one.
    """
    value_R = np.asarray(values, dtype=np.float64)
    num, mean = len(value_R), float(value_R.mean())
    if num < 2:
        return Summary(num, mean, float("nan"), (float("nan"), float("nan")))
    std = float(value_R.std(ddof=1))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, num - 1)) * std / num**0.5
    return Summary(num, mean, std, (mean - half, mean + half))


def bootstrap_interval(values: np.ndarray, seed: int = 0, num_resamples: int = 2000) -> tuple[float, float]:
    """The 95% percentile-bootstrap interval of the mean of `values` (hits as 0 or 100, one a test image)."""
    value_T = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(stream_key(seed, "bootstrap"))
    level, count = np.unique(value_T, return_counts=True)
    if len(level) <= 2:  # hits and misses: resampling images is drawing the number of hits
        drawn = generator.multinomial(len(value_T), count / len(value_T), size=num_resamples)
        means = drawn @ level / len(value_T)
    else:
        means = np.array([generator.choice(value_T, len(value_T)).mean() for _ in range(num_resamples)])
    low, high = np.percentile(means, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return float(low), float(high)


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Compare two checkpoints on the same draws.

    Args:
        first, second: one number a draw, in the same order.
    """
    difference_R = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    summary = summarise(difference_R.tolist())
    p_value = float(stats.wilcoxon(difference_R).pvalue) if np.any(difference_R) else 1.0
    return Comparison(summary.num, summary.mean, summary.ci95, p_value)
