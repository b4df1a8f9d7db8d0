"""Every command, killed before any of its file calls, goes on with the same call and comes to the same end.

By default a few of the points of each command are tried, spread over it; with SARJEPA_FUZZ set, all of them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from sarjepa.config import FewshotBenchConfig, FinetuneConfig, PretrainConfig, ProbeConfig, ReportConfig
from sarjepa.errors import InputError
from sarjepa.overlay import overlay, read_preset
from sarjepa.progress import Progress
from sarjepa.recipes import fewshot_bench, finetune, pretrain, probe, report

NUM_POINTS = 10_000 if os.environ.get("SARJEPA_FUZZ") else 4


def _harness() -> ModuleType:
    path = Path(__file__).parents[1] / "kill_points.py"
    specification = importlib.util.spec_from_file_location("kill_points", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


HARNESS = _harness()


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


COMMANDS = {"pretrain": _pretrain, "fewshot-bench": _fewshot, "probe": _probe, "finetune": _finetune, "report": _report}


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


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_killed_anywhere_goes_on_to_the_same_end(
    name: str, toy_root: Path, toy_run: Path, toy_checkpoint: Path, tmp_path: Path
) -> None:
    root, work = tmp_path / "data", tmp_path / "work"
    shutil.copytree(toy_root, root)

    def begin() -> Callable[[], None]:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(root / "features", ignore_errors=True)
        work.mkdir()
        if name != "pretrain":
            shutil.copytree(toy_checkpoint if name == "report" else toy_run, work / "run")
        return lambda: COMMANDS[name](root, work)

    code, num_calls = HARNESS.run_killed(begin(), tmp_path)
    assert code == 0 and num_calls >= 3
    expected = _contents(work)
    points = np.unique(np.linspace(1, num_calls, min(NUM_POINTS, num_calls)).round().astype(int))
    for point in points:
        command = begin()
        assert HARNESS.run_killed(command, tmp_path, int(point))[0] == -9, point
        assert HARNESS.run_killed(command, tmp_path)[0] == 0, f"killed before call {point} of {num_calls}"
        assert _contents(work) == expected, f"killed before call {point} of {num_calls}"
