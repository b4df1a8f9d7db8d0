"""The folder of a pre-training run: a new run never overwrites another, a resumed run goes on from its checkpoint.

settings.yaml  log.jsonl  checkpoint-last.pt  checkpoint-previous.pt  encoder.safetensors  curves.png  targets.png
views.png  pairs.png
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml

from sarjepa.config import PretrainConfig, as_dict
from sarjepa.errors import InputError
from sarjepa.files import TEMPORARY, hold, write_atomically
from sarjepa.models.checkpoints import encoder_bytes
from sarjepa.models.encoder import Encoder
from sarjepa.overlay import refuse_changes
from sarjepa.progress import Progress
from sarjepa.results.stored import SETTINGS, read_settings
from sarjepa.training.checkpoint import Checkpoint, load_last_checkpoint
from sarjepa.training.log import LOG, StepLog

_EXPORTS = ("encoder.safetensors", "encoder-ema.safetensors")
_LOCK = ".lock"
# What may be there before the first checkpoint, besides files that are still being written.
_START = {SETTINGS, LOG, _LOCK, "curves.png", "targets.png", "views.png", "pairs.png", "tensorboard"}
_KEPT = "checkpoint-[0-9]*.pt"  # of an epoch; written before the first checkpoint-last.pt


class RunFolder:
    """One run's folder.

    Args:
        path: path of the folder, which may not exist yet.
        config: the run's settings.
    """

    def __init__(self, path: Path, config: PretrainConfig) -> None:
        self.path, self._config = path, config

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Lock the folder, which is made if need be, and removed if it stays empty.

        Raises:
            InputError: another process trains in this folder.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            lock = hold(self.path / _LOCK)
        except BlockingIOError:
            hint = "wait for it, or give another --run-dir"
            raise InputError("another process is training here", where=self.path, hint=hint) from None
        with lock:
            try:
                yield
            finally:
                if [path.name for path in self.path.iterdir()] == [_LOCK]:
                    (self.path / _LOCK).unlink()
                    self.path.rmdir()

    def check_new(self) -> None:
        """Refuse a folder that holds more than the files of a run before its first checkpoint.

        Raises:
            InputError: the folder holds more.
        """
        whole = [path for path in self.path.iterdir() if not path.name.endswith(TEMPORARY) and not path.match(_KEPT)]
        if {path.name for path in whole} - _START:
            hint = "give another --run-dir, or go on with --resume"
            raise InputError("the run folder exists already", where=self.path, hint=hint)

    def state(self, device: torch.device, progress: Progress) -> Checkpoint:
        """The last good checkpoint of a run that was started with the same settings.

        Raises:
            InputError: there is no run, its settings cannot be read or differ, or there is no checkpoint.
        """
        file = self.path / SETTINGS
        if not file.is_file():
            raise InputError("no run to resume", where=self.path, hint="start it without --resume")
        hint = "resume with the same settings, or start another run"
        refuse_changes(self._config, read_settings(self.path), self.path, hint)
        return load_last_checkpoint(self.path, device, progress)

    def start(self, step: int) -> StepLog:
        """Store the settings, remove exports of an earlier stop, and cut the log back to a step."""
        settings = as_dict(self._config)
        del settings["resume"]  # it belongs to one call, not to the run
        for name in _EXPORTS:
            # An export of an earlier stop would be mistaken for the run's present state.
            (self.path / name).unlink(missing_ok=True)
        write_atomically(self.path / SETTINGS, yaml.safe_dump(settings, sort_keys=False))
        return StepLog(self.path / LOG, step)

    def undo_start(self) -> None:
        """Remove what a run without a step wrote: the settings were refused, and it is no run to resume or evaluate."""
        for name in _START - {_LOCK}:
            if (file := self.path / name).is_file():
                file.unlink()

    def export(self, encoder: Encoder, describe: dict[str, Any], name: str = _EXPORTS[0]) -> None:
        """Write an encoder as a self-describing file."""
        write_atomically(self.path / name, encoder_bytes(encoder, describe))
