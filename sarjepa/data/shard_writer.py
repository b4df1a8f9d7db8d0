"""Writing shards: the same chips give the same bytes, and no file has its name before it is whole.

The layout is described in `sarjepa.data.shards`. Pixels go to the disk when a shard is full; columns (labels, paths,
near-duplicate groups) follow at the end, because groups are known only when every chip has been seen. Then each file is
flushed to the disk and renamed. No time stamps are written, the oldest file format is used (the one that every HDF5
release writes alike), and chips keep the order in which they were added.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from sarjepa.errors import InputError
from sarjepa.files import TEMPORARY, need_room, sha256_of

FORMAT = "sarjepa-shard-1"
SHARD_BYTES = 128 * 2**20  # of a shard's pixels, which a writer also keeps in memory
DTYPES = ("uint8", "uint16", "float16", "float32")
SPARE_BYTES = 2**20  # kept free on the disk


def _texts(values: Iterable[str]) -> np.ndarray:
    """Text as fixed-length UTF-8 bytes: read in one piece, unlike HDF5's variable-length strings."""
    encoded = [value.encode() for value in values]
    return np.array(encoded, dtype=f"S{max(1, max(map(len, encoded), default=1))}")


@dataclass
class _Columns:
    """The columns of a shard: all about its chips but their pixels."""

    shapes: list[tuple[int, int]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    meta: list[dict[str, str]] = field(default_factory=list)
    paired: list[bool] = field(default_factory=list)


class ShardWriter:
    """Write chips into shards of one folder.

    Args:
        folder: an existing folder.
        source: name of the source, with which file names begin.
        shard_bytes: most bytes of pixels in a shard, unless one chip has more.

    Use: `add` each chip, in order; then `finish` with the near-duplicate groups, which are known only when all chips
    have been seen. Until then every file has a temporary name.
    """

    def __init__(self, folder: Path, source: str, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder, self.source, self.shard_bytes = folder, source, shard_bytes
        self.num_chips = 0
        self.dtype: np.dtype | None = None
        self._pixels: list[np.ndarray] = []
        self._optical: list[np.ndarray] = []
        self._num_bytes = 0
        self._columns = _Columns()
        self._written: list[tuple[Path, _Columns]] = []

    def add(
        self,
        image: np.ndarray,
        label: int,
        split: str,
        path: str,
        meta: dict[str, str] | None = None,
        optical: np.ndarray | None = None,
    ) -> None:
        """Add one chip.

        Args:
            image: (H, W) uint8, uint16, float16 or float32; the same type for every chip of a source.
            label, split, path: see `Chip`.
            meta: further text columns, such as {"serial": "9563"}.
            optical: (3, H, W) uint8, the optical image of the same place, or None.

        Raises:
            InputError: the chip's type is not that of the chips before, or the disk is full.
        """
        self.dtype = self.dtype or image.dtype
        if image.dtype != self.dtype or image.dtype.name not in DTYPES:
            raise InputError(
                "pixel types mix in one source",
                where=path,
                expected=self.dtype if self.dtype.name in DTYPES else f"one of {', '.join(DTYPES)}",
                got=image.dtype,
                hint="put the images of each type into a folder of their own and build two sources",
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
        columns.paired.append(optical is not None)
        if optical is not None:
            assert optical.shape == (3, *image.shape) and optical.dtype == np.uint8, "as large as the chip"
            self._optical.append(np.ascontiguousarray(optical).ravel())
            self._num_bytes += optical.nbytes
        self.num_chips += 1

    def finish(self, groups: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """Complete every shard, give it its name, and list what was written.

        Args:
            groups: (N,) near-duplicate group of each chip, in the order of adding.

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
            with disk_errors(temporary), h5py.File(temporary, "r+") as file:
                _write_columns(file, columns, np.asarray(groups[start:stop], dtype=np.int64), keys)
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            final = temporary.with_name(temporary.name.removesuffix(TEMPORARY))
            temporary.replace(final)
            shards.append({"file": final.name, "num_chips": stop - start, "sha256": sha256_of(final)})
            start = stop
        return shards

    def _flush(self) -> None:
        """Write the collected pixels as one shard under a temporary name."""
        assert self.dtype is not None
        path = self.folder / f"{self.source}-{len(self._written):05d}.h5{TEMPORARY}"
        path.unlink(missing_ok=True)
        # Page alignment lets every process map the pixels directly.
        with (
            disk_errors(path, self._num_bytes),
            h5py.File(
                path, "w", libver=("earliest", "v108"), alignment_threshold=4096, alignment_interval=4096
            ) as file,
        ):
            file.attrs["format"] = FORMAT
            _write_pixels(file, "pixels", self._pixels)
            if self._optical:
                _write_pixels(file, "optical", self._optical)
        self._written.append((path, self._columns))
        self._pixels, self._optical, self._num_bytes, self._columns = [], [], 0, _Columns()


def _write_pixels(file: h5py.File, name: str, pieces: Sequence[np.ndarray]) -> None:
    """Write flat arrays of one type, joined into one data set."""
    pixels = file.create_dataset(name, (sum(map(len, pieces)),), pieces[0].dtype)
    position, piece = 0, 0
    while piece < len(pieces):  # a few MB at a time, so that joining them costs no second copy
        joined = np.concatenate(pieces[piece : piece + 256])
        pixels[position : position + len(joined)] = joined
        position, piece = position + len(joined), piece + 256


def _write_columns(file: h5py.File, columns: _Columns, groups: np.ndarray, keys: list[str]) -> None:
    shapes = np.array(columns.shapes, dtype=np.int64).reshape(-1, 2)
    sizes = shapes.prod(axis=1)
    file["shapes"] = shapes
    file["offsets"] = starts(sizes)
    if any(columns.paired):
        file["optical_offsets"] = optical_starts(sizes, np.array(columns.paired))
    file["labels"] = np.array(columns.labels, dtype=np.int64)
    file["groups"] = groups
    file["splits"] = _texts(columns.splits)
    file["paths"] = _texts(columns.paths)
    for key in keys:
        file[f"meta/{key}"] = _texts(meta.get(key, "") for meta in columns.meta)


def starts(sizes: np.ndarray) -> np.ndarray:
    """(N,) int64: where each of N pieces of these sizes begins in their joined array.

    Example:
        >>> starts(np.array([4, 6, 2]))
        array([ 0,  4, 10])
    """
    return np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)


def optical_starts(sizes: np.ndarray, paired: np.ndarray) -> np.ndarray:
    """(N,) int64: where the optical image of each chip begins, -1 where it has none.

    Args:
        sizes: (N,) pixels of the chips.
        paired: (N,) bool, which chips have an optical image.

    Example:
        >>> optical_starts(np.array([4, 6, 2]), np.array([True, False, True]))
        array([ 0, -1, 12])
    """
    return np.where(paired, starts(3 * sizes * paired), -1)


@contextmanager
def disk_errors(path: Path, needed: int = 0) -> Iterator[None]:
    """Turn a failed write (a full disk, a quota) into one line; room for `needed` bytes is checked first.

    Example:
        >>> with disk_errors(Path("a.h5")):
        ...     raise OSError("quota used")
        Traceback (most recent call last):
        sarjepa.errors.InputError: cannot write: a.h5; got quota used; free disk space or choose another --data-root
    """
    hint = "free disk space or choose another --data-root"
    need_room(path.parent, needed + SPARE_BYTES, path.name)
    try:
        yield
    except OSError as error:
        raise InputError("cannot write", where=path, got=error.strerror or str(error), hint=hint) from error
    except RuntimeError as error:  # HDF5 fails a second time, in its own words, when it closes such a file
        if isinstance(error.__context__, OSError) or "errno" in str(error):
            # What the system said, out of HDF5's long message.
            match = re.search(r"error message = '([^']*)'", f"{error.__context__} {error}")
            got = match[1] if match else str(error)
            raise InputError("cannot write", where=path, got=got, hint=hint) from error
        raise
