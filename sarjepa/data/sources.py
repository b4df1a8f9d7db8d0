"""Sources: what `--sources` names, as a list of jobs for the decoder.

There are three kinds: a public set (its manifest says which members of which archives are chips), the simulator, and a
folder of a user's own images (`sarjepa.data.own_images`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sarjepa.data import simulator
from sarjepa.data.decoding import Job
from sarjepa.data.locate import Located
from sarjepa.data.manifest import Distribution, Manifest
from sarjepa.data.manifest_parser import load_manifest
from sarjepa.errors import InputError
from sarjepa.files import printable
from sarjepa.formats.archives import Container, containers

SIMULATED = ("synthetic", "synthetic-pairs")


@dataclass(frozen=True)
class Source:
    """Everything there is to decode.

    Attributes:
        manifest: facts of the set; made up for a user's own folder.
        jobs: the files, sorted by their names inside the source.
        containers: paths of the containers, which a job's `container` indexes.
        distribution: form of a public set that is read, else None.
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
    """The simulator's chips, this many per class and split.

    Args:
        name: one of `SIMULATED`.
        seed: seed of the simulator.
        chips_per_class: number of chips per class and split.

    Example:
        >>> source = synthetic_source("synthetic", seed=0, chips_per_class=1)
        >>> len(source.jobs), source.jobs[0].path
        (10, 'test/bulldozer/00000')
    """
    manifest = load_manifest(name)
    assert set(manifest.classes) == set(simulator.CLASSES), "the manifest and simulator.TARGETS name the same classes"
    is_paired = name == "synthetic-pairs"
    chips = [
        simulator.SimulatedChip(seed, class_name, split, index, is_paired)
        for split in simulator.DEPRESSION_DEG
        for class_name in manifest.classes
        for index in range(chips_per_class)
    ]
    jobs = tuple(Job(chip.path, simulated=chip) for chip in sorted(chips, key=lambda chip: chip.path))
    expected = {split: dict.fromkeys(manifest.classes, chips_per_class) for split in simulator.DEPRESSION_DEG}
    return Source(manifest, jobs, expected=expected)


def public_source(manifest: Manifest, located: Located, cache: Path) -> Source:
    """The chips of a public set, from its files.

    Args:
        manifest: the set.
        located: files of the set, all at hand.
        cache: folder for unpacked archives that cannot be read in place.

    Example:
        >>> Path("aircraft-files/images/A220").mkdir(parents=True)
        >>> Path("aircraft-files/images/A220/001.jpg").touch()
        >>> manifest = load_manifest("saracd")
        >>> located = Located(manifest.distributions[0], paths=(Path("aircraft-files"),), missing=())
        >>> [(job.path, job.groups) for job in public_source(manifest, located, cache=Path("unpacked")).jobs]
        [('images/A220/001.jpg', {'class': 'A220'})]
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
    if manifest.open_classes:  # the paths name classes that the manifest does not
        names = {distribution.describe(job.groups, {}).get("class") for job in jobs} - {None, *manifest.classes}
        manifest = replace(manifest, classes=(*manifest.classes, *sorted(name for name in names if name)))
    paths = tuple(container.path for container in opened)
    return Source(manifest, jobs, paths, distribution, rejected, distribution.expected)


def _match(distribution: Distribution, path: str) -> tuple[str, dict[str, str | None]] | None:
    """A chip's name inside the source and its named groups.

    The name begins where the pattern begins to match: the folders above (a version in a name, an extra level of
    unpacking) depend on how the archive came here, and must not change the shards.
    """
    match = distribution.match(path)
    return None if match is None else (path[match.start() :], match.groupdict())


Matcher = Callable[[str], "tuple[str, dict[str, str | None]] | None"]


def jobs_of(opened: Sequence[Container], match: Matcher) -> tuple[tuple[Job, ...], tuple[tuple[str, str], ...]]:
    """The members that are chips, sorted by name, and (path, reason) of those rejected.

    Args:
        opened: containers to search.
        match: function of a member's path that gives the chip's name and named groups, or None; of two chips with one
            name, the first stays.

    Example:
        >>> from sarjepa.formats.archives import Folder
        >>> Path("one-disk").mkdir()
        >>> Path("one-disk/7.png").touch()
        >>> jobs, rejected = jobs_of([Folder(Path("one-disk"))] * 2, lambda path: (path, {}))
        >>> [job.path for job in jobs], rejected
        (['7.png'], (('7.png', 'a second file of this name in one-disk'),))
    """
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
