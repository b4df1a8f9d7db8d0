r"""MSTAR's own file format: a Phoenix text header, then the magnitude, then the phase.

    \n[PhoenixHeaderVer01.04]
    PhoenixHeaderLength= 01234        bytes up to the data (native_header_length added)
    PhoenixSigSize= 0132612           the size of the whole file
    native_header_length= 0           0 for a target chip
    NumberOfColumns= 128
    NumberOfRows= 128
    TargetType= bmp2_tank
    ...
    [EndofPhoenixHeader]\n
    rows x columns big-endian float32 magnitude, row by row; then as many of phase in radians

A file whose native header is not empty is a whole scene of clutter in 16-bit integers, another format; it is refused
rather than read as noise. The rules are those of the public readers of the set, checked against the file's own size.
"""

from __future__ import annotations

import re

import numpy as np

from sarjepa.errors import InputError

PHOENIX_MAGIC = b"[PhoenixHeaderVer"
_END = b"[EndofPhoenixHeader]"
_LONGEST_HEADER = 1 << 16
_LARGEST_SIDE = 1 << 15


def read_header(data: bytes) -> dict[str, str]:
    r"""The header's fields as text; lines without "=" are left out, only the first "=" of a line separates.

    Raises:
        InputError: there is no Phoenix header, or it does not end.

    Example:
        >>> read_header(b"\n[PhoenixHeaderVer01.04]\nNumberOfRows= 128\n[EndofPhoenixHeader]\n")
        {'NumberOfRows': '128'}
    """
    end = data.find(_END, 0, _LONGEST_HEADER)
    if PHOENIX_MAGIC not in data[:64] or end < 0:
        raise InputError("no complete Phoenix header")
    pairs = (line.split("=", 1) for line in data[:end].decode("latin-1").splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def read_phoenix(data: bytes) -> tuple[np.ndarray, dict[str, str]]:
    r"""A target chip: magnitude (rows, columns) float32, linear, and the header.

    Raises:
        InputError: a clutter scene, or sizes that do not agree with each other.

    Example:
        >>> sizes = "PhoenixHeaderLength= 170\nPhoenixSigSize= 186\nNumberOfRows= 1\nNumberOfColumns= 2"
        >>> text = f"\n[PhoenixHeaderVer01.04]\n{sizes}\nnative_header_length= 0\n[EndofPhoenixHeader]\n"
        >>> image, header = read_phoenix(text.encode().ljust(170) + np.array([3, 4, 0, 0], ">f4").tobytes())
        >>> image, header["NumberOfColumns"]  # the two phases are left out
        (array([[3., 4.]], dtype=float32), '2')
    """
    header = read_header(data)
    if _number(header, "native_header_length"):
        raise InputError("a full clutter scene (16-bit Phoenix file), not a target chip")
    offset = _number(header, "PhoenixHeaderLength")
    rows, columns = _number(header, "NumberOfRows"), _number(header, "NumberOfColumns")
    if not (0 < rows <= _LARGEST_SIDE and 0 < columns <= _LARGEST_SIDE):
        raise InputError("impossible size in the header", got=f"{rows} x {columns}")
    expected, declared = offset + 8 * rows * columns, _number(header, "PhoenixSigSize")
    if not len(data) == declared == expected:
        raise InputError(
            "file size and header disagree",
            expected=f"{expected} bytes",
            got=f"{len(data)} (PhoenixSigSize {declared})",
        )
    values = np.frombuffer(data, dtype=">f4", count=rows * columns, offset=offset)
    return values.reshape(rows, columns).astype(np.float32), header


def _number(header: dict[str, str], key: str) -> int:
    text = header.get(key, "")
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise InputError("Phoenix header lacks a number", where=key, got=repr(text[:40]))
    return int(text)
