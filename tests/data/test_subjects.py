"""What is looked at: chips of built sources drawn fairly, files read as magnitude."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarjepa.data.shards import open_shards
from sarjepa.data.subjects import Subject, open_chips, open_images, spread
from sarjepa.errors import InputError


def keys(subjects: list[Subject]) -> set[tuple[str, int]]:
    return {(subject.source, subject.group) for subject in subjects}


def test_near_duplicates_are_drawn_once(toy_root: Path) -> None:
    subjects = open_chips(str(toy_root), ["copies"], "published", 0, 100)
    assert len(subjects) == 30 == len(keys(subjects)), "30 scenes, four copies of each"


def test_sources_have_equal_shares_and_fewer_chips_are_some_of_more(toy_root: Path) -> None:
    few, many = (open_chips(str(toy_root), ["toy", "copies"], "published", 0, num) for num in (9, 30))
    assert [subject.source for subject in few] == ["toy"] * 5 + ["copies"] * 4
    assert keys(few) < keys(many) and len(many) == 30
    assert keys(few) != keys(open_chips(str(toy_root), ["toy", "copies"], "published", 1, 9))


def test_a_chip_comes_with_what_is_known_of_it(toy_root: Path) -> None:
    shards = open_shards(toy_root / "shards" / "toy")
    for subject in open_chips(str(toy_root), ["toy"], "toy=16", 0, 5):
        [number] = np.flatnonzero(shards.groups == subject.group)
        chip = shards[int(number)]
        assert subject.class_name == shards.classes[chip.label] and subject.resolution_m == 0.3
        assert np.allclose(subject.image_HW, chip.image[8:24, 8:24] / 255) and subject.image_HW.dtype == np.float32


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_files_become_magnitude_by_their_type(tmp_path: Path, dtype: type, largest: int) -> None:
    Image.fromarray(np.full((12, 20), largest // 5, dtype)).save(tmp_path / "scene.PNG")
    [subject] = open_images([str(tmp_path / "scene.PNG")], "published")
    assert subject.image_HW.shape == (12, 20) and subject.image_HW == pytest.approx(0.2, abs=1e-3)
    assert subject.title == "scene.PNG" and subject.class_name == subject.source == ""


def test_a_folder_means_the_images_in_it(tmp_path: Path) -> None:
    for place in ("scenes/b.png", "scenes/a.tif", "single.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((12, 20), 50, np.uint8)).save(tmp_path / place)
    (tmp_path / "scenes" / "notes.txt").write_text("wind from the west")
    (tmp_path / "scenes" / "older").mkdir()
    found = open_images([str(tmp_path / "single.png"), str(tmp_path / "scenes")], "8")
    assert [subject.file for subject in found] == ["single.png", "a.tif", "b.png"]
    assert {subject.image_HW.shape for subject in found} == {(8, 8)}
    with pytest.raises(InputError, match="no images in the folder"):
        open_images([str(tmp_path / "scenes" / "older")], "none")


def test_a_long_name_is_cut_to_two_short_lines() -> None:
    title = Subject(np.zeros((1, 1)), file="S1A_IW_GRDH_1SDV_20240101T000000_ship.tif").title
    assert title.startswith("S1A_IW") and title.endswith("ship.tif") and max(map(len, title.split("\n"))) <= 14


def test_a_file_that_is_missing_or_not_an_image_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    for name, words in (("nowhere.png", "no such image"), ("text.png", "not a readable image")):
        with pytest.raises(InputError, match=words) as caught:
            open_images([str(tmp_path / name)], "none")
        assert name in str(caught.value) and "\n" not in str(caught.value)


def subjects_of(*classes: str) -> list[Subject]:
    return [Subject(np.zeros((1, 1)), name, "toy", number) for number, name in enumerate(classes)]


def test_every_class_is_shown_before_one_is_shown_twice() -> None:
    many = subjects_of(*["a"] * 20, *["b"] * 3, "c")
    assert [subject.class_name for subject in spread(many, 3)] == ["a", "b", "c"]
    assert [subject.class_name for subject in spread(many, 5)] == ["a", "a", "b", "b", "c"]


def test_of_many_classes_the_shown_ones_lie_apart_and_none_comes_twice() -> None:
    many = subjects_of(*(f"class {number:02d}" for number in range(30)))
    shown = spread(many, 4)
    assert [subject.group for subject in shown] == [0, 9, 19, 29]
    assert len(spread(many[:2], 6)) == 2
