"""Boxes: VOC with Chinese names in any of their encodings, YOLO, and what a tile inherits."""

from __future__ import annotations

import json

import pytest

from sarjepa.formats.boxes import AnnotationError, Box, columns_of, inside, read_voc, read_yolo, renamed

VOC = """<?xml version="1.0" encoding="{encoding}"?>
<annotation><size><width>256</width><height>256</height></size>
<object><name>船只</name><bndbox><xmin>10</xmin><ymin>20</ymin><xmax>30</xmax><ymax>60</ymax></bndbox></object>
<object><name>W</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object>
</annotation>"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb2312"])
def test_chinese_names_are_read_in_every_encoding(encoding: str) -> None:
    boxes = read_voc(VOC.format(encoding=encoding).encode(encoding))
    assert boxes[0] == Box("船只", 10, 20, 30, 60)
    assert renamed(boxes, {"船只": "ship", "W": ""}) == [Box("ship", 10, 20, 30, 60)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<annotation><object>", "damaged"),
        (b"<a><object><name>x</name></object></a>", "damaged"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a/>', "document type"),
        (b"\xff\xff\xff", "unknown encoding"),
    ],
)
def test_a_damaged_annotation_says_so(data: bytes, reason: str) -> None:
    with pytest.raises(AnnotationError, match=reason):
        read_voc(data)


def test_yolo_shares_become_pixels() -> None:
    assert read_yolo(b"0 0.5 0.25 0.1 0.2\n\n", (200, 100)) == [Box("0", 45, 30, 55, 70)]
    with pytest.raises(AnnotationError, match="damaged"):
        read_yolo(b"0 0.5 0.25", (200, 100))


def test_a_tile_gets_the_boxes_whose_centre_it_holds_cut_at_its_border() -> None:
    boxes = [Box("ship", 90, 10, 120, 30), Box("ship", 0, 0, 20, 20)]
    assert inside(boxes, (0, 100), (100, 100)) == [Box("ship", 0, 10, 20, 30)]
    assert inside(boxes, (0, 0), (100, 100)) == [Box("ship", 0, 0, 20, 20)]
    assert inside(boxes, (50, 0), (100, 100)) == []


def test_every_box_belongs_to_exactly_one_of_adjoining_tiles() -> None:
    boxes = [Box("x", c - 3, r - 3, c + 3, r + 3) for r in range(0, 64, 7) for c in range(0, 64, 5)]
    found = [len(inside(boxes, (row, column), (32, 32))) for row in (0, 32) for column in (0, 32)]
    assert sum(found) == len(boxes)


def test_a_chip_has_a_class_when_its_boxes_agree() -> None:
    ship, tank = Box("ship", 0, 0, 2, 2), Box("tank", 1, 1, 3.14159, 3)
    assert columns_of([ship, ship])["class"] == "ship"
    assert "class" not in columns_of([ship, tank])
    assert "class" not in columns_of([])
    assert json.loads(columns_of([tank])["boxes"]) == [["tank", 1, 1, 3.14, 3]]
