"""log.jsonl: one line per step, written as it happens, cut back when a run goes on from an earlier step.

Where TensorBoard is installed the same numbers go to it too.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from sarjepa.files import write_atomically

LOG = "log.jsonl"
Record = dict[str, float]


def read_log(path: Path) -> tuple[list[Record], int]:
    """The records of a log, and the number of its lines that hold none: a crash may have cut the last one off.

    Args:
        path: log.jsonl; a file that does not exist holds no records.
    """
    records, num_unread = [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            record = None
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            records.append(record)
        else:
            num_unread += 1
    return records, num_unread


class StepLog:
    """The log of a run.

    Args:
        path: log.jsonl of the run; a new file is written with the first record.
        step: number of steps done so far; records of later steps and lines that hold no record are removed, because
            those steps are taken again.

    Attributes:
        records: every record, oldest first.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        records, _ = read_log(path)
        self.records = [record for record in records if record["step"] <= step]
        if path.is_file():
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


def _tensorboard(folder: Path, step: int) -> Any:
    """A writer beside the log, or None where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter  # slow to import, and often absent

    return SummaryWriter(str(folder / "tensorboard"), purge_step=step)
