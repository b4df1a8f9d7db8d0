"""Unpacking what cannot be read in place: tar by the standard library, 7z and rar by an installed program.

The listing of a tar is checked first, and must reach the tar's end. The programs list archives each in another form, so
they are watched instead: the folder's size while they work, the names and types of files when they are done.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from sarjepa.boundary import decoder_errors
from sarjepa.errors import InputError
from sarjepa.files import need_room
from sarjepa.formats.archive_safety import check_names
from sarjepa.formats.tar_stream import TarStream, damaged, largest_content

WATCH_S = 0.05  # between looks at what a program has unpacked so far
# Programs that unpack what the standard library cannot, in order of preference: list names, extract into a folder.
TOOLS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "7z": (("7zz", ("x", "-y", "-bd")), ("7z", ("x", "-y", "-bd")), ("bsdtar", ("-xf",))),
    "rar": (
        ("unrar", ("x", "-y", "-idq")),
        ("7zz", ("x", "-y", "-bd")),
        ("7z", ("x", "-y", "-bd")),
        ("bsdtar", ("-xf",)),
    ),
}


def unpack(path: Path, kind: str, folder: Path) -> None:
    """Unpack an archive of this kind ("tar", "7z", "rar") into an empty folder.

    Raises:
        InputError: it is damaged, not to be trusted, larger than the disk, or nothing here unpacks it.

    Example:
        >>> with tarfile.open("packed.tar", "w") as archive:
        ...     archive.addfile(tarfile.TarInfo("tank/1.png"))
        >>> Path("from-tar").mkdir()
        >>> unpack(Path("packed.tar"), "tar", Path("from-tar"))
        >>> [path.as_posix() for path in Path("from-tar").rglob("*.png")]
        ['from-tar/tank/1.png']
    """
    if kind == "tar":
        _unpack_tar(path, folder)
    else:
        _unpack_by_tool(path, kind, folder)


def cannot_unpack(path: Path, error: OSError) -> InputError:
    """The error for a disk that did not take the content of an archive.

    Example:
        >>> print(cannot_unpack(Path("chips.tar"), OSError(28, "No space left on device")))
        cannot unpack: chips.tar; got No space left on device; free disk space or choose another --data-root
    """
    return InputError(
        "cannot unpack", where=path, got=error.strerror, hint="free disk space or choose another --data-root"
    )


def _unpack_tar(path: Path, folder: Path) -> None:
    """Check the listing of a tar and read it to its end, then unpack its regular files one by one."""
    try:
        with decoder_errors(lambda words: damaged(path, words)), TarStream(path) as stream:
            archive = tarfile.TarFile(fileobj=cast("IO[bytes]", stream))
            entries = [entry for entry in archive.getmembers() if not entry.isdir()]
            stream.check_end(archive.offset)  # type: ignore[attr-defined] # where the listing ended
            for entry in entries:
                if not entry.isreg():
                    raise InputError("member is a link or a device", where=path, got=repr(entry.name))
            check_names((entry.name.removeprefix("./") for entry in entries), path)
            total = sum(entry.size for entry in entries)
            if total > largest_content(path):
                raise InputError("archive would unpack beyond reason", where=path, got=f"{total} bytes")
            need_room(folder, total, path)
            for entry in entries:
                content = archive.extractfile(entry)
                assert content is not None, "a regular file has content"
                _copy(content, folder / entry.name, entry.size)
    except OSError as error:  # from the system, not from the decompressor
        raise cannot_unpack(path, error) from error


def _copy(content: IO[bytes], target: Path, size: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as stream:
        shutil.copyfileobj(content, stream, 1 << 20)
    if target.stat().st_size != size:
        raise EOFError(f"{target.name} ends early")


def _unpack_by_tool(path: Path, kind: str, folder: Path) -> None:
    """Unpack by the first program that is installed, and check what came out before it is used."""
    installed = [(command, name, arguments) for name, arguments in TOOLS[kind] if (command := shutil.which(name))]
    if not installed:
        names = ", ".join(program for program, _ in TOOLS[kind])
        raise InputError(
            f"nothing here unpacks {kind} archives",
            where=path,
            expected=f"one of the programs {names}",
            hint="install one (Debian and Ubuntu: apt install 7zip, or unrar, or libarchive-tools), or unpack it by "
            "hand and name the folder with --archives",
        )
    command, program, arguments = installed[0]
    need_room(folder, path.stat().st_size, path)
    failure = _run_watched([command, *arguments, str(path.resolve())], folder, path)
    if failure is not None:
        raise InputError(f"{program} could not unpack it", where=path, got=failure)
    members = []
    for item in _walk(folder):
        members.append(item.relative_to(folder).as_posix())
        if not stat.S_ISREG(item.lstat().st_mode):
            raise InputError("member is a link or a device", where=path, got=repr(members[-1]))
    check_names(members, path)


def _run_watched(command: list[str], folder: Path, path: Path) -> str | None:
    """Run a program that unpacks into `folder`, and stop it where more comes out than can be honest.

    Returns:
        Its last words if it failed, else None.
    """
    limit = min(largest_content(path), shutil.disk_usage(folder).free)
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=words, stderr=words)
        try:
            while process.poll() is None:
                if sum(item.lstat().st_size for item in _walk(folder)) > limit:
                    raise InputError("archive unpacks beyond reason or room", where=path, got=f"over {limit} bytes")
                time.sleep(WATCH_S)
        finally:
            process.kill()
            process.wait()
        words.seek(0)
        lines = words.read().decode(errors="replace").strip().splitlines()
    return None if process.returncode == 0 else lines[-1] if lines else f"exit {process.returncode}"


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, and every link to a folder."""
    for root, folders, files in os.walk(folder, followlinks=False):
        for name in [*files, *(name for name in folders if Path(root, name).is_symlink())]:
            yield Path(root, name)
