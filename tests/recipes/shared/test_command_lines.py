"""Stored settings go back to a command that gives the same settings."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import typer.testing
import yaml
from sarjepa.cli.app import app

from sarjepa.config import COMMANDS, FewshotBenchConfig, PretrainConfig, ReportConfig, as_dict
from sarjepa.recipes.shared.command_lines import WIDTH, command_line
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
