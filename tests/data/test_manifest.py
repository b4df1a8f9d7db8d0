"""Manifests: the eight that ship are sound, and a slip in one is named with file, key and what would be right."""

from __future__ import annotations

from importlib import resources

import pytest

from sarjepa.data.manifest_parser import (
    GROUPS,
    expand_sources,
    load_manifest,
    parse_manifest,
    sets_by_hand,
    source_names,
)
from sarjepa.data.sources import SIMULATED
from sarjepa.errors import InputError

SARACD = (resources.files("sarjepa.data_manifests") / "saracd.yaml").read_text(encoding="utf-8")


def _matches(source: str, form: str, path: str, header: dict[str, str] | None = None) -> dict[str, str] | None:
    (distribution,) = (one for one in load_manifest(source).distributions if one.name == form)
    found = distribution.match(path)
    return None if found is None else distribution.describe(found.groupdict(), header or {})


@pytest.mark.parametrize("name", source_names())
def test_shipped_manifests_load_and_name_themselves(name: str) -> None:
    manifest = load_manifest(name)
    assert manifest.name == name
    assert len(set(manifest.classes)) == len(manifest.classes)
    assert len(manifest.sha256) == 64
    assert all(one.match(one.example) for one in manifest.distributions)


def test_groups_hold_the_seven_sets() -> None:
    assert set(GROUPS["all"]) == set(GROUPS["pretrain"]) | set(GROUPS["downstream"])
    assert {*GROUPS["all"], *SIMULATED} == set(source_names())
    assert expand_sources(["downstream", "mstar", "folder:/x"]) == ["mstar", "fusarship", "saracd", "folder:/x"]


def test_sets_got_by_hand_say_what_nobody_confirmed_and_where_they_are() -> None:
    found = sets_by_hand()
    assert {"opensarship", "ssdd", "hrsid", "sar-aircraft-1.0", "atrnet-star", "sardet-100k", "sar-1m",
            "qxs-saropt", "sen1-2", "whu-opt-sar"} == set(found)  # fmt: skip
    assert not set(found) & set(source_names()), "a folder may be called like one of them"
    for one in found.values():
        assert one.origin.startswith("https://") and set(one.unverified) <= vars(one).keys()
    with pytest.raises(InputError, match=r"OpenSARShip is got by hand: 'opensarship'; get it from https.*folder:PATH"):
        expand_sources(["opensarship"])
    with pytest.raises(InputError, match=r"build it as pairs:PATH/sar,PATH/optical"):
        expand_sources(["whu-opt-sar"])


def test_expected_counts_are_the_published_ones() -> None:
    totals = {
        (name, one.name): {split: sum(counts.values()) for split, counts in one.expected.items()}
        for name in source_names()
        for one in load_manifest(name).distributions
        if one.expected
    }
    assert totals["mstar", "jpeg"] == totals["mstar", "phoenix"] == {"train": 3671, "test": 3203}
    assert totals["saracd", "github"] == {"": 3032}
    assert totals["sample", "png"] == {"train": 3224, "test": 2156}
    assert totals["sample", "mat"] == {"train": 1612, "test": 1078}
    assert totals["fusarship", "ten-classes"] == {"train": 6870, "test": 2940}
    assert totals["sarship", "v0"] == {"": 39729}


def test_label_ids_are_the_published_ones() -> None:
    mstar = ["BMP2", "BTR70", "T72", "BTR60", "2S1", "BRDM2", "D7", "T62", "ZIL131", "ZSU234"]
    assert list(load_manifest("mstar").classes) == mstar
    assert load_manifest("saracd").label_sets["five"]["classes"] == list(load_manifest("saracd").classes)[:5]
    assert load_manifest("fusarship").classes[:2] == ("Bridges", "Cargo")


def test_a_folder_spelling_becomes_class_serial_and_split() -> None:
    found = _matches("mstar", "jpeg", "any/Data/MSTAR_JPEG_E/SOC/TRAIN/BTR70/HB04.jpeg")
    assert found is not None
    assert (found["class"], found["serial"], found["split"], found["depression"]) == ("BTR70", "c71", "train", "17")
    found = _matches("mstar", "jpeg", "Data/MSTAR_JPEG_E/SOC/TEST/BMP2/SN_C21/HB04.JPEG")
    assert found is not None
    assert (found["class"], found["serial"], found["split"]) == ("BMP2", "c21", "test")


def test_official_mstar_folders_are_understood() -> None:
    header = {"TargetSerNum": "k10yt7532", "TargetAz": "12.3"}
    found = _matches("mstar", "phoenix", "MSTAR_PUBLIC_MIXED_TARGETS_CD2/17_DEG/COL1/SCENE1/BTR_60/HB03353.003", header)
    assert found is not None
    assert (found["class"], found["serial"], found["split"]) == ("BTR60", "k10yt7532", "train")
    variant = _matches("mstar", "phoenix", "x/17_DEG/COL2/SCENE1/A32/HB15000.017", {})
    assert variant is not None
    assert (variant["class"], variant["split"]) == ("T72", "extended")
    steep = _matches("mstar", "phoenix", "x/30_DEG/COL2/SCENE1/2S1/HB15000.000", {})
    assert steep is not None and steep["split"] == "extended"
    for path in ("x/15_DEG/COL2/SCENE1/2S1/HB14931.JPG", "x/15_DEG/COL2/SCENE1/SLICY/HB14931.015", "x/README"):
        assert _matches("mstar", "phoenix", path) is None


@pytest.mark.parametrize(
    ("source", "form", "path", "expected"),
    [
        ("sample", "png", "S/png_images/qpm/real/2s1/2s1_real_A_elevDeg_017_azCenter_039_22_serial_b01.png",
         {"class": "2s1", "split": "test", "kind": "real", "scaling": "qpm", "azimuth": "39", "serial": "b01"}),
        ("sample", "mat", "mat_files/synth/m35/m35_synth_A_elevDeg_014_azCenter_010_73_serial_t839.mat",
         {"class": "m35", "split": "train", "kind": "synth", "serial": "t839"}),
        ("sarship", "v0", "ship_dataset_v0/ship_dataset_v0/Gao_ship_hh_02016082544040402.jpg",
         {"class": "ship", "sensor": "Gaofen-3", "polarisation": "hh"}),
        ("sarship", "v0", "ship_dataset_v0/newship030402.JPG", {"class": "ship"}),
        ("fusarship", "ten-classes", "New_FUSAR/Val/StrongFalseAlarms/a.jpg",
         {"class": "StrongFalseAlarms", "split": "test"}),
        ("fusarship", "ships", "FUSAR_Ship1.0/Other/Othertypeofship/Ship_C10S01N0001.tiff",
         {"class": "OtherShip", "subcategory": "Othertypeofship"}),
        ("fusarship", "full", "F/MarineCategory/landseaside_island/a.tiff", {"class": "CoastalLands_island"}),
        ("sarsim", "images", "SARSIM/tank/A3_692.png", {"class": "tank"}),
        ("msar", "chips", "MSAR-1.0 dataset/JPEGImages/01.jpg", {}),
    ],
)  # fmt: skip
def test_paths_of_the_other_sets(source: str, form: str, path: str, expected: dict[str, str]) -> None:
    found = _matches(source, form, path)
    assert found is not None
    assert expected.items() <= found.items()


def test_unverified_marks_are_taken_out_and_listed() -> None:
    manifest = load_manifest("saracd")
    assert manifest.resolution_m == 1.0
    assert manifest.unverified == ("sensor", "band", "resolution_m", "file SAR-ACD-main.zip")
    assert load_manifest("sarship").unverified == ("addresses of file ship_dataset_v0.zip",)
    assert {"distribution images", "file SARSIM.zip"} <= set(load_manifest("sarsim").unverified)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("citation:", "citatoin:", r"key missing: saracd.yaml: citation; did you mean 'citatoin'"),
        ("polarisation: [HH]", "polarisation: HH", r"saracd.yaml: polarisation; expected a list"),
        ("label_set: five", "label_set: fife", r"benchmark.label_set; .*did you mean 'five'"),
        ("kind: fraction-of-all", "kind: fraction-of-al", r"benchmark.pool.kind; .*did you mean 'fraction-of-all'"),
        ("formats: [jpeg]", "formats: [jpg]", r"distributions\[0\].formats; .*did you mean 'jpeg'"),
        ("A220: 464", "A22O: 464", r"expected.*names from `classes`.*did you mean 'A220'"),
        ("A220: 464", "A220: many", r"distributions\[0\].expected..A220.*whole number"),
        ("images/(?P<class>", "images/(?P<class", r"members\[0\]; expected a regular expression"),
        ("about: the six", "abuot: the six", r"distributions\[0\].about; did you mean 'abuot'"),
        ("name: saracd", "name: sar-acd", r"name and file differ"),
        ("title:", "extra: 1\ntitle:", r"unknown key: saracd.yaml: extra"),
        ("title:", "\t:", r"not readable as YAML: saracd.yaml"),
    ],
)
def test_a_slip_is_named_with_what_would_be_right(old: str, new: str, message: str) -> None:
    assert old in SARACD
    with pytest.raises(InputError, match=message):
        parse_manifest(SARACD.replace(old, new, 1), "saracd.yaml")


def test_unknown_source_offers_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'mstar'"):
        expand_sources(["mstr"])
