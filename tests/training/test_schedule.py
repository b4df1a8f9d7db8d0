"""The learning rate by step."""

from __future__ import annotations

import pytest

from sarjepa.training.schedule import warmup_cosine


def test_the_rate_rises_linearly_from_zero_to_the_peak_and_falls_to_zero() -> None:
    rates = [warmup_cosine(step, 100, 10, 2.0) for step in range(100)]
    assert rates[0] == 0
    assert rates[5] == pytest.approx(1.0)
    assert rates[10] == max(rates) == 2.0
    assert rates[55] == pytest.approx(1.0)
    assert rates[99] < 0.001
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_no_warmup_starts_at_the_peak() -> None:
    assert warmup_cosine(0, 10, 0, 3.0) == 3.0
