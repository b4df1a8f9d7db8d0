"""The page directories of a TIFF, checked before a library follows them.

A page's directory is a list of tags with a link to the next page, each tag a type, a count and an offset in the file. A
damaged link may lead back to an earlier page, and a reader that follows it never ends; tags may all claim the same
bytes, and a reader that copies each takes any amount of memory. Sound files do neither. Source: TIFF 6.0, section 2,
and the BigTIFF variant with 64-bit offsets.
"""

from __future__ import annotations

import struct

from sarjepa.errors import InputError

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_MOST_PAGES = 64  # an image has one, its real and imaginary parts two, a dual-polarised one four; the rest are previews
_SUB_PAGES = 330  # the tag that lists a page's sub-pages


def check_pages(data: bytes) -> None:
    """Refuse a TIFF whose pages cannot be followed to an end, or claim more bytes than there are.

    Raises:
        InputError: the file cannot be read.

    Example:
        >>> check_pages(struct.pack("<2sHIHI", b"II", 42, 8, 0, 8))  # the page at byte 8 links to itself
        Traceback (most recent call last):
        sarjepa.errors.InputError: pages without end
    """
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    is_big = data[2:4] in (b"+\0", b"\0+")
    count_format, offset_format, tag_format = (
        (order + "Q", order + "Q", order + "HHQ") if is_big else (order + "H", order + "I", order + "HHI")
    )
    tag_size = 20 if is_big else 12
    seen: set[int] = set()
    try:
        (page,) = struct.unpack_from(offset_format, data, 8 if is_big else 4)
        while page:
            if page in seen or len(seen) == _MOST_PAGES:
                raise InputError("pages without end")
            seen.add(page)
            (num_tags,) = struct.unpack_from(count_format, data, page)
            start = page + struct.calcsize(count_format)
            stop = start + num_tags * tag_size
            if stop > len(data):
                return
            tags = [struct.unpack_from(tag_format, data, offset) for offset in range(start, stop, tag_size)]
            if sum(_SIZES.get(value_type, 0) * count for _, value_type, count in tags) > len(data):
                raise InputError("tags that claim more bytes than there are")
            if any(code == _SUB_PAGES and count > _MOST_PAGES for code, _, count in tags):
                raise InputError("pages without end")
            (page,) = struct.unpack_from(offset_format, data, stop)
    except struct.error:
        return  # the list breaks off: the pages before may be sound
