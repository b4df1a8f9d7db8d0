"""Attention pictures and numbers of a tiny run."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarjepa.config import VisualizeAttentionConfig
from sarjepa.errors import InputError
from sarjepa.progress import Progress
from sarjepa.recipes import visualize_attention

FILES = ("attention-distance.png", "attention-distance.csv", "maps.png", "rollout.png")


def look(toy_root: Path, toy_run: Path, out: Path, **changes: object) -> list[dict[str, str]]:
    settings: dict = {"data_root": str(toy_root), "checkpoint": str(toy_run), "device": "cpu", "out": str(out),
                      "num_images": 9, **changes}  # fmt: skip
    visualize_attention.run(VisualizeAttentionConfig(**settings), Progress())
    with (out / "attention-distance.csv").open() as file:
        return list(csv.DictReader(file))


def test_writes_a_distance_for_every_head_of_every_block(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    rows = look(toy_root, toy_run, tmp_path)
    assert [(row["block"], row["head"]) for row in rows] == [("1", "1"), ("1", "2"), ("2", "1"), ("2", "2")]
    assert all(0 < float(row["distance_px"]) < 32 * 2**0.5 for row in rows)
    assert all((tmp_path / name).stat().st_size > 0 for name in FILES)


def test_the_same_call_writes_the_same_bytes(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    look(toy_root, toy_run, tmp_path / "a")
    look(toy_root, toy_run, tmp_path / "b")
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_image_files_of_ones_own(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "scene.PNG"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70)).astype(np.uint8)).save(path)
    assert look(toy_root, toy_run, tmp_path / "out", images=(str(path),))


def test_an_image_that_is_none_is_refused(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("hello")
    with pytest.raises(InputError, match="not a readable image"):
        look(toy_root, toy_run, tmp_path / "out", images=(str(path),))


def test_pixels_have_no_attention(toy_root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no attention"):
        look(toy_root, Path("pixels"), tmp_path)
