"""Classes of one side of a split alone: a warning names them, and where nothing is left to tell apart, an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from recording import Recorder

from sarjepa.config import BuildDatasetConfig, FewshotBenchConfig, FinetuneConfig, ProbeConfig
from sarjepa.data.shards import open_shards
from sarjepa.data.simulator import SimulatedChip, simulate
from sarjepa.errors import InputError
from sarjepa.files import write_json
from sarjepa.progress import Progress
from sarjepa.recipes import build_dataset, fewshot_bench, finetune, probe

ONE_SIDED = "no training chip of barge; no test chip of tug"


def built(root: Path, split_by: str | None = None, **classes: str) -> list[str]:
    """Build `own`, whose classes are in the splits that are named; returns the warnings."""
    for number, (name, splits) in enumerate(classes.items()):
        for split in splits.split("+"):
            folder = root / "own" / split / name
            folder.mkdir(parents=True)
            for index in range(4):
                image, _ = simulate(SimulatedChip(number, "tank", split, index))
                Image.fromarray(image).save(folder / f"{index}.png")
    progress = Recorder()
    config = BuildDatasetConfig(data_root=str(root), sources=(f"folder:{root / 'own'}",), split_by=split_by, workers=1)
    build_dataset.run(config, progress)
    return progress.warnings


def probed(root: Path, progress: Progress | None = None, dataset: str = "own", **settings: object) -> None:
    config = ProbeConfig(data_root=str(root), dataset=dataset, checkpoint="pixels", solver="centroid", device="cpu",
                         out=str(root / f"out-{dataset}-{settings.get('test_dataset')}"), **settings)  # type: ignore[arg-type]  # fmt: skip
    probe.run(config, progress or Progress())


def few_shots(root: Path, progress: Progress) -> None:
    config = FewshotBenchConfig(data_root=str(root), datasets=("own",), checkpoint=("pixels",), solver=("centroid",),
                                shots=(2,), runs=1, device="cpu", out=str(root / "few"))  # fmt: skip
    fewshot_bench.run(config, progress)


def test_classes_of_one_side_are_named_by_every_command(tmp_path: Path, toy_run: Path) -> None:
    said = built(tmp_path, cargo="train+test", tanker="train+test", tug="train", barge="test")
    assert f"own: {ONE_SIDED}" in said
    tuned = FinetuneConfig(data_root=str(tmp_path), dataset="own", checkpoint=str(toy_run), epochs=1, device="cpu",
                           out=str(tmp_path / "tuned"))  # fmt: skip
    for command in (
        lambda progress: probed(tmp_path, progress),
        lambda progress: few_shots(tmp_path, progress),
        lambda progress: finetune.run(tuned, progress),
    ):
        progress = Recorder()
        command(progress)
        assert progress.warnings.count(f"own: {ONE_SIDED}") == 1


def test_no_class_on_both_sides_is_refused(tmp_path: Path) -> None:
    said = built(tmp_path, cargo="train", tanker="train", tug="test", barge="test")
    told = "no training chip of barge, tug; no test chip of cargo, tanker"
    assert f"own: {told}" in said
    for command in (probed, few_shots):
        with pytest.raises(InputError, match=f"no class is both learnt and tested: own, label set 'all'; got {told}"):
            command(tmp_path, Progress())
    assert not list(tmp_path.glob("out*")) and not (tmp_path / "few").exists()


def test_one_class_alone_is_refused(tmp_path: Path) -> None:
    assert not any("chip of" in line for line in built(tmp_path, cargo="train+test"))
    for command in (probed, few_shots):
        with pytest.raises(InputError, match=r"one class alone: own.*expected at least 2 classes.*; got cargo; check"):
            command(tmp_path, Progress())


def test_groups_that_all_cross_the_splits_leave_nothing_to_learn_from(tmp_path: Path) -> None:
    listed = tmp_path / "own.csv"
    rows = [f"{split}/{name}/{index}.png,{name},{split},pass{index}"
            for name in ("cargo", "tug") for split in ("train", "test") for index in range(4)]  # fmt: skip
    listed.write_text("\n".join(["path,label,split,group", *rows]))
    built(tmp_path, str(listed), cargo="train+test", tug="train+test")
    with pytest.raises(InputError, match=r"no training chips: own, grouped, label set 'all'.*--split-policy"):
        probed(tmp_path, split_policy="grouped")
    probed(tmp_path)


def test_classes_on_both_sides_or_tested_elsewhere_are_no_warning(
    tmp_path: Path, toy_writer: Callable[..., Path]
) -> None:
    for name, split in (("split", True), ("unsplit", False)):
        toy_writer(tmp_path, name, num_per_class=6, with_split=split)
    other = toy_writer(tmp_path, "other")
    write_json(other / "index.json", open_shards(other).index | {"classes": ["tank", "along", "across"],
                                                                 "label_sets": {}, "benchmark": None})  # fmt: skip
    for dataset, tested in (("split", None), ("unsplit", None), ("split", "other")):
        progress = Recorder()
        probed(tmp_path, progress, dataset, test_dataset=tested)
        assert not any("chip of" in line for line in progress.warnings)
