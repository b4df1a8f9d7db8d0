"""Manifests: what a public data set is, read from YAML and checked before anything is fetched.

The keys are documented in `sarjepa.data_manifests`. A manifest is written by hand, so every fault is reported with the
file, the key and the nearest right name. `unverified: true` may stand beside any value; those keys are collected here
so that the command can say what nobody has confirmed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import yaml

from sarjepa.errors import InputError, nearest

GROUPS = {
    "pretrain": ("msar", "sarship", "sarsim", "sample"),
    "downstream": ("mstar", "fusarship", "saracd"),
    "all": ("msar", "sarship", "sarsim", "sample", "mstar", "fusarship", "saracd"),
}
FORMATS = ("jpeg", "png", "tiff", "npy", "mat", "phoenix")
CHIP_RULES = ("native", "centre-crop", "tiles")
NORMALISATION_KEYS = ("method", "per", "low", "high", "floor_db", "ceiling_db", "reference", "gain")


@dataclass(frozen=True)
class ChipRule:
    """How an image becomes chips: as it is, its centre, or tiles; `size` px, where one is larger than that."""

    rule: str = "native"
    size: int | None = None
    overlap: float = 0.0


@dataclass(frozen=True)
class RemoteFile:
    """A file of a distribution and where it comes from."""

    name: str
    aka: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    size: int | None = None
    sha256: str | None = None
    login: bool = False
    place: str = ""
    optional: bool = False

    @property
    def fetchable(self) -> bool:
        """Whether a script can get it."""
        return bool(self.addresses) and not self.login


@dataclass(frozen=True)
class Rule:
    """One way to a column's value: a named group of the path (or header.Key) translated, or a fixed text."""

    group: str | None = None
    map: dict[str, str] = field(default_factory=dict)
    only: bool = False
    value: str | None = None


@dataclass(frozen=True)
class Boxes:
    """Where the box annotations of an image file are, and what their class names mean."""

    format: str
    find: re.Pattern[str]
    beside: str
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Distribution:
    """One form in which a set is passed on."""

    name: str
    about: str
    formats: tuple[str, ...]
    files: tuple[RemoteFile, ...]
    members: tuple[re.Pattern[str], ...]
    skip: tuple[re.Pattern[str], ...] = ()
    columns: dict[str, tuple[Rule, ...]] = field(default_factory=dict)
    boxes: Boxes | None = None
    normalisation: dict[str, Any] | None = None
    expected: dict[str, dict[str, int]] | None = None

    def match(self, path: str) -> re.Match[str] | None:
        """What a member's path says, or None where it is no chip of this set."""
        if any(pattern.search(path) for pattern in self.skip):
            return None
        for pattern in self.members:
            if found := pattern.search(path):
                return found
        return None

    def describe(self, groups: dict[str, str | None], header: dict[str, str]) -> dict[str, str]:
        """The columns of a file: {"class": ..., "split": ..., "serial": ...}, without those that have no value."""
        given = {**groups, **{f"header.{key}": value for key, value in header.items()}}
        values: dict[str, str] = {name: text for name, text in groups.items() if text is not None}
        for column, rules in self.columns.items():
            values.pop(column, None)
            if (value := _first(rules, given)) is not None:
                values[column] = value
        return values


def _first(rules: tuple[Rule, ...], given: dict[str, str | None]) -> str | None:
    for rule in rules:
        if rule.value is not None:
            return rule.value
        text = given.get(rule.group or "")
        if text is not None and (text in rule.map or not rule.only):
            return rule.map.get(text, text)
    return None


@dataclass(frozen=True)
class Manifest:
    """A data set."""

    name: str
    title: str
    origin: str
    terms: str
    citation: str
    sensor: str
    band: str
    polarisation: tuple[str, ...]
    resolution_m: float | None
    classes: tuple[str, ...]
    label_sets: dict[str, dict[str, Any]]
    benchmark: dict[str, Any] | None
    distributions: tuple[Distribution, ...]
    notes: tuple[str, ...] = ()
    chips: ChipRule = field(default_factory=ChipRule)
    normalisation: dict[str, Any] = field(default_factory=lambda: {"method": "as-stored"})
    open_classes: bool = False
    unverified: tuple[str, ...] = ()
    sha256: str = ""


def source_names() -> list[str]:
    """Every source that has a manifest."""
    folder = resources.files("sarjepa.data_manifests")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def expand_sources(names: Iterable[str]) -> list[str]:
    """Groups replaced by their members, each source once, in the order given.

    Raises:
        InputError: a name is neither source, group nor folder:PATH.
    """
    known = source_names()
    expanded: list[str] = []
    for name in names:
        if name not in GROUPS and name not in known and not name.startswith("folder:"):
            raise InputError("no such source", where=repr(name), hint=nearest(name, [*known, *GROUPS, "folder:PATH"]))
        expanded.extend(GROUPS.get(name, (name,)))
    return list(dict.fromkeys(expanded))


def load_manifest(name: str) -> Manifest:
    """The manifest of a source.

    Raises:
        InputError: there is none of this name, or it breaks a rule.
    """
    if name not in source_names():
        raise InputError("no such source", where=repr(name), hint=nearest(name, source_names()))
    text = (resources.files("sarjepa.data_manifests") / f"{name}.yaml").read_text(encoding="utf-8")
    return parse_manifest(text, f"{name}.yaml")


def parse_manifest(text: str, where: str) -> Manifest:
    """A manifest from its YAML text; `where` names the file in errors.

    Raises:
        InputError: naming the file, the key and the nearest right value.
    """
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError("not YAML", where=where, got=str(error)) from error
    unverified: list[str] = []
    top = Section(_unwrap(raw, "", unverified), where)
    manifest = Manifest(
        name=top.text("name"),
        title=top.text("title"),
        origin=top.text("origin"),
        terms=top.text("terms"),
        citation=top.text("citation"),
        sensor=top.text("sensor"),
        band=top.text("band"),
        polarisation=top.texts("polarisation"),
        resolution_m=top.number("resolution_m"),
        notes=top.texts("notes", required=False),
        classes=(classes := top.texts("classes")),
        label_sets=(label_sets := top.mapping("label_sets", lambda part: _label_set(part, classes))),
        open_classes=bool(top.get("open_classes", bool, "true or false", required=False)),
        benchmark=top.part("benchmark", lambda part: _benchmark(part, label_sets)),
        chips=top.part("chips", _chips) or ChipRule(),
        normalisation=top.part("normalisation", _normalisation) or {"method": "as-stored"},
        distributions=top.parts("distributions", lambda part: _distribution(part, classes)),
        unverified=tuple(unverified),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )
    top.done()
    if f"{manifest.name}.yaml" != where:
        raise InputError("name and file differ", where=f"{where}: name", expected=where[:-5], got=manifest.name)
    return manifest


def _unwrap(value: Any, key: str, unverified: list[str]) -> Any:
    """Take `unverified: true` out of the tree, noting the keys that carried it."""
    if isinstance(value, list):
        return [_unwrap(item, f"{key}[{i}]", unverified) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if value.get("unverified") is True:
        unverified.append(key)
        value = {name: item for name, item in value.items() if name != "unverified"}
        if set(value) == {"value"}:
            return value["value"]
    return {name: _unwrap(item, f"{key}.{name}" if key else str(name), unverified) for name, item in value.items()}


class Section:
    """One mapping of a YAML file, read key by key; what is wrong is said with file, key and what would be right."""

    def __init__(self, raw: Any, file: str, path: str = "") -> None:
        self.raw, self.file, self.path = raw, file, path
        self.seen: set[str] = set()
        if not isinstance(raw, dict):
            raise InputError("not a mapping", where=self.at(), got=repr(raw)[:60])

    def at(self, key: str = "") -> str:
        """The file and the dotted way to a key."""
        way = ".".join(part for part in (self.path, key) if part)
        return f"{self.file}: {way}" if way else self.file

    def fault(self, key: str, expected: str, got: object, hint: str | None = None) -> InputError:
        """The error for a wrong value."""
        return InputError("wrong value", where=self.at(key), expected=expected, got=repr(got)[:60], hint=hint)

    def get(self, key: str, kind: type | tuple[type, ...], expected: str, required: bool = True) -> Any:
        """The value of a key, of a given type; None where it may be left out and is."""
        self.seen.add(key)
        value = self.raw.get(key)
        if value is None and (not required or (key in self.raw and type(None) in _as_tuple(kind))):
            return None
        if key not in self.raw:
            unknown = [name for name in self.raw if name not in self.seen]
            close = nearest(key, unknown) if unknown else None
            raise InputError("key missing", where=self.at(key), hint=close)
        if not isinstance(value, kind) or (isinstance(value, bool) and bool not in _as_tuple(kind)):
            raise self.fault(key, expected, value)
        return value

    def text(self, key: str, required: bool = True) -> str:
        """A text."""
        return (self.get(key, str, "a text", required) or "").strip()

    def texts(self, key: str, required: bool = True) -> tuple[str, ...]:
        """A list of texts."""
        values = self.get(key, list, "a list of texts", required) or []
        for i, value in enumerate(values):
            if not isinstance(value, str):
                raise self.fault(f"{key}[{i}]", "a text (in quotes where YAML would read a number)", value)
        return tuple(values)

    def number(self, key: str, required: bool = True) -> float | None:
        """A number or null."""
        value = self.get(key, (int, float, type(None)), "a number or null", required)
        return None if value is None else float(value)

    def choice(self, key: str, choices: tuple[str, ...], required: bool = True) -> str:
        """One of some names."""
        value = self.text(key, required)
        if (value or required) and value not in choices:
            raise self.fault(key, f"one of {', '.join(choices)}", value, nearest(value, choices))
        return value

    def patterns(self, key: str, required: bool = True) -> tuple[re.Pattern[str], ...]:
        """A list of regular expressions."""
        compiled = []
        for i, text in enumerate(self.texts(key, required)):
            try:
                compiled.append(re.compile(text))
            except re.error as error:
                raise self.fault(f"{key}[{i}]", "a regular expression", f"{text} ({error})") from error
        return tuple(compiled)

    def part(self, key: str, read: Callable[[Section], Any]) -> Any:
        """A mapping that may be left out, read by `read`."""
        value = self.get(key, dict, "a mapping", required=False)
        return None if value is None else self._read(value, key, read)

    def parts(self, key: str, read: Callable[[Section], Any]) -> tuple[Any, ...]:
        """A list of mappings."""
        values = self.get(key, list, "a list of mappings")
        return tuple(self._read(value, f"{key}[{i}]", read) for i, value in enumerate(values))

    def mapping(self, key: str, read: Callable[[Section], Any]) -> dict[str, Any]:
        """A mapping of names to mappings."""
        values = self.get(key, dict, "a mapping")
        return {str(name): self._read(value, f"{key}.{name}", read) for name, value in values.items()}

    def table(self, key: str, required: bool = False) -> dict[str, str]:
        """A mapping of texts to texts."""
        values = self.get(key, dict, "a mapping of texts", required) or {}
        for name, value in values.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise self.fault(f"{key}.{name}", "text: text (in quotes where YAML would read a number)", value)
        return values

    def done(self) -> None:
        """Every key has been read: what is left is a slip of the pen."""
        for key in self.raw:
            if key not in self.seen:
                raise InputError("unknown key", where=self.at(key), hint=nearest(str(key), self.seen))

    def _read(self, value: Any, key: str, read: Callable[[Section], Any]) -> Any:
        section = Section(value, self.file, self.at(key).removeprefix(f"{self.file}: "))
        result = read(section)
        section.done()
        return result


def _as_tuple(kind: type | tuple[type, ...]) -> tuple[type, ...]:
    return kind if isinstance(kind, tuple) else (kind,)


def _known(section: Section, key: str, names: tuple[str, ...], classes: tuple[str, ...]) -> None:
    for name in names:
        if name not in classes:
            raise section.fault(key, "names from `classes`", name, nearest(name, classes))


def _label_set(part: Section, classes: tuple[str, ...]) -> dict[str, Any]:
    chosen = part.texts("classes")
    _known(part, "classes", chosen, classes)
    label_set: dict[str, Any] = {"classes": list(chosen)}
    if where := part.get("where", dict, "{column: [values]}", required=False):
        label_set["where"] = {
            column: list(Section(where, part.file, f"{part.path}.where").texts(column)) for column in where
        }
    return label_set


def _benchmark(part: Section, label_sets: dict[str, Any]) -> dict[str, Any]:
    crop = part.get("crop", (int, type(None)), "whole px or null")
    return {
        "label_set": part.choice("label_set", tuple(label_sets)),
        "crop": crop,
        "pool": part.part("pool", _pool),
    }


def _pool(part: Section) -> dict[str, Any]:
    return {
        "kind": part.choice("kind", ("fraction-of-train", "fraction-of-all")),
        "fraction": part.number("fraction"),
    }


def _chips(part: Section) -> ChipRule:
    rule = part.choice("rule", CHIP_RULES)
    size = part.get("size", int, "whole px", required=rule != "native")
    return ChipRule(rule, size, part.number("overlap", required=False) or 0.0)


def _normalisation(part: Section) -> dict[str, Any]:
    from_config = ("as-stored", "linear", "decibel", "quarter-power", "log1p", "percentile")
    values: dict[str, Any] = {"method": part.choice("method", from_config)}
    if per := part.choice("per", ("chip", "set"), required=False):
        values["per"] = per
    for key in NORMALISATION_KEYS[2:]:
        if (number := part.number(key, required=False)) is not None:
            values[key] = number
    return values


def _distribution(part: Section, classes: tuple[str, ...]) -> Distribution:
    formats = part.texts("formats")
    for name in formats:
        if name not in FORMATS:
            raise part.fault("formats", f"some of {', '.join(FORMATS)}", name, nearest(name, FORMATS))
    expected = part.get("expected", dict, "{split: {class: count}}", required=False)
    for split, counts in (expected or {}).items():
        for name, count in Section(counts, part.file, f"{part.path}.expected.{split}").raw.items():
            if name != "":
                _known(part, f"expected.{split}", (str(name),), classes)
            if not isinstance(count, int):
                raise part.fault(f"expected.{split}.{name}", "a whole number", count)
    return Distribution(
        name=part.text("name"),
        about=part.text("about"),
        formats=formats,
        files=part.parts("files", _file),
        members=part.patterns("members"),
        skip=part.patterns("skip", required=False),
        columns=_columns(part),
        boxes=part.part("boxes", _boxes),
        normalisation=part.part("normalisation", _normalisation),
        expected=expected,
    )


def _file(part: Section) -> RemoteFile:
    file = RemoteFile(
        name=part.text("name"),
        aka=part.texts("aka", required=False),
        addresses=part.texts("addresses", required=False),
        size=part.get("size", int, "a number of bytes", required=False),
        sha256=part.text("sha256", required=False) or None,
        login=bool(part.get("login", bool, "true or false", required=False)),
        place=part.text("place", required=False),
        optional=bool(part.get("optional", bool, "true or false", required=False)),
    )
    if file.sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", file.sha256):
        raise part.fault("sha256", "64 hexadecimal digits", file.sha256)
    if not file.fetchable and not file.place:
        raise InputError("key missing", where=part.at("place"), expected="how to get by hand what no script can")
    return file


def _columns(part: Section) -> dict[str, tuple[Rule, ...]]:
    raw = part.get("columns", dict, "{column: [rules]}", required=False) or {}
    section = Section(raw, part.file, f"{part.path}.columns")
    return {column: section.parts(column, _rule) for column in raw}


def _rule(part: Section) -> Rule:
    rule = Rule(
        group=part.text("from", required=False) or None,
        map=part.table("map"),
        only=bool(part.get("only", bool, "true or false", required=False)),
        value=part.text("value", required=False) or None,
    )
    if (rule.group is None) == (rule.value is None):
        raise InputError("a rule has either `from` or `value`", where=part.at())
    return rule


def _boxes(part: Section) -> Boxes:
    (find,) = _one_pattern(part)
    return Boxes(part.choice("format", ("voc", "yolo")), find, part.text("beside"), part.table("names"))


def _one_pattern(part: Section) -> tuple[re.Pattern[str], ...]:
    """The regular expression under `find`."""
    return Section({"find": [part.text("find")]}, part.file, part.path).patterns("find")
