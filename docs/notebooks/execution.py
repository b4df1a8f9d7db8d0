"""A notebook's cells, executed in order in this process, with what they print and draw.

The notebooks are kept without outputs. `make docs` executes them for the site and a test executes them, so what a
reader sees there is what the present version does. A cell is Python; a line `!sarjepa ...` is a command, as in Jupyter,
but run in this process, since each of its own would import torch again. A statement that a notebook makes is asserted
in its cells.
"""

from __future__ import annotations

import contextlib
import io
import json
import linecache
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

_COMMAND = re.compile(r"^!(sarjepa (?:.*\\\n)*.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """A cell and what came of it.

    Attributes:
        source: text of the cell.
        is_code: false for a cell of Markdown.
        printed: what it printed.
        pictures: what it drew, as PNG.
    """

    source: str
    is_code: bool
    printed: str = ""
    pictures: tuple[bytes, ...] = ()


def execute(notebook: Path, folder: Path) -> list[Cell]:
    """Execute a notebook.

    Args:
        notebook: path of the notebook.
        folder: folder that its cells begin in; its files stay there.

    Raises:
        Exception: whatever a cell raises; the traceback names the notebook, the cell and the line.
    """
    import matplotlib

    matplotlib.use("agg")
    names: dict[str, Any] = {"__name__": "__main__", "_command": _command}
    cells, home = [], Path.cwd()
    os.chdir(folder)
    try:
        with patch.dict(os.environ, {"COLUMNS": "88"}):  # of the tables that commands print
            for number, cell in enumerate(json.loads(notebook.read_text(encoding="utf-8"))["cells"], start=1):
                source = "".join(cell["source"])
                if cell["cell_type"] == "code":
                    cells.append(_run(source, f"{notebook.name}, cell {number}", names))
                else:
                    cells.append(Cell(source, is_code=False))
    finally:
        os.chdir(home)
    return cells


def _run(source: str, where: str, names: dict[str, Any]) -> Cell:
    from matplotlib import pyplot

    code = _COMMAND.sub(lambda found: f"_command({found[1]!r})", source)
    linecache.cache[where] = (len(code), None, code.splitlines(keepends=True), where)  # for the traceback
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, where, "exec"), names)
    pictures = []
    for number in pyplot.get_fignums():
        stream = io.BytesIO()
        pyplot.figure(number).savefig(stream, format="png", dpi=90, bbox_inches="tight")
        pictures.append(stream.getvalue())
    pyplot.close("all")
    return Cell(source, True, printed.getvalue(), tuple(pictures))


def _command(line: str) -> None:
    """Run a command of the package; its progress is not kept."""
    from sarjepa.cli.app import app

    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = app(shlex.split(line.replace("\\\n", " "))[1:], standalone_mode=False)
    if code:
        raise RuntimeError(f"{line}\n{said.getvalue()}")


def as_markdown(cells: list[Cell], name: str) -> tuple[str, dict[str, bytes]]:
    """The page of an executed notebook, and its pictures by the names that the page has for them."""
    blocks, pictures = [], {}
    for cell in cells:
        blocks.append(f"```python\n{cell.source}\n```" if cell.is_code else cell.source)
        if cell.printed:
            blocks.append(f"```text\n{cell.printed.rstrip()}\n```")
        for content in cell.pictures:
            picture = f"{name}-{len(pictures) + 1}.png"
            pictures[picture] = content
            blocks.append(f"![What the cell above draws]({picture})")
    return "\n\n".join(blocks) + "\n", pictures
