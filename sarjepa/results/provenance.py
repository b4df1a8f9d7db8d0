"""Where a number comes from: the commit, the machine, the versions."""

from __future__ import annotations

import datetime
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sarjepa.version import __version__


def commit() -> str:
    """The commit of the source tree, marked where files differ from it; the version of an installed package."""
    folder, package = Path(__file__).parent, Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        process = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
        return process.stdout.strip() if process.returncode == 0 else ""

    try:
        # An installed package may lie inside another repository, whose commit does not describe it.
        number = git("ls-files", "--", Path(__file__).name) and git("rev-parse", "--short=12", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(package))
    except FileNotFoundError:  # no git on this machine
        number = changed = ""
    return (number + (", changed" if changed else "")) if number else f"sarjepa {__version__}"


def processor() -> str:
    """The processor's name, as Linux states it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def machine(threads: int | str | None = None) -> dict[str, Any]:
    """Commit, date, machine and versions of a result, JSON-ready.

    Args:
        threads: number of threads of the process that computed it; None: this one. A CPU adds in another order with
            another number of threads, so the last digits of a training are of that number.
    """
    return {
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
        "processor": f"{processor()}, threads: {threads or torch.get_num_threads()}",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": f"Python {platform.python_version()}, torch {version('torch')}, numpy {version('numpy')}",
    }
