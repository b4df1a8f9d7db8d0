"""Every command, killed before any of its file calls, goes on with the same call and comes to the same end.

By default two points of each command are tried; with SARJEPA_FUZZ set, all of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import forked
import pytest

SCRIPT = Path(__file__).parents[1] / "kill_points.py"
IS_LONG = bool(os.environ.get("SARJEPA_FUZZ"))
NUM_POINTS = 10_000 if IS_LONG else 2
# Each group in a process of its own.
GROUPS = ("pretrain,reproduce", "build-dataset,features,fewshot-bench,probe,finetune", "report")
if IS_LONG:
    GROUPS = (*GROUPS, "visualize-attention")  # whose pictures take long


@pytest.mark.parametrize("names", GROUPS)
def test_a_command_that_is_killed_anywhere_goes_on_to_the_same_end(
    names: str, toy_root: Path, toy_run: Path, toy_checkpoint: Path, tmp_path: Path
) -> None:
    run = toy_checkpoint if names == "report" else toy_run
    words = (SCRIPT, names, toy_root, run, tmp_path, NUM_POINTS)
    done = forked.Popen(words).finished(timeout=3600)
    assert done.returncode == 0, done.stderr[-3000:]
