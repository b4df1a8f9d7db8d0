"""The tables of fewshot-bench: no p where so few draws cannot make it small, and then no column for it."""

from __future__ import annotations

import pytest

from sarjepa.reports.fewshot_tables import comparison_table
from sarjepa.results.records import Comparison

VARIANT = {"protocol": "linear-probe", "pool": "cls", "solver": "lda", "split_policy": "published"}


def pair(num_pairs: int, p_value: float) -> Comparison:
    return Comparison(
        **VARIANT, first="a", second="b", dataset="mstar", shots=10, num_pairs=num_pairs, difference=1.0,
        ci95=(0.5, 1.5), wilcoxon_p=p_value,
    )  # fmt: skip


@pytest.mark.parametrize(("num_pairs", "has_p"), [(2, False), (5, False), (6, True), (10, True)])
def test_a_test_that_could_not_reject_is_not_made(num_pairs: int, has_p: bool) -> None:
    table = comparison_table([pair(num_pairs, 2.0 ** (1 - num_pairs))], [])
    assert ("Wilcoxon p" in table.columns) is has_p and len(table.rows[0]) == len(table.columns)
    assert ("no signed-rank test" in table.note) is not has_p


def test_a_pair_of_few_draws_is_not_counted_among_the_comparisons() -> None:
    table = comparison_table([pair(10, 0.01), pair(3, 0.25), pair(10, 0.02)], [])
    assert [row[-1] for row in table.rows] == ["0.02", "-", "0.02"] and "2 comparisons" in table.note
