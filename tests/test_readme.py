"""The numbers of the README's first table are those of the committed results; one version everywhere."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
import yaml

from sarjepa.reports.paper import published
from sarjepa.version import __version__

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "views-seed0" / "mstar" / "results.csv"
ROWS = {
    "sar-jepa, then views": "runs/sar-jepa-then-views-seed0",
    "views alone": "runs/views-seed0",
    "sar-jepa alone": "runs/sar-jepa-seed0",
    "the same network, not trained": "random:runs/sar-jepa-seed0",
    "best without a network": "log-pixels",
}


def readme_rows() -> dict[str, list[str]]:
    """{first column: the others} of the first table."""
    text = (ROOT / "README.md").read_text()
    table = text[text.index("| MSTAR, 10 classes |") :].split("\n\n")[0]
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize(("row", "checkpoint"), ROWS.items())
def test_a_row_of_the_first_table_is_the_one_that_was_measured(row: str, checkpoint: str) -> None:
    [cells] = [cells for name, cells in readme_rows().items() if name.startswith(row)]
    with RESULTS.open(newline="") as stream:
        found = {int(line["shots"]): line for line in csv.DictReader(stream) if line["checkpoint"] == checkpoint}
    assert cells == [f"{float(line['mean']):.1f} ± {float(line['std']):.1f}" for _, line in sorted(found.items())]


def test_the_published_row_is_the_papers() -> None:
    [cells] = [cells for name, cells in readme_rows().items() if name.startswith("ViT-B as published")]
    probed, tuned = (published("table6", protocol)["sar-jepa"] for protocol in ("linear-probe", "fine-tune"))
    expected = [f"{probed['mstar', shots]}; {tuned['mstar', shots]}" for shots in (10, 20, 40)]
    assert [re.sub(r"\s+", " ", cell) for cell in cells] == ["", "", "", *expected]


def test_the_citation_is_of_this_version() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
