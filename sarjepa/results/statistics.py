"""The uncertainty of results.

Over runs (different draws): the mean, the sample standard deviation (divisor n - 1) and Student's t interval. They
describe other draws of the same kind, but not another pre-training, since the runs of one pre-trained model share that
model. For a single run: Wilson's interval of a proportion, over test images, which describes other test images with the
same training set.

Two checkpoints on the same draws are compared pair by pair: draws differ far more than checkpoints do, and the
difference of a pair is free of that. Wilcoxon's signed-rank test is stated next to the t interval because ten
differences are few and their distribution is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Mean and spread of values, in their unit.

    Attributes:
        num: number of values.
        mean: mean of the values.
        std: sample standard deviation, NaN for one value.
        ci95: lower and upper end of the 95% interval of the mean, NaN for one value.
    """

    num: int
    mean: float
    std: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """Paired difference `first - second` over common draws.

    Attributes:
        num: number of pairs.
        difference: mean difference.
        ci95: 95% t interval of the difference, NaN for one pair.
        p_value: two-sided Wilcoxon signed-rank; 1 where all differences are zero.
    """

    num: int
    difference: float
    ci95: tuple[float, float]
    p_value: float


def summarise(values: Sequence[float]) -> Summary:
    """Mean, sample standard deviation and t interval.

    Args:
        values: numbers, one per run; at least one.

    Example:
        >>> [round(end, 1) for end in summarise([60.0, 62.0, 64.0]).ci95]
        [57.0, 67.0]
    """
    value_R = np.asarray(values, dtype=np.float64)
    num, mean = len(value_R), float(value_R.mean())
    if num < 2:
        return Summary(num, mean, float("nan"), (float("nan"), float("nan")))
    std = float(value_R.std(ddof=1))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, num - 1)) * std / num**0.5
    return Summary(num, mean, std, (mean - half, mean + half))


def wilson_interval(hits: int, total: int) -> tuple[float, float]:
    """The 95% interval (percent) of the share of hits, by Wilson's score method (1927).

    Args:
        hits: number of test images with the right label.
        total: number of test images, at least one.

    Example:
        >>> [round(end) for end in wilson_interval(8, 10)]
        [49, 94]
    """
    interval = stats.binomtest(hits, total).proportion_ci(CONFIDENCE, method="wilson")
    return 100 * float(interval.low), 100 * float(interval.high)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for their number, in the same order (Holm, Scand. J. Statist. 6, 1979).

    The smallest of n is multiplied by n, the next by n - 1, and so on; none becomes smaller than one before it, nor
    larger than 1. Calling those below 0.05 differences, one is wrongly called so in at most one of twenty tables,
    however the comparisons depend on each other.

    Args:
        p_values: p values of all comparisons of a table; NaN, which stays and is not counted, for one that has none.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    adjusted, largest = list(p_values), 0.0
    order = sorted((number for number, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    for place, number in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * p_values[number]))
        adjusted[number] = largest
    return adjusted


def t_test(values: Sequence[float]) -> float:
    """Two-sided p value of a mean of zero, by Student's t; NaN for fewer than two values.

    Args:
        values: differences, one per pair.

    Example:
        >>> round(t_test([1.0, 2.0, 3.0]), 3)
        0.074
    """
    value_R = np.asarray(values, dtype=np.float64)
    if len(value_R) < 2:
        return float("nan")
    if not value_R.std():  # scipy warns of it
        return 1.0 if value_R[0] == 0 else 0.0
    return float(stats.ttest_1samp(value_R, 0.0).pvalue)


def compare(differences: Sequence[float]) -> Comparison:
    """Compare two checkpoints on the same draws.

    Args:
        differences: one per draw. Equal ones have to be equal to the last bit, since the signed-rank test counts ties.

    Example:
        >>> compare([1.0, 2.0]).difference
        1.5
    """
    difference_R = np.asarray(differences, dtype=np.float64)
    summary = summarise(differences)
    p_value = float(stats.wilcoxon(difference_R).pvalue) if np.any(difference_R) else 1.0
    return Comparison(summary.num, summary.mean, summary.ci95, p_value)
