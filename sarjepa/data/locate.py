"""Locating: which of a data set's files are at hand, and what is missing.

A set may be passed on in several forms (official archives behind a log-in, a mirror without one). The first form whose
files are all at hand is taken; failing that, the first that a script can fetch. A file counts as at hand when it, or a
folder into which it was unpacked, is in one of the folders that the user named, or one level below.
"""

from __future__ import annotations

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
    """An archive's name without its suffix: the folder that it unpacks to."""
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def check_folders(archives: Iterable[str | Path]) -> list[Path]:
    """The folders a user named, with ~ resolved.

    Raises:
        InputError: one does not exist.
    """
    folders = [Path(folder).expanduser() for folder in archives]
    for folder in folders:
        if not folder.exists():
            raise InputError("no such folder", where=folder, hint="check --archives")
    return folders


def find_file(file: RemoteFile, folders: Iterable[Path]) -> Path | None:
    """The place of a file, or of the folder it was unpacked to; None where it is in none of the folders."""
    for folder in folders:
        for name in (file.name, *file.aka):
            for candidate in (name, stem_of(name)):
                if folder.name == candidate:
                    return folder
                places = (folder / candidate, *sorted(folder.glob(f"*/{_literal(candidate)}")))
                if found := next((place for place in places if place.exists()), None):
                    return found
    return None


def _literal(name: str) -> str:
    """A name in which glob sees no wildcard."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def locate(manifest: Manifest, folders: Sequence[Path], form: str | None = None) -> Located:
    """Choose the form of a set that is to be built.

    Args:
        manifest: the set.
        folders: folders to search, in order.
        form: the name of one of its distributions; None for the first that can be had.

    Raises:
        InputError: no such form; or none is at hand or could be fetched, and what was looked for, where, and how to
            get it.
    """
    wanted = forms_of(manifest, form)
    found = [look(distribution, folders) for distribution in wanted]
    for located in found:
        if located.paths and not any(not file.optional for file in located.missing):
            return located
    for located in found:
        if all(file.fetchable or file.optional for file in located.missing):
            return located
    raise InputError(
        f"files of {manifest.title} not found",
        where=manifest.name,
        expected=" or ".join(_names(distribution) for distribution in wanted),
        got=f"none of them in {', '.join(map(str, folders)) or 'any folder (no --archives given)'}",
        hint=_how_to_get(found) + ", then name their folder with --archives",
    )


def forms_of(manifest: Manifest, form: str | None = None) -> list[Distribution]:
    """The forms of a set to choose from: all of them, or the one that is named.

    Raises:
        InputError: no such form.
    """
    if form is not None and form not in (names := [one.name for one in manifest.distributions]):
        raise InputError("no such distribution", where=f"{manifest.name}: {form!r}", hint=nearest(form, names))
    return [one for one in manifest.distributions if form in (None, one.name)]


def look(distribution: Distribution, folders: Sequence[Path]) -> Located:
    """Which files of a form are at hand and which are missing."""
    places = [(file, find_file(file, folders)) for file in distribution.files]
    return Located(
        distribution,
        tuple(dict.fromkeys(place for _, place in places if place is not None)),
        tuple(file for file, place in places if place is None),
    )


def doubts(distribution: Distribution, folders: Sequence[Path]) -> Iterator[str]:
    """What is odd about the files at hand, in words: a size or checksum other than the known one."""
    for file in distribution.files:
        place = find_file(file, folders)
        if place is None or not place.is_file():
            continue
        if file.size not in (None, size := place.stat().st_size):
            yield f"{place} has {size} bytes, {file.name} is known to have {file.size}"
        elif file.sha256 not in (None, digest := sha256_of(place)):
            yield f"{place} has SHA-256 {digest[:12]}, {file.name} is known to have {file.sha256[:12]}"


def _names(distribution: Distribution) -> str:
    return ", ".join(file.name for file in distribution.files if not file.optional)


def _how_to_get(found: Sequence[Located]) -> str:
    missing = [file for file in found[0].missing if not file.optional]
    return "; ".join(dict.fromkeys(file.by_hand or f"fetch {file.addresses[0]}" for file in missing)).rstrip(".")
