"""One's own images: what sub-folders and lists say of them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sarjepa.data.built import expand_built
from sarjepa.data.manifest_parser import expand_sources
from sarjepa.data.own_images import folder_source, own_source, split_of
from sarjepa.data.own_names import own_folders, source_name, whole_names
from sarjepa.errors import InputError


def folder_of(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    return root


def said_of(root: Path, split_by: str | None = None) -> dict[str, tuple[str | None, str | None]]:
    return {
        job.path: (job.groups.get("class"), job.groups.get("split"))
        for job in folder_source(root, split_by=split_by).jobs
    }


def test_a_split_is_known_by_its_name_and_a_class_is_not_taken_for_one() -> None:
    names = ("train", "TRAIN_17", "Training", "TEST-15deg", "testing", "Val", "validation 2", "valid")
    assert [split_of(name) for name in names] == ["train"] * 3 + ["test"] * 2 + ["val"] * 3
    assert [split_of(name) for name in ("train_station", "trainer", "testbed", "value", "17_TRAIN", "")] == [None] * 6


def test_splits_one_level_up_give_the_classes_below(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "TRAIN_17/T72/SN_132/a.png", "TRAIN_17/BMP2/b.png", "TEST_15/T72/a.png")
    assert said_of(root) == {
        "TRAIN_17/T72/SN_132/a.png": ("T72", "train"),
        "TRAIN_17/BMP2/b.png": ("BMP2", "train"),
        "TEST_15/T72/a.png": ("T72", "test"),
    }
    manifest = folder_source(root).manifest
    assert manifest.classes == ("BMP2", "T72")
    assert manifest.notes == ("splits by sub-folder: TEST_15 as test, TRAIN_17 as train; classes by the folders below",)


def test_splits_two_levels_up_or_below_the_classes_are_known_too(tmp_path: Path) -> None:
    inside = folder_of(tmp_path / "a", "images/train/ship/1.png", "images/test/ship/2.png")
    assert set(said_of(inside).values()) == {("ship", "train"), ("ship", "test")}
    below = folder_of(tmp_path / "b", "ship/train/1.png", "ship/Test/2.png", "plane/train/1.png", "plane/Test/x/2.png")
    assert said_of(below)["plane/Test/x/2.png"] == ("plane", "test")
    flat = folder_of(tmp_path / "c", "train/1.png", "test/2.png")
    assert set(said_of(flat).values()) == {(None, "train"), (None, "test")}


def test_a_val_folder_is_the_test_side_where_there_is_no_other(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "Train/ship/1.png", "Val/ship/2.png")
    assert said_of(root)["Val/ship/2.png"] == ("ship", "test")
    assert "Val as test" in folder_source(root).manifest.notes[0]
    folder_of(root, "test/ship/3.png")
    assert said_of(root)["Val/ship/2.png"] == ("ship", "val")


def test_folders_of_which_one_is_no_split_are_classes_unless_asked(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "train/1.png", "test/2.png", "ship/3.png")
    assert said_of(root)["train/1.png"] == ("train", None)
    with pytest.raises(InputError, match=r"no splits among the sub-folders.*--split-by FILE\.csv"):
        folder_source(root, split_by="folder")


@pytest.mark.parametrize(("name", "mark"), [("list.csv", ","), ("list.tsv", "\t")])
def test_a_list_says_what_folders_do_not(tmp_path: Path, name: str, mark: str) -> None:
    root = folder_of(tmp_path / "own", "x/1.png", "x/2.png", "y/3.png", "y/left-out.png")
    rows = ["Path Label split group polarisation remark", "x/1.png T72 TRAIN s1 VV -", f"{root}/x/2.png T72 test s1  -",
            "y\\3.png  test s2 VH -"]  # fmt: skip
    (tmp_path / name).write_text("\ufeff" + "\n".join(row.replace(" ", mark) for row in rows), encoding="utf-8")
    source = folder_source(root, split_by=str(tmp_path / name))
    assert [dict(job.groups) for job in source.jobs] == [
        {"class": "T72", "split": "train", "group": "s1", "polarisation": "VV"},
        {"class": "T72", "split": "test", "group": "s1"},
        {"class": None, "split": "test", "group": "s2", "polarisation": "VH"},
    ]
    assert source.manifest.notes == (f"3 of 4 files, as {name} lists them; its columns remark are not read",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,split\n1.png,train\n", "without a column path.*got file, split"),
        ("path\n9.png\n", r"no such image: .*line 2.*got 9\.png"),
        ("path\n1.png\n1.png\n", "twice in the list: .*line 3"),
        ("path,split\n1.png,dev\n", "no such split.*expected train, val or test; got dev"),
        ("path\n", "a list without images"),
        ("", "an empty file"),
        (b"path\n\xff\xfe.png\n", "not readable as text"),
        (None, "no such list.*takes `folder`, or a CSV"),
    ],
)
def test_a_list_that_does_not_fit_is_one_line(tmp_path: Path, text: str | bytes | None, words: str) -> None:
    root = folder_of(tmp_path / "own", "1.png")
    if text is not None:
        (tmp_path / "list.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError, match=words) as refusal:
        folder_source(root, split_by=str(tmp_path / "list.csv"))
    assert "\n" not in str(refusal.value)


def test_pairs_are_found_by_their_names_but_for_the_words_of_the_sensor(tmp_path: Path) -> None:
    folder_of(tmp_path / "sar", "1_sar.png", "2_sar.png", "3_sar.png")
    folder_of(tmp_path / "opt", "1_opt.jpg", "2_opt.jpg")
    source = own_source((tmp_path / "sar", tmp_path / "opt"), paired=True)
    found = {job.path: job.optical for job in source.jobs}
    assert found == {"1_sar.png": (1, "1_opt.jpg"), "2_sar.png": (1, "2_opt.jpg"), "3_sar.png": None}
    assert "2 of 3 files" in source.manifest.notes[-1] and source.manifest.name == "sar"


def test_one_tree_of_two_sensors_is_told_apart_by_their_words(tmp_path: Path) -> None:
    folder_of(tmp_path, *(f"summer/{place}/ROIs1868_summer_{place}_p7.png" for place in ("s1_59", "s2_59")))
    (job,) = own_source((tmp_path, tmp_path), paired=True).jobs
    assert job.path.endswith("s1_59_p7.png") and job.optical == (1, "summer/s2_59/ROIs1868_summer_s2_59_p7.png")


def test_pairs_that_are_none_or_not_one_are_refused(tmp_path: Path) -> None:
    radar = folder_of(tmp_path / "sar", "1.png")
    with pytest.raises(InputError, match="no optical image belongs"):
        own_source((radar, folder_of(tmp_path / "other", "2.png")), paired=True)
    with pytest.raises(InputError, match="two optical images"):
        own_source((radar, folder_of(tmp_path / "twice", "1.png", "1.jpg")), paired=True)
    with pytest.raises(InputError, match="one folder of pairs"):
        whole_names(["mstar", "pairs:here"], lambda name: False)


def test_pairs_are_called_as_their_radar_folder() -> None:
    assert source_name("pairs:/data/harbour,/data/photos") == "harbour"


def test_several_folders_are_one_source_as_if_they_lay_in_one(tmp_path: Path) -> None:
    first = folder_of(tmp_path / "a" / "chips", "T72/1.png", "BMP2/1.png")
    second = folder_of(tmp_path / "b" / "chips", "T72/1.png")
    source = own_source((first, second))
    assert {job.path: (job.container, job.groups["class"]) for job in source.jobs} == {
        "chips-1/BMP2/1.png": (0, "BMP2"),
        "chips-1/T72/1.png": (0, "T72"),
        "chips-2/T72/1.png": (1, "T72"),
    }
    flat = [folder_of(tmp_path / name, "1.png") for name in ("tank", "truck")]
    assert own_source(flat).manifest.classes == ("tank", "truck")
    split = [folder_of(tmp_path / name, "T72/1.png") for name in ("TRAIN_17", "TEST_30")]
    assert [job.groups for job in own_source(split).jobs] == [
        {"class": "T72", "split": one} for one in ("test", "train")
    ]
    (tmp_path / "list.csv").write_text(f"path,label\n{second.resolve()}/T72/1.png,T90\nchips-1/BMP2/1.png,BMP2\n")
    listed = own_source((first, second), split_by=str(tmp_path / "list.csv"))
    found = [(job.path, job.groups["class"]) for job in listed.jobs]
    assert found == [("chips-1/BMP2/1.png", "BMP2"), ("chips-2/T72/1.png", "T90")]


def test_a_comma_parts_folders_unless_it_is_in_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("bay,north", "harbour", "mstar"):
        (tmp_path / name).mkdir()
    typed = ["folder:bay", "north", "harbour", "mstar", "saracd"]
    whole = whole_names(typed, lambda name: name in ("mstar", "saracd"))
    assert whole == ["folder:bay,north,harbour", "mstar", "saracd"]
    assert own_folders(whole[0]) == (Path("bay,north"), Path("harbour")) and source_name(whole[0]) == "bay,north"
    assert expand_sources(typed) == whole
    assert expand_built(["folder:bay", "north", "harbour"]) == ("bay,north", "harbour"), "a built source's name"


def test_classes_are_taken_from_names_by_a_pattern(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "T72_17_003.png", "BMP2_30_001.png", "noise.png")
    source = folder_source(root, label_pattern=r"(?P<label>[A-Z0-9]+)_(?P<group>\d+)_")
    assert {job.path: (job.groups["class"], job.groups.get("group")) for job in source.jobs} == {
        "BMP2_30_001.png": ("BMP2", "30"),
        "T72_17_003.png": ("T72", "17"),
        "noise.png": (None, None),
    }
    assert "1 files without, such as noise.png, have no class" in source.manifest.notes[0]
    several = own_source(
        [folder_of(tmp_path / day, "T72.png") for day in ("MAY", "JUNE")], label_pattern="(?P<label>[A-Z]+)"
    )
    assert several.manifest.classes == ("T",), "the folders are not asked"
    split = folder_source(folder_of(tmp_path / "x", "t72_train.png", "t72_test.png"),
                          label_pattern="(?P<label>t72)_(?P<split>train|test)")  # fmt: skip
    assert [job.groups["split"] for job in split.jobs] == ["test", "train"]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", "not a regular expression"),
        ("T72", "no such groups"),
        ("(?P<label>T)(?P<day>7)", "no such groups"),
        ("(?P<label>x)_", "in no file's path"),
        ("(?P<label>T)(?P<split>72)", "no such split"),
    ],
)
def test_a_pattern_that_says_no_class_is_one_line(tmp_path: Path, pattern: str, words: str) -> None:
    root = folder_of(tmp_path, "T72_17_003.png")
    with pytest.raises(InputError, match=words) as refusal:
        folder_source(root, label_pattern=pattern)
    assert "\n" not in str(refusal.value)
