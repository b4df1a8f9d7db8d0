"""Wrong calls of every command, made from the settings themselves: one line, exit code 1, nothing left behind, soon.

A call that works is given one wrong value of one setting after the other: of another kind, empty, out of range, a name
misspelt, a path where nothing is or something else is. What is wrong follows from the setting's type and marks, so that
a new setting is tried as soon as it stands in `sarjepa.config`. Called in this process, without a terminal.

By default every twentieth call is made; with SARJEPA_FUZZ set (`make fuzz`), every one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from sarjepa.cli.app import app
from typer.testing import CliRunner

from sarjepa.config import COMMANDS
from sarjepa.evaluation.classifier import classifier_bytes
from sarjepa.models.checkpoints import load_encoder
from sarjepa.models.heads import Classifier, Feature, Head
from sarjepa.setting import (
    ARGUMENT,
    BUILT,
    CHECKPOINT,
    CLASSIFIER,
    FREE,
    PATH,
    RUN,
    Items,
    Like,
    OneOf,
    Range,
    Setting,
    settings_of,
)

LONGEST_S = 10
EVERY = 1 if os.environ.get("SARJEPA_FUZZ") else 20
BUILD = "build-dataset --data-root new --sources folder:images --workers 1"
EVALUATE = "--data-root data --device cpu --epochs 1"
# A call of every command that works, and is soon done; by itself, a command that is not named here.
CALLS = {
    "build-dataset": BUILD,
    "pretrain": "pretrain --data-root data --sources toy --preset demo --image-size 32 --window-size 3 --radii 2 "
    "--max-steps 1 --device cpu",
    "probe": f"probe {EVALUATE} --dataset toy --checkpoint run",
    "finetune": f"finetune {EVALUATE} --dataset toy --checkpoint run --shots 2",
    "fewshot-bench": f"fewshot-bench {EVALUATE} --datasets toy --checkpoint run --shots 2 --runs 2",
    "visualize-attention": "visualize-attention --data-root data --device cpu --dataset toy --checkpoint run "
    "--num-images 2 --num-points 4",
    "features": "features --data-root data --device cpu --dataset toy --checkpoint run",
    "predict": "predict --data-root data --device cpu --classifier classifier.safetensors images",
    "export": "export --out out.safetensors run",
    "push": "push run hf://nobody/nothing",
    "list": "list --data-root data",
    "models": "models",
    "reproduce": "reproduce --data-root data --experiment table1",
    "report": "report --data-root data --run run",
}
# What a setting with a text of its own kind is given, beside what follows from its marks.
TEXTS = {
    "sources": ["nope", "toy,nope", "folder:", "folder:missing", "folder:garbage", "folder:empty", "a/b", ".."],
    "splits": ["nope", "test,nope"], "label-set": ["nope"], "distribution": ["nope"], "experiment": ["tabel4", ".."],
    "scale": ["lapto"], "crop": ["nope=20", "toy=33", "9" * 5000],
    "centre-crop": ["nope=20", "toy=33"], "probe-crop": ["nope=20"], "image-size": ["0", "1", "100000x8", "9" * 5000],
    "blocks": ["99"], "patch": ["99,99"],
}  # fmt: skip
# A setting that counts beside others alone.
BESIDE = {"probe-dataset": "--probe-every 1", "probe-crop": "--probe-every 1"}


def wrong_values(setting: Setting) -> Iterator[str]:
    """Texts that cannot be the setting's value, whatever else is given."""
    yield from ("", " , ")
    if setting.kind in (int, float):
        yield from ("x", "nan", "inf", "-1e999", "1" + "0" * 5000, "0x10", "\u0662x", "1;2")
    if setting.kind is int:
        yield from ("1.5", "1e3.2")
    for mark in setting.marks:
        if isinstance(mark, Range):
            yield from (f"{mark.low - 1:g}", *([] if mark.high == float("inf") else [f"{mark.high * 2 + 1:.0f}"]))
            yield from [f"{mark.low:g}"] if mark.above else []
        if isinstance(mark, OneOf):
            yield from (f"{mark.choices[0]}x", mark.choices[-1].upper() + "?", "nope", f"{mark.choices[0]};x")
        if isinstance(mark, Like):
            yield from ("no, pe?", "-1", "?" * 3000)
        if isinstance(mark, Items):
            yield from ("1", "1,1,1")
    if BUILT in setting.marks:
        yield from ("nope", "toy,nope", "to", "../data/shards/toy", "\0", "toy/")
    if PATH in setting.marks and FREE in setting.marks and setting.name != "archives":  # where it writes
        yield from ("garbage/below", "a\0b", "/dev/null/x", *(["x" * 300] if setting.name == "out" else []))
    elif PATH in setting.marks:
        yield from ("missing", "\udcff\udcfe", "x" * 300, "a\0b", "missing:[red]", "~nobody/x")
        if setting.name not in ("archives", "imagenet"):  # which may be an archive itself, and not of any use
            yield from ("garbage", "/dev/null")
    if {CHECKPOINT, CLASSIFIER, RUN} & set(setting.marks) and setting.name != "imagenet":
        yield from ("empty", "run/no/x", "hf-hub:", "https://", "nowhere:x", "random:", "random:missing")
    yield from TEXTS.get(setting.name, ())


def calls() -> list[list[str]]:
    """Every wrong call."""
    found = []
    for command, config_class in COMMANDS.items():
        right = CALLS.get(command, command).split()
        arguments = [setting for setting in settings_of(config_class) if ARGUMENT in setting.marks]
        for setting in settings_of(config_class):
            option = f"--{setting.name}"
            if ARGUMENT in setting.marks:
                place = arguments.index(setting) - len(arguments)  # they come last
                found += [
                    [*right[:place], value, *right[len(right) + place + 1 :]]
                    for value in dict.fromkeys(wrong_values(setting))
                ]
            elif setting.kind is bool:
                found.append([*right, f"{option}=nope"])
            else:
                beside = BESIDE.get(setting.name, "").split()
                found += [[*right, *beside, f"{option}={value}"] for value in dict.fromkeys(wrong_values(setting))]
            found.append([*right, f"{option}-x"])  # no such option
        found += [[*right, "--device=cuda:99"]] if "--device" in right else []
        files = ("", "missing", "empty", "garbage", "run.yaml", "a\0b", "\udcff")
        found += [[*right, "--config", name] for name in files]
        found += [[*right, "--preset", name] for name in ("", "lapto", "../demo", "\0")]
        found += [[command, "stray"], [command, "--seed"], [f"{command}x"]]
    return found


def shown(words: list[str]) -> str:
    return " ".join(word if len(word) < 60 else f"{word[:40]}...({len(word)})" for word in words)


@pytest.fixture(scope="module")
def place(toy_root: Path, toy_checkpoint_writer: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a run and things that are neither."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(toy_root, folder / "data")
    toy_checkpoint_writer(folder / "run")
    (folder / "classifier.safetensors").write_bytes(
        classifier_bytes(
            Classifier(load_encoder(folder / "run"), Head(96, 2), Feature(("cls",))),
            {"classes": ["a", "b"], "temperature": 1.0, "crop": None, "dataset": "toy", "label_set": "all"},
        )
    )
    (folder / "empty").mkdir()
    (folder / "garbage").write_bytes(bytes(range(256)) * 8)
    (folder / "run.yaml").write_text(yaml.safe_dump({"no-such-key": 1}))
    for name in "ab":
        (folder / "images" / name).mkdir(parents=True)
        for number in range(3):
            Image.effect_noise((16, 16), 40 + number).save(folder / "images" / name / f"{number}.png")
    return folder


def _files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def _called(words: list[str], place: Path) -> tuple[Result, float, list[str]]:
    """How a call ends, its seconds, and the files that it changed; new ones are removed."""
    before, began = _files(place), time.monotonic()
    result = CliRunner().invoke(app, words)
    seconds, after = time.monotonic() - began, _files(place)
    for name in sorted(set(after) - set(before), reverse=True):
        (place / name).rmdir() if (place / name).is_dir() else (place / name).unlink()
    return result, seconds, sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def fault_of(words: list[str], place: Path) -> str:
    """What is wrong with how a wrong call ends; empty: nothing."""
    result, seconds, changed = _called(words, place)
    faults = []
    lines = result.stderr.strip().splitlines()
    if not isinstance(result.exception, SystemExit):
        faults.append(f"not refused, {result.exception!r}"[:300])
    elif result.exit_code not in (1, 2):
        faults.append(f"exit code {result.exit_code}: {result.output[-200:]}")
    elif result.exit_code == 1 and [line for line in lines if line.startswith("error: ")] != lines[-1:]:
        faults.append(f"not one line: {result.stderr[:300]}")
    elif result.exit_code == 1 and len(lines[-1]) > 1000:
        faults.append(f"a line of {len(lines[-1])} characters")
    if seconds > LONGEST_S:
        faults.append(f"{seconds:.0f} s")
    if changed:
        faults.append(f"changed {', '.join(changed[:6])}")
    return "; ".join(faults)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_call_is_one_line_and_leaves_nothing(
    command: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    if command in CALLS and command != "push":  # which needs a network
        right, _, _ = _called(CALLS[command].split(), place)  # and everything is imported
        assert right.exit_code == 0, right.output
    mine = [words for words in calls() if words[0].rstrip("x") == command][::EVERY]
    faults = [f"{shown(words)}: {fault}" for words in mine if (fault := fault_of(words, place))]
    assert not faults, f"{len(faults)} of {len(mine)}:\n" + "\n".join(faults)
