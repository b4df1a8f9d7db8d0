"""Shards: chips on disk, laid out for reading.

Chips differ in size, and a training run reads them in random order from many processes at once. So a shard keeps all
pixels in one contiguous, uncompressed one-dimensional HDF5 data set, beside an offset and a shape for each chip:

    pixels (P,)   offsets (N,)   shapes (N, 2)   labels (N,)   groups (N,)   splits, paths, meta/* (N,) text

HDF5 tells where in the file `pixels` begins; each process maps that range into memory and a chip is a slice of it. The
operating system's page cache is then the only copy, shared by every worker, and HDF5's global lock is not involved. The
price is disk space: chips are not compressed. Speckle hardly compresses (PNG saves about a quarter), and a compressed
chunk costs a decode for every access.

The same chips give the same bytes: no time stamps, the oldest file format (the one that every HDF5 release writes
alike), chips in the order in which they were added. A shard is written under a temporary name, flushed to the disk, and
renamed when it is whole; `index.json` comes last, and a folder without it is no built source.
"""

from __future__ import annotations

import hashlib
import json
import operator
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsIndex, overload

import h5py
import numpy as np

from sarjepa.errors import InputError

FORMAT = "sarjepa-shard-1"
SHARD_BYTES = 128 * 2**20  # also what a writer keeps in memory
SPARE_BYTES = 2**20  # kept free on the disk
SCALES = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0, "float32": 1.0}
TEMPORARY = ".partial"


@dataclass(frozen=True)
class Chip:
    """One chip.

    Attributes:
        image: (H, W) as stored; divide by `Shards.scale` for magnitude in [0, 1].
        label: index into `Shards.classes`, -1 where there is none.
        split: "train", "test", or "" where the source has none.
        path: its name inside the source.
        group: near-duplicate group; chips with one number show the same scene.
    """

    image: np.ndarray
    label: int
    split: str
    path: str
    group: int


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _texts(values: Iterable[str]) -> np.ndarray:
    """Text as fixed-length UTF-8 bytes: read in one piece, unlike HDF5's variable-length strings."""
    encoded = [value.encode() for value in values]
    return np.array(encoded, dtype=f"S{max(1, max(map(len, encoded), default=1))}")


@dataclass
class _Columns:
    """What a shard says of its chips beside their pixels."""

    shapes: list[tuple[int, int]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    meta: list[dict[str, str]] = field(default_factory=list)


class ShardWriter:
    """Write chips into shards of one folder.

    Args:
        folder: an existing folder.
        source: the source's name, with which the files' names begin.
        shard_bytes: a shard is closed when the next chip would take its pixels beyond this.

    Use: `add` each chip, in order; then `finish` with the near-duplicate groups, which are known only when all chips
    have been seen. Until then every file has a temporary name.
    """

    def __init__(self, folder: Path, source: str, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder, self.source, self.shard_bytes = folder, source, shard_bytes
        self.num_chips = 0
        self.dtype: np.dtype | None = None
        self._pixels: list[np.ndarray] = []
        self._num_bytes = 0
        self._columns = _Columns()
        self._written: list[tuple[Path, _Columns]] = []

    def add(self, image: np.ndarray, label: int, split: str, path: str, meta: dict[str, str] | None = None) -> None:
        """Add one chip.

        Args:
            image: (H, W) uint8, uint16, float16 or float32; the same type for every chip of a source.
            label, split, path: see `Chip`.
            meta: further text columns, such as {"serial": "9563"}.

        Raises:
            InputError: the chip's type is not that of the chips before, or the disk is full.
        """
        self.dtype = self.dtype or image.dtype
        if image.dtype != self.dtype or image.dtype.name not in SCALES:
            raise InputError(
                "pixel types mix in one source",
                where=path,
                expected=self.dtype if self.dtype.name in SCALES else f"one of {', '.join(SCALES)}",
                got=image.dtype,
                hint="build them as two sources, or choose a normalisation that maps both to one type",
            )
        if self._pixels and self._num_bytes + image.nbytes > self.shard_bytes:
            self._flush()
        self._pixels.append(np.ascontiguousarray(image).ravel())
        self._num_bytes += image.nbytes
        columns = self._columns
        columns.shapes.append((image.shape[0], image.shape[1]))
        columns.labels.append(label)
        columns.splits.append(split)
        columns.paths.append(path)
        columns.meta.append(meta or {})
        self.num_chips += 1

    def finish(self, groups: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """Complete every shard, give it its name, and say what was written.

        Args:
            groups: (N,) near-duplicate group of each chip, in the order they were added.

        Returns:
            A list of {"file", "num_chips", "sha256"}, as index.json keeps it.
        """
        assert len(groups) == self.num_chips, "a group for every chip"
        if self._pixels:
            self._flush()
        keys = sorted({key for _, columns in self._written for meta in columns.meta for key in meta})
        shards, start = [], 0
        for temporary, columns in self._written:
            stop = start + len(columns.labels)
            with _disk_errors(temporary), h5py.File(temporary, "r+") as file:
                _write_columns(file, columns, np.asarray(groups[start:stop], dtype=np.int64), keys)
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            final = temporary.with_name(temporary.name.removesuffix(TEMPORARY))
            temporary.replace(final)
            shards.append({"file": final.name, "num_chips": stop - start, "sha256": sha256_of(final)})
            start = stop
        return shards

    def _flush(self) -> None:
        """Write the pixels that wait as one shard under a temporary name."""
        assert self.dtype is not None
        path = self.folder / f"{self.source}-{len(self._written):05d}.h5{TEMPORARY}"
        path.unlink(missing_ok=True)
        num_pixels = self._num_bytes // self.dtype.itemsize
        # Page alignment lets every process map the pixels directly.
        with (
            _disk_errors(path, self._num_bytes),
            h5py.File(
                path, "w", libver=("earliest", "v108"), alignment_threshold=4096, alignment_interval=4096
            ) as file,
        ):
            file.attrs["format"] = FORMAT
            pixels = file.create_dataset("pixels", (num_pixels,), self.dtype)
            position, piece = 0, 0
            while piece < len(self._pixels):  # a few MB at a time, so that joining them costs no second copy
                joined = np.concatenate(self._pixels[piece : piece + 256])
                pixels[position : position + len(joined)] = joined
                position, piece = position + len(joined), piece + 256
        self._written.append((path, self._columns))
        self._pixels, self._num_bytes, self._columns = [], 0, _Columns()


def _write_columns(file: h5py.File, columns: _Columns, groups: np.ndarray, keys: list[str]) -> None:
    shapes = np.array(columns.shapes, dtype=np.int64).reshape(-1, 2)
    ends = np.cumsum(shapes.prod(axis=1))
    file["shapes"] = shapes
    file["offsets"] = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    file["labels"] = np.array(columns.labels, dtype=np.int64)
    file["groups"] = groups
    file["splits"] = _texts(columns.splits)
    file["paths"] = _texts(columns.paths)
    for key in keys:
        file[f"meta/{key}"] = _texts(meta.get(key, "") for meta in columns.meta)


@contextmanager
def _disk_errors(path: Path, needed: int = 0) -> Iterator[None]:
    """Turn a failed write (a full disk, a quota) into one line; room for `needed` bytes is looked for first."""
    hint = "free disk space or choose another --data-root"
    free = shutil.disk_usage(path.parent).free
    if needed + SPARE_BYTES > free:
        raise InputError("cannot write", where=path, expected=f"room for {needed} bytes", got=f"{free} free", hint=hint)
    try:
        yield
    except OSError as error:
        raise InputError("cannot write", where=path, got=error.strerror or str(error), hint=hint) from error
    except RuntimeError as error:  # HDF5 fails a second time, in its own words, when it closes such a file
        if isinstance(error.__context__, OSError) or "errno" in str(error):
            raise InputError("cannot write", where=path, got=_plain(error), hint=hint) from error
        raise


def _plain(error: BaseException) -> str:
    """What the system said, out of HDF5's long message."""
    found = re.search(r"error message = '([^']*)'", f"{error.__context__} {error}")
    return found.group(1) if found else str(error)


def write_json(path: Path, content: object) -> None:
    """Write JSON under a temporary name, flush it to the disk, rename it: the file is whole or absent."""
    temporary = path.with_name(path.name + TEMPORARY)
    with _disk_errors(path):
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=1, ensure_ascii=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)


class _ShardFile:
    """One shard, opened lazily: its columns by HDF5, its pixels by a memory map."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def pixels(self) -> np.ndarray:
        """(P,) the pixels of all chips, mapped read-only."""
        with h5py.File(self.path, "r", locking=False) as file:
            pixels = file["pixels"]
            offset, shape, dtype = pixels.id.get_offset(), pixels.shape, pixels.dtype
        return np.memmap(self.path, dtype=dtype, mode="r", offset=offset, shape=shape)

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """Every small data set of the file by name."""
        found: dict[str, np.ndarray] = {}
        with h5py.File(self.path, "r", locking=False) as file:
            for name in ("offsets", "shapes", "labels", "groups", "splits", "paths"):
                found[name] = file[name][()]
            for key in file.get("meta", ()):
                found[f"meta/{key}"] = file[f"meta/{key}"][()]
        return found


class Shards:
    """A built source: a sequence of `Chip`s, safe in many processes (open it before or after forking, or pickle it).

    Opening reads `index.json` alone; columns are read on first use, pixels when a chip is asked for.
    """

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self.folder, self.index = folder, index
        self._files = [_ShardFile(folder / shard["file"]) for shard in index["shards"]]
        self._starts = np.cumsum([0] + [shard["num_chips"] for shard in index["shards"]])

    def __reduce__(self) -> tuple[Any, ...]:
        return (open_shards, (self.folder,))

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __iter__(self) -> Iterator[Chip]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, index: SupportsIndex) -> Chip: ...
    @overload
    def __getitem__(self, index: slice) -> list[Chip]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Chip | list[Chip]:
        """The chip at `index`, or a list of chips for a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"chip {number} of {len(self)}")
        file, row = self._place(number % len(self))
        columns = file.columns
        return Chip(
            image=self._image(file, row),
            label=int(columns["labels"][row]),
            split=columns["splits"][row].decode(),
            path=columns["paths"][row].decode(),
            group=int(columns["groups"][row]),
        )

    def images(self, indices: Iterable[int]) -> list[np.ndarray]:
        """The pixels of these chips, each (H, W) as stored, read-only views of the memory map."""
        return [self._image(*self._place(int(index))) for index in indices]

    def _place(self, index: int) -> tuple[_ShardFile, int]:
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._files[shard], index - int(self._starts[shard])

    @staticmethod
    def _image(file: _ShardFile, row: int) -> np.ndarray:
        height, width = file.columns["shapes"][row]
        start = file.columns["offsets"][row]
        return np.asarray(file.pixels[start : start + height * width]).reshape(height, width)

    def _column(self, name: str) -> np.ndarray:
        parts = [file.columns[name] for file in self._files]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    @property
    def classes(self) -> list[str]:
        """Class names; a label is an index into them."""
        return self.index["classes"]

    @property
    def scale(self) -> float:
        """What stored values are divided by to give magnitude in [0, 1]."""
        return float(self.index["normalisation"]["scale"])

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) int64, -1 for none."""
        return self._column("labels")

    @cached_property
    def groups(self) -> np.ndarray:
        """(N,) int64 near-duplicate groups."""
        return self._column("groups")

    @cached_property
    def splits(self) -> np.ndarray:
        """(N,) text."""
        return self._column("splits").astype(str)

    @cached_property
    def shapes(self) -> np.ndarray:
        """(N, 2) heights and widths in px."""
        return self._column("shapes").reshape(-1, 2)

    @cached_property
    def paths(self) -> list[str]:
        """Names inside the source."""
        return [path.decode() for path in self._column("paths")]

    def meta(self, key: str) -> list[str]:
        """A further text column, such as "serial" or "depression"; "" where a chip has none.

        Raises:
            KeyError: the source has no such column.
        """
        return [value.decode() for value in self._column(f"meta/{key}")]


def open_shards(folder: str | os.PathLike[str]) -> Shards:
    """Open a built source.

    Args:
        folder: such as data/shards/mstar, written by `sarjepa build-dataset`.

    Raises:
        InputError: nothing is built there, or a shard that the index names is missing.
    """
    path = Path(folder)
    index_path = path / "index.json"
    if not index_path.is_file():
        raise InputError(
            "data set not built",
            where=path,
            expected="an index.json",
            hint=f"run sarjepa build-dataset --sources {path.name}",
        )
    try:
        index = json.loads(index_path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            "not a JSON file", where=index_path, got=str(error), hint="build it again with --force"
        ) from error
    for shard in index["shards"]:
        if not (path / shard["file"]).is_file():
            raise InputError("shard missing", where=path / shard["file"], hint="build the source again with --force")
    return Shards(path, index)


def verify(folder: str | os.PathLike[str]) -> list[str]:
    """Re-read every shard of a built source; what is wrong with it, in words, nothing where all is well.

    Args:
        folder: such as data/shards/mstar.

    Raises:
        InputError: nothing is built there.
    """
    path = Path(folder)
    shards = open_shards(path)
    problems = []
    for shard, file in zip(shards.index["shards"], shards._files, strict=True):
        if sha256_of(file.path) != shard["sha256"]:
            problems.append(f"{shard['file']}: content does not have its checksum")
            continue
        sizes = file.columns["shapes"].prod(axis=1)
        if len(sizes) != shard["num_chips"] or file.columns["offsets"][-1] + sizes[-1] != len(file.pixels):
            problems.append(f"{shard['file']}: chips and pixels do not add up")
    if not problems and len(shards) != shards.index["num_chips"]:
        problems.append(f"index.json: {shards.index['num_chips']} chips, the shards hold {len(shards)}")
    return problems
