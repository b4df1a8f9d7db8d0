"""The content of a run folder, read once, and the headline facts.

Everything comes from the folder. A fact that the run does not store is left out or called missing.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from sarjepa.data.loader import steps_per_epoch
from sarjepa.errors import InputError
from sarjepa.models.addresses import RUN_FILES, run_folder
from sarjepa.models.checkpoints import load_encoder, weights_sha256
from sarjepa.overlay import by_name
from sarjepa.reports.pretraining import curve_of
from sarjepa.results.stored import SETTINGS, read_settings
from sarjepa.training.log import LOG, read_log

_RECENT = 50  # steps whose mean loss is given beside the last step's


@dataclass(frozen=True)
class RunContent:
    """A run folder, read.

    Attributes:
        folder: path of the folder.
        settings: stored settings, by their names on the command line; empty if there are none.
        records: the lines of the log.
        describe: facts stored with the encoder's weights.
        num_parameters: number of the encoder's parameters; 0 if the encoder cannot be read.
        weights_sha256: checksum of the encoder's weights, as results state it; empty if the encoder cannot be read.
        num_cut_lines: number of lines of the log that cannot be read.
        encoder_fault: why the encoder cannot be read; empty if it can, or does not exist.
    """

    folder: Path
    settings: dict[str, Any]
    records: list[dict[str, float]]
    describe: dict[str, Any]
    num_parameters: int
    weights_sha256: str
    num_cut_lines: int
    encoder_fault: str

    def known(self, key: str) -> Any:
        """A fact from the encoder's file, else the setting of that name."""
        return self.describe.get(key) or self.settings.get(key)

    @property
    def sources(self) -> list[str]:
        """The sources that the run was trained on."""
        return [str(name) for name in self.known("sources") or ()]

    @property
    def typed(self) -> str:
        """The folder, quoted for a command line."""
        return shlex.quote(str(self.folder))

    @property
    def resume(self) -> str:
        """The command that resumes the run; empty where its settings are not known."""
        if not self.settings:
            return ""
        stored = shlex.quote(str(self.folder / SETTINGS))
        return f"sarjepa pretrain --config {stored} --run-dir {self.typed} --resume"


def read_run(folder: Path) -> RunContent:
    """Read a run folder.

    Raises:
        InputError: the folder does not exist, or holds nothing of a run.

    Example:
        >>> run = read_run(Path("runs/toy"))
        >>> run.known("method"), run.sources, run.num_parameters, run.settings  # it stores no settings
        ('sar-jepa', ['toy'], 8448, {})
    """
    run_folder(folder)
    names = (SETTINGS, LOG, *RUN_FILES)
    if not any((folder / name).is_file() for name in names):
        hint = "give --run a folder that sarjepa pretrain made"
        raise InputError("not a run folder", where=folder, expected=f"one of {', '.join(names)}", hint=hint)
    settings = by_name(read_settings(folder)) if (folder / SETTINGS).is_file() else {}
    records, num_cut_lines = read_log(folder / LOG)
    describe: dict[str, Any] = {}
    num_parameters, sha256, fault = 0, "", ""
    if any((folder / name).is_file() for name in RUN_FILES):
        try:
            encoder = load_encoder(folder)
        except InputError as error:
            fault = str(error)
        else:
            describe, sha256 = dict(encoder.describe), weights_sha256(encoder)
            num_parameters = sum(weight.numel() for weight in encoder.parameters())
    return RunContent(folder, settings, records, describe, num_parameters, sha256, num_cut_lines, fault)


def root_option(root: str) -> str:
    """The option that a command needs to find the data; empty for the default folder.

    Example:
        >>> root_option("my data")
        " --data-root 'my data'"
    """
    return "" if root == "data" else f" --data-root {shlex.quote(root)}"


def overview_facts(run: RunContent) -> dict[str, str]:
    """The headline facts by name: method, encoder, data, steps, loss, speed.

    Example:
        >>> facts = overview_facts(read_run(Path("runs/toy")))
        >>> facts["shape"], facts["chips"]
        ('16 wide, 2 blocks, 2 heads, patch 8 px', 'not stored in the run')
    """
    shape = run.describe.get("shape") or {}
    form = "{width} wide, {depth} blocks, {num_heads} heads, patch {patch_size} px"
    described = {
        "method": run.known("method"),
        # A run that stores no target used the one of its method.
        "target": run.known("target") or ("the method's own" if run.known("method") else None),
        "encoder": run.known("model"),
        "shape": form.format(**shape) if shape else "",
        "encoder parameters": f"{run.num_parameters:,}" if run.num_parameters else "",
        "sources": ", ".join(run.sources),
        "chips": f"{run.describe['num_chips']:,}" if "num_chips" in run.describe else "",
        "steps": _steps(run),
        **_log_facts(run),
        "seed": str(run.settings.get("seed", run.describe.get("seed", ""))),
        "started from": run.settings.get("init"),
        "versions": ", ".join(f"{key} {value}" for key, value in (run.describe.get("versions") or {}).items()),
    }
    return {name: str(value) if value else "not stored in the run" for name, value in described.items()
            if value or name in ("method", "chips", "versions")}  # fmt: skip


def batch_and_epoch(run: RunContent) -> tuple[int, int] | None:
    """Images per step and steps per epoch; None where the number of chips is not known.

    Example:
        >>> run = read_run(Path("runs/toy"))
        >>> run.describe["num_chips"], run.settings["batch-size"] = 1000, 300
        >>> batch_and_epoch(run)  # the last, smaller batch is left out
        (300, 3)
    """
    chips, wanted = run.describe.get("num_chips"), run.settings.get("batch-size")
    if not chips or not wanted:
        return None
    batch = min(int(wanted), int(chips))
    return batch, steps_per_epoch(int(chips), batch)


def _steps(run: RunContent) -> str:
    taken = int(run.records[-1]["step"]) if run.records else run.describe.get("steps")
    sizes, epochs = batch_and_epoch(run), run.settings.get("epochs")
    if taken is None or sizes is None or epochs is None:
        return f"{taken:,}" if taken is not None else ""
    _, epoch_steps = sizes
    return f"{taken:,} of {epochs * epoch_steps:,}: {taken / epoch_steps:.4g} of {epochs} epochs"


def _log_facts(run: RunContent) -> dict[str, str]:
    """Loss, time and speed from the log."""
    loss, speed = (curve_of(run.records, key).value_N for key in ("loss", "images/s"))
    facts = {}
    if len(loss):
        recent = loss[-_RECENT:]
        facts["loss"] = f"{loss[-1]:.4g} at the last step, {recent.mean():.4g} over the last {len(recent)}"
    if len(speed):
        facts["speed"] = f"{median(speed):.4g} images/s (median)"
    sizes = batch_and_epoch(run)
    if sizes and len(speed) and speed.min() > 0:
        seconds, wait = float((sizes[0] / speed).sum()), curve_of(run.records, "wait").value_N.sum()
        facts["time in steps"] = f"{_duration(seconds)}, {100 * wait / seconds:.1f}% of it waiting for data"
    return facts


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
