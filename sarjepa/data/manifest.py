"""Manifests: the facts of a public data set, as classes that the rest of the program reads.

The keys of the YAML files are documented in `sarjepa.data_manifests`; `sarjepa.data.manifest_parser` turns their text
into these classes, or reports what is wrong with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from sarjepa.download import RemoteFile

FORMATS = ("jpeg", "png", "tiff", "npy", "mat", "phoenix")


@dataclass(frozen=True)
class ChipRule:
    """How an image becomes chips: as it is, its centre, or tiles; `size` px, where one is larger than that."""

    rule: str = "native"
    size: int | None = None
    overlap: float = 0.0


@dataclass(frozen=True)
class Rule:
    """One source of a column's value: a named group of the path (or header.Key), translated, or a fixed text."""

    group: str | None = None
    map: dict[str, str] = field(default_factory=dict)
    only: bool = False
    value: str | None = None


@dataclass(frozen=True)
class Boxes:
    """Where the box annotations of an image file are, and what their class names mean."""

    format: str
    find: re.Pattern[str]
    replace: str
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Distribution:
    """One form in which a set is distributed."""

    name: str
    about: str
    formats: tuple[str, ...]
    files: tuple[RemoteFile, ...]
    example: str
    members: tuple[re.Pattern[str], ...]
    skip: tuple[re.Pattern[str], ...] = ()
    columns: dict[str, tuple[Rule, ...]] = field(default_factory=dict)
    boxes: Boxes | None = None
    normalisation: dict[str, Any] | None = None
    expected: dict[str, dict[str, int]] | None = None
    expected_side: int | None = None

    def match(self, path: str) -> re.Match[str] | None:
        """The match of a member's path, or None where it is not a chip of this set."""
        if any(pattern.search(path) for pattern in self.skip):
            return None
        for pattern in self.members:
            if match := pattern.search(path):
                return match
        return None

    def describe(self, groups: dict[str, str | None], header: dict[str, str]) -> dict[str, str]:
        """The columns of a file: {"class": ..., "split": ..., "serial": ...}, without those that have no value.

        Args:
            groups: named groups of the file's path.
            header: fields of the file's header.
        """
        facts = {**groups, **{f"header.{key}": value for key, value in header.items()}}
        values: dict[str, str] = {name: text for name, text in groups.items() if text is not None}
        for column, rules in self.columns.items():
            values.pop(column, None)
            if (value := _first(rules, facts)) is not None:
                values[column] = value
        return values


def _first(rules: tuple[Rule, ...], facts: dict[str, str | None]) -> str | None:
    """The value of the first rule that has one."""
    for rule in rules:
        if rule.value is not None:
            return rule.value
        text = facts.get(rule.group or "")
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
