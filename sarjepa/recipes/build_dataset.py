"""build-dataset: manifest -> find or fetch -> archives -> readers -> normalise -> slice -> shards -> groups -> index.

A source is built under a temporary name beside the place where it will stand; index.json is written last, and the
finished folder is put in place by renaming. A build that is killed leaves what was there before, and a folder that the
next build removes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sarjepa.config import BuildDatasetConfig
from sarjepa.data import decoding, duplicates, summary
from sarjepa.data.locate import check_folders, locate
from sarjepa.data.manifest import ChipRule, Manifest, expand_sources, load_manifest, source_names
from sarjepa.data.normalize import Normalisation, measured
from sarjepa.data.place import exclusive, put_in_place, scratch_folder
from sarjepa.data.shards import FORMAT, ShardWriter, open_shards, write_json
from sarjepa.data.sources import Source, folder_source, public_source, synthetic_source
from sarjepa.errors import InputError
from sarjepa.progress import Progress
from sarjepa.recipes.result import Result
from sarjepa.reports.cards import counts_table, write_card
from sarjepa.reports.contact_sheet import draw_contact_sheet, pick_chips

MAX_LISTED = 1000  # rejected files listed one by one in index.json
MAX_EXAMPLES = 10  # groups shown that span splits or labels


@dataclass(frozen=True)
class Built:
    """A source as it stands now, and how it came to stand there."""

    name: str
    state: str
    index: dict[str, Any]


def run(config: BuildDatasetConfig, progress: Progress = Progress()) -> Result:  # noqa: B008 - stateless
    """Build every source that the settings name."""
    names = expand_sources(config.sources)
    check_folders(config.archives)
    built = [_build(name, config, progress) for name in names]
    return Result(
        message="\n".join(f"{one.name}: {one.index['num_chips']} chips, {one.state}" for one in built),
        folder=Path(config.data_root) / "shards",
        tables=tuple(counts_table(one.name, one.index["classes"], one.index["counts"]) for one in built),
    )


def source_folder(name: str, data_root: str) -> Path:
    """Where a source's shards stand: DATA_ROOT/shards/<source>; folder:PATH is called as its folder."""
    if not name.startswith("folder:"):
        return Path(data_root) / "shards" / name
    own = Path(name.removeprefix("folder:")).expanduser().resolve().name
    if own in source_names():
        raise InputError("a folder named like a public source", where=name, hint="rename the folder")
    return Path(data_root) / "shards" / own


def _build(name: str, config: BuildDatasetConfig, progress: Progress) -> Built:
    """Build one source, unless it stands."""
    final = source_folder(name, config.data_root)
    with exclusive(final):
        if (final / "index.json").is_file() and not config.force:
            return _standing(name, final, config, progress)
        source = _open(name, config)
        with scratch_folder(final) as folder:
            index = _write(source, folder, config, progress)
            put_in_place(folder, final)
    return Built(final.name, f"written to {final}", index)


def _standing(name: str, final: Path, config: BuildDatasetConfig, progress: Progress) -> Built:
    """A source that was built before: left as it is, with a word where the settings ask for something else."""
    index = open_shards(final).index
    if index["settings"] != _settings(config, name):
        progress.warn(f"{final.name} was built with other settings; --force builds it again")
    return Built(final.name, f"already built in {final}", index)


def _open(name: str, config: BuildDatasetConfig) -> Source:
    """The source's files as jobs, fetched where they are missing."""
    if name == "synthetic":
        return synthetic_source(config.seed, config.chips_per_class)
    if name.startswith("folder:"):
        return folder_source(Path(name.removeprefix("folder:")).expanduser())
    manifest = load_manifest(name)
    cache = Path(config.data_root) / "cache"
    located = locate(manifest, [*check_folders(config.archives), cache / "downloads" / name])
    return public_source(manifest, located, cache / "unpacked")


def _settings(config: BuildDatasetConfig, name: str) -> dict[str, Any]:
    """The settings that the shards' content depends on."""
    settings: dict[str, Any] = {
        "chip_size": config.chip_size,
        "overlap": config.overlap,
        "normalisation": config.normalisation,
    }
    if name == "synthetic":
        settings |= {"seed": config.seed, "chips_per_class": config.chips_per_class}
    return settings


def _write(source: Source, folder: Path, config: BuildDatasetConfig, progress: Progress) -> dict[str, Any]:
    """Decode every file into shards, group the chips, and write what describes them."""
    manifest = source.manifest
    settings = _decoding(source, config, progress)
    ledger = Ledger(manifest, [{"path": path, "reason": reason} for path, reason in source.rejected])
    writer = ShardWriter(folder, manifest.name)
    results = decoding.decode(source.jobs, settings, config.workers)
    for decoded in progress.track(results, f"building {manifest.name}", total=len(source.jobs)):
        for chip, label, split, columns in ledger.enter(decoded):
            writer.add(chip.image, label, split, chip.path, columns)
        _stop_if_too_many(ledger.rejected, len(source.jobs), config.max_rejected, manifest.name)
    if not ledger.paths:
        reasons = [item["reason"] for item in ledger.rejected[:1]]
        raise InputError("no chips came out", where=manifest.name, got=reasons[0] if reasons else "no files")
    groups, found = ledger.group() if config.near_duplicates else (np.arange(len(ledger.paths)), None)
    shards = writer.finish(groups)
    assert writer.dtype is not None, "chips were written"
    index = {
        "format": FORMAT,
        "source": manifest.name,
        "num_chips": writer.num_chips,
        "classes": list(manifest.classes),
        "label_sets": manifest.label_sets,
        "benchmark": manifest.benchmark,
        "resolution_m": manifest.resolution_m,
        "counts": ledger.tally.counts(),
        "expected": source.expected,
        "sizes": ledger.tally.describe_sizes(),
        "normalisation": settings.normalisation.describe(writer.dtype),
        "manifest_sha256": manifest.sha256,
        "distribution": source.distribution.name if source.distribution else None,
        "settings": _settings(config, manifest.name),
        "num_rejected": len(ledger.rejected),
        "rejected": ledger.rejected[:MAX_LISTED],
        "num_empty_tiles": ledger.num_empty,
        "duplicates": found or dict.fromkeys(DUPLICATE_KEYS),
        "shards": shards,
    }
    _describe(index, folder, manifest, progress)
    return index


DUPLICATE_KEYS = ("exact_groups", "near_groups", "num_groups", "spanning_splits", "spanning_labels", "examples")


class Ledger:
    """What is remembered of every chip while the pixels go to the shards."""

    def __init__(self, manifest: Manifest, rejected: list[dict[str, str]]) -> None:
        self.label_of = {name: label for label, name in enumerate(manifest.classes)}
        self.tally = summary.Tally(manifest.classes)
        self.rejected = rejected
        self.paths: list[str] = []
        self.digests: list[bytes] = []
        self.descriptors: list[np.ndarray] = []
        self.num_empty = 0

    def enter(self, decoded: decoding.Decoded) -> Iterator[tuple[decoding.Prepared, int, str, dict[str, str]]]:
        """Book what became of a file; yields its chips with label, split and further columns."""
        self.num_empty += decoded.num_empty
        if decoded.reason is not None:
            self.rejected.append({"path": decoded.path, "reason": decoded.reason})
        for chip in decoded.chips:
            columns = dict(chip.columns)
            name, split = columns.pop("class", ""), columns.pop("split", "")
            if name and name not in self.label_of:
                self.rejected.append({"path": chip.path, "reason": f"class {name!r} is not in the manifest"})
                continue
            label = self.label_of.get(name, -1)
            self.tally.add(label, split, chip.image.shape)
            self.paths.append(chip.path)
            self.digests.append(chip.digest)
            if chip.descriptor is not None:
                self.descriptors.append(chip.descriptor)
            yield chip, label, split, columns

    def group(self) -> tuple[np.ndarray, dict[str, Any]]:
        """Near-duplicate groups, and the summary that index.json keeps of them."""
        grouping = duplicates.find_groups(np.stack(self.descriptors), self.digests)
        across_splits = summary.spanning(grouping.groups.tolist(), self.tally.splits)
        across_labels = summary.spanning(grouping.groups.tolist(), self.tally.labels)
        examples = [
            {"kind": kind, "paths": [self.paths[i] for i in np.flatnonzero(grouping.groups == group)[:4]]}
            for kind, found in (("splits", across_splits), ("labels", across_labels))
            for group in found[:MAX_EXAMPLES]
        ]
        values = (
            grouping.exact,
            grouping.near,
            int(grouping.groups.max()) + 1,
            len(across_splits),
            len(across_labels),
            examples,
        )
        return grouping.groups, dict(zip(DUPLICATE_KEYS, values, strict=True))


def _decoding(source: Source, config: BuildDatasetConfig, progress: Progress) -> decoding.Settings:
    """How the files are decoded: the manifest's rules, overruled by the settings; set-wide numbers measured first."""
    manifest, chips = source.manifest, source.manifest.chips
    if config.chip_size is not None:
        chips = ChipRule("tiles", config.chip_size, config.overlap)
    wanted = manifest.normalisation if config.normalisation is None else {"method": config.normalisation}
    settings = decoding.Settings(
        containers=source.containers,
        formats=source.distribution.formats if source.distribution else None,
        distribution=source.distribution,
        chips=chips,
        normalisation=Normalisation(**wanted),
        describe=config.near_duplicates,
    )
    if settings.normalisation.needs_measuring:
        found = decoding.sample(source.jobs, settings, config.workers)
        pixels = progress.track(found, f"measuring {manifest.name}", total=len(source.jobs))
        settings = replace(settings, normalisation=measured(settings.normalisation, pixels))
    return settings


def _stop_if_too_many(rejected: list[dict[str, str]], num_files: int, share: float, name: str) -> None:
    if len(rejected) > max(share * num_files, 0):
        last = rejected[-1]
        raise InputError(
            "too many files cannot be used",
            where=name,
            expected=f"at most {share:.1%} of {num_files}",
            got=f"{len(rejected)} so far, the last {last['path']}: {last['reason']}",
            hint="check the files, or allow more with --max-rejected",
        )


def _describe(index: dict[str, Any], folder: Path, manifest: Manifest, progress: Progress) -> None:
    """Write index.json, the contact sheet and the card, and warn of what a user must not overlook."""
    write_json(folder / "index.json", index)
    shards = open_shards(folder)
    names = [*manifest.classes, ""]
    rows = [(names[label], shards.images(chosen)) for label, chosen in pick_chips(shards.labels, len(manifest.classes))]
    draw_contact_sheet(folder / "contact-sheet.png", f"{manifest.title}: {len(shards)} chips", rows, shards.scale)
    differences = summary.differences(index["expected"], index["counts"])
    write_card(folder / "CARD.md", dataclasses.asdict(manifest), index, differences)
    if differences:
        progress.warn(f"{manifest.name}: not the expected counts: {'; '.join(differences[:5])}")
    if index["rejected"]:
        first = index["rejected"][0]
        progress.warn(
            f"{manifest.name}: {index['num_rejected']} files left out, e.g. {first['path']}: {first['reason']}"
        )
    for example in (index["duplicates"]["examples"] or [])[:1]:
        found = index["duplicates"]
        progress.warn(
            f"{manifest.name}: near-duplicate groups span splits ({found['spanning_splits']}) or labels "
            f"({found['spanning_labels']}), e.g. {' = '.join(example['paths'][:2])}"
        )
