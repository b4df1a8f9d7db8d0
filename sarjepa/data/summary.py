"""Summaries of a built source, for index.json and for the people who read it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

Group = TypeVar("Group", int, tuple[str, str])
MOST_CLASSES = 10  # named in a warning
MOST_SIZES = 20  # sizes listed one by one; a set of free-form images has thousands


@dataclass
class Tally:
    """Labels, splits and sizes of chips, or of files, collected while the shards are written.

    Args:
        classes: names, in the order of their labels.

    Example:
        >>> tally = Tally(("tank", "truck"))
        >>> tally.add(0, "train", (64, 64))
        >>> tally.counts()
        {'train': {'tank': 1}}
    """

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
    """A sorting key: "" first, then train, others, test last.

    Example:
        >>> sorted(["test", "val", "train"], key=split_order)
        ['train', 'val', 'test']
    """
    return ({"": 0, "train": 1, "test": 3}.get(split, 2), split)


def spanning(groups: Iterable[Group], values: Iterable[Any]) -> list[Group]:
    """The groups whose chips have more than one value (split, label), in order.

    Example:
        >>> spanning([0, 0, 1], ["train", "test", "test"])
        [0]
    """
    seen: dict[Group, set[Any]] = defaultdict(set)
    for group, value in zip(groups, values, strict=True):
        seen[group].add(value)
    return sorted(group for group, distinct in seen.items() if len(distinct) > 1)


def one_sided(train: Sequence[str], test: Sequence[str]) -> str:
    """The classes that one side of a split lacks, in words, the first of many; empty where both have the same.

    Args:
        train, test: classes of each side.

    Example:
        >>> one_sided(["ship", "tank"], ["ship", "truck"])
        'no training chip of truck; no test chip of tank'
    """
    lines = []
    for side, having, others in (("training", train, test), ("test", test, train)):
        lacking = [name for name in others if name not in having]
        more = f" and {len(lacking) - MOST_CLASSES} more" if len(lacking) > MOST_CLASSES else ""
        lines += [f"no {side} chip of {', '.join(lacking[:MOST_CLASSES])}{more}"] if lacking else []
    return "; ".join(lines)


def differences(expected: dict[str, dict[str, int]] | None, counts: dict[str, dict[str, int]]) -> list[str]:
    """The differences between expected and actual counts, in words; empty where all is well.

    An expectation for the class "" means the whole split, whatever its classes.

    Example:
        >>> differences({"train": {"tank": 3, "truck": 3}}, {"train": {"tank": 2, "truck": 3}})
        ['train/tank: 2 of 3']
    """
    lines = []
    for split, wanted in (expected or {}).items():
        actual = counts.get(split, {})
        for name, num_wanted in wanted.items():
            num = actual.get(name, 0) if name else sum(actual.values())
            if num != num_wanted:
                lines.append(f"{'/'.join(filter(None, (split, name))) or 'all'}: {num} of {num_wanted}")
    return lines


def size_difference(side: int | None, sizes: Mapping[tuple[int, int], int]) -> list[str]:
    """How many files are not `side` x `side` px, in words; empty where all are, or where `side` is None.

    Args:
        side: expected side (px), or None.
        sizes: number of files by (height, width).

    Example:
        >>> size_difference(128, {(128, 128): 5, (64, 64): 1})
        ['1 of 6 files are not 128 x 128 px']
    """
    num_others = sum(number for size, number in sizes.items() if size != (side, side))
    return [f"{num_others} of {sum(sizes.values())} files are not {side} x {side} px"] if side and num_others else []
