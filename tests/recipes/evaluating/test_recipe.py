"""Evaluation recipes: named settings, each of which can be given, and every record says which it was made with."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from sarjepa.config import FewshotBenchConfig, FinetuneConfig, ProbeConfig
from sarjepa.documents import read_record
from sarjepa.errors import InputError
from sarjepa.evaluation.classifier import load_classifier
from sarjepa.overlay import overlay
from sarjepa.progress import Progress
from sarjepa.recipes import fewshot_bench, finetune, probe
from sarjepa.recipes.evaluating.recipe import (
    RECIPES,
    copies_of,
    recipe_name,
    refuse_unread,
    settled,
    training_of,
)
from sarjepa.recipes.fewshot_bench import grid
from sarjepa.reports.class_table import class_table
from sarjepa.results.records import FewshotResults, Report


def bench(toy_root: Path, out: Path, **changes: Any) -> FewshotResults:
    settings: dict[str, Any] = {
        "checkpoint": ("log-pixels",),
        "shots": (4,),
        "runs": 2,
        "baselines": ("none",),
        **changes,
    }
    config = FewshotBenchConfig(data_root=str(toy_root), datasets=("toy",), device="cpu", out=str(out), **settings)
    fewshot_bench.run(config, Progress())
    return read_record(out / "results.json", FewshotResults)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("kind", "protocol"), [(ProbeConfig, "linear-probe"), (FinetuneConfig, "fine-tune")])
def test_a_recipe_gives_every_setting_and_a_setting_that_is_given_stays(name: str, kind: type, protocol: str) -> None:
    config = settled(kind(recipe=name), protocol)
    for key, value in RECIPES[name][protocol].items():
        assert getattr(config, key) == value, key
    given = settled(kind(recipe=name, lr=0.5, pool="mean", augment="speckle"), protocol)
    assert (given.lr, given.pool, given.augment) == (0.5, "mean", "speckle")
    assert training_of(given, protocol, "none").batch_size == RECIPES[name][protocol]["batch_size"]


def test_the_published_recipe_is_the_published_training() -> None:
    training = training_of(settled(FinetuneConfig(), "fine-tune"), "fine-tune", "none")
    assert (training.epochs, training.steps, training.batch_size, training.lr) == (40, None, 50, 1e-3)
    assert (training.weight_decay, training.layer_decay, training.head_lr) == (5e-4, 1.0, None)
    assert (training.normalise, training.dropout, training.label_smoothing, training.augment) == (False, 0, 0, ())


def test_a_recipe_of_which_a_setting_was_changed_says_so() -> None:
    assert recipe_name(FinetuneConfig(epochs=40, head="linear"), "fine-tune") == "published"
    assert recipe_name(FinetuneConfig(epochs=20, dropout=0.5), "fine-tune") == "published, epochs 20, dropout 0.5"
    assert recipe_name(FewshotBenchConfig(recipe="augmented", steps=50), "fine-tune") == "augmented, steps 50"
    assert recipe_name(FewshotBenchConfig(recipe="augmented", steps=50), "linear-probe") == "augmented"
    assert recipe_name(ProbeConfig(recipe="augmented", copies=8), "linear-probe") == "augmented, copies 8"


def test_epochs_that_are_given_are_in_place_of_the_steps_of_a_recipe() -> None:
    training = training_of(settled(FinetuneConfig(recipe="augmented", epochs=3), "fine-tune"), "fine-tune", "none")
    assert (training.epochs, training.steps) == (3, None)
    with pytest.raises(InputError, match="both epochs and steps"):
        settled(FinetuneConfig(epochs=3, steps=4), "fine-tune")


@pytest.mark.parametrize(
    ("key", "solvers", "is_read"),
    [("epochs", ["lda"], False), ("epochs", ["lda", "adamw"], True), ("head_lr", ["adamw"], False),
     ("head_lr", ["fine-tune", "lda"], True), ("lr", ["fine-tune"], True)],
)  # fmt: skip
def test_a_typed_setting_is_refused_that_no_solver_reads(key: str, solvers: list[str], is_read: bool) -> None:
    config = overlay(FewshotBenchConfig, [("the command line", {key: "1"})])
    if is_read:
        refuse_unread(config, solvers)
    else:
        with pytest.raises(InputError, match=f"does not read this setting: {key.replace('_', '-')}; got 1"):
            refuse_unread(config, solvers)
    refuse_unread(overlay(FewshotBenchConfig, [("preset laptop", {key: 1})]), solvers)  # presets serve every command


def test_a_probe_refuses_it_before_anything_is_written(toy_root: Path, tmp_path: Path) -> None:
    layers = [("the command line", {"epochs": "5", "solver": "lda", "checkpoint": "pixels", "dataset": "toy",
                                    "data_root": str(toy_root), "out": str(tmp_path / "out")})]  # fmt: skip
    for kind, command in ((ProbeConfig, probe), (FewshotBenchConfig, fewshot_bench)):
        own = {"datasets" if kind is FewshotBenchConfig and key == "dataset" else key: value
               for key, value in layers[0][1].items()}  # fmt: skip
        with pytest.raises(InputError, match="lda does not read this setting: epochs"):
            command.run(overlay(kind, [(layers[0][0], own)]), Progress())
    assert not (tmp_path / "out").exists()


def test_copies_are_the_chip_and_its_views() -> None:
    assert [copy and copy.number for copy in copies_of(ProbeConfig(), "mirror")] == [None, 1]
    assert [copy and copy.number for copy in copies_of(ProbeConfig(copies=3), "shift,mirror")] == [None, 1, 2]
    assert copies_of(ProbeConfig(copies=3), "none") == [None]
    assert copies_of(ProbeConfig(), "mirror,shift") == copies_of(ProbeConfig(), "shift,mirror")
    with pytest.raises(InputError, match="no such augment"):
        ProbeConfig(augment="shift,mirrored")


def test_the_paper_stands_beside_the_published_recipe_alone() -> None:
    FewshotBenchConfig(compare="paper", augment=("none",))
    for changes in ({"recipe": "augmented"}, {"augment": ("none", "mirror")}):
        with pytest.raises(InputError, match="without augmentation"):
            FewshotBenchConfig(compare="paper", **changes)  # type: ignore[arg-type]


def test_every_record_table_and_csv_says_recipe_and_augmentation(toy_root: Path, tmp_path: Path) -> None:
    results = bench(toy_root, tmp_path, augment=("none", "mirror"), solver=("lda",))
    assert [(cell.recipe, cell.augment, cell.num_runs) for cell in results.cells] == [
        ("published", "none", 2),
        ("published", "mirror", 2),
    ]
    content = json.loads((tmp_path / "results.json").read_text())
    assert {run["recipe"] for run in content["runs"]} == {"published"}
    table = (tmp_path / "table.md").read_text()
    assert "| augmentation |" in table and "recipe published" in table
    assert "recipe,augment" in (tmp_path / "results.csv").read_text().splitlines()[0]


def test_baselines_have_rows_by_the_best_solver_unless_told_otherwise(toy_root: Path, tmp_path: Path) -> None:
    results = bench(toy_root, tmp_path, checkpoint=("pixels",), baselines=("log-pixels", "pixels"))
    assert [(cell.checkpoint, cell.solver) for cell in results.cells] == [("pixels", "adamw"), ("log-pixels", "lda")]


def test_baselines_read_the_unlabelled_chips_if_an_encoder_does(toy_root: Path, tmp_path: Path) -> None:
    solvers = ("adamw", "lda", "label-spreading")
    results = bench(toy_root, tmp_path, checkpoint=("pixels",), baselines=("log-pixels",), solver=solvers)
    assert [(cell.checkpoint, cell.solver) for cell in results.cells] == [
        *(("pixels", solver) for solver in solvers),
        *(("log-pixels", solver) for solver in solvers[1:]),
    ]
    assert "label-spreading: closed form, from the shots and the unlabelled training chips" in (
        tmp_path / "table.md").read_text()  # fmt: skip


def test_the_augmented_recipe_runs_frozen_and_fine_tuned_in_one_folder(
    toy_root: Path, toy_run: Path, tmp_path: Path
) -> None:
    changes = {"recipe": "augmented", "checkpoint": (str(toy_run),), "protocols": ("linear-probe", "fine-tune")}
    results = bench(toy_root, tmp_path, **changes, steps=4, batch_size=8, baselines=("log-pixels",))
    assert [
        (cell.protocol, cell.pool, cell.solver, cell.recipe, cell.augment, cell.head) for cell in results.cells
    ] == [
        ("linear-probe", "cls+grid4", "lda", "augmented, batch size 8", "mirror", ""),
        (
            "fine-tune",
            "cls+grid4",
            "fine-tune",
            "augmented, batch size 8, steps 4",
            "shift,mirror",
            "normalised",
        ),
        ("linear-probe", "log-pixels", "lda", "augmented, batch size 8", "mirror", ""),
    ]
    with pytest.raises(InputError, match=r"other settings.*recipe"):
        bench(toy_root, tmp_path, checkpoint=(str(toy_run),))


def test_a_folder_that_knows_no_recipe_goes_on_as_published(toy_root: Path, tmp_path: Path) -> None:
    older = {"label_set": None, "crop": "published", "precision": "fp32", "epochs": 40, "batch_size": 50, "lr": 0.001,
             "weight_decay": 0.0005, "layer_decay": 1.0, "draws": None}  # fmt: skip
    (tmp_path / "settings.json").write_text(json.dumps(older))
    bench(toy_root, tmp_path)
    assert json.loads((tmp_path / "settings.json").read_text()) == older
    with pytest.raises(InputError, match=r"other settings.*recipe published.*recipe augmented"):
        bench(toy_root, tmp_path, recipe="augmented")


def test_a_folder_from_before_a_recipe_changed_is_refused_with_the_values(
    toy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench(toy_root, tmp_path, recipe="augmented", augment=("none",))
    before, after = RECIPES["augmented"], copy.deepcopy(RECIPES["augmented"])
    after["fine-tune"]["steps"] = 1300
    monkeypatch.setitem(RECIPES, "augmented", after)
    with pytest.raises(InputError, match=r"other values.*expected fine-tune steps 1200; got fine-tune steps 1300"):
        bench(toy_root, tmp_path, recipe="augmented", augment=("none",))
    monkeypatch.setitem(RECIPES, "augmented", before)
    stored = json.loads((tmp_path / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps({**stored, "recipe_values": 3}))  # damaged
    with pytest.raises(InputError, match=r"other values.*recipe_values 3"):
        bench(toy_root, tmp_path, recipe="augmented", augment=("none",))
    del stored["recipe_values"]  # as folders of before
    (tmp_path / "settings.json").write_text(json.dumps(stored))
    bench(toy_root, tmp_path, recipe="augmented", augment=("none",))


def test_runs_that_were_made_before_there_were_recipes_are_not_made_again(
    toy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench(toy_root, tmp_path, epochs=5)
    for path in (tmp_path / "runs").iterdir():
        content = json.loads(path.read_text())
        assert content.pop("recipe") == "published, epochs 5" and content.pop("augment") == "none"
        path.write_text(json.dumps(content))
    monkeypatch.setattr(grid, "probe_runs", lambda *arguments: pytest.fail("a run was made again"))
    [cell] = bench(toy_root, tmp_path, epochs=5).cells
    assert (cell.recipe, cell.num_runs) == ("published, epochs 5", 2)


def test_reports_say_the_recipe_and_a_classifier_keeps_its_head(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    common: dict[str, Any] = {"data_root": str(toy_root), "dataset": "toy", "device": "cpu", "recipe": "augmented",
                              "checkpoint": str(toy_run), "shots": 4}  # fmt: skip
    probe.run(ProbeConfig(**common, out=str(tmp_path / "probe")), Progress())
    finetune.run(FinetuneConfig(**common, steps=3, out=str(tmp_path / "tuned")), Progress())
    probed, tuned = (read_record(tmp_path / name / "report.json", Report) for name in ("probe", "tuned"))
    assert "recipe augmented, augmentation mirror" in class_table(probed).note
    assert (tuned.recipe, tuned.head, tuned.settings["dropout"]) == ("augmented, steps 3", "normalised", 0.3)
    classifier = load_classifier(tmp_path / "tuned").classifier
    assert classifier.head.norm is not None and classifier.feature.name == "cls+grid4"
