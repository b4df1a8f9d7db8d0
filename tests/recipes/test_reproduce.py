"""The paper's tables: what is planned, what is done once, what is refused, and what is said of the outcome."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import forked
import pytest

from sarjepa.config import FewshotBenchConfig, PretrainConfig, ReproduceConfig
from sarjepa.errors import InputError
from sarjepa.experiments import experiment as experiments
from sarjepa.experiments.experiment import (
    MEASURES,
    ROW_BASELINES,
    Experiment,
    Row,
    Scale,
    experiment_names,
    read_experiment,
)
from sarjepa.files import write_json
from sarjepa.models.encoder import encoder_shape
from sarjepa.overlay import overlay
from sarjepa.progress import Progress
from sarjepa.recipes import reproduce
from sarjepa.recipes.reproduce import walk
from sarjepa.recipes.reproduce.plan import PlanContext, Step, plan, run_name, unique
from sarjepa.reports.paper import published
from sarjepa.reports.seed_tables import Value, accuracy_tables, difference_table
from sarjepa.training.log import LOG

SCALES = ("demo", "laptop", "paper")


def context(scale: Scale, seeds: tuple[int, ...] = (0, 1)) -> PlanContext:
    return PlanContext(scale, scale.sources, scale.datasets, seeds, {}, Path("runs") / scale.name)


@pytest.mark.parametrize("scale_name", SCALES)
@pytest.mark.parametrize("name", [name for name in experiment_names() if name != "table1"])
def test_every_experiment_plans_commands_with_valid_settings(name: str, scale_name: str) -> None:
    experiment, scale = read_experiment(name, scale_name)
    assert experiment.measure in MEASURES and experiment.reference in [row.name for row in experiment.rows]
    assert all(row.baseline in (None, *ROW_BASELINES) for row in experiment.rows)
    planned = plan(experiment, context(scale))  # resolving refuses unknown settings and values out of range
    assert {row.row.name for row in planned} >= {row.name for row in experiment.rows if row.baseline != "imagenet"}
    assert all(step.text().startswith("sarjepa ") for row in planned for step in row.measure)


@pytest.mark.parametrize("name", ["table3", "table4", "table5", "table6"])
def test_every_row_of_a_table_has_its_published_numbers(name: str) -> None:
    experiment, _ = read_experiment(name, "paper")
    numbers = published(experiment.published or "", "linear-probe")
    assert {row.paper for row in experiment.rows if row.paper} == set(numbers)


@pytest.mark.parametrize("scale_name", SCALES)
def test_between_pgca_and_sar_jepa_is_a_mask_of_the_whole_grid_and_every_method_of_table_6_has_its_mean(
    scale_name: str,
) -> None:
    experiment, scale = read_experiment("table5", scale_name)
    planned = [one for one in plan(experiment, context(scale)) if "whole" in one.row.name]
    assert planned[0].train is not None
    train = planned[0].train.config
    assert isinstance(train, PretrainConfig)
    assert (train.method, train.num_windows) == ("sar-jepa", 1)
    assert train.window_size == encoder_shape(train.model, train.image_size, train.patch_size).grid_side
    experiment, scale = read_experiment("table6", scale_name)
    for one in plan(experiment, context(scale)):
        assert isinstance(config := one.measure[0].config, FewshotBenchConfig)
        assert {"cls", "mean"} <= set(config.pool or ())


def test_tables_share_the_runs_of_equal_settings() -> None:
    trained = {}
    for name in ("table4", "figure4", "table5"):
        experiment, scale = read_experiment(name, "laptop")
        trained[name] = {str(step.folder) for step in unique([p.train for p in plan(experiment, context(scale))])}
    assert "runs/laptop/sar-jepa-seed0" in trained["table4"] & trained["figure4"] & trained["table5"]
    assert "runs/laptop/lomar-sar-seed1" in trained["table4"] & trained["table5"]
    assert len(trained["table4"]) == 7 * 2  # untrained and pixels need no run of their own


def test_experiments_that_measure_one_run_in_two_ways_have_a_folder_each() -> None:
    folders = {}
    for name in ("table4", "figure4", "views", "speckle"):
        experiment, scale = read_experiment(name, "laptop")
        folders[name] = {str(step.folder) for one in plan(experiment, context(scale)) for step in one.measure}
    assert folders["table4"] & folders["figure4"], "the same settings, and so the same numbers"
    assert not folders["views"] & folders["speckle"]


@pytest.mark.parametrize("name", ["table3", "table4", "table5", "table6", "figure4"])
def test_a_table_is_measured_by_both_recipes_with_the_network_untrained_and_the_best_without_one(name: str) -> None:
    experiment, scale = read_experiment(name, "laptop")
    planned = plan(experiment, context(scale, (0,)))
    assert {"untrained", "log-pixels"} <= {one.row.baseline for one in planned}
    for one in planned:
        asked = [(step.config.recipe, step.config.pool) for step in one.measure
                 if isinstance(step.config, FewshotBenchConfig)]  # fmt: skip
        assert asked == [("published", ("cls", "mean", "grid4")), ("augmented", ("cls+grid4",))]
        first, second = (step.folder.name.removesuffix("-untrained") for step in one.measure)
        assert (first, second) == ("few-shot", "few-shot-augmented")
    assert [len(one.measure) for one in plan(*_with_context("views"))[:2]] == [1, 1], "it names its own measurement"


def test_a_row_may_be_measured_with_settings_of_its_own_and_keeps_its_run() -> None:
    experiment, context_ = _with_context("fine-tuning-steps")
    planned = [one for one in plan(experiment, context_) if one.seed == 0]
    assert len({one.train and one.train.folder for one in planned}) == 2, "sar-jepa, and views after it"
    steps = [one.measure[0] for one in planned]
    assert [getattr(step.config, "steps", 0) for step in steps] == 3 * [50, 100, 400]
    ends = (f"{num}{whose}" for num in ("-steps-50", "-steps-100", "") for whose in ("", "-untrained"))
    names = {f"few-shot-fine-tuning-steps{end}" for end in ends}
    assert {step.folder.name for step in steps} == names and len({step.folder for step in steps}) == 9


def _with_context(name: str) -> tuple[Experiment, PlanContext]:
    experiment, scale = read_experiment(name, "laptop")
    return experiment, context(scale)


def test_a_row_that_names_its_set_trains_on_it_at_every_scale_and_shares_the_run_where_it_is_the_scales() -> None:
    for scale_name in ("laptop", "paper"):
        experiment, scale = read_experiment("transfer", scale_name)
        assert scale.datasets == ("mstar",), "no set whose test chips a row was trained on"
        for planned in plan(experiment, context(scale)):
            source = {"SAR-ACD": "saracd", "MSTAR": "mstar"}.get(planned.row.name.split(":")[0])
            for step in (planned.first, planned.train) if source else ():
                assert step is None or (isinstance(step.config, PretrainConfig) and step.config.sources == (source,))
    views, laptop = read_experiment("views", "laptop")
    experiment, _ = read_experiment("transfer", "laptop")
    shared = {p.train.folder for p in plan(views, context(laptop)) if p.train and p.row.name.startswith("sar-jepa")}
    assert shared == {p.train.folder for p in plan(experiment, context(laptop)) if p.train and "MSTAR" in p.row.name}


def test_a_row_that_starts_from_another_run_trains_that_run_first_and_once() -> None:
    experiment, scale = read_experiment("views-apart", "laptop")
    planned = [one for one in plan(experiment, context(scale, (3,))) if one.row.after is not None]
    firsts = unique([one.first for one in planned])
    assert firsts[0].folder.name == "sar-jepa-epochs-6-warmup-epochs-1-seed3"
    assert len(firsts) == 1 < len(planned)
    for one in planned:
        assert one.first is not None and one.train is not None
        assert isinstance(one.train.config, PretrainConfig)
        assert one.train.config.init == str(one.first.folder) and one.train.folder.name.endswith(one.first.folder.name)
    assert len({one.train.folder for one in planned if one.train}) == len(planned)


def test_a_run_is_named_after_what_it_differs_in() -> None:
    assert run_name({}, 0) == "sar-jepa-seed0"
    assert run_name({"method": "mae"}, 2) == "mae-seed2"
    assert run_name({"radii": [5, 9], "target": "hog"}, 1) == "sar-jepa-radii-5-9-target-hog-seed1"


@pytest.mark.parametrize("scale_name", SCALES)
@pytest.mark.parametrize("name", [name for name in experiment_names() if name != "table1"])
def test_a_row_is_measured_alone_whatever_an_experiment_sets_of_its_own(name: str, scale_name: str) -> None:
    experiment, scale = read_experiment(name, scale_name)
    for one in plan(experiment, context(scale)):
        for step in one.measure:
            if isinstance(step.config, FewshotBenchConfig):
                assert step.config.baselines == ("none",) and len(step.config.checkpoint) == 1


def test_a_scale_lays_its_own_rows_over_a_figures() -> None:
    assert read_experiment("figure4", "paper")[0].rows[0].name == "r = 5"
    assert read_experiment("figure4", "laptop")[0].rows[0].name == "r = 2"
    assert read_experiment("figure6", "laptop")[1].seeds == 1


def test_a_row_may_be_like_another_but_for_some_settings() -> None:
    whole, own = (read_experiment(name, "laptop")[0] for name in ("views", "views-scaling"))
    like, base = own.row("24 epochs"), whole.row("sar-jepa, then views")
    assert like.after == base.after and like.pretrain == {**base.pretrain, "epochs": 24}
    assert (like.group, like.at) == ("epochs of views", 24)


@pytest.mark.parametrize(("key", "value", "hint"), [("experiment", "tabel4", "table4"), ("scale", "labtop", "laptop")])
def test_a_slip_of_the_pen_names_the_nearest(key: str, value: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        reproduce.run(replace(ReproduceConfig(), **{key: value}), Progress())  # type: ignore[arg-type]


def test_a_missing_data_set_names_the_command_that_builds_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sarjepa build-dataset --sources mstar"):
        reproduce.run(ReproduceConfig(data_root=str(tmp_path)), Progress())
    with pytest.raises(InputError, match="sarjepa build-dataset --sources saracd"):
        reproduce.run(ReproduceConfig(data_root=str(tmp_path), sources=("saracd",)), Progress())


def values(**rows: tuple[float, ...]) -> list[Value]:
    return [
        Value(row, seed, "mstar", "linear-probe", "cls", 10, mean, 1.0, 10)
        for row, means in rows.items()
        for seed, mean in enumerate(means)
    ]


PIXEL, RATIO = Row("pixel", {"target": "pixel"}, paper="pixel"), Row("ratio", paper="gr-linear")
TWO = Experiment("table4", "T", "", "few-shot", (PIXEL, RATIO), "ratio", "table4")


def test_a_table_states_the_spread_over_pretrainings_and_the_published_numbers() -> None:
    (table,) = accuracy_tables(TWO, values(pixel=(50.0, 52.0, 54.0), ratio=(60.0, 60.0, 60.0)), "")
    assert table.rows == (("pixel", "52.0 ± 2.0", "57.7"), ("ratio", "60.0 ± 0.0", "67.7"))
    assert "3 pre-trainings" in table.note and "the mean of 10 draws" in table.note


def test_the_tables_of_a_data_set_stand_together_though_it_was_measured_twice() -> None:
    measured = [replace(value, dataset=name, pool=pool) for pool in ("cls", "cls+grid4") for name in ("saracd", "mstar")
                for value in values(pixel=(50.0,), ratio=(60.0,))]  # fmt: skip
    titles = [table.title for table in accuracy_tables(TWO, measured, "")]
    assert ["saracd" in title for title in titles] == [True, True, False, False]


def test_each_solver_has_a_table_of_its_own_and_the_published_numbers_stand_beside_the_published_one() -> None:
    measured = [replace(value, solver=solver, mean=mean) for solver, mean in (("adamw", 50.0), ("lda", 70.0))
                for value in values(pixel=(0.0,), ratio=(0.0,))]  # fmt: skip
    probed, closed = accuracy_tables(TWO, measured, "")
    assert (probed.rows[0], closed.rows[0]) == (("pixel", "50.0", "57.7"), ("pixel", "70.0"))
    assert "linear-probe by lda" in closed.title


def test_one_pretraining_has_no_spread_and_says_so() -> None:
    (table,) = accuracy_tables(TWO, values(pixel=(50.0,), ratio=(60.0,)), "")
    assert table.rows[0][1] == "50.0" and "not known" in table.note
    assert difference_table(TWO, values(pixel=(50.0,), ratio=(60.0,))).rows[0][-1] == "one seed"


def test_a_difference_is_clear_only_beyond_the_spread_over_seeds() -> None:
    def verdict(**rows: tuple[float, ...]) -> str:
        return difference_table(TWO, values(**rows)).rows[0][-1]

    assert verdict(pixel=(50.0, 51.0, 50.0), ratio=(60.0, 61.0, 59.0)) == "above"
    assert verdict(pixel=(50.0, 60.0, 55.0), ratio=(60.0, 59.0, 57.0)) == "not clear"
    assert verdict(pixel=(60.0, 61.0, 59.0), ratio=(50.0, 51.0, 50.0)) == "below"


def test_a_difference_that_is_clear_alone_need_not_be_so_among_many() -> None:
    rows = tuple(Row(name, {"target": name}) for name in ("pixel", "hog", "low-pass")) + (Row("ratio"),)
    many = Experiment("table4", "T", "", "few-shot", rows, "ratio")
    means = {"ratio": (60.0, 61.0, 59.0), "hog": (58.0, 60.0, 59.5), "low-pass": (62.0, 60.0, 59.0)}
    alone = Experiment("table4", "T", "", "few-shot", (rows[0], rows[3]), "ratio")
    pixel = {"pixel": (58.0, 58.2, 57.4)}
    (entry,) = difference_table(alone, values(**pixel, ratio=means["ratio"])).rows
    assert entry[-1] == "above" and 0.01 < float(entry[-2]) < 0.05
    among = difference_table(many, values(**pixel, **means)).rows[0]
    assert among[:-2] == entry[:-2] and among[-1] == "not clear"
    assert float(among[-2]) == pytest.approx(3 * float(entry[-2]), rel=0.02)


def test_the_reference_is_not_compared_with_itself_under_another_name() -> None:
    rows = (Row("all chips"), Row("half", {"fraction": 0.5}), Row("6 epochs"))
    scaling = Experiment("figure7", "T", "", "few-shot", rows, "all chips")
    same = {"all chips": (60.0, 61.0), "half": (50.0, 52.0), "6 epochs": (60.0, 61.0)}
    assert [row[0] for row in difference_table(scaling, values(**same)).rows] == ["all chips - half"]


def test_rows_that_differ_in_what_they_start_from_are_compared() -> None:
    method = {"method": "views"}
    ways = (Row("after pixels", method, {"method": "lomar-sar"}), Row("after ratio", method, {}), Row("alone", method))
    views = Experiment("views", "T", "", "few-shot", ways, "after ratio")
    means = {"after pixels": (60.0, 61.0), "after ratio": (62.0, 62.0), "alone": (50.0, 52.0)}
    rows = difference_table(views, values(**means)).rows
    assert [row[0] for row in rows] == ["after ratio - after pixels", "after ratio - alone"]


TINY = Scale("tiny", "demo", 1, ("synthetic",), ("synthetic",), {
    "pretrain": {"max-steps": 3, "batch-size": 8, "lr": 0.3, "warmup-epochs": 0},
    "fewshot-bench": {"shots": [2], "runs": 2, "split-policy": ["published", "grouped"]},
})  # fmt: skip
SMALL = Experiment("table4", "T", "", "few-shot", (Row("ratio"), Row("untrained", baseline="untrained")), "ratio")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, synthetic_root: Path, tmp_path: Path) -> ReproduceConfig:
    monkeypatch.setattr(reproduce, "read_experiment", lambda name, scale: (SMALL, TINY))

    def start(words: list[str], **given: Any) -> subprocess.Popen[bytes] | forked.Popen:
        is_ours = words[:3] == [sys.executable, "-m", "sarjepa"]
        return forked.Popen(words, **given) if is_ours else subprocess.Popen(words, **given)

    monkeypatch.setattr(walk, "subprocess", SimpleNamespace(Popen=start, STDOUT=subprocess.STDOUT))
    return ReproduceConfig(data_root=str(synthetic_root), device="cpu", jobs=2, run_root=str(tmp_path / "runs"),
                           out=str(tmp_path / "out"))  # fmt: skip


def test_a_table_is_walked_once_step_by_step_or_whole_resumed_and_refused_with_the_difference(
    small: ReproduceConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    printed = reproduce.run(replace(small, print=True), Progress()).message.splitlines()
    assert [line.split("\t")[0] for line in printed] == ["2", "3", "3", "4"]
    assert not Path(small.run_root).exists() and not Path(str(small.out)).exists()
    asked = []
    for line in printed[:-1]:
        words = shlex.split(line.split("\t")[1], comments=True)
        assert words[:2] == ["sarjepa", "reproduce"] and "--jobs" not in words
        given = {word[2:].replace("-", "_"): text for word, text in pairwise(words) if word.startswith("--")}
        asked.append(overlay(ReproduceConfig, [("the line", given)]))
        assert replace(asked[-1], step=None, jobs=2) == small
    with pytest.raises(InputError, match="no such step"):
        reproduce.run(replace(small, step=9), Progress())
    with monkeypatch.context() as fresh:  # the training in a fresh Python, as it is outside of tests
        fresh.setattr(walk, "subprocess", subprocess)
        assert "is done" in reproduce.run(asked[0], Progress()).message
    assert len(reproduce.run(replace(small, print=True), Progress()).message.splitlines()) == 3

    result = reproduce.run(small, Progress())  # the two other steps at a time
    assert reproduce.run(replace(small, print=True), Progress()).message.count("\n") == 0
    shutil.rmtree(tmp_path / "runs" / "tiny-synthetic" / "sar-jepa-seed0" / "few-shot")
    for step in asked[1:]:
        assert "is done" in reproduce.run(step, Progress()).message
    assert reproduce.run(small, Progress()).tables[0].rows == result.tables[0].rows
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"table.md", "table.csv", "table.tex", "figure.png", "commands.txt", "settings.json"} <= names
    measured = (tmp_path / "out" / "table.csv").read_text().splitlines()[1:]
    assert [line.split(",")[0::2][:2] for line in measured] == [
        [row, split] for row in ("ratio", "untrained") for split in ("synthetic", "synthetic-grouped")
    ], "splits apart, and no baseline that stood beside them"
    run = tmp_path / "runs" / "tiny-synthetic" / "sar-jepa-seed0"
    record = json.loads((run / walk.MADE_BY).read_text())
    assert record["command"] in (tmp_path / "out" / "commands.txt").read_text() and record["seconds"] >= 1
    assert record["processor"].endswith(", threads: 3"), "those of the process that trained, not of this one"
    assert [row[0] for row in result.tables[0].rows] == ["ratio", "untrained"]
    assert "Centre crop of the chips measured on: published." in result.tables[0].note
    assert result.tables[0].rows[0][1] != result.tables[0].rows[1][1]

    # A run that was trained before, in another way: its hours are those of its log, and this commit is not its commit.
    (run / walk.MADE_BY).unlink()
    lines = [json.loads(line) | {"images/s": 0.01} for line in (run / LOG).read_text().splitlines()]
    (run / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines))
    reproduce.run(small, Progress())
    found = json.loads((run / walk.MADE_BY).read_text())
    assert found["commit"] == "not recorded" and found["seconds"] == 100 * len(lines) * record["settings"]["batch_size"]
    assert "not recorded" in (tmp_path / "out" / "table.md").read_text()
    write_json(run / walk.MADE_BY, record)

    monkeypatch.setattr(walk.Walker, "_run", lambda *_: pytest.fail("a finished step was repeated"))
    assert reproduce.run(small, Progress()).tables == result.tables

    write_json(run / walk.MADE_BY, {**record, "seconds": "long"})
    with pytest.raises(InputError, match=r"seconds in .*made-by\.json; expected a valid number"):
        reproduce.run(small, Progress())
    write_json(run / walk.MADE_BY, {**record, "revision": 1})
    with pytest.raises(InputError, match="another sar-jepa"):
        reproduce.run(small, Progress())
    write_json(run / walk.MADE_BY, record)

    more = replace(TINY, settings={**TINY.settings, "pretrain": {**TINY.settings["pretrain"], "lr": 0.5}})
    monkeypatch.setattr(reproduce, "read_experiment", lambda name, scale: (SMALL, more))
    with pytest.raises(InputError, match=r"made by pretrain with other settings.*lr 0\.3.*lr 0\.5"):
        reproduce.run(small, Progress())
    with pytest.raises(InputError, match=r"made by reproduce with other settings.*scale laptop; got scale paper"):
        reproduce.run(replace(small, scale="paper", run_root=str(tmp_path / "other")), Progress())


def test_what_others_start_from_is_the_first_stage_and_no_step_stands_twice(
    synthetic_root: Path, tmp_path: Path
) -> None:
    asked = ReproduceConfig(experiment="views", scale="demo", data_root=str(synthetic_root),
                            run_root=str(tmp_path / "runs"), print=True)  # fmt: skip
    lines = reproduce.run(asked, Progress()).message.splitlines()
    assert [line[0] for line in lines] == sorted(line[0] for line in lines)
    assert {line[0] for line in lines} == {"1", "2", "3", "4"}
    done = [line.split("# ")[1] for line in lines[:-1]]
    assert len(set(done)) == len(done)
    assert all("sarjepa pretrain" in line and "--init" not in line for line in lines if line[0] == "1")


def test_a_command_that_fails_is_named_with_its_last_line(small: ReproduceConfig) -> None:
    with pytest.raises(InputError, match=r"pretrain failed.*sarjepa pretrain.*nobody"):
        reproduce.run(replace(small, launch="python -c 'import sys; sys.exit(\"nobody\")'"), Progress())


def test_a_pretraining_that_was_told_to_stop_is_not_taken_for_a_finished_one(
    small: ReproduceConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = walk.Walker._line

    def stopped_early(self: walk.Walker, step: Step) -> list[str]:
        return [*line(self, step), *(["--max-hours", "1e-9"] if step.command == "pretrain" else [])]

    monkeypatch.setattr(walk.Walker, "_line", stopped_early)
    pretrain = replace(small, step=1)
    with pytest.raises(InputError, match="pretrain was stopped before its end"):
        reproduce.run(pretrain, Progress())
    monkeypatch.setattr(walk.Walker, "_line", line)
    assert "is done" in reproduce.run(pretrain, Progress()).message
    log = (tmp_path / "runs" / "tiny-synthetic" / "sar-jepa-seed0" / "log.jsonl").read_text().splitlines()
    assert [json.loads(record)["step"] for record in log] == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"mesure": "few-shot"}, "mesure"), ({"measure": "few-shots"}, "few-shot"),
     ({"rows": {"a": {"papr": "x"}}}, "papr"), ({"rows": {"a": {"baseline": "imagnet"}}}, "imagenet"),
     ({"rows": {"a": {}, "b": {"like": "aa"}}}, "no such row.*'aa' in experiments/mine"),
     ({"rows": {"b": {"like": "table4/pixl"}}}, "did you mean 'pixel'")],
)  # fmt: skip
def test_a_slip_in_an_experiment_is_found_when_it_is_read(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, object], words: str
) -> None:
    content = {"title": "T", "about": "", "measure": "few-shot", "rows": {}} | change
    files = {**experiments._files(), "mine": json.dumps(content)}  # JSON is YAML
    monkeypatch.setattr(experiments, "_files", lambda: files)
    with pytest.raises(InputError, match=words):
        read_experiment("mine", "demo")


def test_after_a_failure_nothing_more_is_started(small: ReproduceConfig, tmp_path: Path) -> None:
    script = tmp_path / "fail.py"
    script.write_text(f"import sys; open({str(tmp_path / 'calls')!r}, 'a').write('x'); sys.exit('nobody')")
    with pytest.raises(InputError, match="nobody"):
        reproduce.run(replace(small, jobs=1, seeds=4, launch=f"python {script}"), Progress())
    assert (tmp_path / "calls").read_text() == "x"


def test_a_table_of_counts_is_one_line_of_print_and_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = reproduce.run(ReproduceConfig(experiment="table1", print=True), Progress())
    assert done.message == "4\tsarjepa reproduce --experiment table1 --scale laptop" and not list(tmp_path.iterdir())
