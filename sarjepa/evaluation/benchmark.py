"""A built data set as a benchmark.

A benchmark is a built source with one of its label sets, which says which chips count, what their classes are called
and how a chip becomes an input. All of it is in the source's index.json, so an evaluation needs the built folder alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sarjepa.data.built import open_source
from sarjepa.data.crops import check_crop, crop_side
from sarjepa.data.disturbances import disturbed
from sarjepa.data.shards import Shards
from sarjepa.data.shortcuts import Shortcut
from sarjepa.data.views import ViewKey, draw_views, render_views
from sarjepa.errors import InputError, nearest
from sarjepa.evaluation.features import ImageLoader
from sarjepa.evaluation.fewshot import GROUPED_POOL_SHARE, Candidates, split
from sarjepa.resampling import centre_crop_and_resize

# By the kind of its pool: the split of a benchmark whose index names none.
_DEFAULT_SPLITS = {
    "fraction-of-train": "the source's own split",
    "fraction-of-all": "random half of each class, drawn by the seed",
}


@dataclass(frozen=True)
class Benchmark:
    """A built data set as it is evaluated.

    Attributes:
        name: name of the source.
        label_set: name of the choice of classes and chips that count.
        shards: the chips.
        candidates: their labels within the label set, splits, groups and paths.
        crop: centre crop (px) before resizing, or None.
        data_sha256: checksum of the stored chips.
        split: rule that divides the chips, if no split of them is published; else empty.
        tested: name of the source of the test chips.
        is_foreign: whether the test chips are of another source, with which near-copies are not compared.
        disturbance: disturbance of the test chips (`sarjepa.data.disturbances`); training chips have none.
    """

    name: str
    label_set: str
    shards: Shards
    candidates: Candidates
    crop: int | None
    data_sha256: tuple[str, ...]
    split: str = ""
    tested: str = ""
    is_foreign: bool = False
    disturbance: str = "none"

    @property
    def leaks(self) -> str:
        """The shortcuts that predict many labels, in words; a crop that every chip fills hides the size of chips."""
        if self.is_foreign:
            return ""
        shortcuts = [Shortcut(**leak) for leak in self.shards.index.get("leaks") or ()]
        hides_size = self.crop is not None and self.crop <= self.shards.shapes.min()
        return ", ".join(
            str(shortcut)
            for shortcut in shortcuts
            if shortcut.is_large and not (shortcut.kind == "chip size" and hides_size)
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, which the candidates' labels index."""
        return self.candidates.classes

    def under(self, disturbance: str) -> Benchmark:
        """The same benchmark with disturbed test chips, under another name."""
        if disturbance == "none":
            return self
        return replace(self, name=f"{self.name}-under-{disturbance}", disturbance=disturbance)

    def loader(self, size: int, device: torch.device | str, disturbance: str = "none") -> ImageLoader:
        """A function from indices to inputs, (B, 1, size, size) on the device, disturbed or not."""

        def load(indices: np.ndarray) -> Tensor:
            images, scale = self.shards.images(indices), self.shards.scale
            image_B1SS = centre_crop_and_resize(images, scale, self.crop, size, device)
            return image_B1SS if disturbance == "none" else disturbed(image_B1SS, disturbance, indices)

        return load

    def view_loader(
        self, size: int, device: torch.device | str, names: Collection[str], seed: int, epoch: int = 0, copy: int = 0
    ) -> ImageLoader:
        """A function from indices to views (`sarjepa.data.views`), drawn by (seed, epoch, copy, index).

        Every other copy of a chip is mirrored (1, 3, ...), so that where mirroring is the only augmentation two copies
        are the chip and its mirror image, whatever the seed. Copy 0, for training by epochs, is mirrored by chance.

        Returns:
            The function; its result is (B, 1, size, size) on the device.
        """

        def load(indices: np.ndarray) -> Tensor:
            windows_B2 = self.shards.shapes[indices] if self.crop is None else np.full((len(indices), 2), self.crop)
            drawn = draw_views(windows_B2, names, ViewKey(seed, "shots", epoch, indices, copy))
            if copy and "mirror" in names:
                drawn = replace(drawn, mirror=np.full(len(indices), copy % 2 == 1))
            scales = [self.shards.scale] * len(indices)
            return render_views(self.shards.images(indices), scales, windows_B2, drawn, size, device)

        return load


def open_benchmark(
    data_root: str,
    name: str,
    label_set: str | None = None,
    crop: str = "published",
    test_name: str | None = None,
) -> Benchmark:
    """Open a built data set for evaluation.

    Args:
        data_root: folder that holds shards/NAME.
        name: name of the source.
        label_set: name of the label set; None: the one that the source's index names.
        crop: the crop setting.
        test_name: name of another source to test on; see `tested_on`.

    Raises:
        InputError: the source is not built (the hint is the command that builds it), there is no such label set, no
            chip of it has a label, or the crop names an unknown source.

    Example:
        >>> bars = open_benchmark("data", "toy", label_set="bars")
        >>> bars.classes, len(bars.shards), int((bars.candidates.labels >= 0).sum())
        (('along', 'across'), 72, 48)
    """
    shards = open_source(data_root, name)
    published = shards.index.get("benchmark") or {}
    label_sets = shards.index.get("label_sets") or {}
    chosen = label_set or published.get("label_set") or "all"
    if chosen not in label_sets and chosen != "all":
        hint = nearest(chosen, [*label_sets, "all"])
        raise InputError("no such label set", where=f"{chosen!r} of {name}", hint=hint)
    content, pool = label_sets.get(chosen, {"classes": shards.classes}), published.get("pool")
    candidates = _candidates(name, chosen, shards, content, pool)
    if not (candidates.labels >= 0).any():
        raise InputError(
            "no chip has a label", where=f"{name}, label set {chosen!r}", hint="evaluate a labelled source"
        )
    check_crop(data_root, crop)
    data_sha256 = tuple(shard["sha256"] for shard in shards.index["shards"])
    split_rule = "" if pool and pool["kind"] == candidates.pool_kind else _DEFAULT_SPLITS[candidates.pool_kind]
    benchmark = Benchmark(
        name, chosen, shards, candidates, crop_side(crop, name, shards), data_sha256, split_rule, name
    )
    if test_name in (None, name):
        return benchmark
    other = open_source(data_root, test_name)
    same = label_set if label_set in (other.index.get("label_sets") or {}) else None
    return tested_on(benchmark, open_benchmark(data_root, test_name, same))


class _Joined:
    """The chips of one source, then those of another; it has those attributes of `Shards` that a benchmark reads."""

    def __init__(self, first: Shards, second: Shards) -> None:
        self._first, self._second = first, second
        self.shapes = np.concatenate([first.shapes, second.shapes])
        self.paths = [*first.paths, *(f"{second.index['source']}/{path}" for path in second.paths)]
        self.index, self.scale = first.index, first.scale

    def __len__(self) -> int:
        return len(self.paths)

    def images(self, indices: Iterable[int]) -> list[np.ndarray]:
        """The pixels of some chips, all on the scale of the first source."""
        num, factor = len(self._first), self.scale / self._second.scale
        images = []
        for index in indices:
            [image] = self._first.images([index]) if index < num else self._second.images([index - num])
            images.append(image if index < num or factor == 1 else (image * factor).astype(np.float32))
        return images


def tested_on(benchmark: Benchmark, other: Benchmark) -> Benchmark:
    """The training side of one benchmark and the test side of another: its test split, or all of it without one.

    The shots are those of the first benchmark alone, and both sides have its crop. It is not known whether a chip of
    one is a near-copy of a chip of the other.

    Args:
        benchmark: benchmark to learn from.
        other: benchmark to test on; classes are matched by name.

    Raises:
        InputError: the benchmarks have no class in common.

    Example:
        >>> both = tested_on(open_benchmark("data", "toy", "bars"), open_benchmark("data", "copies"))
        >>> both.name, both.split
        ('toy-tested-on-copies', 'tested on all of copies; blob left out, which toy has not')
    """
    learnt, tested = benchmark.candidates, other.candidates
    where = f"{benchmark.name}, tested on {other.name}"
    lookup = np.array([*(learnt.classes.index(name) if name in learnt.classes else -1 for name in tested.classes), -1])
    if lookup.max() < 0:
        expected, got = f"some of {', '.join(learnt.classes)}", ", ".join(tested.classes)
        raise InputError("no class in common", where=where, expected=expected, got=got)
    is_test = (tested.splits == "test") & (tested.labels >= 0)
    side_N = is_test if is_test.any() else tested.labels >= 0
    in_train = (learnt.splits == "train") | (learnt.pool_kind == "fraction-of-all")
    label_N = lookup[np.where(side_N, tested.labels, -1)]
    shards = _Joined(benchmark.shards, other.shards)
    candidates = replace(
        learnt,
        labels=np.concatenate([np.where(in_train, learnt.labels, -1), label_N]),
        splits=np.array(["train"] * len(in_train) + ["test"] * len(label_N)),
        groups=np.concatenate([learnt.groups, tested.groups + learnt.groups.max() + 1]),
        paths=shards.paths,
        pool_kind="fraction-of-train",
        listed=None if learnt.listed is None else np.append(learnt.listed, np.full(len(label_N), False)),
        nameless=None if learnt.nameless is None else np.append(learnt.nameless, np.full(len(label_N), False)),
    )
    tested_labels = np.unique(label_N[label_N >= 0])
    untested = [name for label, name in enumerate(learnt.classes) if label not in tested_labels]
    left_out = [name for name in tested.classes if name not in learnt.classes]
    remarks = [f"no test chip of {', '.join(untested)}"] * bool(untested)
    remarks += [f"{', '.join(left_out)} left out, which {benchmark.name} has not"] * bool(left_out)
    return replace(
        benchmark,
        name=f"{benchmark.name}-tested-on-{other.name}",
        shards=shards,  # type: ignore[arg-type] # see _Joined
        candidates=candidates,
        data_sha256=(*benchmark.data_sha256, *other.data_sha256),
        split="; ".join([f"tested on {'the test split' if is_test.any() else 'all'} of {other.name}", *remarks]),
        tested=other.name,
        is_foreign=True,
    )


def sources_of(name: str) -> list[str]:
    """The built sources of a benchmark, from the name that `Benchmark.under` and `tested_on` give it.

    Example:
        >>> sources_of("mstar"), sources_of("toy-tested-on-copies-under-gain=0.5")
        (['mstar'], ['toy', 'copies'])
    """
    return re.sub(r"-under-[a-z]+=[0-9.]+$", "", name).split("-tested-on-")


def _candidates(name: str, label_set: str, shards: Shards, content: dict, pool: dict | None) -> Candidates:
    """The chips of a label set: labels renumbered, -1 for chips outside of it."""
    classes = tuple(content["classes"])
    lookup = np.full(len(shards.classes) + 1, -1, dtype=np.int64)  # the last entry serves label -1
    for label, class_name in enumerate(classes):
        lookup[shards.classes.index(class_name)] = label
    labels = lookup[shards.labels]
    for key, allowed in (content.get("where") or {}).items():
        labels = np.where(np.isin(np.array(shards.meta(key)), [str(value) for value in allowed]), labels, -1)
    splits = set(shards.splits[labels >= 0].tolist())
    # A form of the set without splits (FUSAR-Ship as released) cannot give its published share of a training split.
    if pool is None or (pool["kind"] == "fraction-of-train" and splits <= {""}):
        has_split = {"train", "test"} <= splits
        kind, fraction = ("fraction-of-train", 0.8) if has_split else ("fraction-of-all", 0.5)
    else:
        kind, fraction = pool["kind"], float(pool["fraction"])
    candidates = Candidates(
        f"{name}/{label_set}",
        classes,
        labels,
        shards.splits,
        shards.groups,
        shards.paths,
        kind,
        fraction,
        GROUPED_POOL_SHARE if kind == "fraction-of-all" else None,
        np.array(shards.meta("group")) != "" if shards.has_meta("group") else None,
        (shards.labels < 0) & (shards.splits != "test") if (shards.labels < 0).any() else None,
    )
    if splits:  # without any, no chip counts, which is the caller's error
        sides = split(candidates, "published", seed=0)
        if not (len(sides.pool) and len(sides.test)):
            raise InputError(
                "chips to learn from or to test on are missing",
                where=f"{name}, label set {label_set!r}",
                got=f"{len(sides.pool)} to learn from, {len(sides.test)} to test on",
                hint="build the whole set, or choose another --label-set",
            )
    return candidates
