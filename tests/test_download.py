"""Downloads, against a real local server that breaks off, stalls, lies and refuses."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import faulty_server
import pytest

from sarjepa.download import Patience, RemoteFile, fetch
from sarjepa.errors import InputError
from sarjepa.progress import Progress

CONTENT = bytes(range(256)) * 4000  # 1 MB, several blocks
SUM = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(attempts=4, pause_s=0.01, longest_pause_s=0.05)  # a busy machine may answer late


class Server:
    def __init__(self, script: Any, address: str) -> None:
        self.script, self.address = script, address

    def file(self, *names: str, sha256: str | None = SUM, size: int | None = len(CONTENT)) -> RemoteFile:
        addresses = tuple(f"{self.address}/{name}" for name in names or ("a.zip",))
        return RemoteFile("a.zip", addresses=addresses, sha256=sha256, size=size, by_hand="ask the authors")


@pytest.fixture
def server() -> Iterator[Server]:
    script = faulty_server.Script(CONTENT)
    with faulty_server.serve(script) as address:
        yield Server(script, address)


def _get(file: RemoteFile, folder: Path) -> bytes:
    return fetch(file, folder, Progress(), QUICK).read_bytes()


def test_a_file_comes_whole_and_is_not_fetched_twice(server: Server, tmp_path: Path) -> None:
    assert _get(server.file(), tmp_path) == CONTENT
    assert _get(server.file(), tmp_path) == CONTENT
    assert len(server.script.requests) == 1
    assert not list(tmp_path.glob("*.partial*"))


def test_what_broke_off_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.script.faults["/a.zip"] = ["break", "break"]
    assert _get(server.file(), tmp_path) == CONTENT
    starts = [int((wanted or "bytes=0-")[6:-1]) for _, wanted in server.script.requests]
    half, block = len(CONTENT) // 2, 1 << 16
    assert half - block < starts[1] <= half < starts[2] <= half + half // 2


def test_a_stall_ends_in_another_attempt(server: Server, tmp_path: Path) -> None:
    server.script.faults["/a.zip"] = ["stall"]
    impatient = replace(QUICK, stall_s=1.0)
    assert fetch(server.file(), tmp_path, Progress(), impatient).read_bytes() == CONTENT
    assert len(server.script.requests) == 2


def test_a_server_without_ranges_makes_it_begin_again(server: Server, tmp_path: Path) -> None:
    server.script.faults["/a.zip"] = ["break"]
    server.script.ranges = False
    assert _get(server.file(), tmp_path) == CONTENT


def test_a_new_version_is_not_joined_to_the_old(server: Server, tmp_path: Path) -> None:
    server.script.faults["/a.zip"] = ["break"]
    file = server.file(sha256=None, size=None)
    with pytest.raises(InputError):
        fetch(file, tmp_path, Progress(), Patience(attempts=1, stall_s=1))
    server.script.content, server.script.etag = bytes(reversed(CONTENT)), '"v2"'
    assert _get(file, tmp_path) == bytes(reversed(CONTENT))


def test_without_a_name_for_the_version_or_a_sum_it_begins_again(server: Server, tmp_path: Path) -> None:
    server.script.etag = ""
    file = server.file(sha256=None)
    server.script.faults["/a.zip"] = ["break"]
    with pytest.raises(InputError):
        fetch(file, tmp_path, Progress(), Patience(attempts=1, stall_s=1))
    server.script.content = bytes(reversed(CONTENT))
    assert _get(file, tmp_path) == bytes(reversed(CONTENT))
    assert server.script.requests[-1][1] is None


def test_a_kill_in_the_middle_is_resumed_by_the_next_process(server: Server, tmp_path: Path) -> None:
    server.script.faults["/a.zip"] = ["stall"]
    process = multiprocessing.get_context("fork").Process(
        target=fetch, args=(server.file(), tmp_path, Progress(), Patience(stall_s=30))
    )
    process.start()
    partial = tmp_path / "a.zip.partial"
    deadline = time.monotonic() + 10
    while not (partial.exists() and partial.stat().st_size > 0):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (tmp_path / "a.zip").exists()
    assert _get(server.file(), tmp_path) == CONTENT
    assert (server.script.requests[-1][1] or "").startswith("bytes=")


def test_a_kill_before_the_name_fetches_nothing_again(server: Server, tmp_path: Path) -> None:
    server.script.faults["/a.zip"] = ["break"]
    with pytest.raises(InputError):
        fetch(server.file(), tmp_path, Progress(), Patience(attempts=1, stall_s=1))
    num_requests = len(server.script.requests)
    (tmp_path / "a.zip.partial").write_bytes(CONTENT)
    assert _get(server.file(), tmp_path) == CONTENT
    assert len(server.script.requests) == num_requests


def test_two_processes_fetch_a_file_once(server: Server, tmp_path: Path) -> None:
    server.script.faults["/a.zip"] = ["stall"]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_get, args=(server.file(), tmp_path)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.script.requests].count(None) == 1


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_refusal_goes_to_the_next_address_at_once(server: Server, tmp_path: Path, status: int) -> None:
    server.script.faults["/gone"] = [(status, {}, b"no")] * 9
    assert _get(server.file("gone", "a.zip"), tmp_path) == CONTENT
    assert [path for path, _ in server.script.requests] == ["/gone", "/a.zip"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path, status: int) -> None:
    server.script.faults["/a.zip"] = [(status, {"Retry-After": "0"}, b"")] * 2
    assert _get(server.file(), tmp_path) == CONTENT
    assert len(server.script.requests) == 3


def test_wrong_bytes_are_thrown_away_and_the_next_address_asked(server: Server, tmp_path: Path) -> None:
    server.script.faults["/bad"] = [bytes(len(CONTENT))]
    assert _get(server.file("bad", "a.zip"), tmp_path) == CONTENT
    server.script.faults["/bad"] = [bytes(len(CONTENT))]
    with pytest.raises(InputError, match=r"wrong content, SHA-256"):
        _get(server.file("bad"), tmp_path / "other")
    assert not list((tmp_path / "other").glob("a.zip*"))


def test_a_wrong_length_is_seen_before_the_bytes_come(server: Server, tmp_path: Path) -> None:
    server.script.faults["/bad"] = [b"x" * 999]
    with pytest.raises(InputError, match=r"is 999 bytes, expected 1024000"):
        _get(server.file("bad"), tmp_path)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:6a\nsize 9\n", "Git LFS pointer"),
        ((200, {"Content-Type": "text/html; charset=utf-8"}, b"Please log in"), "HTML page"),
        (b"\n  <!DOCTYPE html><html>login</html>", "HTML page"),
    ],
)
def test_what_comes_in_place_of_a_file_is_called_what_it_is(
    server: Server, tmp_path: Path, fault: object, reason: str
) -> None:
    server.script.faults["/a.zip"] = [fault]
    with pytest.raises(InputError, match=reason) as caught:
        _get(server.file(sha256=None, size=None), tmp_path)
    assert "ask the authors; put a.zip into" in str(caught.value)
    assert not (tmp_path / "a.zip").exists()


def test_every_address_and_its_reason_is_named(server: Server, tmp_path: Path) -> None:
    server.script.faults = {"/x": [(404, {}, b"")], "/y": [(503, {}, b"")] * 9}
    with pytest.raises(InputError, match=r"/x: answers 404; .*/y: answers 503 \(4 attempts\)"):
        _get(server.file("x", "y"), tmp_path)


def test_nobody_there_is_said_in_a_few_words(tmp_path: Path) -> None:
    file = RemoteFile("a.zip", addresses=("http://127.0.0.1:9/a.zip",))
    with pytest.raises(InputError, match="connection failed"):
        _get(file, tmp_path)


def test_a_length_that_is_not_told_is_no_obstacle(server: Server, tmp_path: Path) -> None:
    server.script.length = False
    assert _get(server.file(size=None), tmp_path) == CONTENT


def test_a_short_body_of_unknown_length_is_caught_by_the_known_size(server: Server, tmp_path: Path) -> None:
    server.script.length = False
    server.script.faults["/a.zip"] = ["break"]
    assert _get(server.file(), tmp_path) == CONTENT


def test_a_full_disk_is_seen_before_anything_is_written(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 5000))
    with pytest.raises(InputError, match=r"not enough disk space.*MB free"):
        _get(server.file(), tmp_path)
    assert not (tmp_path / "a.zip.partial").exists()


def test_a_login_is_explained_and_nothing_is_asked(server: Server, tmp_path: Path) -> None:
    file = RemoteFile("b.zip", addresses=(f"{server.address}/b.zip",), login=True, by_hand="register at the page")
    with pytest.raises(InputError, match=r"register at the page; put b\.zip into .*--archives"):
        _get(file, tmp_path)
    assert server.script.requests == []


def test_progress_counts_every_byte_once(server: Server, tmp_path: Path) -> None:
    counted: list[float] = []

    class Counting(Progress):
        def task(self, description: str, total: float | None = None, unit: str = "") -> Any:
            counted.append(0.0)

            class Bar:
                def __enter__(self) -> Any:
                    return self

                def __exit__(self, *error: object) -> None:
                    pass

                def advance(self, amount: float = 1, status: str = "") -> None:
                    counted[-1] += amount

            assert (total, unit) == (len(CONTENT), "B")
            return Bar()

    server.script.faults["/a.zip"] = ["break"]
    fetch(server.file(), tmp_path, Counting(), QUICK)
    assert counted[-1] == len(CONTENT)
