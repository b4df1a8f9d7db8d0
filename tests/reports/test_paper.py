"""The published numbers, as data."""

from __future__ import annotations

from pathlib import Path

import yaml

from sarjepa.reports.paper import paper_results, published


def test_the_headline_numbers_are_there() -> None:
    numbers = published("table6", "linear-probe")["sar-jepa"]
    assert (numbers["mstar", 10], numbers["mstar", 20], numbers["mstar", 40]) == (67.7, 75.1, 81.6)
    assert published("table6", "fine-tune")["sar-jepa"]["saracd", 40] == 75.5


def test_every_table_has_both_protocols_and_three_shot_counts() -> None:
    for table in ("table3", "table4", "table5", "table6"):
        for protocol in ("linear-probe", "fine-tune"):
            for numbers in published(table, protocol).values():
                assert len(numbers) == 9 and all(0 < value < 100 for value in numbers.values())


def test_the_package_holds_the_same_numbers_as_the_source(shared: Path) -> None:
    tables = {name: content for name, content in paper_results().items() if name != "table1"}  # from another list
    assert tables == yaml.safe_load((shared / "paper_results.yaml").read_text())
