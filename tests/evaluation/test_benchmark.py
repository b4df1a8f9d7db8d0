"""Built sources as benchmarks: which chips a draw may take where the published split is not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarjepa.config import BuildDatasetConfig, FewshotBenchConfig, FinetuneConfig, ProbeConfig
from sarjepa.data.shards import open_shards
from sarjepa.errors import InputError
from sarjepa.evaluation.benchmark import open_benchmark, sources_of
from sarjepa.evaluation.fewshot import draw
from sarjepa.files import write_json
from sarjepa.progress import Progress
from sarjepa.recipes import build_dataset, fewshot_bench, finetune, probe

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


def test_shots_of_one_source_are_tested_on_another_told_by_class_names(
    tmp_path: Path, toy_writer: Callable[..., Path]
) -> None:
    toy_writer(tmp_path, "seventeen")
    other = toy_writer(tmp_path, "thirty", num_per_class=8, with_split=False)
    _rewrite_index(other, classes=["tank", "along", "across"], label_sets={}, benchmark=None)
    alone, both = (open_benchmark(str(tmp_path), "seventeen", test_name=name) for name in (None, "thirty"))
    for seed in range(3):
        plain, crossed = (draw(one.candidates, "published", 4, seed) for one in (alone, both))
        assert plain.train.tolist() == crossed.train.tolist()
        assert len(crossed.test) == 16 and crossed.test.min() >= len(alone.shards)
    assert both.name == "seventeen-tested-on-thirty" and both.classes == alone.classes
    assert both.split == "tested on all of thirty; no test chip of blob; tank left out, which seventeen has not"
    first, last = (both.loader(32, "cpu")(np.array([index]))[0, 0] for index in (0, len(both.shards) - 1))
    chips = [open_shards(tmp_path / "shards" / name) for name in ("seventeen", "thirty")]
    for found, chip in ((first, chips[0][0]), (last, chips[1][23])):
        np.testing.assert_allclose(found, chip.image / 255, atol=1e-6)
    path = both.candidates.paths[-1]
    assert path == f"thirty/{chips[1].paths[-1]}" and both.candidates.labels[-1] == alone.classes.index("across")
    _rewrite_index(other, classes=["tank", "truck", "jeep"])
    with pytest.raises(InputError, match="no class in common: seventeen, tested on thirty; expected some of across"):
        open_benchmark(str(tmp_path), "seventeen", test_name="thirty")


def test_tested_elsewhere_a_source_without_splits_still_gives_half_of_its_groups(
    tmp_path: Path, toy_writer: Callable[..., Path]
) -> None:
    toy_writer(tmp_path, "copies", num_per_class=10, with_split=False, copies=4)
    toy_writer(tmp_path, "other")
    alone, both = (open_benchmark(str(tmp_path), "copies", test_name=name) for name in (None, "other"))
    for one in (alone, both):
        drawn = draw(one.candidates, "grouped", 5, seed=0)
        assert len(drawn.train) == 15 and not drawn.short, "five of ten groups a class"
    assert len(draw(both.candidates, "published", None, seed=0).test) == 36


def test_the_sources_are_told_from_a_name_that_tells_of_tests(toy_root: Path) -> None:
    toy, both = (open_benchmark(str(toy_root), "toy", test_name=other) for other in (None, "copies"))
    for disturbance in ("none", "speckle=2", "gain=0.5", "ramp=8"):
        assert sources_of(toy.under(disturbance).name) == ["toy"]
        assert sources_of(both.under(disturbance).name) == ["toy", "copies"]


def test_a_table_and_a_report_say_on_what_they_were_tested(tmp_path: Path, toy_writer: Callable[..., Path]) -> None:
    toy_writer(tmp_path, "seventeen")
    toy_writer(tmp_path, "thirty")
    common = {"data_root": str(tmp_path), "test_dataset": "thirty", "device": "cpu", "solver": "lda"}
    config = FewshotBenchConfig(
        datasets=("seventeen",),
        checkpoint=("pixels",),
        shots=(4,),
        runs=2,
        compare="paper",
        baselines=("none",),
        out=str(tmp_path / "few"),
        **common | {"solver": ("lda",)},
    )  # type: ignore[arg-type]
    [table] = fewshot_bench.run(config, Progress()).tables
    assert table.title.startswith("seventeen-tested-on-thirty") and len(table.rows) == 1, "no published row beside it"
    assert "tested on the test split of thirty, 36 test chips; whether some are near-copies" in table.note
    out = tmp_path / "probe"
    probe.run(ProbeConfig(dataset="seventeen", checkpoint="pixels", out=str(out), **common), Progress())  # type: ignore[arg-type]
    report = json.loads((out / "report.json").read_text())
    assert (report["num_train"], report["num_test"], report["near_copy_percent"]) == (36, 36, None)


def test_a_classifier_tested_elsewhere_still_knows_its_own_training_chips(
    tmp_path: Path, toy_writer: Callable[..., Path], toy_run: Path
) -> None:
    toy_writer(tmp_path, "seventeen")
    toy_writer(tmp_path, "thirty")
    common = {"data_root": str(tmp_path), "dataset": "seventeen", "device": "cpu"}
    tuned = FinetuneConfig(
        checkpoint=str(toy_run), test_dataset="thirty", shots=4, epochs=1, out=str(tmp_path / "c"), **common
    )  # type: ignore[arg-type]
    finetune.run(tuned, Progress())
    probe.run(ProbeConfig(checkpoint=str(tmp_path / "c"), out=str(tmp_path / "p"), **common), Progress())  # type: ignore[arg-type]
    assert json.loads((tmp_path / "p" / "report.json").read_text())["num_test"] == 36
    asked = ProbeConfig(checkpoint=str(tmp_path / "c"), test_dataset="thirty", out=str(tmp_path / "q"), **common)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="leave out --test-dataset"):
        probe.run(asked, Progress())


def test_the_split_column_says_what_divides_the_chips(tmp_path: Path, toy_writer: Callable[..., Path]) -> None:
    folder = toy_writer(tmp_path, "own", with_split=False)
    _rewrite_index(folder, benchmark=None)
    config = FewshotBenchConfig(data_root=str(tmp_path), datasets=("own",), checkpoint=("pixels", "ratio"), shots=(4,),
                                runs=2, solver=("lda",), split_policy=("published", "grouped"), baselines=("none",),
                                out=str(tmp_path / "few"), device="cpu")  # fmt: skip
    fewshot_bench.run(config, Progress())
    cells = {cell.strip() for cell in (tmp_path / "few" / "table.md").read_text().split("|")}
    assert "published" not in cells and "random half of each class, drawn by the seed" in cells
