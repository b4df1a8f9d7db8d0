r"""MATLAB's file format of version 5, as far as images need it: named arrays of numbers and text.

    128 bytes: text, version, and "IM" or "MI" by the order of bytes
    elements:  type (4 bytes), length (4 bytes), content, filled up to a multiple of 8
               a short one: length (2 bytes) and type (2 bytes) in one word, content in the next
    an array:  an element of elements: flags and class, shape, name, real part, imaginary part; or the same, deflated

Numbers may be stored in a smaller type than their class. Values stand column by column. Cells, structures, objects and
sparse arrays are skipped. SciPy reads more of the format, but a damaged file ends its whole process; here it is an
error. On sound files both agree. Source: MathWorks, "MAT-File Format" (R2019b), chapter 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sarjepa.errors import InputError
from sarjepa.formats.archive_safety import LARGEST_RATIO, SMALL_MEMBER_BYTES

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_CHAR = 4
# Classes of arrays of numbers, as numpy names what they hold.
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x0800


@dataclass(frozen=True)
class Contents:
    """Arrays of numbers, and texts (the first row where there are several), by name."""

    arrays: dict[str, np.ndarray]
    texts: dict[str, str]


def read_matlab(data: bytes) -> Contents:
    """Every top-level array of numbers and text.

    Raises:
        InputError: the file is damaged.
        ValueError, struct.error, zlib.error, LookupError: the file is damaged, in a library's words.

    Example:
        >>> import io
        >>> from scipy.io import savemat
        >>> file = io.BytesIO()
        >>> savemat(file, {"complex_img": np.array([[3 + 4j]]), "serial": "9563"})
        >>> read_matlab(file.getvalue())
        Contents(arrays={'complex_img': array([[3.+4.j]])}, texts={'serial': '9563'})
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise _damage("no mark of the order of bytes")
    arrays, texts = {}, {}
    most_bytes = max(SMALL_MEMBER_BYTES, LARGEST_RATIO * len(data))
    for element_type, content in _elements(memoryview(data)[128:], order):
        if element_type == _COMPRESSED:
            ((element_type, content),) = _elements(memoryview(_inflated(content, order)), order)
        if element_type != _MATRIX:
            raise _damage(f"an element of type {element_type}")
        parts = _elements(content, order)
        flags = _numbers(next(parts), _UINT32, order)[0]
        cls = flags & 0xFF
        if cls != _CHAR and cls not in _CLASSES:
            continue
        shape = _numbers(next(parts), _INT32, order)
        name = bytes(_expect(next(parts), _INT8)).decode("latin-1")
        if cls == _CHAR:
            if text := _text(next(parts), shape, order):
                texts[name] = text
            continue
        if math.prod(shape) * np.dtype(_CLASSES[cls]).itemsize > most_bytes:
            raise _damage(f"{' x '.join(map(str, shape))} values in {len(data)} bytes")
        values = _values(next(parts), shape, cls, order)
        if flags & _COMPLEX:
            values = values.astype(np.complex64 if values.dtype == np.float32 else np.complex128)
            values.imag = _values(next(parts), shape, cls, order)
        arrays[name] = values
    return Contents(arrays, texts)


def _damage(got: str) -> InputError:
    return InputError("damaged MATLAB file", got=got)


def _elements(content: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The (type, content) of each element."""
    while len(content):
        first, size = struct.unpack_from(order + "II", content)
        if first >> 16:
            element_type, size, start, stop = first & 0xFFFF, first >> 16, 4, 8
        else:
            element_type, start = first, 8
            stop = start + size + (-size % 8 if element_type != _COMPRESSED else 0)
        if start + size > min(stop, len(content)):
            raise _damage(f"an element of {size} bytes where {len(content)} are left")
        yield element_type, content[start : start + size]
        content = content[stop:]


def _inflated(packed: memoryview, order: str) -> bytes:
    """The element inside a deflated one, its checksum verified."""
    inflater = zlib.decompressobj()
    tag = inflater.decompress(packed, 8)
    _, size = struct.unpack(order + "II", tag)
    if size > LARGEST_RATIO * len(packed):
        raise _damage(f"{size} bytes in {len(packed)}")
    content = inflater.decompress(inflater.unconsumed_tail, size + 1)
    if not inflater.eof or len(content) != size:
        raise _damage("a deflated element of another length than it declares")
    return tag + content


def _expect(element: tuple[int, memoryview], element_type: int) -> memoryview:
    if element[0] != element_type:
        raise _damage(f"an element of type {element[0]} in place of {element_type}")
    return element[1]


def _numbers(element: tuple[int, memoryview], element_type: int, order: str) -> list[int]:
    return np.frombuffer(_expect(element, element_type), order + _NUMBERS[element_type]).tolist()


def _values(element: tuple[int, memoryview], shape: list[int], cls: int, order: str) -> np.ndarray:
    """One part of an array of numbers, of its class's type."""
    stored = np.frombuffer(element[1], order + _NUMBERS[element[0]])
    if min(shape, default=-1) < 0 or math.prod(shape) != len(stored):
        raise _damage(f"{len(stored)} values of an array of {' x '.join(map(str, shape))}")
    return stored.reshape(shape, order="F").astype(_CLASSES[cls])


def _text(element: tuple[int, memoryview], shape: list[int], order: str) -> str:
    """The first row of an array of characters, without the spaces around it."""
    codec = _TEXTS[element[0]]
    if codec[-2:] in ("16", "32"):
        codec += {"<": "-le", ">": "-be"}[order]
    letters = bytes(element[1]).decode(codec)
    num_rows = max(1, shape[0] if shape else 1)
    return letters[::num_rows].strip()
