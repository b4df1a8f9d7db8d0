"""The files that probe and finetune write of one run (report.json, confusion.png and others), and their result."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sarjepa.config import BASELINES, Common, FinetuneConfig, ProbeConfig
from sarjepa.documents import read_record
from sarjepa.errors import InputError
from sarjepa.evaluation.metrics import Scores
from sarjepa.files import json_text, write_atomically
from sarjepa.models.addresses import CLASSIFIER_FILE, bare, is_address
from sarjepa.overlay import changes
from sarjepa.recipes.evaluating.record import percentages
from sarjepa.reports.accuracy_figures import confusion
from sarjepa.reports.class_table import class_table
from sarjepa.reports.figures import figure_bytes
from sarjepa.results.records import REPORT, ClassScores, Report, Run
from sarjepa.results.result import Result, writable_folder
from sarjepa.results.statistics import wilson_interval

# All possible files of a report; a later report removes those that it does not write.
FILES = (REPORT, "confusion.png", "curve.csv", "curve.png", "predictions.csv")


def report_folder(out: str | None, checkpoint: str, what: str, shots: int | None) -> Path:
    """The folder of a report: `out` if given, else inside the run, else (there is no run folder) under results/.

    Example:
        >>> str(report_folder(None, "hf-hub:owner/model", "probe-mstar", 5))
        'results/probe-mstar-5-shot-owner-model'
    """
    if out:
        return Path(out)
    name = what + (f"-{shots}-shot" if shots else "") + ("-random" if checkpoint.startswith("random:") else "")
    address = bare(checkpoint.removeprefix("random:"))
    if address in BASELINES or is_address(address):
        without_scheme = re.sub(r"^[a-z-]+:/*", "", address)
        return Path("results") / f"{name}-{re.sub(r'[^A-Za-z0-9._]+', '-', without_scheme).strip('-')}"
    run = Path(address)
    return (run if run.is_dir() else run.parent) / name


def usable_folder(folder: Path, config: ProbeConfig | FinetuneConfig, checkpoint: str) -> Path:
    """Make the folder of a report if need be, and check, before the work begins, that the report may be written to it.

    A report of the same settings is replaced, and so is one that cannot be read.

    Args:
        folder: folder of the report.
        config: settings of the command.
        checkpoint: checkpoint setting, or the newest run where there is none.

    Raises:
        InputError: the folder holds a report of other settings, or cannot be written.

    Example:
        >>> str(usable_folder(Path("new-report"), ProbeConfig(), "runs/toy"))
        'new-report'
    """
    try:
        report = read_record(folder / REPORT, Report)
    except (OSError, InputError):
        return writable_folder(folder)
    now, before = replace(config, checkpoint=checkpoint), {**report.settings, "checkpoint": report.checkpoint}
    if changed := changes(now, before):
        raise InputError(
            "the folder holds a report of other settings",
            where=folder,
            got=", ".join(map(str, changed)),
            hint="give another --out",
        )
    return writable_folder(folder)


def write_files(
    folder: Path,
    numbers: Mapping[str, str | bytes],
    pictures: Mapping[str, Callable[[], Figure]] | None = None,
) -> None:
    """Write the files of a report, in place of those of an earlier report.

    Numbers are written first, so that they are kept if a picture cannot be drawn.

    Args:
        folder: existing folder of the report.
        numbers: content by file name.
        pictures: functions that draw a figure, by file name. All names are in `FILES`.

    Example:
        >>> folder = Path("earlier-report")
        >>> folder.mkdir()
        >>> write_files(folder, {"report.json": "{}", "curve.csv": "epoch"})
        >>> write_files(folder, {"report.json": "{}"})  # the old curve is not of this report
        >>> [path.name for path in folder.iterdir()]
        ['report.json']
    """
    if (folder / REPORT).is_file():  # other folders may hold files of these names that no command wrote
        for name in set(FILES) - set(numbers):
            (folder / name).unlink(missing_ok=True)
    for name, content in numbers.items():
        write_atomically(folder / name, content)
    for name, draw in (pictures or {}).items():
        write_atomically(folder / name, figure_bytes(draw()))


def report_of(run: Run, scores: Scores, config: Common, **more: Any) -> Report:
    """The report of a run.

    Args:
        run: record of the run.
        scores: scores of the run.
        config: settings of the command.
        more: further fields of `Report`.
    """
    low, high = wilson_interval(int(np.trace(scores.confusion)), int(scores.confusion.sum()))
    num_test = scores.confusion.sum(axis=1).tolist()
    by_class = zip(percentages(scores.recall), percentages(scores.precision), num_test, strict=True)
    return Report(
        **{
            **vars(run),
            "accuracy_ci95": (round(low, 4), round(high, 4)),
            "ci95_kind": "Wilson over test images",
            "per_class": {name: ClassScores(*values) for name, values in zip(run.recall, by_class, strict=True)},
            "classes": tuple(run.recall),
            "settings": asdict(config),
            **more,
        }
    )


def write_report(
    folder: Path,
    report: Report,
    numbers: Mapping[str, str | bytes] | None = None,
    pictures: Mapping[str, Callable[[], Figure]] | None = None,
) -> Result:
    """Write the files of a report, and return the result of its command.

    Args:
        folder: existing folder of the report.
        report: content of the report.
        numbers, pictures: further files of the report, as of `write_files`.
    """
    counts = np.array(report.confusion)
    title = f"{report.dataset}, {report.protocol}: {report.accuracy:.1f}% of {counts.sum()}"
    drawn = {"confusion.png": lambda: confusion(counts, report.classes, title), **(pictures or {})}
    write_files(folder, {REPORT: json_text(report), **(numbers or {})}, drawn)
    low, high = report.accuracy_ci95
    return Result(
        f"accuracy {report.accuracy:.1f}% (95% interval {low:.1f} to {high:.1f}); {folder / REPORT}"
        + (f" and {CLASSIFIER_FILE}" if CLASSIFIER_FILE in (numbers or {}) else ""),
        folder,
        (class_table(report),),
    )
