"""Sources: what `--sources` names, as a list of jobs for the decoder.

Three kinds come to the same thing: a public set (its manifest says which members of which archives are chips), a folder
of one's own images (every file that a reader knows; sub-folders are classes), and the simulator.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sarjepa.data import simulator
from sarjepa.data.archives import Container, Folder, containers
from sarjepa.data.decoding import Job
from sarjepa.data.locate import Located
from sarjepa.data.manifest import FORMATS, Distribution, Manifest
from sarjepa.data.manifest_parser import load_manifest
from sarjepa.errors import InputError
from sarjepa.files import printable

_NOT_IMAGES = (".txt", ".md", ".csv", ".xml", ".json", ".yaml", ".yml", ".pdf", ".html", ".py", ".xls", ".xlsx", ".doc")


@dataclass(frozen=True)
class Source:
    """Everything there is to decode.

    Attributes:
        manifest: the facts; made up for a folder of one's own.
        jobs: the files, sorted by their names inside the source.
        containers: what the jobs' `container` numbers mean.
        rejected: files left out before any is decoded, as (path, reason).
        expected: {split: {class: count}} or None.
    """

    manifest: Manifest
    jobs: tuple[Job, ...]
    containers: tuple[Path, ...] = ()
    distribution: Distribution | None = None
    rejected: tuple[tuple[str, str], ...] = ()
    expected: dict[str, dict[str, int]] | None = None


def synthetic_source(seed: int, chips_per_class: int) -> Source:
    """The simulator's chips: this many per class and split."""
    manifest = load_manifest("synthetic")
    assert set(manifest.classes) == set(simulator.CLASSES), "synthetic.yaml and simulator.TARGETS name the same classes"
    chips = [
        simulator.SimulatedChip(seed, name, split, index)
        for split in simulator.DEPRESSION_DEG
        for name in manifest.classes
        for index in range(chips_per_class)
    ]
    jobs = tuple(Job(chip.path, simulated=chip) for chip in sorted(chips, key=lambda chip: chip.path))
    expected = {split: dict.fromkeys(manifest.classes, chips_per_class) for split in simulator.DEPRESSION_DEG}
    return Source(manifest, jobs, expected=expected)


def public_source(manifest: Manifest, located: Located, cache: Path) -> Source:
    """The chips of a public set, from its files.

    Args:
        manifest: the set.
        located: its files, all at hand.
        cache: where archives are unpacked that cannot be read in place.
    """
    distribution = located.distribution
    opened = [container for path in located.paths for container in containers(path, cache)]
    jobs, rejected = _jobs(opened, lambda path: _match(distribution, path))
    if not jobs:
        raise InputError(
            f"no chips of {manifest.title} in there",
            where=", ".join(map(str, located.paths)),
            expected=f"members like {distribution.example}",
        )
    if manifest.open_classes:
        manifest = _with_found_classes(manifest, distribution, jobs)
    paths = tuple(container.path for container in opened)
    return Source(manifest, jobs, paths, distribution, rejected, distribution.expected)


def _with_found_classes(manifest: Manifest, distribution: Distribution, jobs: Sequence[Job]) -> Manifest:
    """The manifest with the class names that the paths show and it lacks."""
    found = {distribution.describe(job.groups, {}).get("class") for job in jobs} - {None, *manifest.classes}
    return replace(manifest, classes=(*manifest.classes, *sorted(name for name in found if name)))


def folder_source(folder: Path) -> Source:
    """One's own images: every file a reader may know, classes from the sub-folders where there are any."""
    jobs, _ = _jobs([_own_folder(folder)], _own_image)
    if not jobs:
        raise InputError(
            "no images in there",
            where=folder,
            expected=f"files of {', '.join(FORMATS)}",
            hint="links to folders are not followed",
        )
    classes = tuple(sorted({name for job in jobs if (name := job.groups["class"]) is not None}))
    return Source(_own_manifest(folder, classes), jobs, (folder,))


def folder_digest(folder: Path) -> str:
    """What tells one's own images from others under the same name: the folder's place, its files, sizes and times."""
    digest = hashlib.sha256(os.fsencode(folder.resolve()))
    for member in _own_folder(folder).members():
        changed_ns = (folder / member.name).stat().st_mtime_ns
        digest.update(f"\n{member.name}/{member.size}/{changed_ns}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _own_folder(folder: Path) -> Folder:
    if not folder.is_dir():
        got = "a file" if folder.exists() else None
        raise InputError("no such folder", where=folder, got=got, hint="folder:PATH names a folder of images")
    return Folder(folder, follow_files=True)


def _own_image(path: str) -> tuple[str, dict[str, str | None]] | None:
    if path.lower().endswith(_NOT_IMAGES) or path.rsplit("/", 1)[-1].startswith("."):
        return None
    return path, {"class": path.split("/", 1)[0] if "/" in path else None}


def _own_manifest(folder: Path, classes: tuple[str, ...]) -> Manifest:
    name = printable(folder.resolve().name)
    return Manifest(
        name=name,
        title=name,
        origin="a folder of one's own",
        terms="as the owner says",
        citation="",
        sensor="unknown",
        band="unknown",
        polarisation=(),
        resolution_m=None,
        classes=classes,
        label_sets={"folders": {"classes": list(classes)}} if classes else {},
        benchmark=None,  # there is no test split to keep out of pre-training
        distributions=(),
        sha256=hashlib.sha256("\n".join(classes).encode()).hexdigest(),
    )


def _match(distribution: Distribution, path: str) -> tuple[str, dict[str, str | None]] | None:
    """A chip's name inside the source and its named groups.

    The name begins where the pattern begins to match: what lies above (a version in a folder's name, an extra level of
    unpacking) is an accident of how the archive came here, and must not change the shards.
    """
    found = distribution.match(path)
    return None if found is None else (path[found.start() :], found.groupdict())


Matcher = Callable[[str], "tuple[str, dict[str, str | None]] | None"]


def _jobs(opened: Sequence[Container], match: Matcher) -> tuple[tuple[Job, ...], tuple[tuple[str, str], ...]]:
    """The members that are chips, sorted by name; of two with one name the first stays."""
    jobs: dict[str, Job] = {}
    rejected = []
    for number, container in enumerate(opened):
        for member in container.members():
            if (matched := match(printable(member.name))) is None:
                continue
            path, groups = matched
            if path in jobs:
                rejected.append((path, f"a second file of this name in {container.path.name}"))
            else:
                jobs[path] = Job(path, number, member.name, groups)
    return tuple(jobs[path] for path in sorted(jobs)), tuple(rejected)
