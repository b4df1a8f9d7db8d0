"""Stored files are read as what they were written from: those of before, damaged ones, and those with less in them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sarjepa.config import FewshotBenchConfig
from sarjepa.documents import read_record
from sarjepa.errors import InputError
from sarjepa.files import json_text, printable, write_json
from sarjepa.recipes.fewshot_bench import write_tables
from sarjepa.reports.class_table import class_table
from sarjepa.results.cells import comparisons, make_cells
from sarjepa.results.records import FewshotResults, Report, Run
from sarjepa.results.store import RunStore

# The JSON files were written by version 0.1 before its records had types, and are kept as they were; the tables beside
# them are those that are made of them today.
GOLDEN = Path(__file__).parents[1] / "golden" / "results"
STORED: list[tuple[str, type]] = [
    ("grid/results.json", FewshotResults),
    ("single/results.json", FewshotResults),
    ("grid/runs/copies-linear-probe-2-0-1c7598d3cd32a9c9.json", Run),
    ("probe/report.json", Report),
    ("finetune/report.json", Report),
]


@pytest.mark.parametrize(("name", "kind"), STORED)
def test_a_file_of_before_is_written_again_with_the_same_content_and_its_recipe(name: str, kind: type) -> None:
    again = json.loads(json_text(read_record(GOLDEN / name, kind)))
    for record in [again, *again.get("runs", ()), *again.get("cells", ()), *again.get("comparisons", ())]:
        later = {key: record.pop(key) for key in ("recipe", "augment") if key in record}
        assert later in ({}, {"recipe": "published", "augment": "none"})
    assert again == json.loads((GOLDEN / name).read_text())


@pytest.mark.parametrize(("name", "num_wanted"), [("grid", 2), ("single", 1)])
def test_the_tables_of_older_results_come_again_byte_by_byte(name: str, num_wanted: int, tmp_path: Path) -> None:
    results = read_record(GOLDEN / name / "results.json", FewshotResults)
    with RunStore(tmp_path, FewshotBenchConfig()) as store:
        write_tables(store, results)
    for file in ("results.csv", "table.md", "table.tex"):
        assert (tmp_path / file).read_text() == (GOLDEN / name / file).read_text(), file
    assert tuple(make_cells(results.runs, num_wanted)) == results.cells
    for found, stored in zip(comparisons(results.runs), results.comparisons, strict=True):
        # These were made of accuracies rounded to four digits; of two draws, Student's t is 12.7 times the error.
        assert (found.difference, *found.ci95) == pytest.approx((stored.difference, *stored.ci95), abs=1e-3)
        assert replace(found, difference=stored.difference, ci95=stored.ci95) == stored


@pytest.mark.parametrize("name", ["probe", "finetune", "labels"])
def test_the_report_of_before_gives_the_same_table(name: str) -> None:
    report = read_record(GOLDEN / name / "report.json", Report)
    assert class_table(report).markdown() == (GOLDEN / name / "class-table.md").read_text()


def test_what_older_files_lack_has_a_default(tmp_path: Path) -> None:
    content = json.loads((GOLDEN / "grid" / "results.json").read_text())
    del (
        content["comparisons"],
        content["failed"],
        content["runs"][0]["weights_sha256"],
        content["cells"][0]["incomplete"],
    )
    (tmp_path / "results.json").write_text(json.dumps({**content, "of_a_later_version": 1}))
    results = read_record(tmp_path / "results.json", FewshotResults)
    assert (results.comparisons, results.runs[0].weights_sha256, results.cells[0].incomplete) == ((), "", False)


def _changed(content: Any, path: tuple[str | int, ...], value: object) -> Any:
    """A copy of a stored content with one value replaced; without the key where the value is Ellipsis."""
    copy = json.loads(json.dumps(content))
    *way, last = path
    holder = copy
    for key in way:
        holder = holder[key]
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("runs",), 7),
        (("runs", 0), []),
        (("runs", 1, "accuracy"), "50"),
        (("runs", 1, "accuracy"), None),
        (("runs", 1, "accuracy"), float("nan")),
        (("runs", 0, "confusion"), [[1, 2], [3, "x"]]),
        (("runs", 2, "seed"), 1.5),
        (("runs", 2, "short"), {"a": "b"}),
        (("cells", 0, "ci95"), [1.0]),
        (("cells", 0, "recall"), [1.0]),
        (("cells", 1, "std"), ...),
        (("cells", 1, "num_test"), True),
        (("comparisons", 0, "wilcoxon_p"), {}),
        (("settings",), ...),
        (("failed",), "a run"),
    ],
)
def test_a_damaged_value_is_named_with_its_file_and_key(
    tmp_path: Path, path: tuple[str | int, ...], value: Any
) -> None:
    content = json.loads((GOLDEN / "grid" / "results.json").read_text())
    file = tmp_path / "results.json"
    file.write_text(json.dumps(_changed(content, path, value)))
    with pytest.raises(InputError) as caught:
        read_record(file, FewshotResults)
    assert f"{'.'.join(map(str, path))}" in str(caught.value) and str(file) in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 10_000, b'"\\ud800"', b"null", b"[]"])
def test_what_is_not_such_a_file_at_all_is_one_line(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "report.json").write_bytes(text)
    with pytest.raises(InputError, match=r"report\.json") as caught:
        read_record(tmp_path / "report.json", Report)
    assert len(str(caught.value)) < 400


def test_a_path_that_is_no_text_is_read_as_a_person_is_shown_it(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\\udce9")
    report = read_record(GOLDEN / "probe" / "report.json", Report)
    write_json(tmp_path / "report.json", replace(report, checkpoint=name, dataset="\N{SKULL}"))
    again = read_record(tmp_path / "report.json", Report)
    assert (again.checkpoint, again.dataset) == (printable(name), "\N{SKULL}")
    (tmp_path / "report.json").write_text(json.dumps(vars(again), default=vars))  # as pairs of halves
    assert read_record(tmp_path / "report.json", Report) == again
