"""Locating files: by any of their names, packed or unpacked, one level down, and what is missing."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from sarjepa.data.locate import doubts, find_file, locate, stem_of
from sarjepa.data.manifest_parser import load_manifest
from sarjepa.download import RemoteFile
from sarjepa.errors import InputError


@pytest.mark.parametrize("name", ["SAR-ACD-main.zip", "SAR-ACD.zip", "SAR-ACD-main", "deep/SAR-ACD-main.zip"])
def test_a_set_is_found_however_it_lies_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch() if name.endswith(".zip") else path.mkdir()
    located = locate(load_manifest("saracd"), [tmp_path])
    assert located.paths == (path,)
    assert located.missing == ()


def test_the_unpacked_folder_itself_may_be_named(tmp_path: Path) -> None:
    folder = tmp_path / "SAR-ACD-main"
    folder.mkdir()
    assert locate(load_manifest("saracd"), [folder]).paths == (folder,)


def test_earlier_folders_come_first(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.zip").touch()
    assert find_file(RemoteFile("x.zip"), [tmp_path / "b", tmp_path / "a"]) == tmp_path / "b" / "x.zip"


def test_what_a_script_can_fetch_is_left_to_it(tmp_path: Path) -> None:
    located = locate(load_manifest("sarship"), [tmp_path])
    assert [file.name for file in located.missing] == ["ship_dataset_v0.zip"]


def test_the_form_at_hand_is_taken_before_the_one_to_fetch(tmp_path: Path) -> None:
    for name in ("T72-BMP2-BTR70-SLICY", "CD1", "CD2"):
        kind = "MSTAR-PublicTargetChips" if "SLICY" in name else "MSTAR-PublicMixedTargets"
        (tmp_path / f"{kind}-{name}.zip").touch()
    located = locate(load_manifest("mstar"), [tmp_path])
    assert located.distribution.name == "phoenix"
    assert len(located.paths) == 3
    assert all(file.optional for file in located.missing)
    assert locate(load_manifest("mstar"), [tmp_path], "jpeg").distribution.name == "jpeg"


def test_an_incomplete_set_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "MSTAR-PublicMixedTargets-CD1.zip").touch()
    with pytest.raises(InputError, match=r"MixedTargets-CD2\.zip.*register at .*sdms"):
        locate(load_manifest("mstar"), [tmp_path], "phoenix")


def test_a_file_of_another_size_than_published_is_doubted(tmp_path: Path) -> None:
    (tmp_path / "ship_dataset_v0.zip").write_bytes(b"short")
    (doubt,) = doubts(load_manifest("sarship").distributions[0], [tmp_path])
    assert "has 5 bytes" in doubt and "426990175" in doubt


def test_a_file_of_another_content_than_published_is_doubted(tmp_path: Path) -> None:
    (ships,) = (one for one in load_manifest("fusarship").distributions if one.name == "ships")
    place = tmp_path / "FUSAR_Ship1.0.zip"
    place.write_bytes(b"short")
    (doubt,) = doubts(ships, [tmp_path])
    assert f"{place} has SHA-256 f9b0078b5df5" in doubt and "0e985e3cd74c" in doubt
    published = replace(ships.files[0], sha256=sha256(b"short").hexdigest())
    assert list(doubts(replace(ships, files=(published,)), [tmp_path])) == []


def test_names_with_wildcards_and_double_suffixes() -> None:
    assert stem_of("a.tar.gz") == "a"
    assert stem_of("MSAR-1.0 dataset.rar") == "MSAR-1.0 dataset"
    assert stem_of("folder") == "folder"
