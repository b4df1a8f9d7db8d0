"""A user's own images: a folder of files as a source, with what its sub-folders or a list say of each file.

Sub-folders give the class and the split of an image. Classes are the sub-folders, unless every image lies in a folder
called train, val or test, in any case and with or without a number behind (TRAIN_17, test-15): then these are the
splits, and the classes are the folders below or, where there are several, above them. Where folders mean something
else, a list gives class, split and group: a table with the columns path, label, split, group and polarisation, of which
only path is required.

A folder with train and val alone has val as its test split, and a note states it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sarjepa.data.decoding import Job
from sarjepa.data.manifest import FORMATS, Manifest
from sarjepa.data.sources import Source, jobs_of
from sarjepa.errors import InputError
from sarjepa.files import printable
from sarjepa.formats.archives import Folder

BY_FOLDER = "folder"
PAIRED = "have an optical image of their name"  # of the note by which a built source of pairs is known
COLUMNS = ("path", "label", "split", "group", "polarisation")  # of a list
_SPLIT = re.compile(r"(train|test|val)(?:ing|id|idation)?(?:[ ._-]?\d.*)?", re.I)
_RADAR, _OPTICAL = (
    re.compile(rf"(?<![a-z0-9])(?:{words})(?![a-z0-9])", re.I) for words in ("sar|s1|radar", "opt|optical|s2|rgb")
)
_NOT_IMAGES = (".txt", ".md", ".csv", ".tsv", ".xml", ".json", ".yaml", ".yml", ".pdf", ".html", ".py", ".xls", ".xlsx",
               ".doc")  # fmt: skip


@dataclass(frozen=True)
class Described:
    """The jobs of a folder with their columns, and a note on where the columns come from, which may be empty."""

    jobs: tuple[Job, ...]
    note: str = ""


def split_of(name: str) -> str | None:
    """The split that a folder is named after.

    Example:
        >>> split_of("TRAIN_17"), split_of("Validation"), split_of("train_station")
        ('train', 'val', None)
    """
    match = _SPLIT.fullmatch(name)
    return match[1].lower() if match else None


def own_source(
    folders: Sequence[Path], split_by: str | None = None, label_pattern: str | None = None, paired: bool = False
) -> Source:
    """The images of some folders, or of two that are paired: radar images, and optical ones of the same places.

    Example:
        >>> Path("own-places").mkdir()
        >>> for name in ("s1_p2.png", "s2_p2.png", "s1_p3.png"):
        ...     Path("own-places", name).touch()
        >>> source = own_source([Path("own-places"), Path("own-places")], paired=True)
        >>> [(job.path, job.optical) for job in source.jobs]
        [('s1_p2.png', (1, 's2_p2.png')), ('s1_p3.png', None)]
    """
    if not paired:
        return folder_source(*folders, split_by=split_by, label_pattern=label_pattern)
    return _paired(folder_source(folders[0], split_by=split_by, label_pattern=label_pattern), folders[0], folders[1])


def folder_source(*folders: Path, split_by: str | None = None, label_pattern: str | None = None) -> Source:
    """A user's own images: every file that may be an image.

    Several folders are read as if they lay in one; their own names are classes where none of them has sub-folders.

    Args:
        folders: folders of the images, at least one.
        split_by: "folder" where sub-folders must say the splits, or a CSV or TSV; None: sub-folders, where they do.
        label_pattern: regular expression, found in a file's path below its folder, whose group `label` is the class; it
            may have the groups split, group and polarisation too.

    Raises:
        InputError: there is no such folder or no image in it, or `split_by` or `label_pattern` does not fit its files.

    Example:
        >>> for name in ("TRAIN_17/tank", "val/tank"):
        ...     Path("own-vehicles", name).mkdir(parents=True)
        ...     Path("own-vehicles", name, "1.png").touch()
        >>> source = folder_source(Path("own-vehicles"))
        >>> [job.groups for job in source.jobs]  # val is the test split, since there is no other
        [{'class': 'tank', 'split': 'train'}, {'class': 'tank', 'split': 'test'}]
    """
    folder = folders[0]
    jobs = _own_jobs(folders)
    if not jobs:
        raise InputError(
            "no images in there",
            where=folder,
            expected=f"files of {', '.join(FORMATS)}",
            hint="links to folders are not followed",
        )
    if split_by in (None, BY_FOLDER):
        by_folders = _by_folders(jobs, is_asked=split_by is not None)
        if by_folders is None and split_by is not None:
            raise InputError(
                "no splits among the sub-folders",
                where=folder,
                expected="every image below a folder called train, val or test, at most two levels down",
                hint="name a list: --split-by FILE.csv with the columns path, split and, as you like, label",
            )
        described = by_folders or Described(jobs)
    else:
        described = _by_list(jobs, folders, Path(str(split_by)).expanduser())
    if label_pattern is not None:
        described = _by_pattern(described, label_pattern)
    classes = tuple(sorted({name for job in described.jobs if (name := job.groups.get("class")) is not None}))
    return Source(_own_manifest(folder, classes, described.note), described.jobs, tuple(folders))


def folder_digest(folders: Sequence[Path], split_by: str | None = None) -> str:
    """A checksum of the user's images: their folders, names, sizes, times of change, and list.

    Example:
        >>> Path("own-harbour").mkdir()
        >>> Path("own-harbour/1.png").touch()
        >>> before = folder_digest([Path("own-harbour")])
        >>> _ = Path("own-harbour/1.png").write_bytes(b"pixels")
        >>> folder_digest([Path("own-harbour")]) == before
        False
    """
    digest = hashlib.sha256()
    for folder in folders:
        digest.update(os.fsencode(folder.resolve()))
        for member in _own_folder(folder).members():
            changed_ns = (folder / member.name).stat().st_mtime_ns
            digest.update(f"\n{member.name}/{member.size}/{changed_ns}".encode(errors="surrogateescape"))
    if split_by not in (None, BY_FOLDER):
        digest.update(_read_list(Path(str(split_by)).expanduser()).encode())
    return digest.hexdigest()


def _paired(source: Source, radar: Path, optical: Path) -> Source:
    """The source with the optical image of each file, which has the same name but for the word of its sensor.

    Where both folders are the same, the word of the sensor tells which file is which, and each must have one (SEN1-2
    has s1 and s2 side by side).
    """
    optical_names = [member.name for member in _own_folder(optical).members() if _own_image(printable(member.name))]
    jobs = source.jobs
    if radar.resolve() == optical.resolve():
        jobs = tuple(job for job in jobs if _RADAR.search(job.path))
        optical_names = [name for name in optical_names if _OPTICAL.search(name) and not _RADAR.search(name)]
    by_key: dict[str, str] = {}
    for name in sorted(optical_names):
        if (other := by_key.setdefault(_without_sensor(name), name)) != name:
            raise InputError("two optical images of one place", where=optical, got=f"{other} and {name}")
    paired = tuple(
        replace(job, optical=(1, member)) if (member := by_key.get(_without_sensor(job.member))) else job
        for job in jobs
    )
    num = sum(job.optical is not None for job in paired)
    if not num:
        example = jobs[0].path if jobs else "a file with sar or s1 in its name"
        raise InputError(
            "no optical image belongs to a radar image",
            where=optical,
            expected=f"names like those in {radar}, such as {example}",
            got=optical_names[0] if optical_names else "no images",
        )
    note = f"{num} of {len(paired)} files {PAIRED}"
    manifest = replace(source.manifest, notes=(*source.manifest.notes, note))
    return replace(source, manifest=manifest, jobs=paired, containers=(radar, optical))


def _without_sensor(name: str) -> str:
    """A file's name without its ending and the words that say which sensor took it.

    Example:
        >>> _without_sensor("s1_59/summer_s1_59_p2.png") == _without_sensor("s2_59/summer_s2_59_p2.png")
        True
    """
    stem = name.rsplit(".", 1)[0].lower()
    return _OPTICAL.sub("", _RADAR.sub("", stem))


def _own_jobs(folders: Sequence[Path]) -> tuple[Job, ...]:
    """The files of the folders; of several, each path begins with its folder's name."""
    if len(folders) == 1:
        return jobs_of([_own_folder(folders[0])], _own_image)[0]
    below = [jobs_of([_own_folder(folder)], _own_image)[0] for folder in folders]
    is_flat = not any(job.groups["class"] for jobs in below for job in jobs)
    prefixed = []
    for number, (prefix, jobs) in enumerate(zip(_prefixes(folders), below, strict=True)):
        for job in jobs:
            groups = {**job.groups, "class": prefix} if is_flat else job.groups
            prefixed.append(replace(job, path=f"{prefix}/{job.path}", container=number, groups=groups))
    return tuple(sorted(prefixed, key=lambda job: job.path))


def _prefixes(folders: Sequence[Path]) -> list[str]:
    """The name of each of several folders, with a number where several have the same."""
    names = [printable(folder.resolve().name) for folder in folders]
    return [f"{name}-{names[: number + 1].count(name)}" if names.count(name) > 1 else name
            for number, name in enumerate(names)]  # fmt: skip


def _by_pattern(described: Described, pattern: str) -> Described:
    """The jobs with what a regular expression finds in their paths, which overrules folders or a list."""
    names = tuple(name for name in COLUMNS if name != "path")
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError("not a regular expression", where="label-pattern", got=f"{pattern} ({error})") from error
    if "label" not in compiled.groupindex or not compiled.groupindex.keys() <= set(names):
        expected = "a group (?P<label>...), and as you like (?P<split>...), (?P<group>...) and (?P<polarisation>...)"
        raise InputError("no such groups in the pattern", where="label-pattern", expected=expected, got=pattern)
    kept, missed = [], []
    for job in described.jobs:
        match = compiled.search(printable(job.member))  # the path below its folder
        texts = {key: text for key, text in (match.groupdict() if match else {}).items() if text}
        if "split" in texts and (split := split_of(texts["split"])) is None:
            raise InputError("no such split", where=job.path, expected="train, val or test", got=texts["split"])
        groups = {"class" if key == "label" else key: split if key == "split" else text for key, text in texts.items()}
        kept.append(replace(job, groups={**job.groups, "class": None, **groups}))
        missed += [job.path] * ("label" not in texts)
    if len(missed) == len(kept):
        raise InputError("the pattern is in no file's path", where="label-pattern", expected=pattern, got=missed[0])
    note = f"classes by the pattern {pattern}"
    if missed:
        note += f"; {len(missed)} files without, such as {missed[0]}, have no class"
    return Described(tuple(kept), "; ".join(filter(None, (described.note, note))))


def _own_folder(folder: Path) -> Folder:
    if not folder.is_dir():
        got = "a file" if folder.exists() else None
        raise InputError("no such folder", where=folder, got=got, hint="folder:PATH names a folder of images")
    return Folder(folder, follow_files=True)


def _own_image(path: str) -> tuple[str, dict[str, str | None]] | None:
    """The path of a file that may be an image, and its class by folder; None for another file."""
    if path.lower().endswith(_NOT_IMAGES) or path.rsplit("/", 1)[-1].startswith("."):
        return None
    return path, {"class": path.split("/", 1)[0] if "/" in path else None}


def _by_folders(jobs: Sequence[Job], is_asked: bool) -> Described | None:
    """Splits and classes from the sub-folders; None where these do not give the splits of all images.

    A single split is taken for a class that happens to have its name, unless splits were asked for.
    """
    parents = [job.path.split("/")[:-1] for job in jobs]
    for depth in (0, 1):
        names = {folders[depth] if len(folders) > depth else "" for folders in parents}
        meaning = {name: split_of(name) for name in sorted(names)}
        if None in meaning.values() or len(set(meaning.values())) < 2 - is_asked:
            continue
        if "test" not in meaning.values():
            meaning = {name: "test" if split == "val" else split for name, split in meaning.items()}
        above = {folders[0] for folders in parents} if depth else set()
        is_below = len(above) < 2 and any(len(folders) > depth + 1 for folders in parents)
        level = depth + 1 if is_below else depth - 1 if depth else None  # of the folders that are classes
        classes = "no classes" if level is None else f"classes by the folders {'below' if is_below else 'above'}"
        splits = ", ".join(f"{name} as {split}" for name, split in meaning.items())
        columns = [
            {
                "class": folders[level] if level is not None and len(folders) > level else None,
                "split": meaning[folders[depth]],
            }
            for folders in parents
        ]
        kept = tuple(replace(job, groups=groups) for job, groups in zip(jobs, columns, strict=True))
        return Described(kept, f"splits by sub-folder: {splits}; {classes}")
    return None


def _by_list(jobs: Sequence[Job], folders: Sequence[Path], path: Path) -> Described:
    """The images that a list names, with its columns; without a column label, the class is the sub-folder."""
    by_path = {job.path: job for job in jobs}
    roots = {f"{folder.resolve().as_posix()}/": f"{prefix}/" if len(folders) > 1 else ""
             for folder, prefix in zip(folders, _prefixes(folders), strict=True)}  # fmt: skip
    kept: dict[str, Job] = {}
    reader = csv.DictReader(io.StringIO(_read_list(path)), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    headings = {name: (name or "").strip().lower() for name in reader.fieldnames or ()}
    if "path" not in headings.values():
        got = ", ".join(map(str, headings)) or "an empty file"
        raise InputError("a list of images without a column path", where=path, expected=", ".join(COLUMNS), got=got)
    for row in reader:
        values = {headings[name]: (text or "").strip() for name, text in row.items() if name in headings}
        named = values["path"].replace("\\", "/")
        root = next((root for root in roots if named.startswith(root)), "")
        member = roots.get(root, "") + named.removeprefix(root).removeprefix("./")
        where = f"{path}, line {reader.line_num}"
        if member not in by_path:
            raise InputError("no such image", where=where, expected=f"a path below {folders[0]}", got=named)
        if member in kept:
            raise InputError("an image stands twice in the list", where=where, got=named)
        split = split_of(values.get("split", ""))
        if values.get("split") and split is None:
            raise InputError("no such split", where=where, expected="train, val or test", got=values["split"])
        groups = {"class": values.get("label", by_path[member].groups["class"]) or None, "split": split}
        groups |= {key: values[key] for key in ("group", "polarisation") if values.get(key)}
        kept[member] = replace(by_path[member], groups=groups)
    if not kept:
        raise InputError("a list without images", where=path)
    note = f"{len(kept)} of {len(jobs)} files, as {path.name} lists them"
    if idle := [name for name, heading in headings.items() if heading not in COLUMNS]:
        note += f"; its columns {', '.join(map(str, idle))} are not read"
    return Described(tuple(kept[member] for member in sorted(kept)), note)


def _read_list(path: Path) -> str:
    if not path.is_file():
        raise InputError("no such list", where=path, hint="--split-by takes `folder`, or a CSV or TSV")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("not readable as text", where=path, expected="CSV or TSV in UTF-8", got=str(error)) from error


def _own_manifest(folder: Path, classes: tuple[str, ...], note: str) -> Manifest:
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
        benchmark=None,  # there is no published split
        distributions=(),
        notes=(note,) if note else (),
        sha256=hashlib.sha256("\n".join(classes).encode()).hexdigest(),
    )
