"""build-dataset: manifest -> find or fetch -> archives -> readers -> normalise -> slice -> shards -> groups -> index.

A source is built in a temporary folder beside its final one, and the finished folder is put in place by renaming. A
build that is killed leaves the earlier folder as it was, and a temporary folder that the next build removes; downloads
and unpacked archives are kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sarjepa.config import BuildDatasetConfig
from sarjepa.data import decoding, summary
from sarjepa.data.built import built_folder, expand_built
from sarjepa.data.ledger import DUPLICATE_KEYS, Ledger
from sarjepa.data.locate import check_folders, doubts, locate
from sarjepa.data.manifest import ChipRule, Manifest
from sarjepa.data.manifest_parser import expand_sources, load_manifest, source_names
from sarjepa.data.normalize import Normalisation, measured
from sarjepa.data.own_images import folder_digest, own_source, split_of
from sarjepa.data.own_names import PAIRS, is_own, own_folders, source_name
from sarjepa.data.place import check_replaceable, exclusive, put_in_place, scratch_folder
from sarjepa.data.shard_writer import disk_errors
from sarjepa.data.shards import FORMAT, ShardWriter, open_shards
from sarjepa.data.sources import SIMULATED, Source, public_source, synthetic_source
from sarjepa.documents import read_record
from sarjepa.download import fetch
from sarjepa.errors import InputError
from sarjepa.files import write_atomically, write_json
from sarjepa.overlay import by_name, changes, deciding
from sarjepa.progress import Progress
from sarjepa.recipes.build_dataset.checks import check_leaks, dry_run, verify_built
from sarjepa.reports.cards import BuiltIndex, card_text, counts_table, provenance_of
from sarjepa.reports.contact_sheet import contact_sheet, pick_chips
from sarjepa.results.result import Result

_WRITTEN = re.compile(r"(index\.json|CARD\.md|contact-sheet\.png|.+-\d{5}\.h5)(\.partial)?")  # the files of a build


@dataclass(frozen=True)
class Built:
    """A built source, and whether this call built it."""

    name: str
    state: str
    index: dict[str, Any]


def run(config: BuildDatasetConfig, progress: Progress = Progress()) -> Result:  # noqa: B008 - stateless
    """Build every source of the settings, or only report: --dry-run, --verify, --check-leaks.

    Example:
        >>> config = BuildDatasetConfig(data_root="simulated", sources=("synthetic",), chips_per_class=1, workers=1)
        >>> run(config).message
        'synthetic: 10 chips, written to simulated/shards/synthetic'
        >>> run(config).message  # nothing is built twice, unless `force` is set
        'synthetic: 10 chips, already built in simulated/shards/synthetic'
    """
    if config.verify or config.check_leaks:  # these take built sources, by the names of their folders
        standing = {name: built_folder(config.data_root, name) for name in expand_built(config.sources)}
        return verify_built(standing, progress) if config.verify else check_leaks(standing, progress)
    names = expand_sources(config.sources)
    folders = _folders(names, config)
    archives = check_folders(config.archives)
    has_own = any(is_own(name) for name in names)
    has_public = any(name in source_names() and name != "synthetic" for name in names)
    for key, matters in (("split_by", has_own), ("bands", has_own), ("distribution", has_public)):
        if getattr(config, key) is not None and not matters:
            expected = "a public set" if key == "distribution" else "a source folder:PATH"
            where, got = key.replace("_", "-"), ", ".join(names)
            raise InputError("none of the sources has use for it", where=where, expected=expected, got=got)
    if config.dry_run:
        return dry_run(folders, archives, config.distribution)
    built, failures = [], []
    for name, folder in folders.items():
        try:
            built.append(_build(name, folder, config, progress))
        except InputError as error:
            if len(folders) == 1:
                raise
            failures.append(f"{name}: {error}")
    lines = [f"{source.name}: {source.index['num_chips']} chips, {source.state}" for source in built]
    if failures:
        for line in lines:
            progress.note(line)
        raise InputError(f"{len(failures)} of {len(folders)} sources could not be built", where="; ".join(failures))
    return Result(
        message="\n".join(lines),
        folder=Path(config.data_root) / "shards",
        tables=tuple(counts_table(source.name, source.index["classes"], source.index["counts"]) for source in built),
    )


def _folders(names: Sequence[str], config: BuildDatasetConfig) -> dict[str, Path]:
    """The folder of each source's shards, no two the same."""
    for key, value in (("name", config.name), ("label-pattern", config.label_pattern)):
        if value is not None and sum(is_own(name) for name in names) != 1:
            expected = "one source folder:PATH that it is for"
            raise InputError("not for these sources", where=key, expected=expected, got=", ".join(names))
    folders = {name: source_folder(name, config.data_root, config.name) for name in names}
    owners: dict[Path, str] = {}
    for name, folder in folders.items():
        if owners.setdefault(folder, name) != name:
            got = f"{owners[folder]} and {name}"
            raise InputError(
                "two sources of one name", where=folder.name, got=got, hint="build one of them by itself, with --name"
            )
    return folders


def source_folder(name: str, data_root: str, called: str | None = None) -> Path:
    """The folder of a source's shards: DATA_ROOT/shards/<source>; one's own source is named `called` or as its folder.

    Example:
        >>> str(source_folder("folder:harbour/tiles", "data"))
        'data/shards/tiles'
    """
    if not is_own(name):
        return Path(data_root) / "shards" / name
    own = called or source_name(name)
    if not own:
        raise InputError("a folder without a name", where=name, hint="give --name")
    if own in source_names():
        raise InputError("called like a public source", where=name, hint="give another --name")
    return Path(data_root) / "shards" / own


def _build(name: str, final: Path, config: BuildDatasetConfig, progress: Progress) -> Built:
    """Build one source, unless it is built already."""
    with exclusive(final):
        asked = _settings(config, name)
        if (final / "index.json").is_file() and not config.force:
            return _standing(final, asked, config, progress)
        check_replaceable(final, lambda file: _WRITTEN.fullmatch(file) is not None)
        source = _open(name, config, progress)
        with scratch_folder(final) as folder:
            index = _write(source, asked, folder, config, progress)
            put_in_place(folder, final)
    return Built(final.name, f"written to {final}", index)


def _standing(final: Path, asked: dict[str, Any], config: BuildDatasetConfig, progress: Progress) -> Built:
    """Leave a built source as it is, with a warning if it was built with other settings."""
    index = open_shards(final).index
    stored = index.get("settings") or {}
    changed = [str(change) for change in changes(config, stored) if change.name in by_name(asked)]
    if stored.get("files") != asked.get("files"):
        progress.warn(f"{final.name} was built from other files; --force builds it again")
    elif changed:
        progress.warn(f"{final.name} was built with other settings, now {', '.join(changed)}; --force builds it again")
    return Built(final.name, f"already built in {final}", index)


def _open(name: str, config: BuildDatasetConfig, progress: Progress) -> Source:
    """The source's files as jobs, fetched where they are missing."""
    if name in SIMULATED:
        return synthetic_source(name, config.seed, config.chips_per_class)
    if is_own(name):
        source = own_source(own_folders(name), config.split_by, config.label_pattern, name.startswith(PAIRS))
        if config.name is not None:
            source = replace(source, manifest=replace(source.manifest, name=config.name, title=config.name))
        for note in source.manifest.notes:
            progress.note(f"{name}: {note}")
        if config.split_by is None and (splits := [label for label in source.manifest.classes if split_of(label)]):
            fault = f"not every image is in a folder called like a split, so {', '.join(splits)} counts as a class"
            progress.warn(f"{name}: {fault}; --split-by folder or FILE.csv says the splits")
        return source
    manifest = load_manifest(name)
    cache = Path(config.data_root) / "cache"
    downloads = cache / "downloads" / name
    folders = [*check_folders(config.archives), downloads]
    located = locate(manifest, folders, config.distribution)
    if manifest.unverified:
        progress.note(f"{name}: not verified against the source: {', '.join(manifest.unverified)}")
    for doubt in doubts(located.distribution, folders):
        progress.warn(f"{name}: {doubt}")
    fetched = [fetch(file, downloads, progress) for file in located.missing if file.fetchable]
    located = replace(located, paths=(*located.paths, *fetched))
    return public_source(manifest, located, cache / "unpacked")


def _settings(config: BuildDatasetConfig, name: str) -> dict[str, Any]:
    """The settings that decide the content of the shards."""
    asked = deciding(config, of_grid=True)
    if name in SIMULATED:
        return asked | {"seed": config.seed}
    del asked["chips_per_class"]
    if is_own(name):
        asked["files"] = folder_digest(own_folders(name), config.split_by)
    return asked


def _write(
    source: Source, asked: dict[str, Any], folder: Path, config: BuildDatasetConfig, progress: Progress
) -> dict[str, Any]:
    """Decode every file into shards, group the chips, and write what describes them."""
    manifest = source.manifest
    settings = _decoding(source, config, progress)
    ledger = Ledger(manifest.classes, [{"path": path, "reason": reason} for path, reason in source.rejected])
    writer = ShardWriter(folder, manifest.name)
    results = decoding.decode(source.jobs, settings, config.workers)
    for decoded in progress.track(results, f"building {manifest.name}", total=len(source.jobs)):
        for chip, label, split, columns in ledger.enter(decoded):
            writer.add(chip.image, label, split, chip.path, columns, chip.optical)
        num_images = len(source.jobs) - len(ledger.strays)
        _stop_if_too_many(ledger.rejected, num_images, config.max_rejected, manifest.name)
    if ledger.said["polarisation"]:
        manifest = replace(manifest, polarisation=tuple(sorted(ledger.said["polarisation"])))
    notes = [f"{key}: {', '.join(sorted(ledger.said[key]))}" for key in ("calibration", "units") if ledger.said[key]]
    manifest = replace(manifest, notes=(*manifest.notes, *notes))
    rejected = [*ledger.rejected, *ledger.strays]
    if not ledger.paths:
        reasons = [item["reason"] for item in rejected[:1]]
        raise InputError("no chips came out", where=manifest.name, got=reasons[0] if reasons else "no files")
    groups, duplicates = ledger.group(config.near_duplicates)
    shards = writer.finish(groups)
    assert writer.dtype is not None, "chips were written"
    leaks = ledger.leaks(groups)
    for leak in leaks:
        if leak.is_large:
            progress.warn(f"{manifest.name}: {leak}")
    side = source.distribution.expected_side if source.distribution else None
    differences = summary.differences(source.expected, ledger.files.counts())
    differences += summary.size_difference(side, ledger.files.sizes)
    index = {
        "format": FORMAT,
        "source": manifest.name,
        "num_chips": writer.num_chips,
        "classes": list(manifest.classes),
        "label_sets": manifest.label_sets,
        "benchmark": manifest.benchmark,
        "resolution_m": manifest.resolution_m,
        "counts": ledger.chips.counts(),
        "file_counts": ledger.files.counts(),
        "expected": source.expected,
        "sizes": ledger.chips.describe_sizes(),
        "normalisation": settings.normalisation.describe(writer.dtype),
        "manifest_sha256": manifest.sha256,
        "distribution": source.distribution.name if source.distribution else None,
        "settings": asked,
        "num_rejected": len(rejected),
        "rejected": rejected,
        "num_empty_tiles": ledger.num_empty,
        "leaks": [vars(leak) for leak in leaks],
        "duplicates": duplicates or dict.fromkeys(DUPLICATE_KEYS),
        "spanning_groups": ledger.spanning_names(),
        "shards": shards,
        "card": provenance_of(manifest, differences),
    }
    _describe(index, differences, folder, manifest, progress)
    return index


def _decoding(source: Source, config: BuildDatasetConfig, progress: Progress) -> decoding.Settings:
    """How files are decoded: by the manifest's rules, overruled by the settings. A set-wide scale is measured here."""
    manifest, distribution = source.manifest, source.distribution
    chips = replace(manifest.chips, overlap=config.overlap or manifest.chips.overlap)
    if config.chip_size is not None:
        chips = ChipRule("tiles", config.chip_size, config.overlap)
    normalisation = (distribution and distribution.normalisation) or manifest.normalisation
    if config.normalisation is not None:
        normalisation = {"method": config.normalisation, "per": config.normalise_per}
    settings = decoding.Settings(
        containers=source.containers,
        formats=distribution.formats if distribution else None,
        distribution=distribution,
        chips=chips,
        normalisation=Normalisation(**normalisation),
        describe=config.near_duplicates,
        bands=None if distribution else config.bands,
    )
    if settings.normalisation.needs_measuring:
        samples = decoding.sample(source.jobs, settings, config.workers)
        pixels = progress.track(samples, f"measuring {manifest.name}", total=len(source.jobs))
        settings = replace(settings, normalisation=measured(settings.normalisation, pixels))
    return settings


def _stop_if_too_many(rejected: list[dict[str, str]], num_files: int, share: float, name: str) -> None:
    if len(rejected) > share * num_files:
        last = rejected[-1]
        raise InputError(
            "too many files cannot be used",
            where=name,
            expected=f"at most {share:.1%} of {num_files}",
            got=f"{len(rejected)} so far, the last {last['path']}: {last['reason']}",
            hint="check the files, or allow more with --max-rejected",
        )


def _describe(
    index: dict[str, Any], differences: list[str], folder: Path, manifest: Manifest, progress: Progress
) -> None:
    """Write index.json, the card and the contact sheet; warn of what differs, was left out, leaks or has one side."""
    with disk_errors(folder / "index.json"):
        write_json(folder / "index.json", index)
        built = read_record(folder / "index.json", BuiltIndex)
        write_atomically(folder / "CARD.md", card_text(built, provenance_of(manifest, differences)))
    shards, names = open_shards(folder), [*manifest.classes, ""]
    rows = [(names[label], shards.images(chosen)) for label, chosen in pick_chips(shards.labels, len(manifest.classes))]
    with disk_errors(folder):
        sheet = contact_sheet(f"{manifest.title}: {len(shards)} chips", rows, shards.scale)
        write_atomically(folder / "contact-sheet.png", sheet)
    if differences:
        progress.warn(f"{manifest.name}: not as expected: {'; '.join(differences[:5])}")
    if index["rejected"]:
        first = index["rejected"][0]
        progress.warn(
            f"{manifest.name}: {index['num_rejected']} files left out, e.g. {first['path']}: {first['reason']}"
        )
    duplicates = index["duplicates"]
    for example in (duplicates["examples"] or [])[:1]:
        progress.warn(
            f"{manifest.name}: near-duplicate groups span splits ({duplicates['spanning_splits']}) or labels "
            f"({duplicates['spanning_labels']}), e.g. {' = '.join(example['paths'][:2])}"
        )
    train, test = ([name for name in index["counts"].get(side, {}) if name] for side in ("train", "test"))
    if train and test and (told := summary.one_sided(train, test)):
        progress.warn(f"{manifest.name}: {told}")
    if names := index["spanning_groups"]:
        progress.warn(f"{manifest.name}: named groups span splits ({len(names)}), e.g. {', '.join(names[:5])}")
