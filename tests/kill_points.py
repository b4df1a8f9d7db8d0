"""A harness that kills a command before each of its file calls.

A command runs in a forked process (torch is imported once), which an audit hook kills with SIGKILL before its n-th call
that opens a file for writing, makes, renames, links or removes something below a folder. What was written and not yet
flushed is lost with it, as it would be. What the next call of the same command makes of the rest must be what a command
that was never killed makes. The commands that `reproduce` starts are forked likewise, count on, and are killed with it,
whichever of them is about to make the call.

A script of its own, and not part of the test's process: torch's threads do not survive a fork, and the process that
forks here has not started any.

    kill_points.py COMMAND[,COMMAND...] SHARDS RUN FOLDER POINTS
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from sarjepa.cli.app import app

from sarjepa.config import (
    BuildDatasetConfig,
    FeaturesConfig,
    FewshotBenchConfig,
    FinetuneConfig,
    PretrainConfig,
    ProbeConfig,
    ReportConfig,
    ReproduceConfig,
    VisualizeAttentionConfig,
)
from sarjepa.errors import InputError
from sarjepa.experiments.experiment import Experiment, Row, Scale
from sarjepa.overlay import overlay, read_preset
from sarjepa.progress import Progress
from sarjepa.recipes import (
    build_dataset,
    features,
    fewshot_bench,
    finetune,
    pretrain,
    probe,
    report,
    reproduce,
    visualize_attention,
)
from sarjepa.recipes.reproduce import walk
from sarjepa.results.provenance import machine

_CHANGES = {"os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def run_killed(command: Callable[[], object], folder: Path, number: int = 0) -> tuple[int, int]:
    """Run a command in a process of its own, killed before its file call of this number.

    Args:
        command: called without arguments.
        folder: only calls on files below it count.
        number: counted from 1; 0 lets the command come to its end.

    Returns:
        0 where it came to its end, 1 where it raised an error, which is printed, -9 where it was killed; and how many
        file calls it made, where it was not.
    """
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.setpgid(0, 0)
        calls = _Calls(folder, number)
        code = _ended(command)
        os.write(writing, str(calls.count).encode())
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as stream:
        said = stream.read()
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), int(said or 0)


def _ended(command: Callable[[], Any]) -> int:
    """A command's exit code; why it failed is printed."""
    try:
        return int(command() or 0)
    except BaseException:  # noqa: BLE001 - what it is, is printed
        traceback.print_exc()
        sys.stderr.flush()
        return 1


class _Calls:
    """Counts the changes of files of this process and of those it forks, and kills all of them before one of them."""

    def __init__(self, folder: Path, fatal: int) -> None:
        self._fatal, self._root, self._shared = fatal, str(folder), mmap.mmap(-1, 8)
        sys.addaudithook(self._watch)

    @property
    def count(self) -> int:
        """Changes so far."""
        return int.from_bytes(self._shared[:8], "little")

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        is_change = event in _CHANGES or (event == "open" and (arguments[2] or 0) & _WRITING)
        if is_change and str(arguments[0]).startswith(self._root):
            count = self.count + 1
            self._shared[:8] = count.to_bytes(8, "little")
            if count == self._fatal:
                os.killpg(0, signal.SIGKILL)


def _pretrain(root: Path, folder: Path) -> None:
    """Start the run, or go on with it, as the refusal of the first call says."""
    torch.set_num_threads(1)
    given = {"data_root": str(root), "run_dir": str(folder / "run"), "sources": ["toy"], "epochs": 2,
             "warmup_epochs": 1, "batch_size": 16,
             "image_size": 32, "window_size": 3, "radii": [2], "keep_every": 1, "picture_every": 1, "ema": 0.9,
             "predictor_width": 8, "predictor_depth": 1, "device": "cpu"}  # fmt: skip
    layers = [("preset", read_preset("demo", "pretrain")), ("test", given)]
    try:
        pretrain.run(overlay(PretrainConfig, layers), Progress())
    except InputError as error:
        if "--resume" not in str(error):
            raise
        pretrain.run(overlay(PretrainConfig, [*layers, ("again", {"resume": True})]), Progress())


def _evaluation(root: Path, folder: Path) -> dict[str, object]:
    torch.set_num_threads(1)
    return {"data_root": str(root), "device": "cpu", "epochs": 2, "out": str(folder / "out")}


def _fewshot(root: Path, folder: Path) -> None:
    given = {**_evaluation(root, folder), "checkpoint": (str(folder / "run"), "pixels"), "datasets": ("toy",)}
    fewshot_bench.run(FewshotBenchConfig(**given, shots=(2,), runs=2), Progress())  # type: ignore[arg-type]


def _probe(root: Path, folder: Path) -> None:
    given = {**_evaluation(root, folder), "checkpoint": str(folder / "run"), "dataset": "toy"}
    probe.run(ProbeConfig(**given), Progress())  # type: ignore[arg-type]


def _finetune(root: Path, folder: Path) -> None:
    given = {**_evaluation(root, folder), "checkpoint": str(folder / "run"), "dataset": "toy", "curve": True}
    finetune.run(FinetuneConfig(**given, shots=2), Progress())  # type: ignore[arg-type]


def _report(root: Path, folder: Path) -> None:
    report.run(ReportConfig(data_root=str(root), run=str(folder / "run"), device="cpu"), Progress())


def _build(root: Path, folder: Path) -> None:
    config = BuildDatasetConfig(data_root=str(folder / "new"), sources=("synthetic",), chips_per_class=1, workers=1)
    build_dataset.run(config, Progress())


def _visualize(root: Path, folder: Path) -> None:
    given = {"data_root": str(root), "device": "cpu", "dataset": ("toy",), "checkpoint": (str(folder / "run"),)}
    config = VisualizeAttentionConfig(**given, out=str(folder / "out"), num_images=4, num_points=8)  # type: ignore[arg-type]
    visualize_attention.run(config, Progress())


def _features(root: Path, folder: Path) -> None:
    given = {"data_root": str(root), "dataset": "toy", "checkpoint": str(folder / "run"), "device": "cpu"}
    features.run(FeaturesConfig(**given, out=str(folder / "out" / "features.h5")), Progress())  # type: ignore[arg-type]


class _Forked:
    """In place of `subprocess.Popen`: a command of this program in a forked process."""

    def __init__(self, words: list[str], **_: object) -> None:
        self._process = os.fork()
        if self._process == 0:
            os._exit(_ended(lambda: app(words[3:], standalone_mode=False)))

    def wait(self) -> int:
        """Its exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1])

    def terminate(self) -> None:
        """Nobody asks for it."""
        raise AssertionError


def _reproduce(root: Path, folder: Path) -> None:
    """A table of one pre-training, which is measured."""
    torch.set_num_threads(1)
    settings = {"pretrain": {"max-steps": 2, "batch-size": 16, "image-size": 32, "window-size": 3, "radii": [2],
                             "predictor-width": 8, "predictor-depth": 1, "warmup-epochs": 0},
                "fewshot-bench": {"shots": [2], "runs": 1, "baselines": ["none"]}}  # fmt: skip
    rows = (Row("ratio"), Row("untrained", baseline="untrained"))
    tiny = Scale("tiny", "demo", 1, ("toy",), ("toy",), settings)
    reproduce.read_experiment = lambda name, scale: (Experiment("t", "T", "", "few-shot", rows, "ratio"), tiny)
    walk.machine = lambda threads=None: dict.fromkeys(machine(threads), "")  # the commit may differ by then
    walk.time = SimpleNamespace(time=lambda: 0.0)  # type: ignore[assignment] # a table says how long it took
    walk.subprocess = SimpleNamespace(Popen=_Forked, STDOUT=None)  # type: ignore[assignment]
    config = ReproduceConfig(data_root=str(root), device="cpu", run_root=str(folder / "runs"), out=str(folder / "out"))
    reproduce.run(config, Progress())


COMMANDS = {
    "build-dataset": _build,
    "visualize-attention": _visualize,
    "features": _features,
    "reproduce": _reproduce,
    "pretrain": _pretrain,
    "fewshot-bench": _fewshot,
    "probe": _probe,
    "finetune": _finetune,
    "report": _report,
}


def _contents(folder: Path) -> dict[str, object]:
    """Every file's content, without what a clock says and without the lock."""
    found: dict[str, object] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".pt":
            state = torch.load(path, weights_only=True)
            found[name] = {key: value.tolist() for key, value in state["method"].items()} if "method" in state else None
        elif path.name == "log.jsonl":
            found[name] = [(line["step"], line["loss"]) for line in map(json.loads, path.read_text().splitlines())]
        elif path.name != ".lock" and path.name != "curves.png":  # which shows the speed
            found[name] = path.read_bytes()
    return found


def _blank(figure: Figure, file: BinaryIO, **_: object) -> None:
    """In place of `savefig`: writing takes the same calls, drawing most of the time."""
    Image.new("L", (1, 1)).save(file, "png")


def main(name: str, shards: Path, run: Path, folder: Path, most: int) -> None:
    """Kill a command at up to `most` points spread over it, and hold what the next call makes to the whole one.

    Args:
        name: of the command.
        shards: a data root to copy.
        run: a run folder to copy, which the command looks at.
        folder: one to make and to work in.
        most: points to try.
    """
    root, work = folder / "data", folder / "work"
    shutil.copytree(shards, root)
    if most < 10 and name != "report":  # which shows what is drawn
        Figure.savefig = _blank  # type: ignore[method-assign,assignment]

    def begin() -> Callable[[], None]:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(root / "features", ignore_errors=True)
        work.mkdir()
        if name != "pretrain":
            shutil.copytree(run, work / "run")
        return lambda: COMMANDS[name](root, work)

    code, num_calls = run_killed(begin(), folder)
    assert code == 0 and num_calls >= 3
    expected = _contents(work)
    for point in np.unique(np.linspace(1, num_calls, min(most, num_calls)).round().astype(int)).tolist():
        command = begin()
        assert run_killed(command, folder, point)[0] == -signal.SIGKILL, point
        assert run_killed(command, folder)[0] == 0, f"killed before call {point} of {num_calls}"
        found = _contents(work)
        other = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        assert not other, f"killed before call {point} of {num_calls}: {', '.join(other)}"
    print(f"{name}: {num_calls} calls, all well")


if __name__ == "__main__":
    _, _names, _shards, _run, _folder, _most = sys.argv
    for _name in _names.split(","):
        main(_name, Path(_shards), Path(_run), Path(_folder) / _name, int(_most))
