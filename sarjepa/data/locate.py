"""Locating: which of a data set's files are at hand, and what is missing.

A set may be distributed in several forms (official archives behind a log-in, a mirror without one). The first form
whose files are all at hand is taken; failing that, the first that a script can fetch. A file counts as at hand when it,
or a folder into which it was unpacked, is in one of the folders that the user named, or one level below.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sarjepa.data.manifest import Distribution, Manifest
from sarjepa.download import RemoteFile
from sarjepa.errors import InputError, nearest
from sarjepa.files import sha256_of

_SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar", ".zip", ".7z", ".rar")


@dataclass(frozen=True)
class Located:
    """A distribution, the paths of the files at hand, and the files that are not."""

    distribution: Distribution
    paths: tuple[Path, ...]
    missing: tuple[RemoteFile, ...]


def stem_of(name: str) -> str:
    """An archive's name without its suffix: the folder that it unpacks to.

    Example:
        >>> stem_of("MSTAR.tar.gz")
        'MSTAR'
    """
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def check_folders(archives: Iterable[str | Path]) -> list[Path]:
    """The folders a user named, with ~ resolved.

    Raises:
        InputError: one does not exist.

    Example:
        >>> check_folders(["data", "archvies"])
        Traceback (most recent call last):
        sarjepa.errors.InputError: no such folder: archvies; check --archives
    """
    folders = [Path(folder).expanduser() for folder in archives]
    for folder in folders:
        if not folder.exists():
            raise InputError("no such folder", where=folder, hint="check --archives")
    return folders


def find_file(file: RemoteFile, folders: Iterable[Path]) -> Path | None:
    """The path of a file, or of the folder it was unpacked to; None where it is in none of the folders.

    Example:
        >>> Path("at-hand/SAMPLE").mkdir(parents=True)  # already unpacked
        >>> find_file(RemoteFile("SAMPLE.zip"), [Path("data"), Path("at-hand")]).as_posix()
        'at-hand/SAMPLE'
    """
    for folder in folders:
        for name in (file.name, *file.aka):
            for candidate in (name, stem_of(name)):
                if folder.name == candidate:
                    return folder
                for path in (folder / candidate, *sorted(folder.glob(f"*/{glob.escape(candidate)}"))):
                    if path.exists():
                        return path
    return None


def locate(manifest: Manifest, folders: Sequence[Path], form: str | None = None) -> Located:
    """Choose the form of a set that is to be built.

    Args:
        manifest: the set.
        folders: folders to search, in order.
        form: the name of one of its distributions; None for the first that can be had.

    Raises:
        InputError: there is no such form, or none is at hand or could be fetched; the error names the files, the
            folders that were searched, and how to get them.

    Example:
        >>> from sarjepa.data.manifest_parser import load_manifest
        >>> Path("aircraft-set/SAR-ACD-main").mkdir(parents=True)
        >>> located = locate(load_manifest("saracd"), [Path("aircraft-set")])
        >>> located.distribution.name, [path.as_posix() for path in located.paths], located.missing
        ('github', ['aircraft-set/SAR-ACD-main'], ())
    """
    forms = [look(distribution, folders) for distribution in forms_of(manifest, form)]
    for located in forms:
        if located.paths and all(file.optional for file in located.missing):
            return located
    for located in forms:
        if all(file.fetchable or file.optional for file in located.missing):
            return located
    files = [[file.name for file in located.distribution.files if not file.optional] for located in forms]
    missing = [file for file in forms[0].missing if not file.optional]
    ways = "; ".join(dict.fromkeys(file.by_hand or f"fetch {file.addresses[0]}" for file in missing)).rstrip(".")
    raise InputError(
        f"files of {manifest.title} not found",
        where=manifest.name,
        expected=" or ".join(", ".join(names) for names in files),
        got=f"none of them in {', '.join(map(str, folders)) or 'any folder (no --archives given)'}",
        hint=f"{ways}, then name their folder with --archives",
    )


def forms_of(manifest: Manifest, form: str | None = None) -> list[Distribution]:
    """The forms of a set to choose from: all of them, or the one that is named.

    Raises:
        InputError: no such form.

    Example:
        >>> from sarjepa.data.manifest_parser import load_manifest
        >>> [form.name for form in forms_of(load_manifest("fusarship"))]
        ['ten-classes', 'full', 'ships']
    """
    if form is not None and form not in (names := [distribution.name for distribution in manifest.distributions]):
        raise InputError("no such distribution", where=f"{manifest.name}: {form!r}", hint=nearest(form, names))
    return [distribution for distribution in manifest.distributions if form in (None, distribution.name)]


def look(distribution: Distribution, folders: Sequence[Path]) -> Located:
    """Which files of a form are at hand and which are missing.

    Example:
        >>> from sarjepa.data.manifest_parser import load_manifest
        >>> [form] = forms_of(load_manifest("mstar"), "phoenix")
        >>> Path("vehicle-set/MSTAR-PublicMixedTargets-CD1").mkdir(parents=True)
        >>> located = look(form, [Path("vehicle-set")])
        >>> len(located.paths), [file.name for file in located.missing if not file.optional]
        (1, ['MSTAR-PublicTargetChips-T72-BMP2-BTR70-SLICY.zip', 'MSTAR-PublicMixedTargets-CD2.zip'])
    """
    paths = [(file, find_file(file, folders)) for file in distribution.files]
    return Located(
        distribution,
        tuple(dict.fromkeys(path for _, path in paths if path is not None)),
        tuple(file for file, path in paths if path is None),
    )


def doubts(distribution: Distribution, folders: Sequence[Path]) -> Iterator[str]:
    """A line for each file at hand whose size or checksum is not the known one.

    Example:
        >>> from sarjepa.data.manifest_parser import load_manifest
        >>> Path("ship-set").mkdir()
        >>> _ = Path("ship-set/ship_dataset_v0.zip").write_bytes(b"short")
        >>> print(*doubts(load_manifest("sarship").distributions[0], [Path("ship-set")]))
        ship-set/ship_dataset_v0.zip has 5 bytes, ship_dataset_v0.zip is known to have 426990175
    """
    for file in distribution.files:
        path = find_file(file, folders)
        if path is None or not path.is_file():
            continue
        if file.size not in (None, size := path.stat().st_size):
            yield f"{path} has {size} bytes, {file.name} is known to have {file.size}"
        elif file.sha256 not in (None, digest := sha256_of(path)):
            yield f"{path} has SHA-256 {digest[:12]}, {file.name} is known to have {file.sha256[:12]}"
