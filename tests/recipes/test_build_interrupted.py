"""build-dataset, killed, out of disk or started twice: what was there stays, and the next build is whole."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sarjepa.config import BuildDatasetConfig
from sarjepa.data.shards import open_shards
from sarjepa.errors import InputError
from sarjepa.progress import Progress
from sarjepa.recipes import build_dataset
from sarjepa.results.result import Result

SCRIPT = """
import resource, sys
from sarjepa.config import BuildDatasetConfig
from sarjepa.errors import InputError
from sarjepa.recipes import build_dataset
if __name__ == "__main__":
    root, (per_class, limit, workers) = sys.argv[1], map(int, sys.argv[2:])
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        build_dataset.run(BuildDatasetConfig(data_root=root, chips_per_class=per_class, workers=workers, force=True))
    except InputError as error:
        print(error)
        sys.exit(1)
"""


def build(root: Path, *sources: str, **settings: object) -> Result:
    options = {"workers": 1, **settings}
    config = BuildDatasetConfig(data_root=str(root), sources=sources, **options)  # type: ignore[arg-type]
    return build_dataset.run(config, Progress())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _start(root: Path, per_class: int, limit: int = 0, workers: int = 1) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(root), str(per_class), str(limit), str(workers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_killed_build_leaves_what_was_there(tmp_path: Path, share: float) -> None:
    build(tmp_path, "synthetic", chips_per_class=2)
    folder = tmp_path / "shards" / "synthetic"
    before = contents(folder)
    process = _start(tmp_path, 40)
    building = folder.with_name(".synthetic.building")
    deadline = time.monotonic() + 30
    while not building.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(share * 1.5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if process.returncode == -signal.SIGKILL:
        assert contents(folder) == before or len(open_shards(folder)) == 400
    build(tmp_path, "synthetic", chips_per_class=3, force=True)
    assert len(open_shards(folder)) == 30
    assert not building.exists()


@pytest.mark.parametrize(
    ("number", "ends_as", "left"),
    [(signal.SIGTERM, signal.SIGINT, set()), (signal.SIGKILL, signal.SIGKILL, {".synthetic.building"})],
)
def test_no_decoding_process_outlives_a_build_that_is_ended(
    tmp_path: Path, number: signal.Signals, ends_as: signal.Signals, left: set[str]
) -> None:
    process = _start(tmp_path, 2000, workers=2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 60
    while len(children.read_text().split()) < 3 and time.monotonic() < deadline:  # two workers, a resource tracker
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    try:
        process.communicate(timeout=30)  # every process has the pipe: it closes when the last of them ends
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -ends_as
    assert {path.name for path in (tmp_path / "shards").iterdir()} == left | {".synthetic.lock"}


def test_a_kill_between_the_two_renames_is_mended(tmp_path: Path) -> None:
    build(tmp_path, "synthetic", chips_per_class=2)
    folder = tmp_path / "shards" / "synthetic"
    before = contents(folder)
    folder.rename(folder.with_name(".synthetic.old"))
    assert "already built" in build(tmp_path, "synthetic", chips_per_class=2).message
    assert contents(folder) == before


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path: Path) -> None:
    build(tmp_path, "synthetic", chips_per_class=2)
    folder = tmp_path / "shards" / "synthetic"
    before = contents(folder)
    process = _start(tmp_path, 30, limit=500_000)  # a file may not grow beyond this: the write fails as on a full disk
    said, _ = process.communicate()
    assert process.returncode == 1
    assert said.startswith("cannot write") and "free disk space" in said and said.count("\n") == 1
    assert contents(folder) == before
    assert sorted(path.name for path in folder.parent.iterdir()) == [".synthetic.lock", "synthetic"]


def test_two_builders_do_not_meet(tmp_path: Path) -> None:
    process = _start(tmp_path, 60)
    lock = tmp_path / "shards" / ".synthetic.building"
    while not lock.exists() and process.poll() is None:
        time.sleep(0.01)
    with pytest.raises(InputError, match="being built by another process"):
        build(tmp_path, "synthetic")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
