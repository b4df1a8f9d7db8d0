"""One probe: its report, and that it is the number the table averages."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recording import Recorder

from sarjepa.config import FewshotBenchConfig, FinetuneConfig, ProbeConfig
from sarjepa.documents import read_record
from sarjepa.errors import InputError
from sarjepa.evaluation import opened
from sarjepa.evaluation.benchmark import open_benchmark
from sarjepa.evaluation.classifier import classifier_bytes, load_classifier
from sarjepa.evaluation.fewshot import Draw, draw
from sarjepa.evaluation.opened import open_checkpoint, open_features
from sarjepa.models.encoder import Encoder, EncoderShape
from sarjepa.models.heads import Classifier, Feature, Head
from sarjepa.progress import Progress
from sarjepa.recipes import fewshot_bench, finetune, probe
from sarjepa.recipes.evaluating import class_report
from sarjepa.recipes.evaluating.class_report import report_folder
from sarjepa.reports.class_table import class_table
from sarjepa.results.records import Report


def probe_report(toy_root: Path, out: Path, **changes: object) -> dict:
    settings: dict = {"data_root": str(toy_root), "dataset": "toy", "device": "cpu", "out": str(out), **changes}
    probe.run(ProbeConfig(**settings), Progress())
    return json.loads((out / "report.json").read_text())


def test_report_says_what_was_found_class_by_class(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    report = probe_report(toy_root, tmp_path, checkpoint=str(toy_run))
    assert {"accuracy", "balanced_accuracy", "macro_f1", "per_class", "confusion"} <= report.keys()
    assert set(report["per_class"]) == {"across", "along", "blob"}
    assert sum(map(sum, report["confusion"])) == report["num_test"] == 36
    assert report["num_train"] == 36, "without shots, the whole training split is learnt from"
    assert (tmp_path / "confusion.png").stat().st_size > 0


def test_a_joined_feature_of_two_blocks_stands_in_the_report(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    probe_report(toy_root, tmp_path, checkpoint=str(toy_run), pool="cls+grid4", blocks=(1, 2), solver="lda")
    report = read_record(tmp_path / "report.json", Report)
    assert report.pool == "cls+grid4@1,2" and "feature cls+grid4@1,2, solver lda" in class_table(report).note
    with pytest.raises(InputError, match="no such pool"):
        ProbeConfig(pool="cls+grid3")
    with pytest.raises(InputError, match="each part once"):
        ProbeConfig(pool="cls+cls")


def test_probe_gives_the_number_that_the_table_averages(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    report = probe_report(toy_root, tmp_path / "probe", checkpoint=str(toy_run), shots=4, seed=0)
    config = FewshotBenchConfig(data_root=str(toy_root), datasets=("toy",), checkpoint=(str(toy_run),), shots=(4,),
                                runs=3, device="cpu", out=str(tmp_path / "bench"))  # fmt: skip
    fewshot_bench.run(config, Progress())
    first = json.loads((tmp_path / "bench" / "results.json").read_text())["runs"][0]
    assert (first["seed"], first["accuracy"], first["draw_sha256"]) == (0, report["accuracy"], report["draw_sha256"])


@pytest.mark.parametrize("is_named", [True, False])
def test_a_report_of_other_settings_is_refused_before_the_work_begins(
    toy_root: Path, toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_named: bool
) -> None:
    run = shutil.copytree(toy_run, tmp_path / "runs" / "toy")
    folder = tmp_path / "mine" if is_named else run / "probe-toy"
    config = ProbeConfig(
        data_root=str(toy_root), dataset="toy", device="cpu", solver="lda", out=str(folder) if is_named else None
    )
    monkeypatch.chdir(tmp_path)  # the checkpoint is the newest run
    probe.run(config, Progress())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    probe.run(replace(config, checkpoint="runs/toy"), Progress())  # the same by its name
    refused: list = [
        (probe, replace(config, seed=5, solver="lbfgs"), "solver lbfgs instead of lda, seed 5 instead of 0")
    ]
    if is_named:
        shutil.copytree(toy_run, tmp_path / "runs" / "newer", copy_function=shutil.copyfile)
        tuning = FinetuneConfig(data_root=str(toy_root), dataset="toy", device="cpu", out=str(folder))
        refused += [(probe, replace(config, dataset="copies"), "dataset copies instead of toy"),
                    (probe, config, "checkpoint runs/newer instead of runs/toy"),
                    (finetune, tuning, "head linear instead of none")]  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setattr(probe, "open_features", lambda *_, **__: exec("raise AssertionError"))
        for command, other, words in refused:
            with pytest.raises(InputError, match=rf"a report of other settings: .*{words}.*; give another --out"):
                command.run(other, Progress())
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after == {**before, "report.json": after["report.json"]}
    (folder / "report.json").write_text("{")
    probe.run(replace(config, seed=5), Progress())
    assert read_record(folder / "report.json", Report).seed == 5, "a report that cannot be read is replaced"


def test_files_of_somebody_else_are_left_and_those_of_an_earlier_report_removed(toy_root: Path, tmp_path: Path) -> None:
    mine = ("predictions.csv", "classifier.safetensors")
    for name in mine:
        (tmp_path / name).write_text("mine")
    probe_report(toy_root, tmp_path, checkpoint="pixels")
    assert [(tmp_path / name).read_text() for name in mine] == ["mine"] * 2
    (tmp_path / "curve.csv").write_text("of an earlier fine-tuning")
    probe_report(toy_root, tmp_path, checkpoint="pixels")
    assert not (tmp_path / "curve.csv").exists()


@pytest.mark.parametrize("solver", ["lbfgs", "lda", "knn", "centroid", "label-spreading"])
def test_other_solvers_learn_the_bars_from_pixels(toy_root: Path, tmp_path: Path, solver: str) -> None:
    report = probe_report(toy_root, tmp_path, checkpoint="pixels", solver=solver)
    assert report["solver"] == solver and report["accuracy"] > 80
    assert f"feature cls, solver {solver}, " in class_table(read_record(tmp_path / "report.json", Report)).note


@pytest.mark.parametrize("shots", [3, None])
@pytest.mark.parametrize("solver", ["adamw", "lbfgs", "lda", "label-spreading"])
def test_the_classifier_that_a_probe_saves_gives_the_number_of_its_report(
    toy_root: Path, toy_run: Path, tmp_path: Path, solver: str, shots: int | None
) -> None:
    given = {"shots": shots, "solver": solver, "recipe": "augmented", "precision": "fp32"}
    report = probe_report(toy_root, tmp_path, checkpoint=str(toy_run), **given)
    saved, toy = load_classifier(tmp_path), open_benchmark(str(toy_root), "toy")
    test = draw(toy.candidates, "published", shots, seed=0).test
    probability = saved.probabilities([image / toy.shards.scale for image in toy.shards.images(test)])
    assert (probability.argmax(axis=1) == toy.candidates.labels[test]).mean() * 100 == pytest.approx(report["accuracy"])
    assert saved.describe["temperature"] == report["temperature"] != 1

    again = probe_report(toy_root, tmp_path / "labels", checkpoint=str(tmp_path))
    told = ("accuracy", "solver", "near_copy_percent")
    assert [again[key] for key in told] == [report[key] for key in told]
    with pytest.raises(InputError, match="report of other settings"):
        probe_report(toy_root, tmp_path, checkpoint=str(tmp_path))
    assert load_classifier(tmp_path).describe == saved.describe


def test_labels_by_spread_labels_count_near_copies_of_unlabelled_chips(
    toy_root: Path, toy_run: Path, tmp_path: Path
) -> None:
    given = {"dataset": "copies", "shots": 1}
    shares = {}
    for solver in ("lda", "label-spreading"):
        out = tmp_path / solver
        report = probe_report(toy_root, out, checkpoint=str(toy_run), solver=solver, **given)
        labelled = probe_report(toy_root, out / "labels", checkpoint=str(out), dataset="copies")
        assert labelled["near_copy_percent"] == report["near_copy_percent"]
        shares[solver] = report["near_copy_percent"]
    assert shares["label-spreading"] > shares["lda"]


def test_every_training_chip_is_left_out_once_but_the_only_one_of_its_class() -> None:
    labels, drawn = np.repeat([0, 1, 2], [7, 1, 12]), Draw(0, None, np.arange(20), np.arange(0), "", {}, np.array([99]))
    folds = probe._folds(drawn, labels)
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == [*range(7), *range(8, 20)]
    for fold in folds:
        assert sorted(np.append(fold.train, fold.test).tolist()) == list(range(20))
        assert set(fold.spare) == {99, *fold.test}, "label spreading still sees them, without their labels"
    assert [np.bincount(labels[fold.test])[[0, 2]].tolist() for fold in folds] == [[2, 3], [2, 3], *[[1, 2]] * 3]


def test_from_one_shot_there_is_no_temperature(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    probe_report(toy_root, tmp_path, checkpoint=str(toy_run), shots=1, solver="lda")
    assert load_classifier(tmp_path).describe["temperature"] == 1


def test_a_probe_that_leaves_no_classifier_removes_an_earlier_one(
    toy_root: Path, toy_run: Path, tmp_path: Path
) -> None:
    for solver, checkpoint, is_there in (("lda", str(toy_run), True), ("knn", str(toy_run), False),
                                         ("lda", str(toy_run), True), ("lda", "pixels", False)):  # fmt: skip
        probe_report(toy_root, tmp_path, checkpoint=checkpoint, solver=solver)
        assert (tmp_path / "classifier.safetensors").is_file() == is_there
        (tmp_path / "report.json").write_text("{")  # one that can be read would be refused


@pytest.mark.parametrize("pool", ["mean", "grid2", "grid4"])
def test_every_pooling_works(toy_root: Path, toy_run: Path, tmp_path: Path, pool: str) -> None:
    assert probe_report(toy_root, tmp_path, checkpoint=str(toy_run), pool=pool)["pool"] == pool


def test_a_label_set_restricts_classes_and_chips(toy_root: Path, tmp_path: Path) -> None:
    report = probe_report(toy_root, tmp_path, checkpoint="pixels", label_set="bars")
    assert report["classes"] == ["along", "across"] and report["num_test"] == 24


def test_only_the_chips_of_the_label_set_go_through_the_encoder(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    device = torch.device("cpu")
    opened = open_checkpoint(str(toy_run), 0, device)
    seen: list[int] = []
    forward = opened.encoder.forward_features
    opened.encoder.forward_features = lambda image: seen.append(len(image)) or forward(image)  # type: ignore
    found = {}
    for label_set in ("all-three", "bars", "bars"):
        benchmark = open_benchmark(str(toy_root), "toy", label_set)
        found[label_set] = open_features(opened, benchmark, Feature(("cls",)), "fp32", tmp_path, device, Progress())
        counts = benchmark.candidates.labels >= 0
    assert seen == [64, 8, 48], "all 72 chips, then the two classes of three, then nothing again"
    assert np.isnan(found["bars"][~counts]).all()
    np.testing.assert_allclose(found["bars"][counts], found["all-three"][counts], atol=1e-5)


def test_blocks_that_a_baseline_or_a_classifier_does_not_have_are_refused(toy_root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a baseline has no blocks: log-pixels; leave out --blocks"):
        probe.run(ProbeConfig(data_root=str(toy_root), checkpoint="log-pixels", dataset="toy", blocks=(1,)), Progress())
    encoder = Encoder(EncoderShape(16, 2, 2, 8, 32))
    facts = {"classes": ["a", "b"], "temperature": 1.0, "crop": None}
    (tmp_path / "classifier.safetensors").write_bytes(classifier_bytes(Classifier(encoder, Head(16, 2)), facts))
    with pytest.raises(InputError, match="no such block; expected 1 to 2; got 9"):
        open_checkpoint(str(tmp_path / "classifier.safetensors"), 0, torch.device("cpu"), blocks=(9,))


def test_random_initialisation_can_be_probed(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    report = probe_report(toy_root, tmp_path, checkpoint=f"random:{toy_run}")
    assert report["checkpoint"].startswith("random:")


def test_copies_on_both_sides_are_said(toy_root: Path, tmp_path: Path) -> None:
    published = probe_report(toy_root, tmp_path / "p", checkpoint="pixels", dataset="copies", shots=5)
    grouped = probe_report(
        toy_root, tmp_path / "g", checkpoint="pixels", dataset="copies", shots=5, split_policy="grouped"
    )
    assert published["near_copy_percent"] > 0 and grouped["near_copy_percent"] == 0


def test_a_folder_that_is_no_checkpoint_is_refused(toy_root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint in the folder"):
        probe_report(toy_root, tmp_path, checkpoint=str(toy_root))


@pytest.mark.parametrize(("crop", "side"), [("toy=16", 16), ("toy=none", None), ("mstar=64,toy=24", 24), ("20", 20)])
def test_a_crop_is_for_the_sources_it_names(toy_root: Path, crop: str, side: int | None) -> None:
    assert open_benchmark(str(toy_root), "toy", crop=crop).crop == side


def test_a_crop_larger_than_every_chip_is_refused(toy_root: Path) -> None:
    assert open_benchmark(str(toy_root), "toy", crop="32").crop == 32
    with pytest.raises(InputError, match=r"'toy=33' for toy; expected at most 32 px"):
        open_benchmark(str(toy_root), "toy", crop="toy=33")


def test_a_crop_for_an_unknown_source_is_refused(toy_root: Path) -> None:
    with pytest.raises(InputError, match=r"no such source: 'mstra' in crop.*did you mean 'mstar'"):
        open_benchmark(str(toy_root), "toy", crop="mstra=64")


def test_no_run_at_all_says_what_to_do(toy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="sarjepa pretrain"):
        probe_report(toy_root, tmp_path)


@pytest.mark.parametrize(
    ("checkpoint", "folder"),
    [
        ("https://host.org/weights/vit.pth", "results/probe-toy-10-shot-host.org-weights-vit.pth"),
        ("hf-hub:owner/name@main", "results/probe-toy-10-shot-owner-name-main"),
        ("random:hf-hub:owner/name", "results/probe-toy-10-shot-random-owner-name"),
        ("pixels", "results/probe-toy-10-shot-pixels"),
        ("runs/mine/checkpoint-last.pt", "runs/mine/probe-toy-10-shot"),
        ("random:runs/mine/checkpoint-last.pt", "runs/mine/probe-toy-10-shot-random"),
    ],
)
def test_a_report_has_a_folder_wherever_the_checkpoint_lies(checkpoint: str, folder: str) -> None:
    assert report_folder(None, checkpoint, "probe-toy", 10).as_posix() == folder


def test_what_was_opened_is_told_with_its_checksum(toy_run: Path) -> None:
    progress = Recorder()
    open_checkpoint(str(toy_run), 0, torch.device("cpu"), progress)
    sha256 = hashlib.sha256((toy_run / "encoder.safetensors").read_bytes()).hexdigest()
    assert progress.notes == [f"{toy_run}: sar-jepa; sha256 {sha256}"]


def test_features_that_are_not_finite_are_refused(
    toy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "cached", lambda *rest: [np.full((72, 4), np.nan, np.float32)])
    with pytest.raises(InputError, match=r"not finite.*72 chips of toy"):
        probe_report(toy_root, tmp_path, checkpoint="pixels", solver="lbfgs")


def test_the_numbers_are_kept_where_the_picture_cannot_be_drawn(
    toy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ProbeConfig(data_root=str(toy_root), dataset="toy", device="cpu", checkpoint="pixels", out=str(tmp_path))
    probe.run(config, Progress())
    (tmp_path / "report.json").write_text("{")
    monkeypatch.setattr(class_report, "confusion", lambda *_: exec("raise MemoryError"))
    with pytest.raises(MemoryError):
        probe.run(replace(config, seed=7), Progress())
    assert read_record(tmp_path / "report.json", Report).seed == 7
    assert not (tmp_path / "confusion.png").exists(), "that of the earlier report"
