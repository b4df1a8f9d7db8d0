"""build-dataset on images of every kind: scenes are cut into tiles, and no precision is lost unasked."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarjepa.config import BuildDatasetConfig, FewshotBenchConfig
from sarjepa.data.built import built_datasets, open_source
from sarjepa.data.manifest_parser import sets_by_hand
from sarjepa.data.own_names import source_name
from sarjepa.data.shards import open_shards
from sarjepa.errors import InputError
from sarjepa.progress import Progress
from sarjepa.recipes import build_dataset, fewshot_bench


def build(root: Path, *sources: str, **settings: object) -> None:
    options = {"workers": 1, **settings}
    config = BuildDatasetConfig(data_root=str(root), sources=sources, **options)  # type: ignore[arg-type]
    build_dataset.run(config, Progress())


def test_large_scenes_become_tiles_with_their_places(tmp_path: Path) -> None:
    scene = np.random.default_rng(0).gamma(1, 30, (100, 150)).clip(0, 255).astype(np.uint8)
    scene[:, 100:] = 0  # no data
    (tmp_path / "scenes").mkdir()
    Image.fromarray(scene).save(tmp_path / "scenes" / "s.png")
    build(tmp_path / "data", f"folder:{tmp_path / 'scenes'}", chip_size=50)
    shards = open_shards(tmp_path / "data" / "shards" / "scenes")
    assert shards.paths == [f"s.png@{row},{column}" for row in (0, 50) for column in (0, 50)]
    assert shards.meta("row") == ["0", "0", "50", "50"]
    assert shards.index["num_empty_tiles"] == 2
    for chip in shards:
        row, column = map(int, chip.path.split("@")[1].split(","))
        assert np.array_equal(chip.image, scene[row : row + 50, column : column + 50])


def test_optical_images_are_cut_like_the_scenes_they_belong_to(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for folder, bands in (("sar", ()), ("opt", (3,))):
        (tmp_path / folder).mkdir()
        for name in ("a", "b")[: 2 if folder == "sar" else 1]:
            scene = random.integers(1, 256, (40, 60, *bands), dtype=np.uint8)
            Image.fromarray(scene).save(tmp_path / folder / f"{name}.png")
    build(tmp_path / "data", "pairs:" + str(tmp_path / "sar"), str(tmp_path / "opt"), chip_size=20)
    shards = open_shards(tmp_path / "data" / "shards" / "sar")
    assert shards.paired.tolist() == [True] * 6 + [False] * 6
    for number, path in enumerate(shards.paths[:6]):
        row, column = map(int, path.split("@")[1].split(","))
        expected = np.moveaxis(scene[row : row + 20, column : column + 20], -1, 0)
        assert np.array_equal(shards.optical(number), expected)
    assert "1 of 2 files have an optical image" in (shards.folder / "CARD.md").read_text()


@pytest.mark.parametrize(
    ("name", "radar", "optical", "mode"),
    [
        ("qxs-saropt", "sar_256_oc_0.2/{0}.png", "opt_256_oc_0.2/{0}.png", "RGB"),
        ("sen1-2", "ROIs1868_summer/s1_59/ROIs1868_summer_s1_59_p{0}.png",
         "ROIs1868_summer/s2_59/ROIs1868_summer_s2_59_p{0}.png", "RGB"),
        ("whu-opt-sar", "sar/NH49E00{0}013.tif", "optical/NH49E00{0}013.tif", "RGBX"),
    ],
)  # fmt: skip
def test_public_sets_of_pairs_are_built_as_their_entry_says(
    tmp_path: Path, name: str, radar: str, optical: str, mode: str
) -> None:
    random = np.random.default_rng(0)
    for number in range(1, 4):
        for path, bands in ((radar, ()), (optical, (len(mode),))):
            file = tmp_path / name / path.format(number)
            file.parent.mkdir(parents=True, exist_ok=True)
            image = random.integers(1, 256, (12, 16, *bands), dtype=np.uint8)
            Image.fromarray(image, mode if bands else "L").save(file)
    words = sets_by_hand()[name].build.replace("PATH", str(tmp_path / name)).split(",")
    build(tmp_path / "data", *words)
    [folder] = (tmp_path / "data" / "shards").iterdir()
    shards = open_shards(folder)
    assert shards.paired.tolist() == [True] * 3
    for chip in range(3):
        expected = np.asarray(Image.open(tmp_path / name / optical.format(chip + 1)))[..., :3]
        assert np.array_equal(shards.optical(chip), np.moveaxis(expected, -1, 0))


def test_a_damaged_optical_image_is_named_and_its_scene_left_out(tmp_path: Path) -> None:
    for folder in ("sar", "opt"):
        (tmp_path / folder).mkdir()
        for name in "ab":
            Image.fromarray(np.full((8, 8), 9 if name == "a" else 5, np.uint8)).save(tmp_path / folder / f"{name}.png")
    (tmp_path / "opt" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    build(tmp_path / "data", "pairs:" + str(tmp_path / "sar"), str(tmp_path / "opt"), max_rejected=0.5)
    index = open_shards(tmp_path / "data" / "shards" / "sar").index
    assert index["num_chips"] == 1 and "b.png" in index["rejected"][0]["reason"]


def test_tiles_of_one_scene_are_a_group(tmp_path: Path) -> None:
    (tmp_path / "scenes").mkdir()
    random = np.random.default_rng(0)
    for name in "ab":
        scene = random.gamma(1, 30, (40, 120)).clip(1, 255).astype(np.uint8)
        Image.fromarray(scene).save(tmp_path / "scenes" / f"{name}.png")
    (tmp_path / "list.csv").write_text("path,group\na.png,pass 1\nb.png,pass 1\n")
    asked = {"chip_size": 40, "overlap": 0.5, "force": True}
    for near, listed, groups in ((True, None, [0] * 5 + [1] * 5), (False, None, [0] * 5 + [1] * 5),
                                 (True, str(tmp_path / "list.csv"), [0] * 10)):  # fmt: skip
        build(tmp_path / "data", f"folder:{tmp_path / 'scenes'}", near_duplicates=near, split_by=listed, **asked)
        shards = open_shards(tmp_path / "data" / "shards" / "scenes")
        assert shards.groups.tolist() == groups
        assert shards.index["duplicates"]["num_groups"] == (len(set(groups)) if near else None)
        assert shards.index["duplicates"]["near_groups"] == (0 if near else None)


def test_the_one_tile_left_of_a_scene_keeps_its_place(tmp_path: Path) -> None:
    scene = np.zeros((100, 100), np.uint8)
    scene[50:, :50] = np.random.default_rng(0).integers(1, 255, (50, 50))
    (tmp_path / "scenes").mkdir()
    Image.fromarray(scene).save(tmp_path / "scenes" / "s.png")
    build(tmp_path / "data", f"folder:{tmp_path / 'scenes'}", chip_size=50)
    shards = open_shards(tmp_path / "data" / "shards" / "scenes")
    assert shards.paths == ["s.png@50,0"]
    assert (shards.meta("row"), shards.meta("column")) == (["50"], ["0"])


def test_floats_beyond_one_are_not_cut_off_unasked(tmp_path: Path) -> None:
    (tmp_path / "slc").mkdir()
    field = np.random.default_rng(0).normal(0, 500, (2, 20, 20))
    np.save(tmp_path / "slc" / "a.npy", (field[0] + 1j * field[1]).astype(np.complex64))
    with pytest.raises(InputError, match=r"a\.npy: values reach .*, above 1; choose a --normalisation"):
        build(tmp_path / "data", f"folder:{tmp_path / 'slc'}")
    build(tmp_path / "data", f"folder:{tmp_path / 'slc'}", normalisation="percentile")
    image = open_shards(tmp_path / "data" / "shards" / "slc")[0].image
    assert 0.2 < image.mean() < 0.8


def test_precision_is_kept_and_the_mapping_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    deep = np.random.default_rng(0).integers(0, 4000, (4, 20, 20)).astype(np.uint16)
    for i, image in enumerate(deep):
        np.save(folder / f"{i}.npy", image)
    build(tmp_path / "data", f"folder:{folder}")
    shards = open_shards(tmp_path / "data" / "shards" / "deep")
    assert shards[2].image.dtype == np.uint16
    assert np.array_equal(shards[2].image, deep[2])
    assert shards.scale == 65535
    build(tmp_path / "data", f"folder:{folder}", normalisation="quarter-power", force=True)
    again = open_shards(tmp_path / "data" / "shards" / "deep")
    assert again.index["normalisation"]["method"] == "quarter-power"
    assert again[2].image.max() == 65535
    build(tmp_path / "data", f"folder:{folder}", normalisation="linear", normalise_per="set", force=True)
    whole = open_shards(tmp_path / "data" / "shards" / "deep").index["normalisation"]
    assert whole["per"] == "set"
    assert whole["reference"] == pytest.approx(np.percentile(deep, 99.9), rel=0.02)


def test_a_folder_whose_name_is_not_utf_8_becomes_a_source(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"M\xfcnchen") / os.fsdecode(b"Hafen \xe9")
    (folder / "ship").mkdir(parents=True)
    for i in range(3):
        Image.fromarray(np.full((20, 20), 40 + i, np.uint8)).save(folder / "ship" / f"{i}.png")
    root = tmp_path / os.fsdecode(b"d\xe4ta")
    build(root, f"folder:{folder}")
    shards = open_source(str(root), source_name(f"folder:{folder}"))
    assert shards.index["source"] == r"Hafen \xe9"
    assert len(shards) == 3 and shards[0].image[0, 0] == 40
    assert built_datasets(str(root)) == [r"Hafen \xe9"]


def test_a_folder_of_nothing_but_damaged_images_is_one_line_whatever_the_normalisation(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    for i in range(3):
        (tmp_path / "own" / f"{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    for method in ("decibel", "percentile", "linear"):
        settings = {"normalisation": method, "normalise_per": "set", "max_rejected": 1.0}
        with pytest.raises(InputError, match=r"no chips came out: own; got damaged"):
            build(tmp_path / "data", f"folder:{tmp_path / 'own'}", **settings)


def test_a_source_is_called_as_asked_and_its_classes_are_in_the_names(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for folder in ("day1", "day2"):
        (tmp_path / folder).mkdir()
        for name in ("T72_1", "BMP2_1"):
            Image.fromarray(random.integers(0, 256, (24, 24), np.uint8)).save(tmp_path / folder / f"{name}.png")
    own = (f"folder:{tmp_path / 'day1'}", str(tmp_path / "day2"))
    build(tmp_path / "data", *own, name="field", label_pattern=r"(?P<label>[A-Z0-9]+)_\d")
    shards = open_shards(tmp_path / "data" / "shards" / "field")
    assert (shards.classes, len(shards), shards.index["source"]) == (["BMP2", "T72"], 4, "field")
    assert [shard["file"] for shard in shards.index["shards"]] == ["field-00000.h5"]
    for key, value in (("name", "mstar"), ("name", "a/b"), ("label_pattern", "(")):
        with pytest.raises(InputError):
            build(tmp_path / "data", *own, **{key: value})
    with pytest.raises(InputError, match="not for these sources: name; expected one source folder:PATH"):
        build(tmp_path / "data", "mstar", name="other")


def test_images_of_one_value_are_classified_and_those_that_none_can_read_are_no_source(tmp_path: Path) -> None:
    for name in "ab":
        for folder in ("flat", "broken"):
            (tmp_path / folder / name).mkdir(parents=True)
        for number in range(4):
            Image.fromarray(np.full((8, 8), 128, np.uint8)).save(tmp_path / "flat" / name / f"{number}.png")
            (tmp_path / "broken" / name / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\nx")
    build(tmp_path / "data", f"folder:{tmp_path / 'flat'}")
    few = FewshotBenchConfig(
        data_root=str(tmp_path / "data"),
        datasets=("flat",),
        checkpoint=("pixels",),
        shots=(1,),
        runs=2,
        solver=("lbfgs",),
        baselines=("none",),
        out=str(tmp_path / "few"),
        device="cpu",
    )
    assert fewshot_bench.run(few, Progress()).tables
    measured = {"normalisation": "decibel", "normalise_per": "set", "max_rejected": 1.0}
    with pytest.raises(InputError, match="no chips came out"):
        build(tmp_path / "data", f"folder:{tmp_path / 'broken'}", **measured)
