"""One table in five dresses."""

from __future__ import annotations

import csv
import io

import pytest

from sarjepa.reports.elements import table_element, to_html
from sarjepa.results.tables import Table, counted, escape_latex

TABLE = Table(
    "Accuracy (%)",
    ("checkpoint", "mstar 10"),
    (("runs/a_b", "62.1 ± 1.3"), ("x|y", "-")),
    "5% & more",
)


def test_markdown_is_a_pipe_table_with_numbers_to_the_right() -> None:
    lines = TABLE.markdown().splitlines()
    assert lines[0] == "**Accuracy (%)**"
    assert lines[2].split("|")[1].strip() == "checkpoint" and lines[3].endswith(":|") is False
    assert lines[3].rstrip(" |").endswith("-:")
    assert "x\\|y" in lines[5] and lines[-1] == "5% & more"
    assert len({len(line) for line in lines[2:6]}) == 1, "padded to columns"


def test_csv_reads_back() -> None:
    rows = list(csv.reader(io.StringIO(TABLE.csv())))
    assert rows == [list(TABLE.columns), *map(list, TABLE.rows)]


def test_latex_is_booktabs_and_escaped() -> None:
    text = TABLE.latex()
    for word in (r"\toprule", r"\midrule", r"\bottomrule", r"runs/a\_b", r"62.1 $\pm$ 1.3", r"5\% \& more"):
        assert word in text
    assert r"\begin{tabular}{lr}" in text and "|l" not in text


ESCAPES = {"a_b": r"a\_b", "{": r"\{", "\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}


@pytest.mark.parametrize(("raw", "escaped"), ESCAPES.items())
def test_every_special_character_is_printed_literally(raw: str, escaped: str) -> None:
    assert escape_latex(raw) == escaped


def test_a_row_of_the_wrong_length_is_our_fault() -> None:
    with pytest.raises(AssertionError):
        Table("t", ("a", "b"), (("1",),))


def test_html_is_escaped_with_numbers_to_the_right_and_its_title_above() -> None:
    text = to_html(table_element(Table("a < b", ("name", "n"), (("<b>&", "1.5"),), 'said "so"')))
    assert "<figcaption>a &lt; b</figcaption>" in text and text.index("figcaption") < text.index("<table>")
    assert '<th scope="row">&lt;b&gt;&amp;</th><td class="number" data-column="n">1.5</td>' in text
    assert '<p class="note">said "so"</p></figure>' in text


@pytest.mark.parametrize("cell", ["12", "62.1 ± 1.3", "-7.5 to +8.8", "1e-4", "5,9,13", "48.1 ± 3.0*", "7,143,599"])
def test_numbers_stand_to_the_right(cell: str) -> None:
    assert Table("t", ("a", "b"), (("x", cell),)).is_number(1)


@pytest.mark.parametrize("cell", ["2S1", "137418e49b91c5f410e5", "0.3m", "x"])
def test_names_and_checksums_are_not_numbers(cell: str) -> None:
    assert not Table("t", ("a", "b"), (("x", cell),)).is_number(1)


def test_one_thing_is_not_several() -> None:
    assert [counted(number, "run") for number in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
