"""From a manifest's YAML text to a `Manifest`, checked before anything is fetched.

A manifest is written by hand, so every fault is reported with the file, the key and the nearest right name.
`unverified: true` may stand beside any value; those keys are collected, so that the command can list what is not
confirmed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from sarjepa.data.manifest import FORMATS, Boxes, ChipRule, Distribution, Manifest, Rule
from sarjepa.data.own_names import FOLDER, PAIRS, is_own, whole_names
from sarjepa.documents import parse_yaml
from sarjepa.download import RemoteFile
from sarjepa.errors import InputError, nearest
from sarjepa.section import Section

GROUPS = {
    "pretrain": ("msar", "sarship", "sarsim", "sample"),
    "downstream": ("mstar", "fusarship", "saracd"),
    "all": ("msar", "sarship", "sarsim", "sample", "mstar", "fusarship", "saracd"),
}
BY_HAND = "by_hand"  # the file of sets that have no manifest of their own
MODELS = "published_models"  # the file of weights that others publish
CHIP_RULES = ("native", "centre-crop", "tiles")
NORMALISATION_KEYS = ("method", "per", "low", "high", "floor_db", "ceiling_db", "reference", "gain")


def source_names() -> list[str]:
    """Every source that has a manifest.

    Example:
        >>> "mstar" in source_names()
        True
    """
    folder = resources.files("sarjepa.data_manifests")
    names = {item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml")}
    return sorted(names - {BY_HAND, MODELS})


def typed_source(source: str, is_paired: bool = False) -> str:
    """A built source's name for `build-dataset --sources`; PATH stands for what index.json does not store.

    Args:
        source: name of the source.
        is_paired: whether one's own images were built as pairs of radar and optical images.

    Example:
        >>> typed_source("mstar"), typed_source("harbour"), typed_source("harbour", is_paired=True)
        ('mstar', 'folder:PATH/harbour', 'pairs:PATH/harbour,OPTICAL_FOLDER')
    """
    if source in source_names():
        return source
    return f"{PAIRS}PATH/{source},OPTICAL_FOLDER" if is_paired else f"{FOLDER}PATH/{source}"


@dataclass(frozen=True)
class SetByHand:
    """A public set without a manifest, because its files are not known.

    Attributes:
        title: common name.
        origin: page of the set.
        holds, terms, citation: content, terms and citation, as far as they are known.
        unverified: names of the facts that are not confirmed.
    """

    title: str
    origin: str
    holds: str
    terms: str
    citation: str
    unverified: tuple[str, ...]
    build: str

    @property
    def said(self) -> str:
        """Content, terms, citation and what it is built as, with a star at what is not verified."""
        parts = (("holds", self.holds), ("terms", f"terms: {self.terms}"), ("citation", self.citation))
        facts = "; ".join(text + "*" * (key in self.unverified) for key, text in parts)
        return f"{facts}{'; page*' if 'origin' in self.unverified else ''}; built as {self.build}"


def _shipped(name: str) -> str:
    """The text of a shipped YAML file."""
    return (resources.files("sarjepa.data_manifests") / f"{name}.yaml").read_text(encoding="utf-8")


def sets_by_hand() -> dict[str, SetByHand]:
    """The public sets without a manifest, by name.

    Example:
        >>> by_hand = sets_by_hand()["qxs-saropt"]
        >>> by_hand.title, by_hand.build, by_hand.unverified
        ('QXS-SAROPT', 'pairs:PATH/sar_256_oc_0.2,PATH/opt_256_oc_0.2', ('terms',))
    """

    def read(part: Section) -> SetByHand:
        texts = {key: part.text(key) for key in ("title", "origin", "holds", "terms", "citation")}
        build = part.text("build", required=False) or "folder:PATH"
        return SetByHand(**texts, unverified=part.texts("unverified"), build=build)

    return Section({"sets": parse_yaml(_shipped(BY_HAND), BY_HAND)}, f"{BY_HAND}.yaml").mapping("sets", read)


def published_models() -> dict[str, dict[str, str]]:
    """Weights that others publish, by name: title, where, terms, read_by, and which of these are unverified.

    Example:
        >>> model = published_models()["sar-jepa"]
        >>> model["title"], model["terms"], model["read_by"]
        ('SAR-JEPA, ViT-B/16', 'CC BY-NC 4.0', 'load_encoder("checkpoint-200.pth")')
    """

    def read(part: Section) -> dict[str, str]:
        texts = {key: part.text(key) for key in ("title", "where", "terms", "read_by")}
        return {**texts, "unverified": " ".join(part.texts("unverified"))}

    return Section({"models": parse_yaml(_shipped(MODELS), MODELS)}, f"{MODELS}.yaml").mapping("models", read)


def expand_sources(names: Iterable[str]) -> list[str]:
    """Groups replaced by their members, each source once, in the order given.

    Raises:
        InputError: a name is neither source, group, folder:PATH nor pairs:SAR_FOLDER,OPTICAL_FOLDER.

    Example:
        >>> expand_sources(["downstream", "mstar"])
        ['mstar', 'fusarship', 'saracd']
    """
    known = source_names()
    expanded: list[str] = []
    for name in whole_names(names, lambda part: part in GROUPS or part in known):
        if name == "folder:":
            raise InputError(
                "no folder named", where=repr(name), expected="folder:PATH", hint="folder:. is this folder"
            )
        if name not in GROUPS and name not in known and not is_own(name):
            if (by_hand := sets_by_hand().get(name)) is not None:
                hint = f"get it from {by_hand.origin}, unpack it, and build it as {by_hand.build}"
                raise InputError(f"{by_hand.title} is got by hand", where=repr(name), hint=hint)
            hint = f"for a folder of your own: folder:{name}"
            if "/" not in name and not Path(name).is_dir():
                hint = nearest(name, [*known, *GROUPS, "folder:PATH"])
            raise InputError("no such source", where=repr(name), hint=hint)
        expanded.extend(GROUPS.get(name, (name,)))
    return list(dict.fromkeys(expanded))


def load_manifest(name: str) -> Manifest:
    """The manifest of a source.

    Raises:
        InputError: there is no manifest of this name, or it breaks a rule.

    Example:
        >>> load_manifest("synthetic").classes
        ('bulldozer', 'carrier', 'launcher', 'tank', 'truck')
    """
    if name not in source_names():
        raise InputError("no such source", where=repr(name), hint=nearest(name, source_names()))
    return parse_manifest(_shipped(name), f"{name}.yaml")


def parse_manifest(text: str, where: str) -> Manifest:
    """A manifest from its YAML text; `where` names the file in errors.

    Raises:
        InputError: naming the file, the key and the nearest right value.

    Example:
        >>> text = (resources.files("sarjepa.data_manifests") / "saracd.yaml").read_text(encoding="utf-8")
        >>> parse_manifest(text, "saracd.yaml").unverified
        ('sensor', 'band', 'resolution_m', 'file SAR-ACD-main.zip')
        >>> parse_manifest(text.replace("citation:", "citatoin:"), "saracd.yaml")
        Traceback (most recent call last):
        sarjepa.errors.InputError: key missing: saracd.yaml: citation; did you mean 'citatoin'?
    """
    unverified: list[str] = []
    top = Section(_unwrap(parse_yaml(text, where), "", unverified), where)
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
        unverified=tuple(dict.fromkeys(unverified)),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )
    top.done()
    if f"{manifest.name}.yaml" != where:
        raise InputError("name and file differ", where=f"{where}: name", expected=where[:-5], got=manifest.name)
    return manifest


def _unwrap(value: Any, key: str, unverified: list[str]) -> Any:
    """Take `unverified: true` out of the tree, noting in words what carried it: "sensor", "addresses of file X"."""
    if isinstance(value, list):
        singular = key.split(" of ")[0].removesuffix("s")
        keys = [f"{singular} {item['name']}" if isinstance(item, dict) and "name" in item else key for item in value]
        return [_unwrap(item, item_key, unverified) for item, item_key in zip(value, keys, strict=True)]
    if not isinstance(value, dict):
        return value
    if value.get("unverified") is True:
        unverified.append(key)
        value = {name: item for name, item in value.items() if name != "unverified"}
        if set(value) == {"value"}:
            return value["value"]
    return {name: _unwrap(item, f"{name} of {key}" if key else str(name), unverified) for name, item in value.items()}


def _check_known(section: Section, key: str, names: tuple[str, ...], classes: tuple[str, ...]) -> None:
    """Refuse names that are no classes of the set."""
    for name in names:
        if name not in classes:
            raise section.fault(key, "names from `classes`", name, nearest(name, classes))


def _label_set(part: Section, classes: tuple[str, ...]) -> dict[str, Any]:
    chosen = part.texts("classes")
    _check_known(part, "classes", chosen, classes)
    label_set: dict[str, Any] = {"classes": list(chosen)}
    if where := part.get("where", dict, "{column: [values]}", required=False):
        label_set["where"] = {
            column: list(Section(where, part.file, f"{part.path}.where").texts(column)) for column in where
        }
    return label_set


def _benchmark(part: Section, label_sets: dict[str, Any]) -> dict[str, Any]:
    def pool(part: Section) -> dict[str, Any]:
        kind = part.choice("kind", ("fraction-of-train", "fraction-of-all"))
        return {"kind": kind, "fraction": part.number("fraction")}

    return {
        "label_set": part.choice("label_set", tuple(label_sets)),
        "crop": part.get("crop", (int, type(None)), "whole px or null"),
        "pool": part.part("pool", pool),
    }


def _chips(part: Section) -> ChipRule:
    rule = part.choice("rule", CHIP_RULES)
    size = part.get("size", int, "whole px", required=rule != "native")
    return ChipRule(rule, size, part.number("overlap", required=False) or 0.0)


def _normalisation(part: Section) -> dict[str, Any]:
    methods = ("as-stored", "linear", "decibel", "quarter-power", "log1p", "percentile")
    values: dict[str, Any] = {"method": part.choice("method", methods)}
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
                _check_known(part, f"expected.{split}", (str(name),), classes)
            if not isinstance(count, int):
                raise part.fault(f"expected.{split}.{name}", "a whole number", count)
    return Distribution(
        name=part.text("name"),
        about=part.text("about"),
        formats=formats,
        files=part.parts("files", _file),
        example=part.text("example"),
        members=part.patterns("members"),
        skip=part.patterns("skip", required=False),
        columns=_columns(part),
        boxes=part.part("boxes", _boxes),
        normalisation=part.part("normalisation", _normalisation),
        expected=expected,
        expected_side=part.get("expected_side", int, "whole px", required=False),
    )


def _file(part: Section) -> RemoteFile:
    file = RemoteFile(
        name=part.text("name"),
        aka=part.texts("aka", required=False),
        addresses=part.texts("addresses", required=False),
        size=part.get("size", int, "a number of bytes", required=False),
        sha256=part.text("sha256", required=False) or None,
        login=bool(part.get("login", bool, "true or false", required=False)),
        by_hand=part.text("by_hand", required=False),
        optional=bool(part.get("optional", bool, "true or false", required=False)),
    )
    if file.sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", file.sha256):
        raise part.fault("sha256", "64 hexadecimal digits", file.sha256)
    if not file.fetchable and not file.by_hand:
        raise InputError("key missing", where=part.at("by_hand"), expected="how to get by hand what no script can")
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
    (find,) = Section({"find": [part.text("find")]}, part.file, part.path).patterns("find")
    return Boxes(part.choice("format", ("voc", "yolo")), find, part.text("replace"), part.table("names"))
