"""What probe and finetune write of one run: report.json, confusion.png and what lies beside, and what they show."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sarjepa.config import BASELINES
from sarjepa.evaluation.metrics import Scores
from sarjepa.evaluation.statistics import wilson_interval
from sarjepa.files import json_text, write_atomically
from sarjepa.models.addresses import is_address
from sarjepa.progress import Progress
from sarjepa.recipes.shared.records import percentages, score_record
from sarjepa.reports.figures import confusion
from sarjepa.reports.formats import figure_bytes
from sarjepa.results.result import Result
from sarjepa.results.tables import Table, counted

REPORT = "report.json"
# Every file of a report; a later report removes those that it does not write.
FILES = (REPORT, "confusion.png", "curve.csv", "curve.png", "predictions.csv")
_OF_THE_MACHINE = ("device", "out")  # settings that do not make another report

# What `class_table` reads of a report.json.
KEYS = ("per_class", "accuracy", "balanced_accuracy", "macro_f1", "accuracy_ci95", "checkpoint", "dataset", "protocol",
        "shots", "label_set", "split_policy", "pool", "selection", "num_train", "short",
        "near_copy_percent")  # fmt: skip


def report_folder(out: str | None, checkpoint: str, what: str, shots: int | None) -> Path:
    """Where a report goes: as asked, else inside the run, else (no run folder) under results/."""
    if out:
        return Path(out)
    name = what + (f"-{shots}-shot" if shots else "") + ("-random" if checkpoint.startswith("random:") else "")
    place = checkpoint.removeprefix("random:")
    if place in BASELINES or is_address(place):
        without_scheme = re.sub(r"^[a-z-]+:/*", "", place)
        return Path("results") / f"{name}-{re.sub(r'[^A-Za-z0-9._]+', '-', without_scheme).strip('-')}"
    run = Path(place)
    return (run if run.is_dir() else run.parent) / name


def write_files(
    folder: Path, files: Mapping[str, bytes | str], settings: Mapping[str, Any], progress: Progress
) -> None:
    """Write the files of a report, then remove those that an earlier report left beside them.

    Args:
        folder: where to; it exists.
        files: by name, all of them in `FILES`.
        settings: the command's resolved settings.
        progress: is warned where a report of other settings is replaced.
    """
    changed, is_ours = _changed(folder / REPORT, settings), (folder / REPORT).is_file()
    for name, content in files.items():
        write_atomically(folder / name, content)
    if is_ours:  # in a folder that never held a report, files of these names are somebody else's
        for name in set(FILES) - set(files):
            (folder / name).unlink(missing_ok=True)
    if changed:
        progress.warn(f"{folder}: replaced the report of other settings: {', '.join(changed)}")


def _changed(path: Path, settings: Mapping[str, Any]) -> list[str]:
    """How some settings differ from those of the report at a path; nothing where there is no report to read."""
    try:
        earlier = dict(json.loads(path.read_text(encoding="utf-8"))["settings"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []
    settings = json.loads(json.dumps(settings))  # tuples become lists, as in the file
    keys = [key for key in settings if key not in _OF_THE_MACHINE and earlier.get(key) != settings[key]]
    return [f"{key.replace('_', '-')} {settings[key]} instead of {earlier.get(key)}" for key in keys]


def write_report(
    folder: Path,
    classes: Sequence[str],
    found: Scores,
    facts: Mapping[str, Any],
    settings: Mapping[str, Any],
    progress: Progress,
    beside: Mapping[str, bytes | str] | None = None,
) -> Result:
    """Write the report's files and say what is in them.

    Args:
        folder: where to; it exists.
        classes: their names.
        found: the scores.
        facts: what the number depends on.
        settings: the command's resolved settings.
        progress: is warned where a report of other settings is replaced.
        beside: further files of the report, by name.
    """
    hits, total = int(np.trace(found.confusion)), int(found.confusion.sum())
    low, high = wilson_interval(hits, total)
    content = {
        **facts,
        **score_record(found, classes),
        "accuracy_ci95": [round(low, 4), round(high, 4)],
        "ci95_kind": "Wilson over test images",
        "per_class": {
            name: {"recall": recall, "precision": precision, "num_test": int(row.sum())}
            for name, recall, precision, row in zip(
                classes, percentages(found.recall), percentages(found.precision), found.confusion, strict=True
            )
        },
        "classes": list(classes),
        "settings": dict(settings),
    }
    title = f"{facts['dataset']}, {facts['protocol']}: {found.accuracy:.1f}% of {total}"
    picture = figure_bytes(confusion(found.confusion, classes, title))
    files = {**(beside or {}), "confusion.png": picture, REPORT: json_text(content)}
    write_files(folder, files, settings, progress)
    return Result(
        f"accuracy {found.accuracy:.1f}% (95% interval {low:.1f} to {high:.1f}); {folder / REPORT}",
        folder,
        (class_table(content),),
    )


def class_table(content: Mapping[str, Any]) -> Table:
    """The classes of a report.json, with what the numbers depend on below them.

    Args:
        content: of the file, with all of `KEYS`.
    """
    rows = [
        (
            name,
            str(one["num_test"]),
            *("-" if one[key] is None else f"{one[key]:.1f}" for key in ("recall", "precision")),
        )
        for name, one in content["per_class"].items()
    ]
    total = sum(one["num_test"] for one in content["per_class"].values())
    rows.append(("all", str(total), f"{content['balanced_accuracy']:.1f} (balanced)", ""))
    title = f"{content['checkpoint']} on {content['dataset']}, {content['protocol']}"
    return Table(title, ("class", "test chips", "recall (%)", "precision (%)"), tuple(rows), _note(content))


def _note(content: Mapping[str, Any]) -> str:
    solver = f"solver {content['solver']}, " if content["protocol"] == "linear-probe" and "solver" in content else ""
    note = (
        f"{_trained_on(content)}{content['label_set']}, {content['split_policy']} split, feature {content['pool']}, "
        f"{solver}"
        f"{content['selection']}. Accuracy {content['accuracy']:.1f}%, macro-F1 {content['macro_f1']:.1f}%."
    )
    if content["short"]:
        had = ", ".join(f"{name} has {number}" for name, number in content["short"].items())
        note += f" Fewer chips than shots: {had}."
    if content["near_copy_percent"] is None:
        note += " Whether test chips have near-copies among the training chips is not known."
    elif content["near_copy_percent"] >= 0.05:
        note += f" {content['near_copy_percent']:.1f}% of the test chips have a near-copy among the training chips."
    return note


def _trained_on(content: Mapping[str, Any]) -> str:
    """The training chips; of a whole training split, a part is held out where a temperature is fitted."""
    num_train, num_held = content["num_train"], content.get("num_held_for_temperature")
    if not num_train:
        return ""
    if content["shots"]:
        return f"{counted(num_train, 'training chip')} ({counted(content['shots'], 'shot')} per class), "
    if num_held:
        return f"{num_train} of the {num_train + num_held} training chips ({num_held} held out for the temperature), "
    return f"{num_train} training chips (the whole training split), "
