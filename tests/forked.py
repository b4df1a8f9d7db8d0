"""Commands and scripts in processes that are forked from one which has imported torch: a start is a tenth of a second.

A fresh Python takes two to four seconds until a command begins, all of it in imports. `multiprocessing`'s fork server
imports once, starts no threads and computes nothing, so its forks are as good as fresh. What a test claims of the start
itself (what is imported, what torchrun does) is tried in fresh processes.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import IO, Any

from sarjepa.config import COMMANDS

_SERVER = multiprocessing.get_context("forkserver")
_RECIPES = [f"sarjepa.recipes.{name.replace('-', '_')}" for name in COMMANDS]
# The first optimizer imports torch._dynamo. The command line is not here: it looks at the terminal as it is imported.
_SERVER.set_forkserver_preload(["torch._dynamo", "typer", "rich.progress", "rich.table", *_RECIPES])


class Popen:
    """As `subprocess.Popen`, for the words of a sarjepa command, or of a script that ends in .py."""

    def __init__(
        self, words: Iterable[object], stdout: IO[bytes] | None = None, env: Mapping[str, str] | None = None, **_: Any
    ) -> None:
        texts = [str(word) for word in words]
        texts = texts[3:] if texts[1:3] == ["-m", "sarjepa"] else texts
        if stdout:  # takes errors, too
            out = error = Path(f"/proc/self/fd/{stdout.fileno()}").readlink()
        else:
            self._folder = Path(tempfile.mkdtemp())
            out, error = self._folder / "stdout", self._folder / "stderr"
        arguments = (texts, str(Path.cwd()), dict(os.environ if env is None else env), str(out), str(error))
        self._process = _SERVER.Process(target=_run, args=arguments, daemon=True)
        self._process.start()
        self.args = texts

    def wait(self, timeout: float | None = None) -> int:
        """The exit code."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"not ended after {timeout} s: {self.args}"
        return self._process.exitcode

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def finished(self, timeout: float | None = 240) -> CompletedProcess[str]:
        """Wait for the process and read what it said."""
        code = self.wait(timeout)
        said = [(self._folder / name).read_text() for name in ("stdout", "stderr")]
        shutil.rmtree(self._folder)
        return CompletedProcess(self.args, code, *said)


def run(*words: object, env: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """Run a command of this program, or a script, to its end."""
    return Popen(words, env=env).finished()


def run_ranks(num_ranks: int, *words: object) -> None:
    """Run a command or a script as the ranks of one group, which torchrun would start; each ends well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": str(num_ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [
        Popen(words, env={**os.environ, **group, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(num_ranks)
    ]
    for ended in [rank.finished() for rank in ranks]:
        assert ended.returncode == 0, ended.stderr[-2000:]


def _run(words: list[str], folder: str, environment: dict[str, str], out: str, error: str) -> None:
    """The forked process."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, place in ((1, out), (2, error)):
        os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    import torch

    torch.set_num_threads(1)
    if words[0].endswith(".py"):
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
    else:
        sys.argv = ["sarjepa", *words]
        from sarjepa.cli.app import main

        main()
