"""What a recipe hands back: what it wrote, in words, and a table where there is one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sarjepa.reports.tables import Table


@dataclass(frozen=True)
class Result:
    """The end of a command.

    Attributes:
        message: one or a few lines for the person who ran it.
        folder: where its files are.
        tables: what to show, in order.
    """

    message: str
    folder: Path
    tables: tuple[Table, ...] = field(default=())
