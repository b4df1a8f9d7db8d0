"""Intervals hold what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sarjepa.results.statistics import compare, holm, summarise, t_test, wilson_interval


def test_spread_is_the_sample_standard_deviation_with_a_t_interval() -> None:
    summary = summarise([60.0, 62.0, 64.0])
    assert (summary.num, summary.mean, summary.std) == (3, 62.0, 2.0)
    half = 4.302653 * 2 / math.sqrt(3)  # Student's t, 2 degrees of freedom, two-sided 95%
    assert summary.ci95 == pytest.approx((62 - half, 62 + half), abs=1e-5)


def test_one_run_has_no_spread() -> None:
    summary = summarise([60.0])
    assert math.isnan(summary.std) and math.isnan(summary.ci95[0])


def test_the_interval_covers_the_truth_nineteen_times_in_twenty() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        low, high = summarise(generator.normal(50, 3, size=10).tolist()).ci95
        covered += low < 50 < high
    assert 0.935 < covered / 2000 < 0.965


@pytest.mark.parametrize(("hits", "total"), [(700, 1000), (3, 20), (50, 50), (0, 7)])
def test_the_interval_of_a_proportion_is_wilson_s(hits: int, total: int) -> None:
    """Its ends are the shares p from which the hits are 1.96 standard errors of p away."""
    ends = np.array(wilson_interval(hits, total)) / 100
    off = np.abs(hits / total - ends)
    assert off == pytest.approx(1.959964 * np.sqrt(ends * (1 - ends) / total), abs=1e-6)
    assert ends[0] <= hits / total <= ends[1]


def test_all_hits_leave_some_doubt() -> None:
    low, high = wilson_interval(50, 50)
    assert low == pytest.approx(100 * 50 / (50 + 1.959964**2), abs=1e-4) and high == 100


def test_pairs_show_a_difference_that_the_spread_over_draws_hides() -> None:
    generator = np.random.default_rng(1)
    base = generator.normal(60, 5, size=10)
    better = base + 1 + generator.normal(0, 0.2, size=10)
    found = compare((better - base).tolist())
    assert found.difference == pytest.approx(1, abs=0.2) and found.ci95[0] > 0 and found.p_value < 0.01
    assert summarise(better.tolist()).ci95[0] < summarise(base.tolist()).ci95[1], "side by side they overlap"


def test_equal_checkpoints_do_not_differ() -> None:
    found = compare([0.0, 0.0])
    assert (found.difference, found.p_value) == (0, 1)


def test_holm_is_the_step_down_of_its_paper() -> None:
    """Against the definition: the adjusted p is the largest of (n - j) p_(j) over the smaller ones."""
    p_values = np.random.default_rng(0).uniform(0, 0.3, 12)
    ordered = np.sort(p_values)
    stepped = np.array([max(min(1.0, (12 - j) * ordered[j]) for j in range(i + 1)) for i in range(12)])
    assert np.allclose(holm(p_values.tolist()), stepped[np.argsort(np.argsort(p_values))])


def test_holm_passes_over_what_has_no_p_value() -> None:
    adjusted = holm([0.02, float("nan"), 0.01])
    assert adjusted[0] == adjusted[2] == 0.02 and np.isnan(adjusted[1])


def test_the_t_test_is_the_interval_that_leaves_out_zero() -> None:
    for values in ((1.0, 1.5, 0.7), (1.0, -1.5, 0.7), (0.1, 0.2)):
        low, high = summarise(values).ci95
        assert (t_test(values) < 0.05) == (low > 0 or high < 0)
    assert np.isnan(t_test((1.0,))) and t_test((0.0, 0.0)) == 1.0
