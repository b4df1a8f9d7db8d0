"""The options of every command, frozen: a change of one is seen where the change is reviewed.

`python tests/cli/test_options.py` writes tests/golden/options.txt anew.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from sarjepa.cli.app import app
from sarjepa.cli.options import PANELS, signature_for
from typer.testing import CliRunner

from sarjepa.config import COMMANDS, PretrainConfig

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "options.txt"


def options_text() -> str:
    """Every option of every command: its name, its type, and its help, which ends with the default."""
    lines = []
    for command, config_class in COMMANDS.items():
        lines.append(f"{command}: {config_class.__doc__}")
        for name, parameter in signature_for(config_class).parameters.items():
            kind, option = typing.get_args(parameter.annotation)
            [kind, *_] = [one for one in typing.get_args(kind) if one is not type(None)] or [kind]
            typed = f"{typing.get_args(kind)[0].__name__}, repeated" if typing.get_args(kind) else kind.__name__
            lines.append(f"    --{name.replace('_', '-')} ({typed})  {option.help}".replace("\\[", "["))
        lines.append("")
    return "\n".join(lines)


def test_every_option_is_as_it_was_agreed_on() -> None:
    now, agreed = options_text().splitlines(), GOLDEN.read_text(encoding="utf-8").splitlines()
    gone, new = [line for line in agreed if line not in now], [line for line in now if line not in agreed]
    how = f"if this is meant, run: python {Path(__file__).relative_to(GOLDEN.parents[2])}"
    assert now == agreed, "\n".join(
        ["the options have changed", *(f"- {x}" for x in gone), *(f"+ {x}" for x in new), how]
    )


def test_every_option_has_its_group_and_no_group_an_option_that_is_gone() -> None:
    there = {name for config_class in COMMANDS.values() for name in signature_for(config_class).parameters}
    assert there == {key for keys in PANELS.values() for key in keys.split()}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_at_the_end_of_the_help_is_a_call_of_the_command(command: str) -> None:
    program, *words = shlex.split(COMMANDS[command].example)
    assert (program, words[0]) == ("sarjepa", command)
    done = CliRunner().invoke(app, [*words, "--show-config"])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("columns", ["40", "80"])
def test_no_name_is_cut_off_on_a_narrow_terminal(columns: str) -> None:
    words = [sys.executable, "-m", "sarjepa", "pretrain", "-h"]
    environment = {**os.environ, "COLUMNS": columns}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    for name in signature_for(PretrainConfig).parameters:
        assert f"--{name.replace('_', '-')} " in done.stdout, name
    assert "\\[" not in done.stdout and "Example: sarjepa pretrain" in done.stdout
    flags = [line for line in done.stdout.splitlines() if "--no-" in line]
    assert flags and not any("bool" in line for line in flags)


if __name__ == "__main__":
    GOLDEN.write_text(options_text(), encoding="utf-8")
