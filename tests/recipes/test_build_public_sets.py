"""The other public sets, from small archives written by the rules of the real ones."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import tifffile
from PIL import Image

from sarjepa.config import BuildDatasetConfig
from sarjepa.data.shards import Shards, open_shards
from sarjepa.recipes import build_dataset

RANDOM = np.random.default_rng(11)


def speckle(*shape: int) -> np.ndarray:
    return np.clip(RANDOM.gamma(1, 30, shape), 1, 255).astype(np.uint8)


def picture(image: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


def phoenix(magnitude: np.ndarray, serial: str, native: int = 0) -> bytes:
    """A chip file: header, big-endian magnitude, big-endian phase."""
    rows, columns = magnitude.shape
    template = (
        "\n[PhoenixHeaderVer01.05]\nPhoenixHeaderLength= {0:05d}\nPhoenixSigSize= {1:09d}\n"
        f"native_header_length= {native}\nNumberOfColumns= {columns}\nNumberOfRows= {rows}\n"
        f"TargetSerNum= {serial}\nTargetAz= 30.5\n[EndofPhoenixHeader]\n"
    )
    length = len(template.format(0, 0))
    head = template.format(length, length + native + 8 * magnitude.size).encode()
    return head + bytes(native) + magnitude.astype(">f4").tobytes() + bytes(4 * magnitude.size)


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def build(folder: Path, source: str, **settings: object) -> Shards:
    options = {"workers": 1, "max_rejected": 0.0, **settings}
    config = BuildDatasetConfig(
        data_root=str(folder / "data"),
        sources=(source,),
        archives=(str(folder),),
        **options,  # type: ignore[arg-type]
    )
    build_dataset.run(config)
    return open_shards(folder / "data" / "shards" / source)


def test_official_mstar_archives_keep_their_floats_and_headers(tmp_path: Path) -> None:
    bmp2 = RANDOM.random((128, 128)).astype(np.float32)
    bmp2[5, 5] = 3.0
    top = "MSTAR_PUBLIC_TARGETS_CHIPS_T72_BMP2_BTR70_SLICY/TARGETS"
    write_zip(
        tmp_path / "MSTAR-PublicTargetChips-T72-BMP2-BTR70-SLICY.zip",
        {
            f"{top}/TRAIN/17_DEG/BMP2/SN_9563/HB03787.000": phoenix(bmp2, "9563"),
            f"{top}/TEST/15_DEG/T72/SN_812/HB03333.016": phoenix(bmp2 / 2, "812"),
            f"{top}/TEST/15_DEG/SLICY/HB00001.001": phoenix(bmp2, "slicy"),
        },
    )
    mixed = "MSTAR_PUBLIC_MIXED_TARGETS_CD1/15_DEG/COL2/SCENE1/2S1"
    write_zip(
        tmp_path / "MSTAR-PublicMixedTargets-CD1.zip",
        {
            f"{mixed}/HB14931.000": phoenix(RANDOM.random((158, 158)).astype(np.float32), "b01"),
            f"{mixed}/HB14931.JPG": b"x",
        },
    )
    deep = "MSTAR_PUBLIC_MIXED_TARGETS_CD2/30_DEG/COL2/SCENE1/BRDM_2/HB20000.001"
    write_zip(
        tmp_path / "MSTAR-PublicMixedTargets-CD2.zip",
        {deep: phoenix(RANDOM.random((129, 128)).astype(np.float32), "E-71")},
    )
    shards = build(tmp_path, "mstar")
    assert shards.index["distribution"] == "phoenix"
    assert shards.index["normalisation"] == {
        "method": "linear", "per": "set", "reference": 1.0, "dtype": "float32", "scale": 1.0,
    }  # fmt: skip
    described = zip(shards, shards.meta("serial"), shards.meta("depression"), strict=True)
    found = {chip.path.rsplit("/", 1)[1]: (shards.classes[chip.label], chip.split, s, d) for chip, s, d in described}
    assert found == {
        "HB03787.000": ("BMP2", "train", "9563", "17"),
        "HB03333.016": ("T72", "test", "812", "15"),
        "HB14931.000": ("2S1", "test", "b01", "15"),
        "HB20000.001": ("BRDM2", "extended", "E-71", "30"),
    }
    (chip,) = (chip for chip in shards if chip.path.endswith("HB03787.000"))
    assert np.array_equal(chip.image, np.minimum(bmp2, 1))


def test_a_clutter_scene_among_the_chips_is_listed_by_name(tmp_path: Path) -> None:
    top = "15_DEG/COL1/SCENE1/BTR_60"
    for name in ("PublicTargetChips-T72-BMP2-BTR70-SLICY", "PublicMixedTargets-CD2"):
        write_zip(tmp_path / f"MSTAR-{name}.zip", {"README": b"nothing"})
    good = phoenix(RANDOM.random((128, 128)).astype(np.float32), "k10yt7532")
    scene = phoenix(RANDOM.random((60, 60)).astype(np.float32), "none", native=512)
    write_zip(tmp_path / "MSTAR-PublicMixedTargets-CD1.zip", {f"{top}/HB1.003": good, f"{top}/HB06160.003": scene})
    shards = build(tmp_path, "mstar", max_rejected=0.6)
    assert len(shards) == 1
    (rejected,) = shards.index["rejected"]
    assert rejected["path"].endswith("HB06160.003")
    assert "clutter scene" in rejected["reason"]


def test_msar_chips_get_one_channel_tiles_and_translated_boxes(tmp_path: Path) -> None:
    def voc(*boxes: tuple[str, int, int, int, int]) -> bytes:
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax>"
            "</bndbox></object>"
            for name, a, b, c, d in boxes
        )
        return f'<?xml version="1.0" encoding="gbk"?><annotation>{objects}</annotation>'.encode("gbk")

    chip, scene = speckle(256, 256), speckle(1024, 1024)
    top = "MSAR-1.0 dataset"
    write_zip(
        tmp_path / "MSAR-1.0.zip",
        {
            f"{top}/JPEGImages/01.jpg": picture(np.repeat(chip[..., None], 3, axis=2), "JPEG"),
            f"{top}/Annotations/01.xml": voc(("船只", 10, 20, 40, 60), ("W", 1, 1, 5, 5)),
            f"{top}/JPEGImages/02.jpg": picture(scene, "JPEG"),
            f"{top}/Annotations/02.xml": voc(("桥梁", 600, 10, 700, 50), ("油罐", 620, 100, 640, 120)),
        },
    )
    shards = build(tmp_path, "msar")
    assert [chip.image.shape for chip in shards] == [(256, 256)] + [(512, 512)] * 4
    assert [shards.classes[label] if label >= 0 else "" for label in shards.labels] == ["ship", "", "", "", ""]
    boxes = [json.loads(text) for text in shards.meta("boxes")]
    assert boxes[0] == [["ship", 10, 20, 40, 60]]
    assert shards.paths[2] == "JPEGImages/02.jpg@0,512"
    assert boxes[2] == [["bridge", 88, 10, 188, 50], ["oil-tank", 108, 100, 128, 120]]
    assert boxes[1] == boxes[3] == boxes[4] == []


def test_boxes_that_are_there_but_damaged_are_not_taken_for_none(tmp_path: Path) -> None:
    path = tmp_path / "ship_dataset_v0.zip"
    members = {f"ship_dataset_v0/ship00{i}.jpg": picture(speckle(64, 64), "JPEG") for i in range(3)}
    write_zip(path, members | {f"ship_dataset_v0/ship00{i}.txt": b"0 0.5 0.5 0.25 0.125\n" for i in range(2)})
    data = bytearray(path.read_bytes())
    data[data.index(b"0 0.5 0.5")] ^= 1
    path.write_bytes(data)
    shards = build(tmp_path, "sarship", max_rejected=0.5)
    assert shards.paths == ["ship001.jpg", "ship002.jpg"]
    assert [json.loads(boxes) != [] for boxes in shards.meta("boxes")] == [True, False]
    (rejected,) = shards.index["rejected"]
    assert rejected["path"] == "ship000.jpg" and "damaged member: '" in rejected["reason"]


def test_sar_ship_reads_its_flat_pairs_at_any_depth(tmp_path: Path) -> None:
    image = speckle(256, 256)
    members = {
        "ship_dataset_v0/ship_dataset_v0/Gao_ship_hv_0201608.jpg": picture(np.repeat(image[..., None], 3, 2), "JPEG"),
        "ship_dataset_v0/ship_dataset_v0/Gao_ship_hv_0201608.txt": b"0 0.5 0.5 0.25 0.125\n",
        "ship_dataset_v0/ship_dataset_v0/ship030402.JPG": picture(image, "JPEG"),
    }
    write_zip(tmp_path / "ship_dataset_v0.zip", members)
    shards = build(tmp_path, "sarship")
    assert shards.paths == ["Gao_ship_hv_0201608.jpg", "ship030402.JPG"]
    assert shards.labels.tolist() == [0, 0]
    assert shards.meta("polarisation") == ["hv", ""]
    assert json.loads(shards.meta("boxes")[0]) == [["ship", 96, 112, 160, 144]]


@pytest.mark.parametrize("form", ["png", "mat"])
def test_sample_has_both_its_forms(tmp_path: Path, form: str) -> None:
    members = {}
    for kind in ("real", "synth"):
        for elevation in (16, 17):
            name = f"m1_{kind}_A_elevDeg_0{elevation}_azCenter_045_05_serial_0ap00n"
            for scaling in ("qpm", "decibel"):
                members[f"S/png_images/{scaling}/{kind}/m1/{name}.png"] = picture(speckle(128, 128), "PNG")
            stream = io.BytesIO()
            field = RANDOM.normal(size=(128, 128)) + 1j * RANDOM.normal(size=(128, 128))
            scipy.io.savemat(stream, {"complex_img": field, "complex_img_unshifted": field, "elevation": elevation})
            members[f"S/mat_files/{kind}/m1/{name}.mat"] = stream.getvalue()
    write_zip(tmp_path / "SAMPLE_dataset_public-master.zip", members)
    shards = build(tmp_path, "sample", distribution=form)
    assert len(shards) == (8 if form == "png" else 4)
    assert sorted(shards.splits) == sorted(["train", "test"] * (len(shards) // 2))
    assert set(shards.meta("kind")) == {"real", "synth"}
    assert {shards.classes[label] for label in shards.labels} == {"m1"}
    if form == "mat":
        assert shards.index["normalisation"]["method"] == "quarter-power"
        assert shards[0].image.dtype == np.float32
        assert shards[0].image.max() == 1.0


def test_fusar_ships_are_read_from_tiff_with_the_classes_that_are_there(tmp_path: Path) -> None:
    members = {}
    for i, (category, sub) in enumerate([("Cargo", "CargoShip"), ("Other", "Othertypeofship"), ("DiveVessel", "")]):
        stream = io.BytesIO()
        tifffile.imwrite(stream, speckle(512, 512))
        name = "/".join(part for part in ("FUSAR_Ship1.0", category, sub, f"Ship_C0{i}S01N000{i}.tiff") if part)
        members[name] = stream.getvalue()
    write_zip(tmp_path / "FUSAR_Ship1.0.zip", members)
    shards = build(tmp_path, "fusarship")
    assert shards.index["distribution"] == "ships"
    assert [shards.classes[label] for label in shards.labels] == ["Cargo", "DiveVessel", "OtherShip"]
    assert shards.classes[:10] == shards.index["label_sets"]["ten"]["classes"]
    assert shards[0].image.shape == (512, 512)


def test_sarsim_takes_the_folders_as_classes(tmp_path: Path) -> None:
    members = {
        f"SARSIM/{kind}/A3_{i}.png": picture(speckle(139, 139), "PNG") for kind in ("tank", "crane") for i in "12"
    }
    write_zip(tmp_path / "SARSIM.zip", members)
    shards = build(tmp_path, "sarsim")
    assert [shards.classes[label] for label in shards.labels] == ["crane", "crane", "tank", "tank"]
    assert shards.classes[-1] == "crane"
    assert "files are not" not in (shards.folder / "CARD.md").read_text()


def test_sarsim_chips_of_another_size_are_said(tmp_path: Path) -> None:
    members = {f"SARSIM/tank/{side}.png": picture(speckle(side, 139), "PNG") for side in (128, 139, 140)}
    write_zip(tmp_path / "SARSIM.zip", members)
    shards = build(tmp_path, "sarsim")
    assert "2 of 3 files are not 139 x 139 px" in (shards.folder / "CARD.md").read_text()
