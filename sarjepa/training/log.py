"""log.jsonl: one line per step, written at once, and cut back when a run resumes from an earlier step.

If TensorBoard is installed, the same numbers are written for it too.
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
    r"""The records of a log, and the number of its other lines: a crash may have cut the last record off.

    Args:
        path: log.jsonl; a file that does not exist has no records.

    Example:
        >>> log = Path("cut-off.jsonl")
        >>> _ = log.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "lo', encoding="utf-8")
        >>> read_log(log)
        ([{'step': 1, 'loss': 0.5}], 1)
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
        step: number of steps done so far; records of later steps, which are taken again, and lines without a record
            are removed.

    Attributes:
        records: every record, oldest first.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        records, _ = read_log(path)
        self.records = [record for record in records if record["step"] <= step]
        if path.is_file():
            write_atomically(path, "".join(json.dumps(record) + "\n" for record in self.records))
        self._board: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter  # slow to import, and often absent

            self._board = SummaryWriter(str(path.parent / "tensorboard"), purge_step=step)

    def append(self, record: Record) -> None:
        """Add the record of a step."""
        self.records.append(record)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self._board is not None:
            for name, value in record.items():
                self._board.add_scalar(name, value, global_step=int(record["step"]))
