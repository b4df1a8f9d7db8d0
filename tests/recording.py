"""A progress that keeps what it is told, for tests to read."""

from __future__ import annotations

from sarjepa.progress import Progress


class Recorder(Progress):
    """Keeps the lines.

    Attributes:
        notes: lines of interest.
        warnings: lines that must not be overlooked.
        said: both, in order.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.said: list[str] = []

    def note(self, message: str) -> None:
        """Keep a note."""
        self.notes.append(message)
        self.said.append(message)

    def warn(self, message: str) -> None:
        """Keep a warning."""
        self.warnings.append(message)
        self.said.append(message)
