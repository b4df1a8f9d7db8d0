"""build-dataset, from archives to shards: counts, faults, and what is said of them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recording import Recorder
from sarjepa.cli.app import main

from sarjepa.config import BuildDatasetConfig, FewshotBenchConfig
from sarjepa.data.index import read_index
from sarjepa.data.shards import open_shards
from sarjepa.data.simulator import SimulatedChip, simulate
from sarjepa.errors import InputError
from sarjepa.evaluation.benchmark import open_benchmark
from sarjepa.progress import Progress
from sarjepa.recipes import build_dataset, fewshot_bench
from sarjepa.results.result import Result


def build(root: Path, *sources: str, progress: Progress | None = None, **settings: object) -> Result:
    options = {"workers": 1, **settings}
    config = BuildDatasetConfig(data_root=str(root), sources=sources, **options)  # type: ignore[arg-type]
    return build_dataset.run(config, progress or Progress())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def own_images(folder: Path, num: int = 6, kinds: tuple[str, ...] = ("plane", "ship")) -> Path:
    for kind in kinds:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for i in range(num):
            image, _ = simulate(SimulatedChip(9, "tank" if kind == kinds[0] else "truck", "train", i))
            Image.fromarray(image).save(folder / kind / f"{i}.png")
    return folder


def saracd_zip(path: Path, num: int = 3) -> Path:
    """The layout of the public archive with a few simulated chips."""
    folder = own_images(path.parent / "images", num, ("A220", "A330", "Boeing787"))
    with zipfile.ZipFile(path, "w") as archive:
        for image in sorted(folder.rglob("*.png")):
            kind, name = image.parent.name, f"{int(image.stem) + 1:03d}.jpg"
            Image.open(image).save(path.parent / "one.jpg", quality=95)
            archive.write(path.parent / "one.jpg", f"SAR-ACD-main/images/{kind}/{name}")
        archive.writestr("SAR-ACD-main/README.md", "text")
    return path


def test_the_files_of_the_contract_are_there(synthetic_root: Path) -> None:
    folder = synthetic_root / "shards" / "synthetic"
    assert {"index.json", "contact-sheet.png", "CARD.md", "synthetic-00000.h5"} == set(contents(folder))
    index = json.loads((folder / "index.json").read_text())
    keys = "source num_chips classes counts sizes normalisation manifest_sha256 rejected duplicates expected shards"
    assert set(keys.split()) <= set(index)
    assert {"label_sets", "benchmark", "resolution_m"} <= set(index)
    assert {"exact_groups", "near_groups", "spanning_splits", "spanning_labels"} <= set(index["duplicates"])
    assert {"file", "num_chips", "sha256"} == set(index["shards"][0])
    assert (
        index["counts"]
        == index["expected"]
        == {split: dict.fromkeys(index["classes"], 12) for split in ("train", "test")}
    )
    card = (folder / "CARD.md").read_text()
    assert "Origin" in card and "Citation" in card and "bulldozer" in card
    with Image.open(folder / "contact-sheet.png") as sheet:
        assert np.asarray(sheet).std() > 20


def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path) -> None:
    one, three = tmp_path / "one", tmp_path / "three"
    build(one, "synthetic", chips_per_class=8, workers=1)
    build(three, "synthetic", chips_per_class=8, workers=3)
    assert contents(one / "shards" / "synthetic") == contents(three / "shards" / "synthetic")


def test_a_zip_a_tar_and_a_folder_give_the_same_shards(tmp_path: Path) -> None:
    at_hand = tmp_path / "archives"
    at_hand.mkdir()
    packed = saracd_zip(at_hand / "SAR-ACD-main.zip")
    build(tmp_path / "a", "saracd", archives=(str(at_hand),))
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(unpacked)
    build(tmp_path / "b", "saracd", archives=(str(unpacked),))
    build(tmp_path / "c", "saracd", archives=(str(unpacked / "SAR-ACD-main"),))
    tarred = tmp_path / "tarred"
    tarred.mkdir()
    shutil.make_archive(str(tarred / "x"), "gztar", unpacked)
    (tarred / "x.tar.gz").rename(tarred / "SAR-ACD.zip")  # under a wrong name, too
    build(tmp_path / "d", "saracd", archives=(str(tarred),))
    shards = [contents(tmp_path / name / "shards" / "saracd")["saracd-00000.h5"] for name in "abcd"]
    assert shards[0] == shards[1] == shards[2] == shards[3]
    assert open_shards(tmp_path / "a" / "shards" / "saracd").paths[0] == "images/A220/001.jpg"


def test_counts_that_are_not_the_published_ones_are_said(tmp_path: Path) -> None:
    saracd_zip(tmp_path / "SAR-ACD-main.zip")
    progress = Recorder()
    build(tmp_path / "data", "saracd", archives=(str(tmp_path),), progress=progress)
    assert any("not as expected: A220: 3 of 464" in line for line in progress.said)
    assert any("not verified" in line and "resolution_m, file SAR-ACD-main.zip" in line for line in progress.said)
    assert "Not as expected" in (tmp_path / "data" / "shards" / "saracd" / "CARD.md").read_text()


def test_ones_own_folder_becomes_a_source_named_after_it(tmp_path: Path) -> None:
    folder = own_images(tmp_path / "harbour")
    (folder / "notes.txt").write_text("not an image")
    build(tmp_path / "data", f"folder:{folder}")
    shards = open_shards(tmp_path / "data" / "shards" / "harbour")
    assert shards.classes == ["plane", "ship"]
    assert shards.labels.tolist() == [0] * 6 + [1] * 6
    assert shards.paths[:2] == ["plane/0.png", "plane/1.png"]
    assert shards.index["label_sets"] == {"folders": {"classes": ["plane", "ship"]}}
    assert shards.index["benchmark"] is None


def test_links_to_images_are_followed_in_ones_own_folder_and_links_to_folders_are_not(tmp_path: Path) -> None:
    store = own_images(tmp_path / "store", 2)
    (tmp_path / "own" / "plane").mkdir(parents=True)
    (tmp_path / "own" / "ship").symlink_to(store / "ship")
    with pytest.raises(InputError, match=r"no images in there.*links to folders are not followed"):
        build(tmp_path / "data", f"folder:{tmp_path / 'own'}")
    for image in (store / "plane").iterdir():
        (tmp_path / "own" / "plane" / image.name).symlink_to(image)
    (tmp_path / "own" / "plane" / "gone.png").symlink_to(store / "gone.png")
    build(tmp_path / "data", f"folder:{tmp_path / 'own'}")
    assert open_shards(tmp_path / "data" / "shards" / "own").paths == ["plane/0.png", "plane/1.png"]


def test_a_name_that_is_not_utf_8_is_kept_with_its_odd_bytes_written_out(tmp_path: Path) -> None:
    folder = own_images(tmp_path / "own", 1)
    (folder / "ship" / "0.png").rename(folder / "ship" / os.fsdecode(b"caf\xe9.png"))
    build(tmp_path / "data", f"folder:{folder}")
    assert open_shards(tmp_path / "data" / "shards" / "own").paths == ["plane/0.png", "ship/caf\\xe9.png"]


def test_one_sub_folder_named_like_a_split_is_a_class_and_it_is_said(tmp_path: Path) -> None:
    progress = Recorder()
    build(tmp_path / "data", f"folder:{own_images(tmp_path / 'own', 2, ('ship', 'test'))}", progress=progress)
    assert open_shards(tmp_path / "data" / "shards" / "own").classes == ["ship", "test"]
    assert any("so test counts as a class; --split-by folder or FILE.csv says" in line for line in progress.said)


def test_splits_of_ones_own_are_recognised_said_and_put_on_the_card(tmp_path: Path) -> None:
    for split in ("TRAIN_17", "TEST_15"):
        own_images(tmp_path / "own" / split, 2)
    progress = Recorder()
    build(tmp_path / "data", f"folder:{tmp_path / 'own'}", progress=progress)
    found = "splits by sub-folder: TEST_15 as test, TRAIN_17 as train; classes by the folders below"
    assert any(found in line for line in progress.said)
    assert found in (tmp_path / "data" / "shards" / "own" / "CARD.md").read_text()
    shards = open_shards(tmp_path / "data" / "shards" / "own")
    assert shards.index["counts"] == {"train": {"plane": 2, "ship": 2}, "test": {"plane": 2, "ship": 2}}


def test_a_list_of_splits_is_part_of_what_was_built(tmp_path: Path) -> None:
    folder, listed = own_images(tmp_path / "own", 2), tmp_path / "list.csv"
    listed.write_text("path,split\nplane/0.png,train\nship/1.png,test\n")
    build(tmp_path / "data", f"folder:{folder}", split_by=str(listed))
    shards = open_shards(tmp_path / "data" / "shards" / "own")
    assert [(chip.path, chip.label, chip.split) for chip in shards] == [
        ("plane/0.png", 0, "train"), ("ship/1.png", 1, "test")]  # fmt: skip
    listed.write_text("path,split\nplane/0.png,test\nship/1.png,train\n")
    progress = Recorder()
    build(tmp_path / "data", f"folder:{folder}", split_by=str(listed), progress=progress)
    assert any("built from other files; --force" in line for line in progress.said)
    with pytest.raises(InputError, match="none of the sources has use for it: split-by; expected a source folder:PATH"):
        build(tmp_path / "data", "synthetic", split_by="folder")


def test_a_zip_in_ones_own_folder_is_named_as_what_it_is(tmp_path: Path) -> None:
    with zipfile.ZipFile(own_images(tmp_path / "own", 2) / "more.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    build(tmp_path / "data", f"folder:{tmp_path / 'own'}")
    index = open_shards(tmp_path / "data" / "shards" / "own").index
    reason = "a zip: unpack it, or give it by --archives if it is of a public set"
    assert index["rejected"] == [{"path": "more.zip", "reason": reason}]


def test_one_source_that_is_missing_does_not_stop_the_others(tmp_path: Path) -> None:
    progress, own = Recorder(), own_images(tmp_path / "own", 2)
    sources = ("msar", f"folder:{own}", "fusarship")
    with pytest.raises(InputError, match=r"2 of 3 sources could not be built: msar: files of .*; fusarship: files of"):
        build(tmp_path / "data", *sources, progress=progress)
    assert any(line.startswith("own: 4 chips, written to") for line in progress.said)
    assert len(open_shards(tmp_path / "data" / "shards" / "own")) == 4


def test_a_built_source_is_verified_by_its_name_and_a_plain_path_is_taken_for_a_folder(tmp_path: Path) -> None:
    own = own_images(tmp_path / "own", 2)
    build(tmp_path / "data", f"folder:{own}")
    assert build(tmp_path / "data", "own", verify=True).message == "own: 4 chips, every shard as written"
    with pytest.raises(InputError, match=r"not built.*did you mean 'own'"):
        build(tmp_path / "data", "ow", verify=True)
    with pytest.raises(InputError, match=re.escape(f"for a folder of your own: folder:{own}")):
        build(tmp_path / "data", str(own))


def test_a_folder_without_classes_has_no_labels(tmp_path: Path) -> None:
    own_images(tmp_path / "flat", 3, ("",))
    build(tmp_path / "data", f"folder:{tmp_path / 'flat'}")
    shards = open_shards(tmp_path / "data" / "shards" / "flat")
    assert shards.classes == []
    assert shards.labels.tolist() == [-1] * 3


def test_a_bad_file_is_listed_and_too_many_stop_the_build(tmp_path: Path) -> None:
    folder = own_images(tmp_path / "mixed", 20)
    (folder / "ship" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(
        InputError, match=r"too many files.*at most 1\.0% of 41.*ship/broken\.png: damaged.*--max-rejected"
    ):
        build(tmp_path / "data", f"folder:{folder}")
    assert not (tmp_path / "data" / "shards" / "mixed").exists()
    build(tmp_path / "data", f"folder:{folder}", max_rejected=0.1)
    index = open_shards(tmp_path / "data" / "shards" / "mixed").index
    assert [item["path"] for item in index["rejected"]] == ["ship/broken.png"]
    assert index["num_chips"] == 40


def test_stray_files_among_ones_own_images_are_listed_and_do_not_count(tmp_path: Path) -> None:
    folder = own_images(tmp_path / "own")
    for name in ("readme.rtf", "ship/sketch.bmp"):
        (folder / name).write_bytes(b"BM or whatever else")
    progress = Recorder()
    build(tmp_path / "data", f"folder:{folder}", progress=progress)
    index = open_shards(tmp_path / "data" / "shards" / "own").index
    assert {item["path"] for item in index["rejected"]} == {"readme.rtf", "ship/sketch.bmp"}
    assert (index["num_chips"], index["num_rejected"]) == (12, 2)
    assert any("2 files left out, e.g. readme.rtf: no known format" in line for line in progress.said)
    (folder / "ship" / "5.png").write_bytes(bytes(1000))  # a copy that broke off
    with pytest.raises(
        InputError, match=r"at most 1\.0% of 1\d; got 1 so far, the last ship/5\.png: holds nothing but"
    ):
        build(tmp_path / "data", f"folder:{folder}", force=True)


def test_a_file_of_no_known_format_counts_in_a_public_set(tmp_path: Path) -> None:
    packed = saracd_zip(tmp_path / "SAR-ACD-main.zip")
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("SAR-ACD-main/images/A220/099.jpg", b"BM or whatever else")
    with pytest.raises(InputError, match=r"too many files.*099\.jpg: no known format"):
        build(tmp_path / "data", "saracd", archives=(str(tmp_path),))


def test_copies_are_grouped_and_the_leak_is_named(tmp_path: Path) -> None:
    folder = own_images(tmp_path / "twice", 4)
    shutil.copy(folder / "plane" / "0.png", folder / "ship" / "copy.png")
    progress = Recorder()
    build(tmp_path / "data", f"folder:{folder}", progress=progress)
    shards = open_shards(tmp_path / "data" / "shards" / "twice")
    groups = dict(zip(shards.paths, shards.groups.tolist(), strict=True))
    assert groups["plane/0.png"] == groups["ship/copy.png"]
    assert shards.index["duplicates"]["spanning_labels"] == 1
    assert any("plane/0.png = ship/copy.png" in line for line in progress.said)


def passes(folder: Path, num: int = 4, kinds: tuple[str, ...] = ("plane", "ship")) -> tuple[Path, Path]:
    """Different images in a folder, and a list of them: a pass holds every class, and every other chip is tested."""
    own_images(folder, num, kinds)
    rows = [f"{kind}/{i}.png,{kind},{('train', 'test')[i % 2]},pass{i // 2}" for kind in kinds for i in range(num)]
    listed = folder.with_suffix(".csv")
    listed.write_text("\n".join(["path,label,split,group", *rows]))
    return folder, listed


def test_named_groups_are_not_called_near_duplicates(tmp_path: Path) -> None:
    folder, listed = passes(tmp_path / "own")
    progress = Recorder()
    build(tmp_path / "data", f"folder:{folder}", split_by=str(listed), progress=progress)
    assert [line for line in progress.warnings if "span" in line] == [
        "own: named groups span splits (2), e.g. pass0, pass1"
    ]
    card = (tmp_path / "data" / "shards" / "own" / "CARD.md").read_text()
    assert "Contradiction" not in card and " = " not in card
    assert "**Leak**: chips on both sides of a split in 2 groups, e.g. pass0, pass1." in card
    config = FewshotBenchConfig(data_root=str(tmp_path / "data"), datasets=("own",), checkpoint=("pixels",),
                                solver=("lda",), shots=(2,), runs=1, out=str(tmp_path / "few"))  # fmt: skip
    [table, *_] = fewshot_bench.run(config, Progress()).tables
    assert "up to 100% of them of a group of chips learnt from" in table.note


def test_near_duplicates_within_a_named_group_are_still_told(tmp_path: Path) -> None:
    folder, listed = passes(tmp_path / "own")
    shutil.copy(folder / "plane" / "0.png", folder / "ship" / "0.png")
    progress = Recorder()
    build(tmp_path / "data", f"folder:{folder}", split_by=str(listed), progress=progress)
    assert any("span splits (0) or labels (1), e.g. plane/0.png = ship/0.png" in line for line in progress.warnings)


def test_what_stands_is_left_alone_unless_forced(tmp_path: Path) -> None:
    build(tmp_path, "synthetic", chips_per_class=2)
    folder = tmp_path / "shards" / "synthetic"
    before = (folder / "index.json").stat().st_mtime_ns
    progress = Recorder()
    assert "already built" in build(tmp_path, "synthetic", chips_per_class=3, progress=progress).message
    assert (folder / "index.json").stat().st_mtime_ns == before
    assert any("--force" in line for line in progress.said)
    build(tmp_path, "synthetic", chips_per_class=3, force=True)
    assert len(open_shards(folder)) == 30


def test_another_folder_of_the_same_name_or_changed_images_are_noticed(tmp_path: Path) -> None:
    for place in "ab":
        own_images(tmp_path / place / "harbour", 2)
    root = tmp_path / "data"
    build(root, f"folder:{tmp_path / 'a' / 'harbour'}")
    progress = Recorder()
    build(root, f"folder:{tmp_path / 'a' / 'harbour'}", progress=progress)
    assert progress.said == []
    build(root, f"folder:{tmp_path / 'b' / 'harbour'}", progress=progress)
    assert progress.said == ["harbour was built from other files; --force builds it again"]
    image = tmp_path / "a" / "harbour" / "ship" / "0.png"
    image.write_bytes(image.read_bytes())  # of the same size, written again
    build(root, f"folder:{tmp_path / 'a' / 'harbour'}", progress=progress)
    assert len(progress.said) == 2


def test_every_rejected_file_is_listed(tmp_path: Path) -> None:
    folder = own_images(tmp_path / "mostly-broken", 1)
    for i in range(1010):
        (folder / "ship" / f"broken{i}.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    build(tmp_path / "data", f"folder:{folder}", max_rejected=1.0)
    index = open_shards(tmp_path / "data" / "shards" / "mostly-broken").index
    assert len(index["rejected"]) == index["num_rejected"] == 1010


def test_faults_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such source: 'mstra'; did you mean 'mstar'"):
        build(tmp_path, "mstra")
    with pytest.raises(InputError, match="no such folder"):
        build(tmp_path, "mstar", archives=(str(tmp_path / "nowhere"),))
    with pytest.raises(InputError, match=r"MSAR-1\.0 dataset\.rar; got none of them in .*radars\.ac\.cn.*--archives"):
        build(tmp_path, "msar", archives=(str(tmp_path),))
    with pytest.raises(InputError, match=r"no such distribution: mstar: 'phenix'; did you mean 'phoenix'"):
        build(tmp_path, "mstar", distribution="phenix")
    with pytest.raises(InputError, match=r"MSTAR-PublicMixedTargets-CD1\.zip.*register at"):
        build(tmp_path, "mstar", distribution="phoenix")
    with pytest.raises(InputError, match="no images in there"):
        build(tmp_path, f"folder:{tmp_path}")
    (tmp_path / "harbour.zip").touch()
    with pytest.raises(InputError, match=r"no such folder: .*harbour\.zip; got a file; folder:PATH names a folder"):
        build(tmp_path, f"folder:{tmp_path / 'harbour.zip'}")
    with pytest.raises(InputError, match="called like a public source"):
        build(tmp_path, "folder:/somewhere/mstar")
    with pytest.raises(InputError, match="no folder named: 'folder:'; expected folder:PATH"):
        build(tmp_path, "folder:")
    with pytest.raises(InputError, match="a folder without a name: folder:/; "):
        build(tmp_path, "folder:/")
    with pytest.raises(InputError, match="two sources of one name: odd; got folder:a/odd and folder:b/odd"):
        build(tmp_path, "folder:a/odd", "folder:b/odd")


def test_a_truncated_zip_is_named(tmp_path: Path) -> None:
    packed = saracd_zip(tmp_path / "SAR-ACD-main.zip")
    packed.write_bytes(packed.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"truncated zip: .*SAR-ACD-main\.zip.*fetch it again"):
        build(tmp_path / "data", "saracd", archives=(str(tmp_path),))


def test_a_zip_of_something_else_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "SAR-ACD-main.zip", "w") as archive:
        archive.writestr("holiday/beach.jpg", "x")
    with pytest.raises(
        InputError, match=r"no chips of SAR-ACD.*expected members like SAR-ACD-main/images/A220/001\.jpg"
    ):
        build(tmp_path / "data", "saracd", archives=(str(tmp_path),))


def test_dry_run_says_what_is_there_and_what_is_missing(tmp_path: Path) -> None:
    saracd_zip(tmp_path / "SAR-ACD-main.zip")
    result = build(tmp_path / "data", "all", dry_run=True, archives=(str(tmp_path),))
    states = {row[0]: row[2] for row in result.tables[0].rows}
    assert states["saracd"] == "at hand"
    assert states["sarship"] == "would be fetched"
    assert states["msar"] == "missing"
    sizes = {row[0]: row[3] for row in result.tables[0].rows}
    assert sizes["sarship"] == "427.0 MB"
    lines = result.message.splitlines()
    assert any(re.fullmatch(r"sarship: ship_dataset_v0\.zip: https://\S+/ship_dataset_v0\.zip", line) for line in lines)
    assert f"saracd: SAR-ACD-main.zip: {tmp_path}" in lines
    assert re.fullmatch(r"to fetch: [0-9]+ files?; missing, to be got by hand: [0-9]+ files?", lines[-1])
    assert not (tmp_path / "data").exists()


def test_dry_run_of_an_incomplete_set_tells_what_is_at_hand(tmp_path: Path) -> None:
    (tmp_path / "MSTAR-PublicMixedTargets-CD1.zip").write_bytes(b"PK")
    result = build(tmp_path / "data", "mstar", dry_run=True, distribution="phoenix", archives=(str(tmp_path),))
    states = {row[1]: row[2] for row in result.tables[0].rows}
    assert states["MSTAR-PublicMixedTargets-CD1.zip"] == "at hand"
    assert states["MSTAR-PublicMixedTargets-CD2.zip"] == "missing"
    assert states["MSTAR-PublicT72Variants-CD1.zip"] == "missing (optional)"
    with pytest.raises(InputError, match="no such distribution: mstar: 'phenix'"):
        build(tmp_path / "data", "mstar", dry_run=True, distribution="phenix")


def test_verify_passes_what_is_whole_and_names_what_is_not(tmp_path: Path) -> None:
    build(tmp_path, "synthetic", chips_per_class=2)
    assert "every shard as written" in build(tmp_path, "synthetic", verify=True).message
    shard = tmp_path / "shards" / "synthetic" / "synthetic-00000.h5"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(InputError, match=r"synthetic-00000\.h5: content does not have its checksum.*--force"):
        build(tmp_path, "synthetic", verify=True)
    build(tmp_path, f"folder:{own_images(tmp_path / 'own', 2)}")
    second = tmp_path / "shards" / "own" / "own-00000.h5"
    second.write_bytes(second.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"synthetic-00000\.h5: .*own-00000\.h5: "):  # all that is wrong, at once
        build(tmp_path, "synthetic", f"folder:{tmp_path / 'own'}", verify=True)


def test_the_advice_for_damaged_shards_builds_them_again_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own_images(tmp_path / "own" / "sar", 2)
    own_images(tmp_path / "own" / "opt", 2)
    own_images(tmp_path / "own" / "nosplit", 2)
    root, own = tmp_path / "data", tmp_path / "own"
    build(root, "synthetic", chips_per_class=2)
    build(root, f"folder:{own / 'nosplit'}", label_pattern="(?P<label>plane|ship)", near_duplicates=False)
    build(root, f"pairs:{own / 'sar'}", str(own / "opt"), chip_size=16)
    for shard in root.rglob("*.h5"):
        shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(InputError) as caught:
        build(root, "synthetic", "nosplit", "sar", verify=True)
    commands = str(caught.value).partition("build again: ")[2].split(" && ")
    for command, written in zip(commands, ("synthetic", "folder:PATH/nosplit", "pairs:PATH/sar,"), strict=True):
        words = shlex.split(command.replace("PATH", str(own)).replace("OPTICAL_FOLDER", str(own / "opt")))
        assert f"--sources {written}" in command and "--force" in words
        monkeypatch.setattr("sys.argv", [*words, "--workers", "1"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    assert build(root, "synthetic", "nosplit", "sar", verify=True).message.count("every shard as written") == 3
    settings = {name: open_shards(root / "shards" / name).index["settings"] for name in ("synthetic", "nosplit", "sar")}
    assert settings["synthetic"]["chips_per_class"] == 2 and settings["sar"]["chip_size"] == 16
    assert settings["nosplit"]["label_pattern"] and not settings["nosplit"]["near_duplicates"]
    (root / "shards" / "nosplit" / "index.json").unlink()
    with pytest.raises(InputError, match="build-dataset --sources folder:PATH/nosplit"):
        open_shards(root / "shards" / "nosplit")


def test_check_leaks_finds_shared_chips(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    build(tmp_path / "data", "synthetic", chips_per_class=6)
    shards = open_shards(tmp_path / "data" / "shards" / "synthetic")
    tested = np.flatnonzero(shards.splits == "test")[:10]
    for i in tested.tolist():
        Image.fromarray(np.rot90(shards[i].image)).save(own / f"{i}.png")
    build(tmp_path / "data", f"folder:{own}")
    result = build(tmp_path / "data", f"folder:{own}", "synthetic", check_leaks=True)
    ((left, right, shared, in_test, _),) = result.tables[-1].rows
    assert (left, right, in_test) == ("own", "synthetic", shared)
    assert int(shared) >= 8
    alone = build(tmp_path / "data", "synthetic", check_leaks=True)
    assert [row[1] for row in alone.tables[0].rows][:4] == ["chip size", "mean brightness", "border", "scene"]
    index = read_index(tmp_path / "data" / "shards" / "synthetic")
    assert [leak["kind"] for leak in index["leaks"]] == [row[1] for row in alone.tables[0].rows]
    card = (tmp_path / "data" / "shards" / "synthetic" / "CARD.md").read_text()
    assert "## Shortcuts" in card and f"{index['leaks'][1]['accuracy']:.1f}" in card


def test_chips_cut_larger_around_one_class_are_warned_of_in_card_and_table(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for side, name in ((20, "small"), (28, "large")):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(40):
            image = random.integers(0, 256, (side, side), dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / "own" / name / f"{number}.png")
    config = BuildDatasetConfig(data_root=str(tmp_path / "data"), sources=(f"folder:{tmp_path / 'own'}",), workers=1)
    recorder = Recorder()
    build_dataset.run(config, recorder)
    assert recorder.warnings == ["own: chip size alone predicts 100% of the labels (chance 50%)"]
    assert open_benchmark(str(tmp_path / "data"), "own").leaks == recorder.warnings[0].removeprefix("own: ")
    assert open_benchmark(str(tmp_path / "data"), "own", crop="20").leaks == "", "all chips are 20 px then"
    few = FewshotBenchConfig(data_root=str(tmp_path / "data"), datasets=("own",), checkpoint=("pixels",), shots=(2,),
                             runs=2, baselines=("none",), out=str(tmp_path / "few"), device="cpu")  # fmt: skip
    [table] = fewshot_bench.run(few, Progress()).tables
    assert "Beware: chip size alone predicts 100%" in table.note


@pytest.mark.shared
def test_real_archives_give_the_published_counts(shared: Path, tmp_path: Path) -> None:
    build(tmp_path, "mstar", "saracd", archives=(str(shared / "data"),), workers=2)
    mstar = open_shards(tmp_path / "shards" / "mstar")
    assert mstar.index["counts"] == mstar.index["expected"]
    assert (len(mstar), (mstar.splits == "train").sum(), (mstar.splits == "test").sum()) == (6874, 3671, 3203)
    single = np.isin(mstar.meta("serial"), mstar.index["label_sets"]["soc-10-single"]["where"]["serial"])
    assert (single & (mstar.splits == "test")).sum() == 2425
    assert (single & (mstar.splits == "train")).sum() == 2746  # the mirror files one chip under another serial
    assert mstar.index["duplicates"]["near_groups"] == 0
    saracd = open_shards(tmp_path / "shards" / "saracd")
    assert saracd.index["counts"] == saracd.index["expected"]
    assert len(saracd) == 3032
    benchmark = saracd.index["label_sets"][saracd.index["benchmark"]["label_set"]]["classes"]
    assert "A320321" in saracd.classes and "A320321" not in benchmark and len(benchmark) == 5
    assert abs(saracd.index["duplicates"]["num_groups"] - 709) <= 10
