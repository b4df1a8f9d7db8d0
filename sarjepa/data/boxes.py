"""Box annotations: PASCAL VOC XML and YOLO text, carried along to the chips that are cut from an image.

A detection set has boxes and no class for the whole image. A chip gets the boxes whose centre it holds, cut at its
border; where they are all of one class, that is the chip's class, else it has none.

VOC files of Chinese origin come in UTF-8, with or without a byte-order mark, or in GBK whatever they declare; each is
tried. A document type declaration has no business in one and is refused (entity bombs).
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sarjepa.boundary import decoder_errors
from sarjepa.errors import InputError

ENCODINGS = ("utf-8-sig", "gb18030")  # gb18030 contains gbk and gb2312


class AnnotationError(InputError):
    """The annotation cannot be read, and why."""


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
    """
    text = _decoded(data)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise AnnotationError("annotation declares a document type")
    with decoder_errors(lambda words: AnnotationError(f"damaged annotation: {words}")):
        root = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
        return [_voc_box(found) for found in root.iter("object")]


def _decoded(data: bytes) -> str:
    for encoding in ENCODINGS:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise AnnotationError("annotation in an unknown encoding")


def _voc_box(found: ElementTree.Element) -> Box:
    corners = [float(found.findtext(f"bndbox/{corner}", "")) for corner in ("xmin", "ymin", "xmax", "ymax")]
    return Box((found.findtext("name") or "").strip(), *corners)


def read_yolo(data: bytes, shape: Sequence[int]) -> list[Box]:
    """The boxes of a YOLO text file: lines of `class cx cy w h`, in shares of an image of this (H, W).

    Raises:
        AnnotationError: a malformed line.
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
    """Boxes with class names translated; those that are translated to nothing are left out, unknown names stay."""
    found = [Box(names.get(box.name, box.name), box.xmin, box.ymin, box.xmax, box.ymax) for box in boxes]
    return [box for box in found if box.name]


def inside(boxes: Sequence[Box], corner: tuple[int, int], shape: Sequence[int]) -> list[Box]:
    """The boxes whose centre lies in a chip, in the chip's own px and cut at its border.

    Args:
        boxes: boxes in px of the whole image.
        corner: (row, column) of the chip's first px.
        shape: (H, W) of the chip.
    """
    top, left = corner
    found = []
    for box in boxes:
        x, y = (box.xmin + box.xmax) / 2 - left, (box.ymin + box.ymax) / 2 - top
        if 0 <= x < shape[1] and 0 <= y < shape[0]:
            xmin, xmax = max(box.xmin - left, 0), min(box.xmax - left, shape[1])
            ymin, ymax = max(box.ymin - top, 0), min(box.ymax - top, shape[0])
            found.append(Box(box.name, xmin, ymin, xmax, ymax))
    return found


def columns_of(boxes: Sequence[Box]) -> dict[str, str]:
    """A chip's columns: its boxes as JSON, [[class, xmin, ymin, xmax, ymax], ...], and its class if they have one."""
    rounded = [[box.name, *(round(value, 2) for value in (box.xmin, box.ymin, box.xmax, box.ymax))] for box in boxes]
    columns = {"boxes": json.dumps(rounded, ensure_ascii=False)}
    names = {box.name for box in boxes}
    return columns | ({"class": names.pop()} if len(names) == 1 else {})
