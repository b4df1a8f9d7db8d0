"""Reports of progress, without the core ever printing.

The core calls a `Progress`. The silent one here is the default; the command line passes one that draws bars.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

Item = TypeVar("Item")


class Task:
    """One bar: `advance` by the work done; `status` is a short text beside it (a loss, a rate)."""

    def advance(self, amount: float = 1, status: str = "") -> None:
        """Add `amount`, in the task's unit, to the work done."""


class Progress:
    """The silent progress: its methods show nothing."""

    def task(self, description: str, total: float | None = None, unit: str = "") -> AbstractContextManager[Task]:
        """A bar for `total` units of work, shown while the context is open; unit "B" is shown in bytes."""
        return nullcontext(Task())

    def track(self, items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
        """Yield from `items` while a bar counts them.

        Example:
            >>> list(Progress().track([1, 2], "counting"))
            [1, 2]
        """
        if total is None and isinstance(items, Sized):
            total = len(items)
        with self.task(description, total) as task:
            for item in items:
                yield item
                task.advance()

    def note(self, message: str) -> None:
        """Report one line of interest."""

    def warn(self, message: str) -> None:
        """Report one line that should not be overlooked."""
