"""Summaries of a built source, for index.json and for the people who read it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_SIZES = 20  # sizes listed one by one; a set of free-form images has thousands


@dataclass
class Tally:
    """What is remembered of every chip, or of every file, while the shards are written."""

    classes: Sequence[str]
    labels: list[int] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)

    def add(self, label: int, split: str, shape: tuple[int, ...]) -> None:
        """Count one chip or file."""
        self.labels.append(label)
        self.splits.append(split)
        self.sizes[(shape[0], shape[1])] += 1

    def counts(self) -> dict[str, dict[str, int]]:
        """{split: {class: number}}, classes in the manifest's order; "" for chips without split or class."""
        counted = Counter(zip(self.splits, self.labels, strict=True))
        table: dict[str, dict[str, int]] = {}
        for split in sorted(set(self.splits), key=split_order):
            named = {name: counted[split, label] for label, name in enumerate(self.classes) if counted[split, label]}
            unnamed = {"": counted[split, -1]} if counted[split, -1] else {}
            table[split] = named | unnamed
        return table

    def describe_sizes(self) -> dict[str, Any]:
        """Smallest and largest (H, W), how many sizes there are, and the commonest."""
        if not self.sizes:
            return {"min": None, "max": None, "num": 0, "common": {}}
        heights, widths = zip(*self.sizes, strict=True)
        common = sorted(self.sizes.items(), key=lambda item: (-item[1], item[0]))[:MOST_SIZES]
        return {
            "min": [min(heights), min(widths)],
            "max": [max(heights), max(widths)],
            "num": len(self.sizes),
            "common": {f"{height}x{width}": number for (height, width), number in common},
        }


def split_order(split: str) -> tuple[int, str]:
    """Train first, test last, others between, none at all before everything."""
    return ({"": 0, "train": 1, "test": 3}.get(split, 2), split)


def spanning(groups: Iterable[int], values: Iterable[Any]) -> list[int]:
    """The groups whose chips carry more than one value (split, label), in order."""
    seen: dict[int, set[Any]] = defaultdict(set)
    for group, value in zip(groups, values, strict=True):
        seen[group].add(value)
    return sorted(group for group, found in seen.items() if len(found) > 1)


def differences(expected: dict[str, dict[str, int]] | None, counts: dict[str, dict[str, int]]) -> list[str]:
    """What differs between the expected counts and those that came out, in words; empty where all is well.

    An expectation for the class "" means the whole split, whatever its classes.
    """
    lines = []
    for split, wanted in (expected or {}).items():
        got = counts.get(split, {})
        for name, number in wanted.items():
            found = got.get(name, 0) if name else sum(got.values())
            if found != number:
                place = "/".join(part for part in (split, name) if part) or "all"
                lines.append(f"{place}: {found} of {number}")
    return lines


def size_difference(side: int | None, sizes: Mapping[tuple[int, int], int]) -> list[str]:
    """How many files are not `side` x `side` px, in words; empty where all are, or where None is expected."""
    num_others = sum(number for size, number in sizes.items() if size != (side, side))
    return [f"{num_others} of {sum(sizes.values())} files are not {side} x {side} px"] if side and num_others else []
