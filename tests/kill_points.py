"""A harness that kills a command before each of its file calls.

A command runs in a forked process (torch is imported once), which an audit hook kills with SIGKILL before its n-th call
that opens a file for writing, makes, renames, links or removes something below a folder. What was written and not yet
flushed is lost with it, as it would be. What the next calls of the same command make of the rest is the test.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
        calls, code = _Calls(folder, number), 1
        try:
            command()
            code = 0
        finally:
            if code:
                traceback.print_exc()
            sys.stderr.flush()
            os.write(writing, str(calls.count).encode())
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as stream:
        said = stream.read()
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), int(said or 0)


class _Calls:
    """Counts this process's changes of files, and kills it before one of them."""

    def __init__(self, folder: Path, fatal: int) -> None:
        self.count, self._fatal, self._root = 0, fatal, str(folder)
        sys.addaudithook(self._watch)

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        is_change = event in _CHANGES or (event == "open" and (arguments[2] or 0) & _WRITING)
        if is_change and str(arguments[0]).startswith(self._root):
            self.count += 1
            if self.count == self._fatal:
                os.kill(os.getpid(), signal.SIGKILL)
