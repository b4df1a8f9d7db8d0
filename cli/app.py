"""The commands. Each resolves its settings, imports its recipe, runs it, and shows the result.

Recipes are imported inside the command, so that `sarjepa --help` answers without importing torch.
Exit codes: 0 done, 1 an error of input (one line), 2 wrong usage, 130 or 143 ended by Ctrl-C or SIGTERM. A stopped
command has saved its work, and a shell's `pretrain && fewshot-bench` does not go on with half of it.
"""

from __future__ import annotations

import importlib
import signal
import sys
from types import FrameType
from typing import Annotated, Any

import typer
import yaml
from sarjepa.cli.console import RichProgress, out, show_error, show_table
from sarjepa.cli.options import IS_WIDE, resolve, with_signature

from sarjepa.config import COMMANDS, Common, as_dict
from sarjepa.errors import InputError, Stopped
from sarjepa.recipes.inputs import check_inputs
from sarjepa.version import __version__

app = typer.Typer(
    name="sarjepa",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if IS_WIDE else None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="SAR target recognition: public archives to verified shards, gradient-by-ratio pre-training, few-shot tables.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"sarjepa {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Take the options of the program itself."""


def _run(config_class: type[Common], given: dict[str, Any]) -> None:
    """Resolve the settings, run the recipe, show its result; an error of input becomes one line."""
    try:
        config = resolve(config_class, given)
        if given["show_config"]:
            out.print(yaml.safe_dump(as_dict(config), sort_keys=False).rstrip(), soft_wrap=True)
            return
        check_inputs(config)
        recipe = importlib.import_module(f"sarjepa.recipes.{config_class.command.replace('-', '_')}")
        result = recipe.run(config, RichProgress())
        for table in result.tables:
            show_table(table)
        print(result.message, flush=True)  # as it is: rich turns the tabs of reproduce --print into spaces
        if result.signal:
            raise typer.Exit(128 + result.signal)
    except (InputError, OSError, KeyboardInterrupt) as error:
        if given["debug"]:
            raise
        show_error(_line(error))
        number = error.number if isinstance(error, Stopped) else signal.SIGINT
        raise typer.Exit(128 + number if isinstance(error, KeyboardInterrupt) else 1) from error


def _terminate(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does: locks are released and half-written files removed."""
    raise Stopped(number)


def _line(error: BaseException) -> str:
    """The line of an error; an OSError is a full disk, a folder without permission, or a name that is taken."""
    if isinstance(error, OSError) and error.strerror:
        return f"cannot read or write: {error.filename or 'the output'}; {error.strerror}"
    return str(error) or "stopped by SIGINT"


def _add(config_class: type[Common]) -> None:
    """Add the command of a config class to the program."""

    def command(**given: Any) -> None:
        _run(config_class, given)

    example = f"Example: {config_class.example}"
    app.command(config_class.command, help=config_class.__doc__, epilog=example)(with_signature(command, config_class))


for _config_class in COMMANDS.values():
    _add(_config_class)


def main() -> None:
    """Run the console script."""
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr] # a terminal may lack a character of a name
    signal.signal(signal.SIGTERM, _terminate)
    try:
        sys.exit(app())
    except OSError as error:  # --help on a full disk
        show_error(_line(error))
        sys.exit(1)
