"""Archives: read in place or unpacked, and refused by the member's name where they are not to be trusted."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import multiprocessing
import os
import random
import shutil
import signal
import stat
import tarfile
import time
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarjepa.errors import InputError
from sarjepa.formats import archive_safety, archives
from sarjepa.formats.archive_safety import check_names
from sarjepa.formats.archives import Zip, containers, kind_of, open_container

FILES = {"set/a.png": b"first", "set/deep/b.png": b"second" * 100, "set/c.txt": b""}


def make_zip(path: Path, files: dict[str, bytes] = FILES, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, mode: str, files: dict[str, bytes] = FILES) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def read_all(path: Path, cache: Path) -> dict[str, bytes]:
    return {
        member.name: container.read(member.name)
        for container in containers(path, cache)
        for member in container.members()
    }


def test_a_zip_member_without_a_name_is_one_line(tmp_path: Path) -> None:
    packed = make_zip(tmp_path / "set.zip", {"x": b"1"})
    content = bytearray(packed.read_bytes())
    listed = content.index(b"PK\1\2")
    content[listed + 28 : listed + 32] = b"\0\0\1\0"  # the name's one byte becomes an extra field
    packed.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"set\.zip"):
        read_all(packed, tmp_path / "cache")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_kind_of_tar_reads_like_a_zip_and_a_folder(tmp_path: Path, mode: str) -> None:
    packed = make_tar(tmp_path / "any.bin", mode)
    assert read_all(packed, tmp_path / "cache") == FILES
    assert read_all(make_zip(tmp_path / "set.zip"), tmp_path / "cache") == FILES
    with zipfile.ZipFile(tmp_path / "set.zip") as archive:
        archive.extractall(tmp_path / "folder")
    assert read_all(tmp_path / "folder", tmp_path / "cache") == FILES


def test_members_come_sorted_whatever_their_order(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {name: b"x" for name in ("b/2", "a/10", "a/9", "B/1")})
    assert [member.name for member in open_container(path).members()] == ["B/1", "a/10", "a/9", "b/2"]


def test_archives_inside_archives_are_opened(tmp_path: Path) -> None:
    inner = make_zip(tmp_path / "inner.zip").read_bytes()
    tarred = make_tar(tmp_path / "inner.tar.gz", "w:gz", {"t/z.png": b"tarred"}).read_bytes()
    outer = make_zip(tmp_path / "outer.zip", {"x/inner.zip": inner, "y/inner.tar.gz": tarred, "top.png": b"top"})
    found = read_all(outer, tmp_path / "cache")
    assert FILES.items() <= found.items()
    assert found["t/z.png"] == b"tarred"
    assert found["top.png"] == b"top"


def test_unpacking_is_done_once_and_never_half(tmp_path: Path) -> None:
    packed = make_tar(tmp_path / "a.tar", "w")
    half = archives._cache_folder(packed, tmp_path / "cache")
    half.with_name(half.name + ".partial").mkdir(parents=True)  # what a killed process leaves
    (half.with_name(half.name + ".partial") / "stray").write_bytes(b"half")
    assert read_all(packed, tmp_path / "cache") == FILES
    before = {path: path.stat().st_mtime_ns for path in half.rglob("*")}
    assert read_all(packed, tmp_path / "cache") == FILES
    assert {path: path.stat().st_mtime_ns for path in half.rglob("*")} == before


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "C:/x", "a\\..\\b", "..", "a/.."])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="leave the folder"):
        Zip(make_zip(tmp_path / "a.zip", {"good": b"1", name: b"2"}))
    with pytest.raises(InputError, match="leave the folder"):
        containers(make_tar(tmp_path / "a.tar", "w", {"good": b"1", name: b"2"}), tmp_path / "cache")
    assert not (tmp_path.parent / "evil").exists()


PARTS = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0:", exclude_categories=("Cs",)), min_size=1)


@settings(deadline=None)
@given(st.lists(st.lists(PARTS.filter(lambda part: part not in (".", "..")), min_size=1, max_size=4), max_size=8))
def test_a_name_that_passes_stays_inside(parts: list[list[str]]) -> None:
    names = ["/".join(part) for part in parts]
    root = Path("/target")
    try:
        check_names(names, Path("a.zip"))
    except InputError:
        assert len({name.casefold() for name in names}) < len(set(names))
        return
    assert all((root / name).is_relative_to(root) and ".." not in Path(name).parts for name in names)


@settings(deadline=None)
@given(st.lists(PARTS, max_size=3), st.lists(PARTS, max_size=3))
def test_a_step_up_anywhere_is_refused(before: list[str], after: list[str]) -> None:
    with pytest.raises(InputError, match="leave the folder"):
        check_names(["/".join([*before, "..", *after])], Path("a.zip"))


def test_names_that_differ_by_case_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"case alone.*'a/X\.png' and 'a/x\.png'"):
        Zip(make_zip(tmp_path / "a.zip", {"a/X.png": b"1", "a/x.png": b"2"}))


def test_links_are_refused_in_zip_and_tar_and_left_alone_in_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(InputError, match=r"link.*'link'"):
        Zip(tmp_path / "a.zip")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        information = tarfile.TarInfo("link")
        information.type, information.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(information)
    with pytest.raises(InputError, match=r"link or a device.*'link'"):
        containers(tmp_path / "a.tar", tmp_path / "cache")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "real.png").write_bytes(b"x")
    (tmp_path / "folder" / "link.png").symlink_to("/etc/passwd")
    assert [member.name for member in open_container(tmp_path / "folder").members()] == ["real.png"]


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"secret": b"data"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1  # the general purpose flag in the central directory
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"encrypted.*'secret'"):
        Zip(path)


def test_bombs_are_refused_by_what_they_declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_zip(tmp_path / "a.zip", {"zeros": bytes(8 << 20)})
    monkeypatch.setattr(archive_safety, "LARGEST_RATIO", 100)
    with pytest.raises(InputError, match=r"beyond reason.*'zeros'"):
        Zip(path)
    monkeypatch.setattr(archive_safety, "LARGEST_TOTAL_BYTES", 1000)
    with pytest.raises(InputError, match="beyond reason"):
        Zip(make_zip(tmp_path / "b.zip", {f"{i}": b"x" * 600 for i in range(3)}, zipfile.ZIP_STORED))
    with pytest.raises(InputError, match="beyond reason"):
        containers(make_tar(tmp_path / "b.tar.gz", "w:gz", {"zeros": bytes(2 << 20)}), tmp_path / "cache")


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"0": bytes(3000), "1": b"y"}, zipfile.ZIP_STORED)
    data = path.read_bytes()
    at = data.index(b"PK\1\2")
    entry = data[at : data.index(b"PK\1\2", at + 4)]
    end = data.index(b"PK\5\6")
    many = b"".join(entry[:-1] + bytes([65 + i]) for i in range(20))  # twenty names for one run of bytes
    tail = bytearray(data[end:])
    tail[8:12] = (22).to_bytes(2, "little") * 2
    tail[12:16] = (end - at + len(many)).to_bytes(4, "little")
    path.write_bytes(data[:end] + many + bytes(tail))
    with pytest.raises(InputError, match="overlap"):
        Zip(path)


def test_a_member_that_lies_about_its_size_gives_no_more_than_it_declared(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a": bytes(5000)})
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        at = data.index(magic) + offset
        data[at : at + 4] = (10).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged member"):
        Zip(path).read("a")


def test_truncated_archives_are_refused(tmp_path: Path) -> None:
    whole = make_zip(tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(whole[:-30])
    with pytest.raises(InputError, match=r"truncated zip.*fetch it again"):
        Zip(tmp_path / "a.zip")
    packed = make_tar(tmp_path / "a.tar.gz", "w:gz", {"a": bytes(range(256)) * 4000}).read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match="truncated archive"):
        containers(tmp_path / "a.tar.gz", tmp_path / "cache")


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_tar_damaged_in_the_middle_is_refused(tmp_path: Path, mode: str) -> None:
    # Noise is packed as it stands, so the damage shows in nothing but the sum at the end.
    noise = random.Random(0).randbytes(300_000)
    packed = make_tar(tmp_path / "a.tar.x", mode, {"a": noise, "b": noise[::-1]})
    data = bytearray(packed.read_bytes())
    data[len(data) // 2] ^= 255
    packed.write_bytes(data)
    with pytest.raises(InputError, match=r"damaged or truncated archive.*a\.tar\.x"):
        containers(packed, tmp_path / "cache")


@pytest.mark.parametrize("block", [1, 2, 3])
@pytest.mark.parametrize("damage", ["a bit", "zeros"])
def test_a_damaged_header_loses_no_members_in_silence(tmp_path: Path, block: int, damage: str) -> None:
    packed = make_tar(tmp_path / "a.tar", "w", {f"{i}.png": b"x" for i in range(4)})
    data = bytearray(packed.read_bytes())
    header = 1024 * block  # of the member of this number: each is a header and a block of content
    data[header : header + 512] = bytes(512) if damage == "zeros" else b"\xff" + data[header + 1 : header + 512]
    packed.write_bytes(data)
    with pytest.raises(InputError, match=r"damaged or truncated archive: .*a\.tar"):
        containers(packed, tmp_path / "cache")


def test_a_tar_cut_at_the_end_of_a_member_is_refused(tmp_path: Path) -> None:
    packed = make_tar(tmp_path / "a.tar", "w", {f"{i}.png": b"x" for i in range(4)})
    packed.write_bytes(packed.read_bytes()[:2048])
    with pytest.raises(InputError, match="breaks off"):
        containers(packed, tmp_path / "cache")


@pytest.mark.parametrize("module", [bz2, lzma, gzip])
def test_bytes_outside_members_count_too(tmp_path: Path, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_safety, "LARGEST_RATIO", 500)
    zeros = module.compress(bytes(2**22))
    (tmp_path / "zeros.tar").write_bytes(zeros)
    behind = module.compress(make_tar(tmp_path / "a.tar", "w").read_bytes() + bytes(2**22))
    (tmp_path / "behind.tar").write_bytes(behind)
    for name in ("zeros.tar", "behind.tar"):
        with pytest.raises(InputError, match=rf"beyond reason: .*{name}"):
            containers(tmp_path / name, tmp_path / "cache")


def test_a_header_longer_than_any_honest_one_is_refused_before_it_is_read(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 2**33
    (tmp_path / "a.tar").write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(20_000_000))
    with pytest.raises(InputError, match="a header of"):
        containers(tmp_path / "a.tar", tmp_path / "cache")


def test_a_nest_without_end_is_refused(tmp_path: Path) -> None:
    content = {"a.png": b"x"}
    for depth in range(archive_safety.LARGEST_DEPTH):
        path = make_zip(tmp_path / f"{depth}.zip", content)
        content = {path.name: path.read_bytes()}
    assert read_all(path, tmp_path / "cache")["a.png"] == b"x"
    with pytest.raises(InputError, match=r"nested beyond reason.*'0\.zip'"):
        containers(make_zip(tmp_path / "outer.zip", content), tmp_path / "cache")


def test_a_disk_full_while_unpacking_is_not_called_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = make_zip(tmp_path / "inner.zip").read_bytes()
    outer = make_zip(tmp_path / "outer.zip", {"inner.zip": inner})
    packed = make_tar(tmp_path / "a.tar", "w")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(shutil, "copyfileobj", full)
    for path in (outer, packed):
        with pytest.raises(InputError, match=r"cannot unpack: .*No space left.*free disk space"):
            containers(path, tmp_path / "cache")
    assert not archives._cache_folder(packed, tmp_path / "cache").exists()


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.png": b"0123456789" * 50}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[100] ^= 255
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"damaged member.*'a\.png'"):
        Zip(path).read("a.png")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"<!DOCTYPE html>", "HTML page"), (b"version https://git-lfs.github.com", "LFS pointer"), (b"", "empty file")],
)
def test_what_is_no_archive_is_called_what_it_is(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InputError, match=reason):
        containers(tmp_path / "a.zip", tmp_path / "cache")


def _stand_in(folder: Path, program: str, script: str) -> None:
    path = folder / program
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_7z_and_rar_name_the_programs_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for magic, kind, program in ((b"7z\xbc\xaf\x27\x1c", "7z", "bsdtar"), (b"Rar!\x1a\x07\0", "rar", "unrar")):
        path = tmp_path / "archive"
        path.write_bytes(magic + bytes(64))
        assert kind_of(path) == kind
        with pytest.raises(InputError, match=rf"unpacks {kind}.*{program}.*apt install"):
            containers(path, tmp_path / "cache")


def test_what_a_program_unpacks_is_checked_before_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    path = tmp_path / "a.rar"
    path.write_bytes(b"Rar!\x1a\x07\0" + bytes(64))
    _stand_in(tools, "unrar", "mkdir -p set && echo data > set/a.png")
    assert read_all(path, tmp_path / "cache") == {"set/a.png": b"data\n"}
    _stand_in(tools, "unrar", "while true; do head -c 100000 /dev/zero >> bomb; sleep 0.01; done")
    with pytest.raises(InputError, match="beyond reason"):
        containers(path, tmp_path / "bombed")
    assert not [item for item in (tmp_path / "bombed").iterdir() if not item.name.endswith(".partial")]
    _stand_in(tools, "unrar", "ln -s /etc/passwd link")
    with pytest.raises(InputError, match="link or a device"):
        containers(path, tmp_path / "other")
    _stand_in(tools, "unrar", "echo 'wrong password' >&2; exit 3")
    with pytest.raises(InputError, match=r"unrar could not unpack it.*wrong password"):
        containers(path, tmp_path / "third")


def test_a_kill_while_unpacking_leaves_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, cache, path = tmp_path / "bin", tmp_path / "cache", tmp_path / "a.rar"
    tools.mkdir()
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    path.write_bytes(b"Rar!\x1a\x07\0" + bytes(64))
    _stand_in(
        tools,
        "unrar",
        f"echo half > half.png; echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid\nexec sleep 60",
    )
    process = multiprocessing.get_context("fork").Process(target=containers, args=(path, cache))
    process.start()
    deadline = time.monotonic() + 10
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.join()
    assert all(item.name.endswith(".partial") for item in cache.iterdir())
    _stand_in(tools, "unrar", "echo whole > whole.png")
    assert read_all(path, cache) == {"whole.png": b"whole\n"}
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)  # the program outlived the process that started it


@pytest.mark.skipif(not any(map(shutil.which, ("7zz", "7z", "bsdtar"))), reason="no program for 7z here")
def test_a_real_7z_is_read(tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(b"first")
    program = next(filter(None, map(shutil.which, ("7zz", "7z", "bsdtar"))))
    arguments = ["--format", "7zip", "-cf"] if program.endswith("bsdtar") else ["a"]
    subprocess.run([program, *arguments, "a.7z", "set"], cwd=tmp_path, check=True, capture_output=True)
    assert read_all(tmp_path / "a.7z", tmp_path / "cache") == {"set/a.png": b"first"}


def test_what_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str | Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patched:  # root may read everything, so the system's answer is played
        patched.setattr(Path, "open", refuse)
        with pytest.raises(InputError, match=r"cannot read: .*a\.zip; got Permission denied; check"):
            kind_of(make_zip(tmp_path / "a.zip"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse)
        with pytest.raises(InputError, match=rf"cannot read: {tmp_path}; got Permission denied"):
            open_container(tmp_path).members()
