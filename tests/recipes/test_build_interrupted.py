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
import resource, signal, sys
from sarjepa.cli.app import main
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job ignores
    limit = int(sys.argv.pop(1))
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    main()
"""


def build(root: Path, *sources: str, **settings: object) -> Result:
    options = {"workers": 1, **settings}
    config = BuildDatasetConfig(data_root=str(root), sources=sources, **options)  # type: ignore[arg-type]
    return build_dataset.run(config, Progress())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _start(root: Path, per_class: int, limit: int = 0, workers: int = 1) -> subprocess.Popen[str]:
    words = f"build-dataset --force --chips-per-class {per_class} --workers {workers} --data-root".split()
    command = [sys.executable, "-c", SCRIPT, str(limit), *words, str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


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
    ("number", "code", "left"),
    [
        (signal.SIGINT, 130, None),
        (signal.SIGTERM, 143, None),
        (signal.SIGKILL, -signal.SIGKILL, {".synthetic.building", ".synthetic.lock"}),
    ],
)
def test_no_decoding_process_outlives_a_build_that_is_ended(
    tmp_path: Path, number: signal.Signals, code: int, left: set[str] | None
) -> None:
    process = _start(tmp_path, 2000, workers=2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 60
    while len(children.read_text().split()) < 3 and time.monotonic() < deadline:  # two workers, a resource tracker
        time.sleep(0.05)
    time.sleep(0.5)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: to every process
    else:
        process.send_signal(number)
    try:
        _, said = process.communicate(timeout=60)  # every process has the pipe: it closes when the last of them ends
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == code
    assert code < 0 or said.splitlines()[-1] == f"error: stopped by {number.name}"
    assert "Traceback" not in said
    shards = tmp_path / "shards"
    assert ({path.name for path in shards.iterdir()} if shards.exists() else None) == left


def test_a_kill_between_the_two_renames_is_mended(tmp_path: Path) -> None:
    build(tmp_path, "synthetic", chips_per_class=2)
    folder = tmp_path / "shards" / "synthetic"
    before = contents(folder)
    folder.rename(folder.with_name(".synthetic.old"))
    assert "already built" in build(tmp_path, "synthetic", chips_per_class=2).message
    assert contents(folder) == before


def test_the_next_build_removes_what_a_killed_one_left_though_nothing_is_to_be_built(tmp_path: Path) -> None:
    build(tmp_path, "synthetic", chips_per_class=2)
    shards = tmp_path / "shards"
    (shards / ".synthetic.building").mkdir()
    (shards / ".synthetic.building" / "synthetic-00000.h5.partial").write_bytes(b"half")
    (shards / ".synthetic.lock").touch()
    assert "already built" in build(tmp_path, "synthetic", chips_per_class=2).message
    assert [path.name for path in shards.iterdir()] == ["synthetic"]


def test_a_failed_build_leaves_no_lock_and_no_folder(tmp_path: Path) -> None:
    (tmp_path / "nope").mkdir()
    with pytest.raises(InputError, match="no images in there"):
        build(tmp_path / "new" / "root", f"folder:{tmp_path / 'nope'}")
    assert [path.name for path in tmp_path.iterdir()] == ["nope"]


def test_a_link_in_the_place_of_a_source_is_followed(tmp_path: Path) -> None:
    link, disk = tmp_path / "data" / "shards" / "synthetic", tmp_path / "large disk"
    disk.mkdir()
    link.parent.mkdir(parents=True)
    link.symlink_to(disk / "chips")  # where nothing is as yet
    for per_class in (2, 3):
        build(tmp_path / "data", "synthetic", chips_per_class=per_class, force=True)
        assert link.is_symlink() and len(open_shards(link)) == 20 * per_class // 2
        assert [path.name for path in link.parent.iterdir()] == ["synthetic"]
        assert [path.name for path in disk.iterdir()] == ["chips"]
    (disk / "chips").rename(disk / ".chips.old")  # killed between the two renames
    assert "already built" in build(tmp_path / "data", "synthetic", chips_per_class=3).message
    assert [path.name for path in disk.iterdir()] == ["chips"]


@pytest.mark.parametrize("force", [False, True])
def test_no_build_replaces_what_none_wrote(tmp_path: Path, force: bool) -> None:
    link, disk = tmp_path / "shards" / "synthetic", tmp_path / "disk"
    link.parent.mkdir()
    disk.mkdir()
    (disk / "thesis.tex").write_text("years of work")
    link.symlink_to(disk)
    with pytest.raises(InputError, match=r"place of the source is taken: .*disk; got 'thesis.tex'"):
        build(tmp_path, "synthetic", chips_per_class=2, force=force)
    assert (disk / "thesis.tex").read_text() == "years of work"


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path: Path) -> None:
    build(tmp_path, "synthetic", chips_per_class=2)
    folder = tmp_path / "shards" / "synthetic"
    before = contents(folder)
    process = _start(tmp_path, 30, limit=500_000)  # a file may not grow beyond this: the write fails as on a full disk
    _, said = process.communicate()
    assert process.returncode == 1
    [line] = [line for line in said.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: cannot write") and "free disk space" in line and "Traceback" not in said
    assert contents(folder) == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["synthetic"]


def test_two_builders_do_not_meet(tmp_path: Path) -> None:
    process = _start(tmp_path, 60)
    lock = tmp_path / "shards" / ".synthetic.building"
    while not lock.exists() and process.poll() is None:
        time.sleep(0.01)
    with pytest.raises(InputError, match="being built by another process"):
        build(tmp_path, "synthetic")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
