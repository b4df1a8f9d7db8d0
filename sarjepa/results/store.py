"""Results that survive an interruption: one small file per run, a lock, and the settings of the folder.

Every finished run is a JSON file written under a temporary name and renamed, so a file is whole or absent, and a
stopped grid goes on where it was. Its name holds a hash of everything that decides the numbers, so a run of other
settings is never reused. One process at a time works on a folder (an advisory lock that the system drops when the
process ends, however it ends), and a folder of other settings is refused with the difference.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from sarjepa.config import Common
from sarjepa.documents import read_record
from sarjepa.errors import InputError
from sarjepa.files import hold, json_text, write_atomically, write_json
from sarjepa.overlay import deciding, refuse_changes, shown
from sarjepa.results.records import Run
from sarjepa.results.result import writable_folder

_HINT = "remove the file: what it held is made again, and nothing else is lost"


class RunStore:
    """The folder of one grid of runs, used as a context manager.

    Args:
        folder: folder of the results; it is made if it does not exist.
        config: settings of the call. Those that all runs of the folder share are stored in settings.json.
        recipe: values that the settings leave to a recipe; stored and compared likewise. Older folders have none.

    Attributes:
        settings: settings that all runs share, as the first call stored them; a part of each run's key.

    Raises:
        InputError: on entering: the folder cannot be written, another process works in it, or it holds results of
            other settings.
    """

    def __init__(self, folder: Path, config: Common, recipe: Mapping[str, Any] | None = None) -> None:
        self.folder, self._config, self._recipe = folder, config, dict(recipe or {})
        self.settings = deciding(config, of_grid=True) | ({"recipe_values": self._recipe} if recipe else {})
        self._lock = contextlib.ExitStack()
        self._asked: set[Path] = set()

    def __enter__(self) -> RunStore:
        writable_folder(self.folder)
        with contextlib.ExitStack() as opened:  # closes the lock again where the folder is refused
            try:
                opened.enter_context(hold(self.folder / ".lock"))
            except BlockingIOError:
                raise InputError(
                    "another process is at work here", where=self.folder, hint="wait for it, or give another --out"
                ) from None
            self._check_settings()
            self._lock = opened.pop_all()  # keeps the lock until the store is left
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def _check_settings(self) -> None:
        path = self.folder / "settings.json"
        if not path.exists():
            self.write("settings.json", json_text(self.settings))
            return
        stored = read_record(path, dict[str, Any], _HINT)
        hint = "give another --out, or the settings that are there"
        refuse_changes(self._config, stored, self.folder, hint, of_grid=True)
        before, now = stored.get("recipe_values", self._recipe), self._recipe
        before = before if isinstance(before, dict) else {"recipe_values": before}  # a damaged file is refused below
        if changed := [name for name in before | now if before.get(name) != now.get(name)]:
            raise InputError(
                "what is there was made when the recipe had other values",
                where=self.folder,
                expected=", ".join(f"{name} {shown(before.get(name))}" for name in changed),
                got=", ".join(f"{name} {shown(now.get(name))}" for name in changed),
                hint="give another --out",
            )
        self.settings = stored  # the names of stored runs depend on it, and stay the same when a setting is added

    def _path(self, key: Mapping[str, Any]) -> Path:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        label = "-".join(str(key[part]) for part in ("dataset", "protocol", "shots", "seed"))
        return self.folder / "runs" / f"{label}-{digest}.json"

    def get(self, key: Mapping[str, Any]) -> Run | None:
        """The record of a run, None for one that is not done.

        Args:
            key: dataset, protocol, shots, seed and everything else that decides the numbers.

        Raises:
            InputError: the file of the run is damaged.
        """
        path = self._path(key)
        self._asked.add(path)
        return read_record(path, Run, _HINT) if path.exists() else None

    def num_others(self) -> int:
        """Number of stored runs that were not asked for since the folder was entered."""
        return len({*(self.folder / "runs").glob("*.json")} - self._asked)

    def put(self, key: Mapping[str, Any], record: Run) -> None:
        """Store the record of a finished run."""
        (self.folder / "runs").mkdir(exist_ok=True)
        write_json(self._path(key), record)

    def write(self, name: str, content: bytes | str) -> None:
        """Write one of the folder's files, whole or not at all."""
        write_atomically(self.folder / name, content)
