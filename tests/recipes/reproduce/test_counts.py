"""Table 1: what a manifest expects, and files as built against it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarjepa.config import BuildDatasetConfig
from sarjepa.data.built import open_source
from sarjepa.files import write_json
from sarjepa.recipes import build_dataset
from sarjepa.recipes.reproduce.counts import counts_table


def _cells(data_root: Path, name: str) -> dict[str, str]:
    table = counts_table("Table 1", str(data_root), (name,))
    return dict(zip(table.columns, table.rows[0], strict=True))


def test_a_split_total_counts_once(tmp_path: Path) -> None:
    expected = {name: _cells(tmp_path, name)["expected"] for name in ("fusarship", "msar", "mstar", "sample")}
    assert expected == {"fusarship": "5243 to 16144", "msar": "28449", "mstar": "6874", "sample": "2690 to 5380"}


@pytest.fixture
def msar_root(tmp_path: Path) -> Path:
    """MSAR built from two files, of which one is cut into four tiles."""
    images = tmp_path / "MSAR" / "JPEGImages"
    images.mkdir(parents=True)
    speckle = np.random.default_rng(0).integers(1, 255, (1024, 1024), dtype=np.uint8)
    Image.fromarray(speckle).save(images / "01.jpg")
    Image.fromarray(speckle[:256, :256]).save(images / "02.jpg")
    build_dataset.run(
        BuildDatasetConfig(data_root=str(tmp_path), sources=("msar",), archives=(str(tmp_path),), workers=1)
    )
    assert len(open_source(str(tmp_path), "msar")) == 5
    return tmp_path


def test_files_are_held_against_the_expected_files_and_not_their_tiles(msar_root: Path) -> None:
    cells = _cells(msar_root, "msar")
    assert (cells["built here"], cells["of them train"], cells["differs"]) == ("2", "-", "all: 2 of 28449")


def test_an_index_without_file_counts_gives_those_of_the_chips(msar_root: Path) -> None:
    index = {key: value for key, value in open_source(str(msar_root), "msar").index.items() if key != "file_counts"}
    write_json(msar_root / "shards" / "msar" / "index.json", index)
    assert _cells(msar_root, "msar")["built here"] == "5"
