"""Keep a benchmark's figures: printed, and written to benchmarks/results/ with the date and the machine."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from sarjepa.results.tables import Table

RESULTS = Path(__file__).with_name("results")


def record(name: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> None:
    """Write results/<name>.md.

    Args:
        name: the benchmark.
        title: what was measured and how, in a line.
        columns, rows: the figures as text.
        note: what a reader should bear in mind.
    """
    table = Table(title, tuple(columns), tuple(tuple(row) for row in rows), note)
    packages = ", ".join(f"{package} {version(package)}" for package in ("numpy", "h5py", "pillow"))
    load = f"load average at the end {os.getloadavg()[0]:.1f}"
    machine = (
        f"{len(os.sched_getaffinity(0))} cores ({platform.machine()}), Python {platform.python_version()}, {packages}"
    )
    text = f"{table.markdown().strip()}\n\n{datetime.date.today().isoformat()}, {machine}, {load}.\n"
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)
