"""Stored settings: the command that gives them again, and whether another call is made with the same."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest
import typer.testing
import yaml
from sarjepa.cli.app import app

from sarjepa.config import COMMANDS, FewshotBenchConfig, PretrainConfig, ReportConfig, as_dict
from sarjepa.errors import InputError
from sarjepa.overlay import WIDTH, changes, command_line, refuse_changes
from sarjepa.setting import settings_of

CASES = [
    PretrainConfig(sources=("mstar", "a b"), radii=(2, 4), lr=6e-3, recompute=True, mask_ratio=0.5, run_dir="r'n"),
    FewshotBenchConfig(checkpoint=("runs/a", "pixels"), shots=(5,), datasets=("mstar", "saracd")),
    ReportConfig(run="x", chips=False, results=("a", "b c")),
    PretrainConfig(),
]


@pytest.mark.parametrize("config", CASES, ids=lambda config: type(config).__name__)
def test_the_command_gives_the_settings_it_was_made_from(config: PretrainConfig, tmp_path: Path) -> None:
    line = command_line(type(config), as_dict(config)).replace("\\\n", " ")
    program, *arguments = shlex.split(line)
    assert program == "sarjepa"
    shown = typer.testing.CliRunner().invoke(app, [*arguments, "--show-config"])
    assert shown.exit_code == 0, shown.output
    assert yaml.safe_load(shown.stdout) == as_dict(config)


def test_lines_are_short_and_settings_can_be_forced_or_left_out() -> None:
    settings = {**as_dict(CASES[0]), "of_another_version": 3}
    line = command_line(PretrainConfig, settings, always=("epochs",), never=("recompute",))
    assert "--epochs 200" in line and "recompute" not in line and "another" not in line
    assert all(len(part) <= WIDTH + 3 for part in line.split("\n"))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_setting_of_every_command_is_known_with_its_help(command: str) -> None:
    known = settings_of(COMMANDS[command])
    assert {one.name for one in known} == as_dict(COMMANDS[command]()).keys()
    assert all(one.help for one in known) and known[-1].name == "seed"


FREE_EVERYWHERE = {"device": "cuda:3", "data_root": "elsewhere", "out": "o.npz"}


@pytest.mark.parametrize("command", COMMANDS)
def test_where_and_how_fast_makes_no_other_result_whichever_command_asks(command: str) -> None:
    config = COMMANDS[command]()
    names = {one.key for one in settings_of(type(config))}
    free = {
        **FREE_EVERYWHERE,
        "run_dir": "r",
        "workers": 9,
        "save_every": 7,
        "max_hours": 1.0,
        "jobs": 5,
    }
    moved = dataclasses.replace(config, **{key: value for key, value in free.items() if key in names})
    assert moved != config and not changes(moved, as_dict(config))


def test_every_other_setting_makes_another_result_and_is_named_with_both_values() -> None:
    before = PretrainConfig(radii=(2, 4))
    now = dataclasses.replace(before, radii=(2, 5), seed=3)
    assert list(map(str, changes(now, as_dict(before)))) == ["radii 2,5 instead of 2,4", "seed 3 instead of 0"]
    assert list(map(str, changes(now, dataclasses.asdict(before)))) == list(map(str, changes(now, as_dict(before))))
    with pytest.raises(InputError) as refused:
        refuse_changes(now, as_dict(before), "runs/a", "start another run")
    assert str(refused.value) == (
        "what is there was made by pretrain with other settings: runs/a; expected radii 2,4, seed 0; got radii 2,5, "
        "seed 3; start another run"
    )


def test_a_setting_younger_than_what_is_stored_had_its_default_and_one_of_another_version_says_nothing() -> None:
    stored = {key: value for key, value in as_dict(PretrainConfig()).items() if key not in ("lr", "ema")}
    assert not changes(PretrainConfig(), {**stored, "of-another-version": 3})
    assert [one.name for one in changes(PretrainConfig(lr=1.0), stored)] == ["lr"]


def test_what_spans_a_grid_may_differ_in_its_folder_and_nowhere_else() -> None:
    before = FewshotBenchConfig()
    grown = dataclasses.replace(before, shots=(5,), runs=3, solver=("knn",), seed=4, datasets=("mstar",))
    assert not changes(grown, as_dict(before), of_grid=True)
    assert {one.name for one in changes(grown, as_dict(before))} == {"shots", "runs", "solver", "seed", "datasets"}
    assert [one.name for one in changes(FewshotBenchConfig(lr=1.0), as_dict(before), of_grid=True)] == ["lr"]
