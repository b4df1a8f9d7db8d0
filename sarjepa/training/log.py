"""log.jsonl: one line per step, written as it happens, cut back when a run goes on from an earlier step.

Where TensorBoard is installed the same numbers go to it too.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from sarjepa.files import write_atomically

Record = dict[str, float]


class StepLog:
    """The log of a run.

    Args:
        path: of the file; nothing is written before the first record.
        step: the step the run goes on from; later lines, and a last one that a crash cut off, are dropped, because
            those steps are taken again.

    Attributes:
        records: all of them.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        self.records = [record for record in map(_parse, lines) if record and record["step"] <= step]
        if lines:
            write_atomically(path, "".join(json.dumps(record) + "\n" for record in self.records))
        self._board = _tensorboard(path.parent, step)

    def append(self, record: Record) -> None:
        """Add a step's line."""
        self.records.append(record)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self._board is not None:
            for name, value in record.items():
                self._board.add_scalar(name, value, global_step=int(record["step"]))


def _parse(line: str) -> Record | None:
    """A line of the log, or None where a crash cut it off or it is somebody else's."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("step"), int) else None


def _tensorboard(folder: Path, step: int) -> Any:
    """A writer beside the log, or None where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter  # slow to import, and often absent

    return SummaryWriter(str(folder / "tensorboard"), purge_step=step)
