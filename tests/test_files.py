"""Files that are whole or absent."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from pathlib import Path

import pytest

from sarjepa.files import hold, printable, write_atomically, write_json


def test_a_full_disk_says_where_and_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(tmp_path / "table.md", "first")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/table\.md'"):
        write_atomically(tmp_path / "table.md", "second")
    assert (tmp_path / "table.md").read_text() == "first"


def test_a_name_that_is_not_text_is_written_and_read_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.zip")
    write_json(tmp_path / "index.json", {"place": name})
    assert json.loads((tmp_path / "index.json").read_text(encoding="utf-8")) == {"place": name}
    write_atomically(tmp_path / "CARD.md", f"from {name}")
    assert (tmp_path / "CARD.md").read_bytes() == rb"from caf\udce9.zip"
    assert printable(name) == r"caf\xe9.zip" and printable("café.zip") == "café.zip"


def test_a_lock_whose_file_its_holder_removed_is_taken_on_the_file_that_is_there(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    first = hold(lock)
    with pytest.raises(BlockingIOError):
        hold(lock)
    lock.unlink()
    first.close()
    second = hold(lock)
    with pytest.raises(BlockingIOError):
        hold(lock)
    second.close()


def test_who_waited_for_a_lock_that_is_gone_does_not_hold_it(tmp_path: Path) -> None:
    lock, taken = tmp_path / ".lock", []
    first = hold(lock)
    waiting = threading.Thread(target=lambda: taken.append(hold(lock, wait=True)))
    waiting.start()
    while waiting.is_alive() and not _is_awaited(lock):
        time.sleep(0.005)
    lock.unlink()
    first.close()
    waiting.join()
    with pytest.raises(BlockingIOError):
        hold(lock)
    taken[0].close()


def _is_awaited(lock: Path) -> bool:
    """Whether somebody waits for a lock on this file, as the kernel lists it."""
    inode = lock.stat().st_ino
    return any("->" in line and f":{inode} " in line for line in Path("/proc/locks").read_text().splitlines())
