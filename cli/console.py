"""The output: bars on stderr during the work, tables on stdout at its end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table as RichTable
from rich.text import Text

from sarjepa.progress import Progress, Task

# The output contains names of files, which may look like markup ([bold]) or an emoji (:warning:).
out = Console(markup=False, emoji=False, highlight=False)
err = Console(markup=False, emoji=False, highlight=False, stderr=True)


class _BarTask(Task):
    def __init__(self, bars: Bars, task_id: Any) -> None:
        self._bars, self._id = bars, task_id

    def advance(self, amount: float = 1, status: str = "") -> None:
        fields: dict[str, Any] = {"status": status} if status else {}
        self._bars.update(self._id, advance=amount, **fields)


class RichProgress(Progress):
    """Bars and lines on stderr. On a terminal bars move; elsewhere the finished line of each is printed."""

    @contextlib.contextmanager
    def task(self, description: str, total: float | None = None, unit: str = "") -> Iterator[Task]:
        """Show a bar while the context is open."""
        amount: list[ProgressColumn] = (
            [DownloadColumn(), TransferSpeedColumn()] if unit == "B" else [MofNCompleteColumn()]
        )
        # The widths leave room for the status on a terminal of 80 columns.
        label, status = (TextColumn(f"{{task.{field}}}", markup=False) for field in ("description", "fields[status]"))
        columns = [label, BarColumn(bar_width=12), *amount, TimeRemainingColumn(), status]
        with Bars(*columns, console=err, transient=err.is_terminal) as bars:
            yield _BarTask(bars, bars.add_task(description, total=total, status=""))

    def note(self, message: str) -> None:
        """Print one line."""
        err.print(message, soft_wrap=True)

    def warn(self, message: str) -> None:
        """Print one line that stands out."""
        err.print(f"warning: {message}", style="yellow", soft_wrap=True)


def show_table(table: Any) -> None:
    """Print a `sarjepa.results.tables.Table`."""
    rich_table = RichTable(title=Text(table.title), title_justify="left")  # Text: brackets are not markup
    for number, column in enumerate(table.columns):
        rich_table.add_column(Text(column), justify="right" if table.is_number(number) else "left", overflow="fold")
    for row in table.rows:
        rich_table.add_row(*map(Text, row))
    out.print(rich_table)
    if table.note:
        out.print(table.note, style="dim")


def show_error(message: str) -> None:
    """Print one line on stderr, never wrapped."""
    err.print(f"error: {message}", style="red", soft_wrap=True)
