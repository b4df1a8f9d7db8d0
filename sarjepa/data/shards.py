"""Shards: chips on disk, laid out for reading.

Chips differ in size, and a training run reads them in random order from many processes at once. So a shard keeps all
pixels in one contiguous, uncompressed one-dimensional HDF5 data set, beside an offset and a shape for each chip:

    pixels (P,)   offsets (N,)   shapes (N, 2)   labels (N,)   groups (N,)   splits, paths, meta/* (N,) text

and, where some chips come with an optical image of the same place, its red, green and blue planes at the chip's size:

    optical (Q,) uint8   optical_offsets (N,), -1 for a chip without

HDF5 tells where in the file `pixels` begins; each process maps that range into memory and a chip is a slice of it. The
operating system's page cache is then the only copy, shared by every worker, and HDF5's global lock is not involved. The
price is disk space: chips are not compressed. Speckle hardly compresses (PNG saves a quarter on MSTAR, half on the dark
chips of SAR-ACD), and a compressed chunk would cost a decode for every access.

`sarjepa.data.shard_writer` writes shards. `index.json` comes last, and a folder without it is not a built source.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsIndex, overload

import h5py
import numpy as np

from sarjepa.boundary import decoder_errors
from sarjepa.data.index import AGAIN, INDEX, read_index
from sarjepa.data.manifest_parser import typed_source
from sarjepa.data.shard_writer import DTYPES, FORMAT, ShardWriter, optical_starts, starts
from sarjepa.errors import InputError
from sarjepa.files import sha256_of

__all__ = ["FORMAT", "Chip", "ShardWriter", "Shards", "open_shards", "verify"]

_OPTICAL = "optical_offsets"
_NUMBERS = ("offsets", "shapes", "labels", "groups", _OPTICAL)
_COLUMNS = ("offsets", "shapes", "labels", "groups", "splits", "paths")


@dataclass(frozen=True)
class Chip:
    """One chip.

    Attributes:
        image: (H, W) as stored; divide by `Shards.scale` for magnitude in [0, 1].
        label: index into `Shards.classes`, -1 where there is none.
        split: "train", "test", or "" where the source has none.
        path: name of the chip inside the source.
        group: near-duplicate group; chips with one number show the same scene.
    """

    image: np.ndarray
    label: int
    split: str
    path: str
    group: int


class _ShardFile:
    """One shard, opened lazily: its columns by HDF5, its pixels by a memory map.

    Args:
        path: path of the file.
        num_chips: number of its chips.
        num_classes: number of the source's classes.
    """

    def __init__(self, path: Path, num_chips: int, num_classes: int) -> None:
        self.path, self.num_chips, self.num_classes = path, num_chips, num_classes

    @cached_property
    def pixels(self) -> np.ndarray:
        """(P,) the pixels of all chips, mapped read-only."""
        return self._mapped("pixels", DTYPES, self.columns["shapes"].prod(axis=1).sum())

    @cached_property
    def optical(self) -> np.ndarray:
        """(Q,) the planes of all optical images, mapped read-only."""
        paired = self.columns[_OPTICAL] >= 0
        return self._mapped("optical", ("uint8",), 3 * self.columns["shapes"][paired].prod(axis=1).sum())

    def _mapped(self, name: str, dtypes: Sequence[str], length: int) -> np.ndarray:
        with self._opened() as file:
            pixels = file[name]
            offset, shape, dtype = pixels.id.get_offset(), pixels.shape, pixels.dtype
            if dtype.name not in dtypes or len(shape) != 1 or offset is None:
                raise self._damage(f"{name} of {dtype}, {shape}")
        # Reading a mapped file beyond its end kills the process.
        num_bytes, needed_bytes = self.path.stat().st_size, offset + shape[0] * dtype.itemsize
        if num_bytes < needed_bytes:
            raise self._damage(f"{num_bytes} bytes of {needed_bytes}")
        if shape[0] != length:
            raise self._damage(f"shapes and {name} that do not add up")
        return np.memmap(self.path, dtype=dtype, mode="r", offset=offset, shape=shape)

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """Every small data set of the file by name."""
        with self._opened() as file:
            names = [*_COLUMNS, *(f"meta/{key}" for key in file.get("meta", ()))]
            names += [_OPTICAL] if _OPTICAL in file else []
            columns = {_OPTICAL: np.full(self.num_chips, -1)} | {name: self._column(file, name) for name in names}
            self._check(columns)
        return columns

    def _column(self, file: h5py.File, name: str) -> np.ndarray:
        """One column, its type checked: whole numbers or text."""
        stored = file[name]
        dtype_kind = "i" if name in _NUMBERS else "S"
        shape = (self.num_chips, 2) if name == "shapes" else (self.num_chips,)
        if stored.dtype.kind != dtype_kind or stored.shape != shape or stored.nbytes > self.path.stat().st_size:
            raise self._damage(f"{name} of {stored.dtype}, {stored.shape}")
        values = stored[()]
        if dtype_kind == "S":
            b"\n".join(values.tolist()).decode()  # raises if it is not UTF-8
        return values

    def _check(self, columns: dict[str, np.ndarray]) -> None:
        """Check the numbers against each other."""
        shapes_N2, labels = columns["shapes"], columns["labels"]
        if shapes_N2.min() < 1 or shapes_N2.max() >= 2**31:
            raise self._damage(f"shapes of {shapes_N2.min()} to {shapes_N2.max()} px")
        sizes, optical = shapes_N2.prod(axis=1), columns[_OPTICAL]
        if not np.array_equal(columns["offsets"], starts(sizes)):
            raise self._damage("offsets that are not those of its shapes")
        if not np.array_equal(optical, optical_starts(sizes, optical >= 0)):
            raise self._damage("offsets of optical images that are not those of its shapes")
        if labels.min() < -1 or labels.max() >= self.num_classes:
            raise self._damage(f"labels {labels.min()} to {labels.max()} of {self.num_classes} classes")

    def _damage(self, got: str) -> InputError:
        return InputError("damaged shard", where=self.path, got=got, hint=AGAIN)

    @contextmanager
    def _opened(self) -> Iterator[h5py.File]:
        """The file; HDF5's own errors about a truncated or damaged file name neither it nor a remedy."""
        with decoder_errors(self._damage), h5py.File(self.path, "r", locking=False) as file:
            yield file


class Shards:
    """A built source: a sequence of `Chip`s, safe in many processes (open it before or after forking, or pickle it).

    Opening reads `index.json` alone; columns are read on first use, pixels when a chip is asked for.
    """

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self.folder, self.index = folder, index
        self._files = [
            _ShardFile(folder / shard["file"], shard["num_chips"], len(index["classes"])) for shard in index["shards"]
        ]
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

    def optical(self, index: int) -> np.ndarray | None:
        """The optical image of a chip's place, (3, H, W) uint8, a read-only view; None where it has none."""
        file, row = self._place(index)
        if (start := file.columns[_OPTICAL][row]) < 0:
            return None
        height, width = file.columns["shapes"][row]
        return np.asarray(file.optical[start : start + 3 * height * width]).reshape(3, height, width)

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
        """The divisor of stored values that gives magnitude in [0, 1]."""
        return float(self.index["normalisation"]["scale"])

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) int64 indices into `classes`, -1 for none."""
        return self._column("labels")

    @cached_property
    def groups(self) -> np.ndarray:
        """(N,) int64 near-duplicate groups."""
        return self._column("groups")

    @cached_property
    def paired(self) -> np.ndarray:
        """(N,) bool: which chips have an optical image."""
        return self._column(_OPTICAL) >= 0

    @cached_property
    def splits(self) -> np.ndarray:
        """(N,) text: "train", "test" or another, "" for none."""
        return self._column("splits").astype(str)

    @cached_property
    def shapes(self) -> np.ndarray:
        """(N, 2) heights and widths in px."""
        return self._column("shapes").reshape(-1, 2)

    @cached_property
    def paths(self) -> list[str]:
        """N names inside the source."""
        return [path.decode() for path in self._column("paths")]

    def has_meta(self, key: str) -> bool:
        """Whether the source has a further column of this name."""
        return all(f"meta/{key}" in file.columns for file in self._files)

    def meta(self, key: str) -> list[str]:
        """A further text column, such as "serial" or "depression"; "" where a chip has none.

        Raises:
            InputError: the source has no such column.
        """
        if missing := [file.path for file in self._files if f"meta/{key}" not in file.columns]:
            raise InputError("no such column", where=f"{key!r} in {missing[0]}", hint=AGAIN)
        return [value.decode() for value in self._column(f"meta/{key}")]


def open_shards(folder: str | os.PathLike[str]) -> Shards:
    """Open a built source.

    Args:
        folder: such as data/shards/mstar, written by `sarjepa build-dataset`.

    Raises:
        InputError: nothing is built there, it was built by another version in another format, its index is damaged, or
            a shard that the index names is missing. A damaged shard is found when a chip is read, unless only its
            pixels are damaged: `verify` alone compares them with their checksum.

    Examples:
        >>> shards = open_shards("data/shards/toy")
        >>> len(shards), shards.classes
        (72, ['across', 'along', 'blob'])
        >>> chip = shards[0]
        >>> chip.image.shape, chip.image.dtype.name, chip.label, chip.split, chip.path
        ((32, 32), 'uint8', 0, 'train', 'across/000-0.png')
    """
    path = Path(folder)
    if not (path / INDEX).is_file():
        raise InputError(
            "data set not built",
            where=path,
            expected="an index.json",
            hint=f"run sarjepa build-dataset --sources {typed_source(path.name)}",
        )
    index = read_index(path)
    for shard in index["shards"]:
        if not (path / shard["file"]).is_file():
            raise InputError("shard missing", where=path / shard["file"], hint=AGAIN)
    return Shards(path, index)


def verify(folder: str | os.PathLike[str]) -> list[str]:
    """Re-read every shard of a built source and list what is wrong with it, in words; empty where all is well.

    Args:
        folder: such as data/shards/mstar.

    Raises:
        InputError: nothing is built there.

    Example:
        >>> import shutil
        >>> shard = Path(shutil.copytree("data/shards/toy", "damaged-toy"), "toy-00000.h5")
        >>> _ = shard.write_bytes(shard.read_bytes()[:-1])  # the last byte is lost
        >>> verify("data/shards/toy"), verify("damaged-toy")
        ([], ['toy-00000.h5: content does not have its checksum'])
    """
    path = Path(folder)
    shards = open_shards(path)
    problems = []
    for shard, file in zip(shards.index["shards"], shards._files, strict=True):
        if sha256_of(file.path) != shard["sha256"]:
            problems.append(f"{shard['file']}: content does not have its checksum")
            continue
        try:
            _ = file.pixels  # checks the columns too
            if (file.columns[_OPTICAL] >= 0).any():
                _ = file.optical
        except InputError as error:
            problems.append(f"{shard['file']}: {error.got}")
    if not problems and len(shards) != (stated := shards.index.get("num_chips")):
        problems.append(f"index.json: {stated} chips, the shards hold {len(shards)}")
    return problems
