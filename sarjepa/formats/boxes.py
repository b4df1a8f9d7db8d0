"""Box annotations: PASCAL VOC XML and YOLO text, carried over to the chips that are cut from an image.

A detection set has boxes and no class for the whole image. A chip gets the boxes whose centre it holds, cut at its
border; where they are all of one class, that is the chip's class, else it has none.

VOC files of Chinese origin are in UTF-8, with or without a byte-order mark, or in GBK, whatever they declare; each is
tried. A document type declaration, which could hold an entity bomb, is refused.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sarjepa.boundary import decoder_errors
from sarjepa.errors import InputError

ENCODINGS = ("utf-8-sig", "gb18030")  # gb18030 contains gbk and gb2312


class AnnotationError(InputError):
    """An annotation cannot be read; the text says why."""


@dataclass(frozen=True)
class Box:
    """A class name and a box in px: x to the right, y down, half open."""

    name: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float


def read_voc(data: bytes) -> list[Box]:
    """The boxes of a PASCAL VOC file.

    Raises:
        AnnotationError: not a VOC file, or a malformed box.

    Example:
        >>> corners = "<xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax>"
        >>> read_voc(f"<annotation><object><name>ship</name><bndbox>{corners}</bndbox></object></annotation>".encode())
        [Box(name='ship', xmin=1.0, ymin=2.0, xmax=9.0, ymax=8.0)]
    """
    text = _decoded(data)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise AnnotationError("annotation declares a document type")
    with decoder_errors(lambda words: AnnotationError(f"damaged annotation: {words}")):
        root = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
        boxes = []
        for item in root.iter("object"):
            corners = [float(item.findtext(f"bndbox/{corner}", "")) for corner in ("xmin", "ymin", "xmax", "ymax")]
            boxes.append(Box((item.findtext("name") or "").strip(), *corners))
        return boxes


def _decoded(data: bytes) -> str:
    for encoding in ENCODINGS:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise AnnotationError("annotation in an unknown encoding")


def read_yolo(data: bytes, shape: Sequence[int]) -> list[Box]:
    """The boxes of a YOLO text file: lines of `class cx cy w h`, in shares of an image of this (H, W).

    Raises:
        AnnotationError: a malformed line.

    Example:
        >>> read_yolo(b"0 0.5 0.5 0.25 0.5", (100, 200))
        [Box(name='0', xmin=75.0, ymin=25.0, xmax=125.0, ymax=75.0)]
    """
    boxes = []
    for line in data.decode("utf-8", errors="replace").splitlines():
        if not (words := line.split()):
            continue
        try:
            cx, cy, width, height = (float(word) for word in words[1:5])
        except ValueError as error:
            raise AnnotationError(f"damaged annotation: {line[:40]!r}") from error
        x, y = cx * shape[1], cy * shape[0]
        half_width, half_height = width * shape[1] / 2, height * shape[0] / 2
        boxes.append(Box(words[0], x - half_width, y - half_height, x + half_width, y + half_height))
    return boxes


def renamed(boxes: Sequence[Box], names: Mapping[str, str]) -> list[Box]:
    """Boxes with class names translated; those translated to "" are left out, unknown names stay.

    Example:
        >>> [box.name for box in renamed([Box("0", 1, 2, 9, 8), Box("1", 1, 2, 9, 8)], {"0": "ship", "1": ""})]
        ['ship']
    """
    translated = [replace(box, name=names.get(box.name, box.name)) for box in boxes]
    return [box for box in translated if box.name]


def inside(boxes: Sequence[Box], corner: tuple[int, int], shape: Sequence[int]) -> list[Box]:
    """The boxes whose centre lies in a chip, in the chip's own px and cut at its border.

    Args:
        boxes: boxes in px of the whole image.
        corner: (row, column) of the chip's first px.
        shape: (H, W) of the chip.

    Example:
        >>> inside([Box("ship", 20, 10, 40, 20)], corner=(0, 16), shape=(16, 16))
        [Box(name='ship', xmin=4, ymin=10, xmax=16, ymax=16)]
    """
    top, left = corner
    cut = []
    for box in boxes:
        x, y = (box.xmin + box.xmax) / 2 - left, (box.ymin + box.ymax) / 2 - top
        if 0 <= x < shape[1] and 0 <= y < shape[0]:
            xmin, xmax = max(box.xmin - left, 0), min(box.xmax - left, shape[1])
            ymin, ymax = max(box.ymin - top, 0), min(box.ymax - top, shape[0])
            cut.append(Box(box.name, xmin, ymin, xmax, ymax))
    return cut


def columns_of(boxes: Sequence[Box]) -> dict[str, str]:
    """A chip's columns: its boxes as JSON, [[class, xmin, ymin, xmax, ymax], ...], and their class if it is one.

    Example:
        >>> columns_of([Box("ship", 4, 10, 16, 16)])
        {'boxes': '[["ship", 4, 10, 16, 16]]', 'class': 'ship'}
    """
    rounded = [[box.name, *(round(value, 2) for value in (box.xmin, box.ymin, box.xmax, box.ymax))] for box in boxes]
    columns = {"boxes": json.dumps(rounded, ensure_ascii=False)}
    names = {box.name for box in boxes}
    return columns | ({"class": names.pop()} if len(names) == 1 else {})
