"""The notebooks of the documentation run from an empty folder, on simulated chips, and what they state holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from execution import as_markdown, execute

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_what_it_states(notebook: Path, tmp_path: Path) -> None:
    home = Path.cwd()
    cells = execute(notebook, tmp_path)  # its cells assert their statements
    assert Path.cwd() == home
    text, pictures = as_markdown(cells, notebook.stem)
    assert pictures and all(name in text and content.startswith(b"\x89PNG") for name, content in pictures.items())
    assert all(cell.source in text and cell.printed.strip() in text for cell in cells)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(notebook: Path) -> None:
    code = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert code and not any(cell["outputs"] or cell["execution_count"] for cell in code)


def test_a_cell_that_fails_stops_the_notebook(tmp_path: Path) -> None:
    def written(source: str) -> Path:
        cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": [source]}
        (tmp_path / "bad.ipynb").write_text(json.dumps({"cells": [cell]}))
        return tmp_path / "bad.ipynb"

    with pytest.raises(AssertionError):
        execute(written("assert 1 > 2"), tmp_path)
    with pytest.raises(RuntimeError, match=r"no checkpoint|error"):
        execute(written("!sarjepa export nowhere --out x"), tmp_path)
