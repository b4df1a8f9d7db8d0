"""Built sources as benchmarks: which chips a draw may take where the published split is not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarjepa.config import BuildDatasetConfig, FewshotBenchConfig
from sarjepa.data.shards import open_shards
from sarjepa.errors import InputError
from sarjepa.evaluation.benchmark import open_benchmark
from sarjepa.files import write_json
from sarjepa.progress import Progress
from sarjepa.recipes import build_dataset, fewshot_bench

OF_TRAIN = {"label_set": "all-three", "crop": None, "pool": {"kind": "fraction-of-train", "fraction": 0.8}}


def _rewrite_index(folder: Path, **changes: object) -> None:
    write_json(folder / "index.json", open_shards(folder).index | changes)


def _scores(root: Path, dataset: str, out: Path) -> list[float]:
    settings = {"data_root": str(root), "datasets": (dataset,), "checkpoint": ("pixels",), "out": str(out)}
    fewshot_bench.run(FewshotBenchConfig(**settings, shots=(4,), runs=2, baselines=("none",), device="cpu"), Progress())  # type: ignore[arg-type]
    return [run["accuracy"] for run in json.loads((out / "results.json").read_text())["runs"]]


def test_a_form_without_its_published_split_gives_a_share_of_all(
    tmp_path: Path, toy_writer: Callable[..., Path]
) -> None:
    folder = toy_writer(tmp_path, "unsplit", with_split=False)
    _rewrite_index(folder, benchmark=OF_TRAIN)
    candidates = open_benchmark(str(tmp_path), "unsplit").candidates
    assert (candidates.pool_kind, candidates.pool_fraction) == ("fraction-of-all", 0.5)
    assert min(_scores(tmp_path, "unsplit", tmp_path / "out")) > 60


def test_a_source_with_splits_and_no_benchmark_keeps_them(tmp_path: Path, toy_writer: Callable[..., Path]) -> None:
    _rewrite_index(toy_writer(tmp_path, "split"), benchmark=None)
    candidates = open_benchmark(str(tmp_path), "split").candidates
    assert (candidates.pool_kind, candidates.pool_fraction) == ("fraction-of-train", 0.8)


def test_a_table_calls_published_what_is_published_alone(tmp_path: Path, toy_writer: Callable[..., Path]) -> None:
    said = {}
    for name, split, benchmark in (("a", True, OF_TRAIN), ("b", True, None), ("c", False, None)):
        _rewrite_index(toy_writer(tmp_path, name, with_split=split), benchmark=benchmark)
        _scores(tmp_path, name, tmp_path / "out" / name)
        said[name] = (tmp_path / "out" / name / "table.md").read_text()
    assert "published split" in said["a"]
    assert "the source's own split" in said["b"] and "published split" not in said["b"]
    assert "random half of each class, drawn by the seed" in said["c"] and "published split" not in said["c"]


def test_a_published_split_of_which_one_side_is_missing_is_refused(
    tmp_path: Path, toy_writer: Callable[..., Path]
) -> None:
    folder = toy_writer(tmp_path, "half", num_per_class=1)  # training chips alone
    with pytest.raises(InputError, match="half, label set 'all-three'; got 3 to learn from, 0 to test on; build the"):
        open_benchmark(str(tmp_path), "half")
    _rewrite_index(folder, benchmark=None)
    with pytest.raises(InputError, match="0 to test on"):  # a share of one chip is all of it
        open_benchmark(str(tmp_path), "half")


def test_ones_own_labelled_folder_is_evaluated(tmp_path: Path, toy_writer: Callable[..., Path]) -> None:
    for chip in (shards := open_shards(toy_writer(tmp_path, "toy", num_per_class=10))):
        path = tmp_path / "bars" / shards.classes[chip.label] / Path(chip.path).name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(chip.image)).save(path)
    sources = (f"folder:{tmp_path / 'bars'}",)
    build_dataset.run(BuildDatasetConfig(data_root=str(tmp_path), sources=sources, workers=1))
    assert open_shards(tmp_path / "shards" / "bars").index["benchmark"] is None
    assert min(_scores(tmp_path, "bars", tmp_path / "out")) > 60
