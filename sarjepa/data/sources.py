"""Sources: what `--sources` names, as a list of jobs for the decoder.

Three kinds come to the same thing: a public set (its manifest says which members of which archives are chips), the
simulator, and a folder of one's own images (`sarjepa.data.own_images`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sarjepa.data import simulator
from sarjepa.data.archives import Container, containers
from sarjepa.data.decoding import Job
from sarjepa.data.locate import Located
from sarjepa.data.manifest import Distribution, Manifest
from sarjepa.data.manifest_parser import load_manifest
from sarjepa.errors import InputError
from sarjepa.files import printable

SIMULATED = ("synthetic", "synthetic-pairs")


@dataclass(frozen=True)
class Source:
    """Everything there is to decode.

    Attributes:
        manifest: the facts; made up for a folder of one's own.
        jobs: the files, sorted by their names inside the source.
        containers: containers that the jobs' `container` numbers count.
        rejected: files left out before any is decoded, as (path, reason).
        expected: {split: {class: count}} or None.
    """

    manifest: Manifest
    jobs: tuple[Job, ...]
    containers: tuple[Path, ...] = ()
    distribution: Distribution | None = None
    rejected: tuple[tuple[str, str], ...] = ()
    expected: dict[str, dict[str, int]] | None = None


def synthetic_source(name: str, seed: int, chips_per_class: int) -> Source:
    """The simulator's chips, this many per class and split: one of `SIMULATED`."""
    manifest = load_manifest(name)
    assert set(manifest.classes) == set(simulator.CLASSES), "the manifest and simulator.TARGETS name the same classes"
    is_paired = name == "synthetic-pairs"
    chips = [
        simulator.SimulatedChip(seed, name, split, index, is_paired)
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
        located: the files of the source, all at hand.
        cache: folder for unpacked archives that cannot be read in place.
    """
    distribution = located.distribution
    opened = [container for path in located.paths for container in containers(path, cache)]
    jobs, rejected = jobs_of(opened, lambda path: _match(distribution, path))
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


def _match(distribution: Distribution, path: str) -> tuple[str, dict[str, str | None]] | None:
    """A chip's name inside the source and its named groups.

    The name begins where the pattern begins to match: what lies above (a version in a folder's name, an extra level of
    unpacking) is an accident of how the archive came here, and must not change the shards.
    """
    found = distribution.match(path)
    return None if found is None else (path[found.start() :], found.groupdict())


Matcher = Callable[[str], "tuple[str, dict[str, str | None]] | None"]


def jobs_of(opened: Sequence[Container], match: Matcher) -> tuple[tuple[Job, ...], tuple[tuple[str, str], ...]]:
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
