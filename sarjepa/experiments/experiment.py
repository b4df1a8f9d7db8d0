"""The paper's tables and figures, read from `sarjepa.experiments`: the runs and their scale.

The YAML files are read and checked here, before anything runs; other modules get dataclasses. A scale may have rows of
its own, and a row may be like another but for some settings.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
        after: settings of the run whose encoder this run starts from, on top of the scale's; None: it starts from
            scratch.
        measured: settings of its measurement, on top of the scale's.
        baseline: substitute for a run: untrained, imagenet, or a feature without weights (pixels, ...).
        paper: name of the row among the published numbers.
        group, at: axis of a scaling figure, and the row's place on it.
    """

    name: str
    pretrain: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)
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
        """The row with a name."""
        return next(row for row in self.rows if row.name == name)


@dataclass(frozen=True)
class Scale:
    """The size of the runs.

    Attributes:
        name, preset, seeds, sources, datasets: as in scales.yaml.
        settings: settings on top of the preset, by command.
        augmented: settings of a second few-shot measurement, by the recipe augmented, on top of those of the first;
            None: there is none.
        measured_as: name of an experiment with settings of its own for the measurement, whose numbers are stored
            apart, and which has no second one; else empty.
    """

    name: str
    preset: str
    seeds: int
    sources: tuple[str, ...]
    datasets: tuple[str, ...]
    settings: Mapping[str, Mapping[str, Any]]
    augmented: Mapping[str, Any] | None = None
    measured_as: str = ""


def _files() -> dict[str, str]:
    """The text of each YAML file by its stem."""
    folder = resources.files("sarjepa.experiments")
    return {
        path.name[:-5]: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name.endswith(".yaml")
    }


def experiment_names() -> list[str]:
    """The names of all tables and figures.

    Example:
        >>> "table4" in experiment_names()
        True
    """
    return sorted(set(_files()) - {"scales"})


def read_experiment(name: str, scale_name: str) -> tuple[Experiment, Scale]:
    """A table or figure at a scale.

    Args:
        name: name of the table or figure ("table4", "figure6", ...).
        scale_name: name of the scale ("demo", "laptop" or "paper").

    Raises:
        InputError: no experiment or scale has the name, or a key or word of its file is wrong.

    Example:
        >>> read_experiment("table4", "demo")[0].measure
        'few-shot'
    """
    files = _files()
    if name not in experiment_names():
        raise InputError("no such experiment", where=repr(name), hint=nearest(name, experiment_names()))
    scales = parse_yaml(files["scales"], "experiments/scales.yaml")
    if scale_name not in scales:
        raise InputError("no such scale", where=repr(scale_name), hint=nearest(scale_name, scales))
    content, on_top = _content(files[name], name, scale_name, scales)
    rows = {row: _facts(files, scales, name, scale_name, row) for row in content["rows"]}
    content["rows"] = tuple(_made(Row, {"name": row, **facts}, name) for row, facts in rows.items())
    scale = scales[scale_name]
    for key, value in on_top.items():
        if key != "rows":  # a command's settings lie over the scale's, one by one
            scale[key] = {**scale[key], **value} if isinstance(value, dict) and key in scale else value
    own = {key: scale.pop(key) for key in ("preset", "seeds")}
    sources, datasets = tuple(scale.pop("sources")), tuple(scale.pop("datasets"))
    measured_as, augmented = name if "fewshot-bench" in on_top else "", scale.pop("augmented", None)
    return _made(Experiment, {"name": name, **content}, name), Scale(
        scale_name, sources=sources, datasets=datasets, settings=scale,
        augmented=None if measured_as else augmented, measured_as=measured_as, **own
    )  # fmt: skip


def _content(text: str, name: str, scale_name: str, scales: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys of an experiment's file, with the rows of a scale, and what the scale lays over its own settings."""
    content = parse_yaml(text, f"experiments/{name}.yaml")
    on_top = {scale: content.pop(scale, {}) for scale in scales}[scale_name]
    return {**content, "rows": on_top.get("rows") or content.get("rows", {})}, on_top


def _facts(files: Mapping[str, str], scales: Collection[str], name: str, scale_name: str, row: str) -> dict[str, Any]:
    """The keys of a row, over those of the row that it is like: `like: ROW`, or `like: EXPERIMENT/ROW`.

    Raises:
        InputError: it is like a row that is not there.
    """
    rows = _content(files[name], name, scale_name, scales)[0]["rows"]
    if row not in rows:
        raise InputError("no such row", where=f"{row!r} in experiments/{name}.yaml", hint=nearest(row, rows))
    own = dict(rows[row] or {})
    if "like" not in own:
        return own
    other, _, like = own.pop("like").rpartition("/")
    facts = _facts(files, scales, other or name, scale_name, like)
    for key, value in own.items():  # settings lie over the other row's, one by one
        facts[key] = {**facts[key], **value} if isinstance(value, dict) and key in facts else value
    return facts


def _made(kind: type[_Kind], content: Mapping[str, Any], name: str) -> _Kind:
    """A row or an experiment from a file's keys.

    Raises:
        InputError: a key is missing or unknown, or a measure or baseline is unknown.
    """
    where = f"experiments/{name}.yaml"
    for key, words in (("measure", MEASURES), ("baseline", ROW_BASELINES)):
        if content.get(key) not in (None, *words):
            raise InputError(f"no such {key}", where=f"{content[key]!r} in {where}", hint=nearest(content[key], words))
    try:
        return kind(**content)
    except TypeError as error:  # its message names the key
        raise InputError("keys are missing or unknown", where=where, got=error) from error
