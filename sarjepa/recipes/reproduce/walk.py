"""Walk a plan: each command in a process of its own, several at once, and no step twice.

A finished step leaves `made-by.json` in its folder: the command, its resolved settings, the commit, the machine and the
seconds. A step with a file of the same settings is not repeated. A file of other settings is refused with the
difference, since its numbers belong to those. A run that was stopped goes on from its checkpoint.

Commands are processes and not calls for three reasons: one that runs out of memory ends alone, one-thread processes
side by side use two cores better than two threads do, and torchrun can start the same line on several GPUs.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sarjepa.config import PretrainConfig
from sarjepa.documents import read_record
from sarjepa.errors import InputError, Stopped
from sarjepa.files import write_json
from sarjepa.models.checkpoints import load_encoder
from sarjepa.overlay import refuse_changes
from sarjepa.pretext.methods import METHODS, check_revision
from sarjepa.progress import Progress
from sarjepa.recipes.reproduce.plan import Step
from sarjepa.reports.pretraining import curve_of
from sarjepa.results.provenance import machine
from sarjepa.training.checkpoint import LAST
from sarjepa.training.log import LOG, read_log
from sarjepa.training.loop import stop_on_signals

MADE_BY = "made-by.json"
_POLL_S = 0.3


@dataclass(frozen=True)
class _MadeBy:
    """The part of made-by.json that is read."""

    settings: dict[str, Any]
    seconds: float
    commit: str
    date: str
    processor: str
    gpu: str | None
    versions: str
    revision: int = 1


def record_of(step: Step) -> dict[str, Any] | None:
    """The content of a finished step's made-by.json, None for a step that is not done.

    Raises:
        InputError: the folder was made with other settings, its method has changed since, or made-by.json is damaged.

    Example:
        >>> from pathlib import Path
        >>> step = Step("pretrain", ("--method", "mae"), PretrainConfig(method="mae"), Path("mae-done"))
        >>> step.folder.mkdir()
        >>> facts = dict.fromkeys(("commit", "date", "processor", "gpu", "versions"), "")
        >>> facts |= {"settings": asdict(step.config), "revision": METHODS["mae"].revision, "seconds": 90}
        >>> write_json(step.folder / MADE_BY, facts)
        >>> record_of(step)["seconds"], record_of(Step("pretrain", (), PretrainConfig(), Path("not-begun")))
        (90.0, None)
    """
    path = step.folder / MADE_BY
    if not path.is_file():
        return None
    record = asdict(read_record(path, _MadeBy, "remove the file: the command is given again, and goes on"))
    refuse_changes(step.config, record["settings"], step.folder, "move the folder away, or give another --run-root")
    if isinstance(step.config, PretrainConfig):
        check_revision(step.config.method, record, step.folder)
    if record["settings"].get("max_steps") != getattr(step.config, "max_steps", None):
        return None  # it ended at another step, and goes on
    return record


def has_ended(step: Step) -> bool:
    """Whether a command did all of its work: a pre-training that is stopped also saves and ends with success.

    Example:
        >>> from pathlib import Path
        >>> from sarjepa.models.checkpoints import encoder_bytes
        >>> Path("stopped").mkdir()
        >>> half = encoder_bytes(load_encoder("runs/toy"), {"epochs": 0.5, "steps": 40})
        >>> _ = Path("stopped/encoder.safetensors").write_bytes(half)
        >>> [has_ended(Step("pretrain", (), PretrainConfig(max_steps=most), Path("stopped"))) for most in (None, 40)]
        [False, True]
    """
    config = step.config
    if not isinstance(config, PretrainConfig):
        return True
    trained: dict[str, Any] = load_encoder(step.folder).describe
    return trained.get("epochs", 0) >= config.epochs or trained.get("steps") == (config.max_steps or -1)


class Walker:
    """Runs steps.

    Args:
        jobs: number of processes at a time.
        launch: command that starts pre-training in place of this Python (`torchrun --nproc-per-node 4 -m`).
    """

    def __init__(self, jobs: int, launch: str | None) -> None:
        self.jobs, self.launch = jobs, launch
        threads = max(1, len(os.sched_getaffinity(0)) // jobs)
        self._environment = {"OMP_NUM_THREADS": str(threads), **os.environ} if jobs > 1 else dict(os.environ)
        self._live: set[subprocess.Popen[bytes]] = set()
        self._over = False  # no further step is started
        self._stopping = False  # running processes are told to stop

    def walk(self, steps: Sequence[Step], description: str, progress: Progress) -> None:
        """Do the steps that are not yet done.

        Raises:
            InputError: a step failed; the error holds the last line that it printed. Running steps are finished first.
            Stopped: a signal came; runs have saved and go on with the next call.
        """
        to_do = [step for step in steps if record_of(step) is None]
        with (
            stop_on_signals() as stop,
            progress.task(description, len(steps), "runs") as bar,
            ThreadPoolExecutor(self.jobs) as pool,
        ):
            bar.advance(len(steps) - len(to_do))
            waiting: set[Future[str]] = {pool.submit(self._run, step) for step in to_do}
            failure: BaseException | None = None
            while waiting:
                done, waiting = wait(waiting, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                for future in done:
                    error = future.exception()
                    if error is None:
                        bar.advance(1, future.result())
                    elif failure is None:
                        failure = error
                        if self._live:
                            progress.warn(f"{error}; waiting for what is under way")
                if stop.reason:
                    self._over = self._stopping = True
                    for process in list(self._live):
                        process.terminate()
                    raise Stopped(stop.number)
            if failure is not None:
                raise failure

    def _run(self, step: Step) -> str:
        """Run one step and return its name; return an empty text where no further step is to start."""
        if self._over:
            return ""
        done = False
        try:
            name = self._do(step)
            done = True
        finally:
            if not done:
                self._over = True  # set before this thread takes the next step
        return name

    def _do(self, step: Step) -> str:
        """Run one step in a process and return its name.

        Raises:
            InputError: the process failed, or was stopped before its end.
        """
        began, earlier = time.time(), last_step(step.folder)
        log = step.folder.with_name(step.folder.name + ".log")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            # In a session of its own: Ctrl-C reaches only this process, which then signals each child once. A child
            # that is signalled twice ends without saving.
            process = subprocess.Popen(
                self._line(step), stdout=output, stderr=subprocess.STDOUT, env=self._environment,
                start_new_session=True,
            )  # fmt: skip
            self._live.add(process)
            if self._stopping:  # set since this thread last looked
                process.terminate()
            code = process.wait()
            self._live.discard(process)
        if self._stopping:
            return step.folder.name
        if code:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise InputError(f"{step.command} failed", where=step.text(), got=lines[-1] if lines else f"code {code}",
                             hint=f"read {log}; what is finished is kept")  # fmt: skip
        if not has_ended(step):
            raise InputError(f"{step.command} was stopped before its end", where=step.text(),
                             hint="give the same command again: it goes on from the checkpoint")  # fmt: skip
        seconds: float = round(time.time() - began)
        record: dict[str, Any] = {"command": step.text(), "settings": asdict(step.config)}
        found = earlier > 0 and earlier == last_step(step.folder)  # trained before: by which commit is not known
        facts = machine(self._environment.get("OMP_NUM_THREADS"))
        record |= dict.fromkeys(facts, "not recorded") if found else facts
        if isinstance(step.config, PretrainConfig):
            record["revision"] = METHODS[step.config.method].revision
            seconds = max(seconds, round(training_seconds(step.folder, step.config.batch_size)))  # of earlier calls too
        log.unlink()  # before the record: once a step is recorded as done, no call looks at its log again
        write_json(step.folder / MADE_BY, record | {"seconds": seconds})
        return step.folder.name

    def _line(self, step: Step) -> list[str]:
        start = [sys.executable, "-m"]
        extra: list[str] = []
        if step.command == "pretrain":
            start = shlex.split(self.launch) if self.launch else start
            if (step.folder / LAST).is_file():
                extra = ["--resume"]
        return [*start, "sarjepa", step.command, *step.arguments, *extra]


def last_step(folder: Path) -> int:
    """The last step of a run by its log, 0 without one.

    Example:
        >>> Path("begun").mkdir()
        >>> _ = Path("begun/log.jsonl").write_text('{"step": 3, "loss": 0.5}', encoding="utf-8")
        >>> last_step(Path("begun")), last_step(Path("not-begun"))
        (3, 0)
    """
    records, _ = read_log(folder / LOG)
    return int(records[-1]["step"]) if records else 0


def training_seconds(folder: Path, batch_size: int) -> float:
    r"""How long the steps of a run took by its log, over all calls that it was stopped and resumed in.

    Example:
        >>> from pathlib import Path
        >>> Path("timed").mkdir()
        >>> lines = '{"step": 1, "images/s": 16.0}\n{"step": 2, "images/s": 64.0}\n'
        >>> _ = Path("timed/log.jsonl").write_text(lines, encoding="utf-8")
        >>> training_seconds(Path("timed"), batch_size=32)
        2.5
    """
    records, _ = read_log(folder / LOG)
    speed_N = curve_of(records, "images/s").value_N
    return float((batch_size / speed_N[speed_N > 0]).sum())


def seconds_of(steps: Sequence[Step]) -> float:
    """How long the finished steps took, added up.

    Example:
        >>> from pathlib import Path
        >>> seconds_of([Step("pretrain", (), PretrainConfig(), Path("not-begun"))])
        0.0
    """
    return float(sum((record_of(step) or {"seconds": 0})["seconds"] for step in steps))
