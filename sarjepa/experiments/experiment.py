"""The paper's tables and figures, read from `sarjepa.experiments`: what to run, at which scale.

Reading ends here: everything after works on the dataclasses, and a slip in a YAML file is found before anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, TypeVar

from sarjepa.config import BASELINES
from sarjepa.documents import parse_yaml
from sarjepa.errors import InputError, nearest

MEASURES = ("counts", "few-shot", "curve", "attention")
ROW_BASELINES = ("untrained", "imagenet", *BASELINES)
_Kind = TypeVar("_Kind")


@dataclass(frozen=True)
class Row:
    """One row of a table, or one panel or line of a figure.

    Attributes:
        name: name in the table.
        pretrain: settings of the run, on top of the scale's; keys as on the command line.
        after: settings of the run whose encoder this run starts from, on top of the scale's; None: it starts anew.
        baseline: substitute for a run: untrained, imagenet, or a feature without weights (pixels, ...).
        paper: the row's name among the published numbers.
        group, at: the axis of a scaling figure, and the row's place on it.
    """

    name: str
    pretrain: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] | None = None
    baseline: str | None = None
    paper: str | None = None
    group: str | None = None
    at: float | None = None


@dataclass(frozen=True)
class Experiment:
    """A table or figure; the attributes are the keys of its file."""

    name: str
    title: str
    about: str
    measure: str
    rows: tuple[Row, ...] = ()
    reference: str | None = None
    published: str | None = None

    def row(self, name: str) -> Row:
        """The row of a name."""
        return next(row for row in self.rows if row.name == name)


@dataclass(frozen=True)
class Scale:
    """How large the runs are.

    Attributes:
        name, preset, seeds, sources, datasets: as in scales.yaml.
        settings: what each command gets on top of the preset.
        measured_as: name of the experiment if it measures in a way of its own; then its numbers of a run stand apart.
    """

    name: str
    preset: str
    seeds: int
    sources: tuple[str, ...]
    datasets: tuple[str, ...]
    settings: Mapping[str, Mapping[str, Any]]
    measured_as: str = ""


def _files() -> dict[str, str]:
    folder = resources.files("sarjepa.experiments")
    return {
        path.name[:-5]: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name.endswith(".yaml")
    }


def experiment_names() -> list[str]:
    """Every table and figure."""
    return sorted(set(_files()) - {"scales"})


def read_experiment(name: str, scale_name: str) -> tuple[Experiment, Scale]:
    """A table or figure at a scale.

    Args:
        name: "table4", "figure6", ...
        scale_name: "demo", "laptop" or "paper".

    Raises:
        InputError: no experiment or scale has that name.
    """
    files = _files()
    if name not in experiment_names():
        raise InputError("no such experiment", where=repr(name), hint=nearest(name, experiment_names()))
    scales = parse_yaml(files["scales"], "experiments/scales.yaml")
    if scale_name not in scales:
        raise InputError("no such scale", where=repr(scale_name), hint=nearest(scale_name, scales))
    content = parse_yaml(files[name], f"experiments/{name}.yaml")
    on_top = {scale: content.pop(scale, {}) for scale in scales}[scale_name]
    rows = on_top.get("rows") or content.get("rows", {})
    content["rows"] = tuple(_made(Row, {"name": row, **(facts or {})}, name) for row, facts in rows.items())
    scale = scales[scale_name]
    for key, value in on_top.items():
        if key != "rows":  # a command's settings lie over the scale's, one by one
            scale[key] = {**scale[key], **value} if isinstance(value, dict) and key in scale else value
    own = name if "fewshot-bench" in on_top else ""
    return _made(Experiment, {"name": name, **content}, name), _scale(scale_name, own, scale)


def _made(kind: type[_Kind], content: Mapping[str, Any], name: str) -> _Kind:
    """A row or an experiment from a file's keys.

    Raises:
        InputError: a key is missing or unknown, or a word is not one of those that are known.
    """
    where = f"experiments/{name}.yaml"
    for key, words in (("measure", MEASURES), ("baseline", ROW_BASELINES)):
        if content.get(key) not in (None, *words):
            raise InputError(f"no such {key}", where=f"{content[key]!r} in {where}", hint=nearest(content[key], words))
    try:
        return kind(**content)
    except TypeError as error:  # Python's words name the key
        raise InputError("keys are missing or unknown", where=where, got=error) from error


def _scale(name: str, measured_as: str, content: dict[str, Any]) -> Scale:
    own = {key: content.pop(key) for key in ("preset", "seeds")}
    sources, datasets = tuple(content.pop("sources")), tuple(content.pop("datasets"))
    return Scale(name, sources=sources, datasets=datasets, settings=content, measured_as=measured_as, **own)
