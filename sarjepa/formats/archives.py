"""Archives: one view of zip, tar, 7z, rar and plain folders, which trusts nothing that an archive says about itself.

A zip and a folder are read in place, member by member, by many processes at once. What cannot be read in any order (a
tar, a 7z, a rar, an archive inside an archive) is first unpacked into a cache folder, after its listing has been
checked, and is then read as a folder. The rules:

- a member may not leave the folder (absolute names, "..", drive letters, backslashes), be a link or a device;
- two members may not differ by case alone (they would overwrite each other on some file systems);
- encrypted members are refused;
- bombs are refused by limits on the depth of a nest, the declared total and the declared ratio of each member, by
  overlapping members, and, since declarations may lie, by a limit on the bytes that really come out.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from sarjepa.boundary import decoder_errors
from sarjepa.errors import InputError
from sarjepa.files import need_room, not_data
from sarjepa.formats.archive_safety import LARGEST_DEPTH, check_names, check_sizes
from sarjepa.formats.unpacking import cannot_unpack, unpack

NESTED = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
IGNORED = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", ".git")
_FETCH_AGAIN = "remove it and fetch it again"
_MAGIC = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
    b"\x1f\x8b": "tar",
    b"BZh": "tar",
    b"\xfd7zXZ\x00": "tar",
}


@dataclass(frozen=True)
class Member:
    """A file in a container: its name with forward slashes, its size in bytes."""

    name: str
    size: int


class Container(Protocol):
    """Files to be read in any order."""

    path: Path

    def members(self) -> list[Member]:
        """Every regular file, sorted by name."""

    def read(self, name: str) -> bytes:
        """The content of one file."""

    def holds(self, name: str) -> bool:
        """Whether there is a file of this name."""


def kind_of(path: Path) -> str | None:
    """What a file is, by its first bytes: "zip", "7z", "rar", "tar", or "folder"; None for anything else.

    Raises:
        InputError: it cannot be read.

    Example:
        >>> zipfile.ZipFile("misnamed.rar", "w").close()
        >>> kind_of(Path("misnamed.rar")), kind_of(Path("data"))
        ('zip', 'folder')
    """
    if path.is_dir():
        return "folder"
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise _cannot_read(path, error) from error
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    return "tar" if head[257:262] == b"ustar" else None


def open_container(path: Path) -> Container:
    """A zip or a folder, to be read in place.

    Raises:
        InputError: it is neither, is damaged, or holds a member that must not be unpacked.

    Example:
        >>> with zipfile.ZipFile("chips.zip", "w") as archive:
        ...     archive.writestr("tank/1.png", "pixels")
        >>> container = open_container(Path("chips.zip"))
        >>> container.members(), container.read("tank/1.png")
        ([Member(name='tank/1.png', size=6)], b'pixels')
    """
    kind = kind_of(path)
    if kind == "folder":
        return Folder(path)
    if kind == "zip":
        return Zip(path)
    raise InputError("not a zip archive or folder", where=path, got=kind or _instead(path))


def containers(path: Path, cache: Path, depth: int = 1) -> list[Container]:
    """The containers that a path from the user holds: itself, and each archive inside it.

    Args:
        path: an archive of any kind, or a folder.
        cache: folder for unpacked archives that cannot be read in place; a second build reads them from there.
        depth: level in a nest of archives, from 1.

    Raises:
        InputError: not an archive, damaged, not to be trusted, or nested without end.

    Example:
        >>> zipfile.ZipFile("inner.zip", "w").close()
        >>> with zipfile.ZipFile("outer.zip", "w") as outer:
        ...     outer.write("inner.zip")
        >>> [container.path.name for container in containers(Path("outer.zip"), cache=Path("unpacked"))]
        ['outer.zip', 'inner.zip']
    """
    kind = kind_of(path)
    if kind is None:
        raise InputError("not a known kind of archive", where=path, got=_instead(path), hint=_FETCH_AGAIN)
    container = open_container(path) if kind in ("folder", "zip") else Folder(_unpacked(path, kind, cache))
    opened = [container]
    for member in container.members():
        if member.name.lower().endswith(NESTED):
            if depth == LARGEST_DEPTH:
                raise InputError("archives nested beyond reason", where=path, got=repr(member.name))
            opened.extend(containers(_nested(container, member, cache), cache, depth + 1))
    return opened


def _instead(path: Path) -> str:
    """What a file is that is no archive, in words."""
    with path.open("rb") as stream:
        head = stream.read(256)
    return not_data(head) or (f"a file that begins with {head[:8]!r}" if head else "an empty file")


def _cannot_read(path: Path | str, error: OSError) -> InputError:
    return InputError("cannot read", where=path, got=error.strerror, hint="check that it is there and may be read")


class Folder:
    """An unpacked folder.

    Args:
        path: the folder.
        follow_files: whether links to files count as files. Links out of an archive are not followed; links in a
            user's own folder may be. Links to folders never are.
    """

    def __init__(self, path: Path, follow_files: bool = False) -> None:
        self.path, self.follow_files = path, follow_files

    def members(self) -> list[Member]:
        """Every regular file below the folder.

        Raises:
            InputError: a folder cannot be read.
        """
        members = []
        for root, folders, files in os.walk(self.path, onerror=_stop, followlinks=False):
            folders[:] = [name for name in folders if name not in IGNORED]
            for name in files:
                path = Path(root, name)
                if name not in IGNORED and path.is_file() and (self.follow_files or not path.is_symlink()):
                    members.append(Member(path.relative_to(self.path).as_posix(), path.stat().st_size))
        return sorted(members, key=lambda member: member.name)

    def read(self, name: str) -> bytes:
        """The content of one file."""
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise _cannot_read(self.path / name, error) from error

    def holds(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return (self.path / name).is_file()


def _stop(error: OSError) -> None:
    """Refuse a folder that os.walk cannot list and would leave out silently."""
    raise _cannot_read(error.filename, error) from error


class Zip:
    """A zip, its listing checked when it is opened.

    Args:
        path: path of the zip.

    Raises:
        InputError: it is damaged, or holds a member that must not be unpacked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with decoder_errors(
                lambda words: InputError("damaged or truncated zip", where=path, got=words, hint=_FETCH_AGAIN)
            ):
                self._zip = zipfile.ZipFile(path)
                entries = [entry for entry in self._zip.infolist() if not entry.is_dir()]
        except OSError as error:
            raise _cannot_read(path, error) from error
        for entry in entries:
            if entry.flag_bits & 1:
                raise InputError("encrypted member", where=path, got=repr(entry.filename))
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise InputError("member is a link", where=path, got=repr(entry.filename))
        # orig_filename: in filename, zipfile turns backslashes round and cuts at NUL on some systems.
        check_names((entry.orig_filename for entry in entries), path)
        check_sizes(((entry.filename, entry.file_size, entry.compress_size) for entry in entries), path)
        self._members = [
            Member(entry.filename, entry.file_size)
            for entry in entries
            if not set(IGNORED) & set(PurePosixPath(entry.filename).parts)
        ]

    def members(self) -> list[Member]:
        """Every regular file, sorted by name."""
        return sorted(self._members, key=lambda member: member.name)

    def read(self, name: str) -> bytes:
        """The content of one member, its CRC checked; never more than its declared size."""
        try:
            with decoder_errors(lambda words: InputError("damaged member", where=self.path, got=f"{name!r}: {words}")):
                return self._zip.read(name)
        except OSError as error:
            raise _cannot_read(self.path, error) from error

    def holds(self, name: str) -> bool:
        """Whether there is a member of this name."""
        return name in self._zip.NameToInfo


def _cache_folder(path: Path, cache: Path) -> Path:
    """The cache folder of an archive, named after the archive's path, size and time of change."""
    information = path.stat()
    key = f"{path.resolve()}/{information.st_size}/{information.st_mtime_ns}"
    return cache / f"{path.name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def _nested(container: Container, member: Member, cache: Path) -> Path:
    """An archive inside a container, as a file of its own."""
    if isinstance(container, Folder):
        return container.path / member.name
    folder = _cache_folder(container.path, cache)
    target = folder / member.name
    if not (target.is_file() and target.stat().st_size == member.size):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(target.name + ".partial")
        need_room(folder, member.size, container.path)
        content = container.read(member.name)
        try:
            temporary.write_bytes(content)
            temporary.replace(target)
        except OSError as error:
            raise cannot_unpack(container.path, error) from error
    return target


def _unpacked(path: Path, kind: str, cache: Path) -> Path:
    """The folder into which an archive has been unpacked; it gets its name when it is whole."""
    final = _cache_folder(path, cache)
    if final.is_dir():
        return final
    temporary = final.with_name(final.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    unpack(path, kind, temporary)
    temporary.rename(final)
    return final
