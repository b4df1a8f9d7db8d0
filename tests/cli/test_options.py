"""The options of every command, frozen: a change of one is seen where the change is reviewed.

`python tests/cli/test_options.py` writes tests/golden/options.txt anew.
"""

from __future__ import annotations

import typing
from pathlib import Path

from sarjepa.cli.options import signature_for

from sarjepa.config import COMMANDS

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


if __name__ == "__main__":
    GOLDEN.write_text(options_text(), encoding="utf-8")
