"""One table in three forms: Markdown for a README, CSV, LaTeX for a paper. The console and the page draw their own.

The cells are text: the maker of the numbers decides on their digits. The LaTeX is booktabs (three rules, no vertical
lines). The note below the table holds what a reader needs to trust it.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "°": r"$^\circ$",
}
# The beginning of a cell that is a number: 62.1 ± 1.3 and 1e-4 match, the class 2S1 and a checksum do not.
_NUMBER = re.compile(r"[+-]?[\d.,]+(e[+-]?\d+)?(?![\w.])")


def escape_latex(text: str) -> str:
    r"""The text as LaTeX prints it literally (run folders are full of underscores).

    Example:
        >>> escape_latex("vit_tiny, 95%")
        'vit\\_tiny, 95\\%'
    """
    return "".join(_LATEX_ESCAPES.get(character, character) for character in text)


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 run", "2 runs".

    Example:
        >>> counted(2, "run")
        '2 runs'
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def mean_with_spread(mean: float, std: float | None) -> str:
    """A mean and its sample standard deviation, where there is one: "62.1 ± 1.3".

    Example:
        >>> mean_with_spread(62.14, 1.3)
        '62.1 ± 1.3'
    """
    return f"{mean:.1f}" + ("" if std is None or math.isnan(std) else f" ± {std:.1f}")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""Comma-separated values under one header line; None is an empty cell.

    Example:
        >>> csv_text(("a", "b"), [(1, None)])
        'a,b\n1,\n'
    """
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([columns, *rows])
    return buffer.getvalue()


@dataclass(frozen=True)
class Table:
    """Rows of text under named columns.

    Attributes:
        title: line above the table.
        columns: names of the columns.
        rows: cells by row, as many as there are columns.
        note: text below the table; may be empty.

    Example:
        >>> print(Table("Runs", ("shots", "accuracy"), (("5", "62.1"),)).markdown(), end="")
        **Runs**
        <BLANKLINE>
        | shots | accuracy |
        | ----: | -------: |
        | 5     | 62.1     |
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            assert len(row) == len(self.columns), f"{self.title}: {len(row)} cells for {len(self.columns)} columns"

    def is_number(self, column: int) -> bool:
        """Whether a column holds numbers, which are aligned to the right."""
        cells = [row[column].strip() for row in self.rows if row[column].strip() not in ("", "-")]
        return bool(cells) and all(_NUMBER.match(cell) for cell in cells)

    def markdown(self) -> str:
        """GitHub's pipe table, with padded columns, so that the source is readable too."""
        columns, *rows = (tuple(cell.replace("|", "\\|") for cell in row) for row in (self.columns, *self.rows))
        widths = [max(3, *map(len, cells)) for cells in zip(columns, *rows, strict=True)]
        rule = tuple(
            "-" * (width - 1) + ":" if self.is_number(column) else "-" * width for column, width in enumerate(widths)
        )
        lines = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in (columns, rule, *rows)
        ]
        note = ["", self.note] if self.note else []
        return "\n".join([f"**{self.title}**", "", *lines, *note]) + "\n"

    def csv(self) -> str:
        """Comma-separated values under one header line, without title and note."""
        return csv_text(self.columns, self.rows)

    def latex(self) -> str:
        r"""A booktabs table float, ready for \input (needs \usepackage{booktabs})."""
        alignment = "".join("r" if self.is_number(column) else "l" for column in range(len(self.columns)))
        body = [" & ".join(escape_latex(cell) for cell in row) + r" \\" for row in self.rows]
        note = [r"\par\smallskip{\footnotesize " + escape_latex(self.note) + "}"] if self.note else []
        return (
            "\n".join(
                [
                    r"\begin{table}[t]",
                    r"\centering",
                    rf"\caption{{{escape_latex(self.title)}}}",
                    rf"\begin{{tabular}}{{{alignment}}}",
                    r"\toprule",
                    " & ".join(escape_latex(column) for column in self.columns) + r" \\",
                    r"\midrule",
                    *body,
                    r"\bottomrule",
                    r"\end{tabular}",
                    *note,
                    r"\end{table}",
                ]
            )
            + "\n"
        )
