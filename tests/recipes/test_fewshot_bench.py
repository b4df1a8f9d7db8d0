"""The few-shot table: files, resumption, refusals."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recording import Recorder
from scipy.stats import wilcoxon

from sarjepa.config import BASELINES, FewshotBenchConfig
from sarjepa.documents import read_record
from sarjepa.errors import InputError
from sarjepa.evaluation import runs
from sarjepa.progress import Progress
from sarjepa.recipes import fewshot_bench
from sarjepa.recipes.fewshot_bench import grid
from sarjepa.results.cells import comparisons, make_cells
from sarjepa.results.records import FewshotResults
from sarjepa.results.store import RunStore


def bench(toy_root: Path, toy_run: Path, out: Path, **changes: object) -> FewshotBenchConfig:
    settings: dict = {
        "data_root": str(toy_root),
        "checkpoint": (str(toy_run), "pixels"),
        "datasets": ("toy",),
        "shots": (2, 4),
        "runs": 3,
        "baselines": ("none",),
        "device": "cpu",
        "out": str(out),
        **changes,
    }
    return FewshotBenchConfig(**settings)


def test_writes_every_file_with_a_number_in_every_cell(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    config = bench(toy_root, toy_run, tmp_path, compare="paper")
    result = fewshot_bench.run(config, Progress())
    for name in ("results.json", "results.csv", "table.md", "table.tex", "plot.png", "draws.json"):
        assert (tmp_path / name).stat().st_size > 0, name
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results["runs"]) == 2 * 2 * 3 and len(results["cells"]) == 2 * 2
    for run in results["runs"]:
        assert {"checkpoint", "dataset", "protocol", "shots", "seed", "accuracy", "balanced_accuracy", "macro_f1",
                "draw_sha256"} <= run.keys()  # fmt: skip
    for cell in results["cells"]:
        assert cell["num_runs"] == 3 and 0 <= cell["mean"] <= 100 and cell["std"] is not None
        assert cell["ci95"][0] <= cell["mean"] <= cell["ci95"][1]
    assert "pixels" in result.tables[0].markdown()


def test_classes_of_bars_are_told_apart_from_pixels(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    config = bench(toy_root, toy_run, tmp_path, checkpoint=("pixels",), shots=(8,))
    fewshot_bench.run(config, Progress())
    [cell] = json.loads((tmp_path / "results.json").read_text())["cells"]
    assert cell["mean"] > 80


def test_every_baseline_has_a_row_with_the_closed_form_solver(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    config = bench(toy_root, toy_run, tmp_path, checkpoint=BASELINES, shots=(8,), solver=("lda",))
    fewshot_bench.run(config, Progress())
    cells = json.loads((tmp_path / "results.json").read_text())["cells"]
    assert [(cell["checkpoint"], cell["pool"], cell["solver"]) for cell in cells] == [
        (name, name, "lda") for name in BASELINES
    ]
    assert all(cell["mean"] > 80 for cell in cells), "bars and a blob are no riddle"


def test_checkpoints_are_compared_on_the_same_draws(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    fewshot_bench.run(bench(toy_root, toy_run, tmp_path), Progress())
    results = json.loads((tmp_path / "results.json").read_text())
    hashes: dict = {}
    for run in results["runs"]:
        hashes.setdefault((run["shots"], run["seed"]), set()).add(run["draw_sha256"])
    assert all(len(found) == 1 for found in hashes.values())
    assert [pair["num_pairs"] for pair in results["comparisons"]] == [3, 3]


def test_a_stopped_grid_goes_on_where_it_was(
    toy_root: Path, toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fewshot_bench.run(bench(toy_root, toy_run, whole), Progress())
    fewshot_bench.run(bench(toy_root, toy_run, parts), Progress())
    removed = sorted((parts / "runs").iterdir())[::2]
    for path in removed:
        path.unlink()
    probed: list = []
    real = grid.probe_runs
    monkeypatch.setattr(
        grid, "probe_runs", lambda features, benchmark, draws, *rest: probed.extend(draws) or
        real(features, benchmark, draws, *rest)
    )  # fmt: skip
    fewshot_bench.run(bench(toy_root, toy_run, parts), Progress())
    assert len(probed) == len(removed)
    runs = [json.loads((folder / "results.json").read_text())["runs"] for folder in (whole, parts)]
    assert runs[0] == runs[1]


def test_a_table_has_one_number_format_where_the_device_chooses_it(
    toy_root: Path, toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = bench(toy_root, toy_run, tmp_path / "bench", recipe="augmented", shots=(4,))
    for runs_so_far, precision in enumerate(("fp32", "bf16", "fp32"), start=1):  # of three devices
        monkeypatch.setattr(grid, "pick_precision", lambda asked, device, chosen=precision: chosen)
        fewshot_bench.run(config, Progress())
        results = read_record(tmp_path / "bench" / "results.json", FewshotResults)
        assert {(cell.precision, cell.num_runs) for cell in results.cells} == {(precision, 3)}
        assert len(list((tmp_path / "bench" / "runs").iterdir())) == 6 * min(runs_so_far, 2)


def test_a_baseline_read_by_two_solvers_shows_them_beside_fine_tuning(
    toy_root: Path, toy_run: Path, tmp_path: Path
) -> None:
    config = bench(toy_root, toy_run, tmp_path, checkpoint=(str(toy_run),), protocols=("fine-tune",), epochs=1,
                   solver=("lda", "label-spreading"), baselines=("hog",), shots=(4,), runs=1)  # fmt: skip
    [table] = fewshot_bench.run(config, Progress()).tables
    column = table.columns.index("solver")
    assert [row[column] for row in table.rows] == ["fine-tune", "lda", "label-spreading"]
    assert "and lda" not in table.note


def test_equal_differences_are_ties_whatever_the_accuracies(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    """600 test chips: one of them is 0.1667 or 0.1666 of rounded accuracies, which are no ties."""
    fewshot_bench.run(bench(toy_root, toy_run, tmp_path, checkpoint=("pixels",), shots=(4,), runs=1), Progress())
    [run] = read_record(tmp_path / "results.json", FewshotResults).runs
    more = (-2, 3, 0, -1, 3, 4, 5, -1, 4, 4)
    right = (347, 309, 415, 423, 369, 324, 321, 356, 413, 347)
    runs = [
        replace(run, checkpoint=name, pool="cls", num_test=600, draw_sha256=str(draw),
                accuracy=round(count / 6, 4), confusion=((count, 600 - count), (0, 0)))
        for name, counts in (("mine", np.add(right, more).tolist()), ("theirs", right))
        for draw, count in enumerate(counts)
    ]  # fmt: skip
    [pair] = comparisons(runs)
    assert pair.wilcoxon_p == float(f"{wilcoxon(more).pvalue:.3g}") == 0.0547


def test_draws_can_be_read_back(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    fewshot_bench.run(bench(toy_root, toy_run, first), Progress())
    fewshot_bench.run(bench(toy_root, toy_run, second, draws=str(first / "draws.json")), Progress())
    runs = [json.loads((folder / "results.json").read_text())["runs"] for folder in (first, second)]
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("part", "other", "words"),
    [
        ("format", "someone-else-s", "format in"),
        ("format", None, "format in"),
        ("datasets", {}, "no such draws in the file"),
    ],
)
def test_a_file_of_draws_in_another_form_is_refused(
    toy_root: Path, toy_run: Path, tmp_path: Path, part: str, other: object, words: str
) -> None:
    fewshot_bench.run(bench(toy_root, toy_run, tmp_path / "first", checkpoint=("pixels",)), Progress())
    content = json.loads((tmp_path / "first" / "draws.json").read_text())
    (tmp_path / "draws.json").write_text(json.dumps(content | {part: other}))
    config = bench(toy_root, toy_run, tmp_path / "second", draws=str(tmp_path / "draws.json"))
    with pytest.raises(InputError, match=f"{words}.*draws.json"):
        fewshot_bench.run(config, Progress())
    assert not (tmp_path / "second").exists()


def test_a_folder_of_other_settings_is_refused_with_the_difference(
    toy_root: Path, toy_run: Path, tmp_path: Path
) -> None:
    fewshot_bench.run(bench(toy_root, toy_run, tmp_path), Progress())
    with pytest.raises(InputError, match=r"with other settings.*expected crop published; got crop 16"):
        fewshot_bench.run(bench(toy_root, toy_run, tmp_path, crop="16"), Progress())


def test_features_solvers_and_policies_are_rows_of_their_own(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    config = bench(toy_root, toy_run, tmp_path, datasets=("copies",), shots=(3,), pool=("cls", "grid2"),
                   solver=("adamw", "centroid"), split_policy=("published", "grouped"))  # fmt: skip
    result = fewshot_bench.run(config, Progress())
    cells = json.loads((tmp_path / "results.json").read_text())["cells"]
    found = {(cell["checkpoint"], cell["pool"], cell["solver"], cell["split_policy"]) for cell in cells}
    assert len(cells) == len(found) == (2 + 1) * 2 * 2, "pixels have one feature"
    assert result.tables[0].columns == ("checkpoint", "feature", "solver", "split", "3 shots")
    assert {cell["near_copy_percent"] > 0 for cell in cells if cell["split_policy"] == "published"} == {True}
    assert {cell["near_copy_percent"] for cell in cells if cell["split_policy"] == "grouped"} == {0}
    assert "of a group of chips learnt from (near-copies, " in result.tables[0].note


def test_a_grid_may_grow_and_what_is_done_stays(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    fewshot_bench.run(bench(toy_root, toy_run, tmp_path, runs=2), Progress())
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    fewshot_bench.run(bench(toy_root, toy_run, tmp_path, runs=3, solver=("adamw", "knn")), Progress())
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    assert len(after) == len(before) * 3 and before.items() <= after.items()


def test_kept_runs_that_are_not_in_the_table_are_counted(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    progress = Recorder()
    fewshot_bench.run(bench(toy_root, toy_run, tmp_path), progress)
    assert progress.warnings == []
    fewshot_bench.run(bench(toy_root, toy_run, tmp_path, checkpoint=("pixels",), shots=(2, 8)), progress)
    [line] = progress.warnings
    assert line.startswith(f"{tmp_path / 'runs'}: not in the table") and line.endswith(": 9 stored runs")


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff"])
@pytest.mark.parametrize("place", ["settings.json", "runs/*.json"])
def test_a_damaged_file_is_named_with_what_to_do(
    toy_root: Path, toy_run: Path, tmp_path: Path, place: str, content: bytes
) -> None:
    config = bench(toy_root, toy_run, tmp_path, checkpoint=("pixels",), shots=(2,), runs=2)
    fewshot_bench.run(config, Progress())
    path = next(tmp_path.glob(place))
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"(settings|toy-.*)\.json|other settings") as caught:
        fewshot_bench.run(config, Progress())
    assert "remove" in str(caught.value) or "give another --out" in str(caught.value)


def test_two_processes_cannot_share_a_folder(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    with RunStore(tmp_path, FewshotBenchConfig()), pytest.raises(InputError, match="another process"):
        fewshot_bench.run(bench(toy_root, toy_run, tmp_path), Progress())


def test_a_failed_run_is_reported_and_tried_again(
    toy_root: Path, toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = bench(toy_root, toy_run, tmp_path, checkpoint=("pixels",), shots=(2,))
    with monkeypatch.context() as patch:
        real = runs.train_probes

        def broken(*args: object, **kwargs: object) -> object:
            heads = real(*args, **kwargs)  # type: ignore[arg-type]
            heads.loss[1] = float("nan")
            return heads

        patch.setattr(runs, "train_probes", broken)
        result = fewshot_bench.run(config, Progress())
    results = json.loads((tmp_path / "results.json").read_text())
    assert "1 failed" in result.message and len(results["failed"]) == 1 and len(results["runs"]) == 2
    table = (tmp_path / "table.md").read_text()
    assert "(2 runs)" in table and results["failed"][0] in table
    fewshot_bench.run(config, Progress())
    assert len(json.loads((tmp_path / "results.json").read_text())["runs"]) == 3
    assert "Failed" not in (tmp_path / "table.md").read_text()


def test_too_few_chips_are_said_in_the_table(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    fewshot_bench.run(bench(toy_root, toy_run, tmp_path, shots=(50,)), Progress())
    table = (tmp_path / "table.md").read_text()
    assert "fewer chips than shots" in table and "along has 10" in table


def test_fine_tuning_goes_through_the_same_grid(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    config = bench(toy_root, toy_run, tmp_path, checkpoint=(str(toy_run),), shots=(4,), runs=2,
                   protocols=("linear-probe", "fine-tune"), epochs=6)  # fmt: skip
    fewshot_bench.run(config, Progress())
    cells = json.loads((tmp_path / "results.json").read_text())["cells"]
    assert [(cell["protocol"], cell["num_runs"]) for cell in cells] == [("linear-probe", 2), ("fine-tune", 2)]


def test_pixels_are_left_out_of_fine_tuning_with_a_note(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    progress = Recorder()
    config = bench(toy_root, toy_run, tmp_path, checkpoint=("pixels", str(toy_run)), shots=(2,), runs=1,
                   protocols=("linear-probe", "fine-tune"), epochs=2)  # fmt: skip
    fewshot_bench.run(config, progress)
    cells = json.loads((tmp_path / "results.json").read_text())["cells"]
    assert [(cell["checkpoint"], cell["protocol"]) for cell in cells] == [
        ("pixels", "linear-probe"), (str(toy_run), "linear-probe"), (str(toy_run), "fine-tune")
    ]  # fmt: skip
    assert "pixels: no weights to fine-tune" in "".join(progress.notes)


def test_a_data_set_that_is_not_built_names_its_command(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sarjepa build-dataset --sources mstar"):
        fewshot_bench.run(bench(toy_root, toy_run, tmp_path, datasets=("mstar",)), Progress())


@pytest.mark.parametrize(
    "changes", [{"checkpoint": ("pixels", "nowhere")}, {"checkpoint": ("pixels",), "protocols": ("fine-tune",)}]
)
def test_an_error_of_input_leaves_nothing_behind(toy_root: Path, toy_run: Path, tmp_path: Path, changes: dict) -> None:
    with pytest.raises(InputError, match=r"no such checkpoint|nothing to fine-tune"):
        fewshot_bench.run(bench(toy_root, toy_run, tmp_path / "out", **changes), Progress())
    assert not (tmp_path / "out").exists()


def test_a_single_run_has_the_interval_over_test_images(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    fewshot_bench.run(bench(toy_root, toy_run, tmp_path, checkpoint=("pixels",), shots=(2,), runs=1), Progress())
    [cell] = json.loads((tmp_path / "results.json").read_text())["cells"]
    assert cell["ci95_kind"] == "Wilson over test images" and cell["std"] is None
    assert cell["ci95"][0] < cell["mean"] < cell["ci95"][1]
    assert "One draw, of seed 0, 3 classes" in (tmp_path / "table.md").read_text()


def test_the_interval_of_an_accuracy_stays_within_0_and_100(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    fewshot_bench.run(bench(toy_root, toy_run, tmp_path, shots=(1,), runs=2), Progress())
    run = read_record(tmp_path / "results.json", FewshotResults).runs[0]
    [cell] = make_cells([replace(run, accuracy=5.0), replace(run, accuracy=95.0)], 2)
    assert (cell.mean, cell.ci95, cell.ci95_kind) == (50, (0, 100), "t over runs")


def test_every_row_of_the_csv_says_what_it_depends_on(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    fewshot_bench.run(bench(toy_root, toy_run, tmp_path, seed=5), Progress())
    rows = list(csv.DictReader((tmp_path / "results.csv").open(encoding="utf-8")))
    assert len(rows) == 4
    for row in rows:
        assert row["seeds"] == "5 6 7" and row["selection"] == "last epoch"
        assert all(row[key] for key in ("label_set", "split_policy", "pool", "solver", "precision"))


@pytest.mark.parametrize("protocol", ["linear-probe", "fine-tune"])
def test_only_what_is_tested_is_disturbed(toy_root: Path, toy_run: Path, tmp_path: Path, protocol: str) -> None:
    disturb = ("none", "gain=1", "speckle=1", "gain=0.0001")
    config = bench(toy_root, toy_run, tmp_path, checkpoint=(str(toy_run),), shots=(4,), runs=2, disturb=disturb,
                   protocols=(protocol,), epochs=2)  # fmt: skip
    result = fewshot_bench.run(config, Progress())
    runs_of: dict[str, list] = {}
    for run in json.loads((tmp_path / "results.json").read_text())["runs"]:
        runs_of.setdefault(run["dataset"], []).append(run)
    assert list(runs_of) == ["toy", "toy-under-gain=1", "toy-under-speckle=1", "toy-under-gain=0.0001"]
    confusions = [[run["confusion"] for run in found] for found in runs_of.values()]
    assert confusions[0] == confusions[1], "the same shots, and chips that are multiplied by 1"
    assert confusions[2] != confusions[0], "the test chips are others"
    black = np.array(confusions[3])
    assert (black.sum(axis=1) > 0).sum() == 2, "chips without magnitude all look alike: one class a run"
    draws = json.loads((tmp_path / "draws.json").read_text())["datasets"]
    assert draws["toy"] == draws["toy-under-speckle=1"]
    assert len(result.tables) == 4


@pytest.mark.parametrize("disturb", ["speckle", "speckle=0", "speckle=1.5", "gain=0", "gain=-1", "ramp=nan", "blur=2"])
def test_a_disturbance_in_another_form_is_refused(toy_root: Path, toy_run: Path, tmp_path: Path, disturb: str) -> None:
    with pytest.raises(InputError, match="no such disturb"):
        bench(toy_root, toy_run, tmp_path, disturb=(disturb,))
