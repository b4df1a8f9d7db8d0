"""The command line: exit codes, one clear line, settings shown before anything runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import forked
import pytest
import yaml
from sarjepa.cli.console import RichProgress, show_error, show_table

from sarjepa.config import COMMANDS
from sarjepa.results.tables import Table

PROGRAM = [sys.executable, "-m", "sarjepa"]
# As a program of its own, in which an import of torch is an error: an answer that needs none comes at once.
WITHOUT_TORCH = [
    sys.executable,
    "-c",
    "import sys; sys.modules['torch'] = None; sys.argv[0] = 'sarjepa'; from sarjepa.cli.app import main; main()",
]


def run(*arguments: object, cwd: Path | None = None, program: list[str] = PROGRAM) -> subprocess.CompletedProcess[str]:
    words = [*program, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_names_its_own_and_the_common_options(command: str) -> None:
    result = run(command, "--help")
    assert result.returncode == 0
    for option in ("--seed", "--device", "--config", "--preset", "--show-config", "--debug"):
        assert option in result.stdout


def test_show_config_prints_settings_that_can_be_read_back(tmp_path: Path) -> None:
    shown = run("pretrain", "--preset", "demo", "--lr", "1e-4", "--radii", "3,5", "--show-config")
    settings = yaml.safe_load(shown.stdout)
    assert settings["lr"] == 1e-4
    assert settings["radii"] == [3, 5]
    assert settings["model"] == "vit-demo"
    (tmp_path / "run.yaml").write_text(shown.stdout)
    again = run("pretrain", "--config", tmp_path / "run.yaml", "--show-config")
    assert again.stdout == shown.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pretrain", "--method", "sar-jeppa"], ["sar-jeppa", "did you mean 'sar-jepa'"]),
        (["pretrain", "--preset", "lapto"], ["lapto", "did you mean 'laptop'"]),
        (["pretrain", "--config", "nowhere.yaml"], ["nowhere.yaml"]),
        (["pretrain", "--config", "."], ["a folder, not a settings file: ."]),
        (["pretrain", "--config", ""], ["empty setting: --config"]),
        (["pretrain", "--preset", ""], ["no such preset"]),
        (["probe", "--checkpoint", ""], ["empty setting: --checkpoint", "leave it out"]),
        (["fewshot-bench", "--checkpoint", ""], ["empty setting: --checkpoint"]),
        (["fewshot-bench", "--out", ""], ["empty setting: --out"]),
        (["fewshot-bench", "--draws", "nowhere.json", "--datasets", "toy"], ["toy", "not built"]),
        (["probe", "--data-root", "nothing", "--dataset", "toy"], ["toy", "build-dataset --sources folder:PATH/toy"]),
        (["fewshot-bench", "--runs", "1000000000"], ["--runs", "expected 1 to 1000 (all are drawn before"]),
        (["fewshot-bench", "--shots", "999999999999999999999"], ["--shots", "1 to 1000000", "so many chips"]),
        (["pretrain", "--num-windows", "100000"], ["--num-windows", "1 to 1000"]),
        (["pretrain", "--image-size", "100000"], ["--image-size", "1 to 4096"]),
        (["pretrain", "--clip-grad", "0"], ["--clip-grad", "above 0"]),
        (["pretrain", "--sources", "mstar"], ["not built", "sarjepa build-dataset --sources mstar"]),
        (["pretrain", "--sources", "synthetic,mstr"], ["not built", "--sources synthetic"]),
        (["pretrain", "--preset", "demo", "--init", "nowhere"], ["not built"]),
        (["probe", "--dataset", "nowhere"], ["not built", "folder:PATH/nowhere"]),
        (["fewshot-bench", "--checkpoint", "nowhere"], ["no such checkpoint: nowhere"]),
        (["fewshot-bench", "--checkpoint", "random:nowhere"], ["no such checkpoint: nowhere"]),
        (["report", "--run", "nowhere"], ["no such run folder: nowhere"]),
        (["probe", "--dataset", "nowhere", "--test-dataset", "there"], ["not built", "folder:PATH/"]),
        (["features", "--dataset", "nowhere"], ["not built", "folder:PATH/nowhere"]),
        (["features", "--out", "f.csv"], ["f.csv", ".npz, .h5 or .parquet"]),
        (["predict"], ["something has to be named: predict; expected FOLDER: images of any size"]),
        (["predict", "."], ["expected --classifier CLASSIFIER"]),
        (
            ["predict", ".", "--classifier", "nowhere"],
            ["no classifier here: nowhere; run sarjepa probe or sarjepa finetune"],
        ),
        (["export", "nowhere", "--format", "onnx"], ["no such checkpoint: nowhere"]),
        (["export"], ["no run to evaluate"]),
        (["push", "nowhere"], ["something has to be named: push; expected TO: hf://OWNER/NAME"]),
        (["push", "nowhere", "somebody/radar"], ["expected hf://OWNER/NAME"]),
        (["visualize-attention"], ["no run to evaluate", "give --checkpoint"]),
        (["build-dataset", "--data-root", "/dev/null/x"], ["a file stands in place of a folder: /dev/null"]),
        (["pretrain", "--device", "tpu"], ["tpu", "expected auto, cpu, cuda"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1_before_torch_is_imported(
    tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    result = run(*arguments, cwd=tmp_path, program=WITHOUT_TORCH)
    assert result.returncode == 1
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]
    assert not list(tmp_path.iterdir()), "an error of input leaves nothing behind"


def test_wrong_usage_is_exit_code_2() -> None:
    assert run("pretrain", "--no-such-option").returncode == 2
    assert run("no-such-command").returncode == 2


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = run("pretrain", "--sources", "mstar", "--debug", cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_the_version_is_the_package_s() -> None:
    import sarjepa

    assert run("--version").stdout.strip() == f"sarjepa {sarjepa.__version__}"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("arguments", [["probe", "--show-config"], ["--help"], ["--version"]])
def test_printing_to_a_full_disk_is_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "sarjepa", *arguments]
        result = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "error: cannot read or write: the output; No space left on device\n"


def test_what_reproduce_prints_is_cut_at_its_tabs(synthetic_root: Path) -> None:
    asked = ("--experiment", "table4", "--scale", "demo", "--data-root", synthetic_root, "--print")
    lines = forked.run("reproduce", *asked).stdout.splitlines()
    assert lines and all(line.split("\t")[1].startswith("sarjepa reproduce --experiment table4") for line in lines)


def test_a_refusal_of_the_system_names_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.yaml").write_text("method: sar-jepa\n")
    result = forked.run("report", "--run", ".", "--out", "x" * 300)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [f"error: cannot read or write: {'x' * 300}; File name too long"]


def test_letters_that_the_terminal_lacks_are_replaced() -> None:
    program = "from sarjepa.cli import app; app.app = lambda: app.out.print('62.1 ± 1.3'); app.main()"
    words, ascii_only = [sys.executable, "-c", program], {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = subprocess.run(words, capture_output=True, text=True, check=False, env=ascii_only)
    assert (result.returncode, result.stdout) == (0, "62.1 ? 1.3\n")


def test_letters_that_the_terminal_lacks_are_replaced_in_what_a_command_says(
    tmp_path: Path, toy_writer: Callable[..., Path]
) -> None:
    toy_writer(tmp_path, "hafen-süd")
    words = [*PROGRAM, "build-dataset", "--verify", "--sources", "hafen-süd", "--data-root", str(tmp_path)]
    said = subprocess.run(words, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert said.stdout == b"hafen-s?d: 72 chips, every shard as written\n"


@pytest.mark.parametrize("name", ["folder:/x/:warning:/[y]", "[red]a[/red]", "[/]", ":smile:"])
def test_what_looks_like_markup_or_an_emoji_in_a_name_is_shown_as_it_is(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = RichProgress()
    progress.note(name)
    progress.warn(name)
    with progress.task(name, 1) as task:
        task.advance(1, name)
    show_error(name)
    show_table(Table(name, (name,), ((name,),), name))
    printed = capsys.readouterr()
    assert printed.err.count(name) == 5 and printed.out.count(name) == 4


def test_a_long_setting_is_shown_whole(tmp_path: Path) -> None:
    long = "x" * 300
    assert yaml.safe_load(run("pretrain", "--run-dir", long, "--show-config").stdout)["run-dir"] == long


def test_brackets_in_a_table_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(Table("[red]title", ("[i]class",), (("[bold]a",), ("[/]",))))
    printed = capsys.readouterr().out
    for cell in ("[red]title", "[i]class", "[bold]a", "[/]"):
        assert cell in printed
