"""The ledger of a build: what is remembered of every chip while the pixels go to the shards.

A hundred thousand chips are a few hundred MB of descriptors and little else; the pixels themselves are never kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sarjepa.data import duplicates, shortcuts
from sarjepa.data.decoding import Decoded, Prepared
from sarjepa.data.summary import Tally, spanning

DUPLICATE_KEYS = ("exact_groups", "near_groups", "num_groups", "spanning_splits", "spanning_labels", "examples")
MAX_EXAMPLES = 10  # groups shown that span splits or labels, each
MAX_PATHS = 4  # of such a group


class Ledger:
    """Counts, rejections, names and descriptors of the chips of one source.

    Args:
        classes: names, in the order of their labels.
        rejected: files that were left out before decoding began, {"path", "reason"} each; damaged ones are added.

    Attributes:
        strays: files among a user's own images whose format no reader knows, {"path", "reason"} each.
        said: values of polarisation, calibration and units among the chips' columns.
    """

    def __init__(self, classes: tuple[str, ...], rejected: list[dict[str, str]]) -> None:
        self.label_of = {name: label for label, name in enumerate(classes)}
        self.chips, self.files = Tally(classes), Tally(classes)
        self.rejected = rejected
        self.strays: list[dict[str, str]] = []
        self.num_empty = 0
        self.said: dict[str, set[str]] = {key: set() for key in ("polarisation", "calibration", "units")}
        self.paths: list[str] = []
        self._scenes: list[tuple[str, str]] = []  # what a chip was cut from, or the group that it was given
        self._digests: list[bytes] = []
        self._descriptors = bytearray()
        self._shapes: list[tuple[int, ...]] = []
        self._looks: list[tuple[float, float]] = []
        self._recordings: dict[str, list[str]] = {key: [] for key in shortcuts.COLUMNS}

    def enter(self, decoded: Decoded) -> Iterator[tuple[Prepared, int, str, dict[str, str]]]:
        """Record what became of a file; yields its chips with label, split and further columns."""
        self.num_empty += decoded.num_empty
        if decoded.reason is not None:
            left_out = self.strays if decoded.is_stray else self.rejected
            left_out.append({"path": decoded.path, "reason": decoded.reason})
            return
        unknown = {chip.columns.get("class", "") for chip in decoded.chips} - {"", *self.label_of}
        if unknown:
            self.rejected.append({"path": decoded.path, "reason": f"class {min(unknown)!r} is not in the manifest"})
            return
        whole = decoded.columns
        self.files.add(self.label_of.get(whole.get("class", ""), -1), whole.get("split", ""), decoded.shape)
        for chip in decoded.chips:
            columns = dict(chip.columns)
            label, split = self.label_of.get(columns.pop("class", ""), -1), columns.pop("split", "")
            self.chips.add(label, split, chip.image.shape)
            self._scenes.append(("group", columns["group"]) if "group" in columns else ("file", decoded.path))
            for key, values in self.said.items():
                if columns.get(key):
                    values.add(columns[key])
            self.paths.append(chip.path)
            self._digests.append(chip.digest)
            if chip.descriptor is not None:
                self._descriptors += chip.descriptor.tobytes()
            self._shapes.append(chip.image.shape)
            self._looks.append(shortcuts.looks_of(chip.image))
            for key, texts in self._recordings.items():
                texts.append(columns.get(key, ""))
            yield chip, label, split, columns

    def group(self, near_duplicates: bool) -> tuple[np.ndarray, dict[str, Any] | None]:
        """Groups (N,) of chips that show one scene, and the summary that index.json keeps of them.

        Chips of one scene are those cut from one file, those that a list puts into one group, and near-duplicates, if
        `near_duplicates` asks for them; else there is no summary.
        """
        if not near_duplicates:
            return duplicates.joined(np.arange(len(self.paths)), self._scenes), None
        descriptors_ND = np.frombuffer(self._descriptors, dtype=np.int16).reshape(len(self.paths), -1)
        grouping = duplicates.find_groups(descriptors_ND, self._digests)
        groups_N = duplicates.joined(grouping.groups, self._scenes)
        numbers = grouping.groups.tolist()  # of near-duplicates alone: one scene may hold several classes
        across = {"splits": spanning(numbers, self.chips.splits), "labels": spanning(numbers, self.chips.labels)}
        examples = [
            {"kind": kind, "paths": self._example(grouping.groups, group, kind)}
            for kind, groups in across.items()
            for group in groups[:MAX_EXAMPLES]
        ]
        counts = (grouping.exact, grouping.near, int(groups_N.max()) + 1)
        values = (*counts, len(across["splits"]), len(across["labels"]), examples)
        return groups_N, dict(zip(DUPLICATE_KEYS, values, strict=True))

    def spanning_names(self) -> list[str]:
        """Names of the groups that a list gives whose chips are in more than one split."""
        return [name for kind, name in spanning(self._scenes, self.chips.splits) if kind == "group"]

    def leaks(self, groups_N: np.ndarray) -> list[shortcuts.Shortcut]:
        """What size, brightness, border, scene, and serial and date where known, predict alone of the labels."""
        recordings = {key: texts for key, texts in self._recordings.items() if any(texts)}
        features = shortcuts.features_of(np.array(self._shapes), np.array(self._looks), groups_N, recordings)
        return shortcuts.shortcuts(np.array(self.chips.labels), np.array(self.chips.splits), features)

    def _example(self, groups: np.ndarray, group: int, kind: str) -> list[str]:
        """Paths of a group: one of each split or label first, so that the leak can be seen."""
        values = self.chips.splits if kind == "splits" else self.chips.labels
        members = np.flatnonzero(groups == group).tolist()
        first: dict[Any, int] = {}
        for member in members:
            first.setdefault(values[member], member)
        ordered = [*first.values(), *(member for member in members if member not in first.values())]
        return [self.paths[member] for member in ordered[:MAX_PATHS]]
