"""Shards: what goes in comes out, from any process, and a file that is not whole is never taken for one."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from sarjepa.data.shards import FORMAT, ShardWriter, open_shards, verify
from sarjepa.errors import InputError
from sarjepa.files import write_json


def _images(dtype: str, num: int = 20) -> list[np.ndarray]:
    random = np.random.default_rng(3)
    shapes = random.integers(3, 40, (num, 2))
    return [(random.random(tuple(shape)) * 200).astype(dtype) for shape in shapes]


def build(folder: Path, images: list[np.ndarray], **options: int) -> Path:
    folder.mkdir(parents=True)
    writer = ShardWriter(folder, "some", **options)
    for i, image in enumerate(images):
        meta = {"serial": f"s{i}"} if i % 2 else {}
        writer.add(image, label=i % 3 - 1, split=("train", "test", "")[i % 3], path=f"a/é{i}.png", meta=meta)
    shards = writer.finish(np.arange(len(images)) // 2)
    index = {"source": "some", "num_chips": len(images), "classes": ["x", "y"], "shards": shards}
    write_json(folder / "index.json", index | {"normalisation": {"scale": 255.0}})
    return folder


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_every_chip_comes_back_as_it_was_stored(tmp_path: Path, dtype: str) -> None:
    images = _images(dtype)
    shards = open_shards(build(tmp_path / "some", images, shard_bytes=2000))
    assert len(shards.index["shards"]) > 3
    assert len(shards) == len(images)
    for i, (chip, image) in enumerate(zip(shards, images, strict=True)):
        assert chip.image.dtype == image.dtype
        assert np.array_equal(chip.image, image)
        assert (chip.label, chip.split, chip.path) == (i % 3 - 1, ("train", "test", "")[i % 3], f"a/é{i}.png")
        assert chip.group == i // 2
    assert np.array_equal(shards[-1].image, images[-1])
    assert [chip.path for chip in shards[3:5]] == ["a/é3.png", "a/é4.png"]
    with pytest.raises(IndexError):
        shards[len(images)]


def _paired(folder: Path) -> tuple[Path, list[np.ndarray], list[np.ndarray | None]]:
    """A source of float chips, two of three with an optical image."""
    images, random = _images("float32"), np.random.default_rng(4)
    optical = [random.integers(0, 256, (3, *image.shape), dtype=np.uint8) for image in images]
    chosen = [None if number % 3 == 1 else image for number, image in enumerate(optical)]
    folder.mkdir()
    writer = ShardWriter(folder, "some", shard_bytes=9000)
    for image, beside in zip(images, chosen, strict=True):
        writer.add(image, 0, "", "x.png", optical=beside)
    index = {"source": "some", "num_chips": len(images), "classes": ["x"], "shards": writer.finish(range(len(images)))}
    write_json(folder / "index.json", index | {"normalisation": {"scale": 1.0}})
    return folder, images, chosen


def test_optical_images_come_back_beside_their_chips(tmp_path: Path) -> None:
    folder, images, optical = _paired(tmp_path / "some")
    shards = open_shards(folder)
    assert len(shards.index["shards"]) > 2 and not verify(folder)
    assert shards.paired.tolist() == [image is not None for image in optical]
    for number, (image, beside) in enumerate(zip(images, optical, strict=True)):
        assert np.array_equal(shards[number].image, image)
        found = shards.optical(number)
        assert (found is None) == (beside is None) and (found is None or np.array_equal(found, beside))
    plain = open_shards(build(tmp_path / "plain", _images("uint8")))
    assert not plain.paired.any() and plain.optical(0) is None


@pytest.mark.parametrize("name", ["optical", "optical_offsets"])
def test_optical_images_that_do_not_add_up_are_named(tmp_path: Path, name: str) -> None:
    folder, _, _ = _paired(tmp_path / "some")
    path = next(iter(sorted(folder.glob("*.h5"))))
    with h5py.File(path, "r+") as file:
        values = file[name][()]
        del file[name]
        file[name] = values[:-1] if name == "optical" else np.where(values >= 0, values + 1, values)
    with pytest.raises(InputError, match="optical"):
        open_shards(folder).optical(0)


def test_columns_agree_with_the_chips(tmp_path: Path) -> None:
    shards = open_shards(build(tmp_path / "some", _images("uint8"), shard_bytes=3000))
    assert shards.labels.tolist() == [chip.label for chip in shards]
    assert shards.groups.tolist() == [chip.group for chip in shards]
    assert shards.splits.tolist() == [chip.split for chip in shards]
    assert shards.paths == [chip.path for chip in shards]
    assert shards.shapes.tolist() == [list(chip.image.shape) for chip in shards]
    assert shards.meta("serial")[:4] == ["", "s1", "", "s3"]
    with pytest.raises(InputError, match=r"no such column: 'nothing' in .*\.h5"):
        shards.meta("nothing")


def test_same_chips_give_same_bytes(tmp_path: Path) -> None:
    first, second = (build(tmp_path / name / "some", _images("uint8"), shard_bytes=4000) for name in "ab")
    assert [p.name for p in sorted(first.iterdir())] == [p.name for p in sorted(second.iterdir())]
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def _sum_of(shards: object) -> int:
    return sum(int(chip.image.sum()) for chip in shards)  # type: ignore[attr-defined]


def test_opened_shards_go_to_other_processes(tmp_path: Path) -> None:
    shards = open_shards(build(tmp_path / "some", _images("uint8")))
    here = _sum_of(shards)
    assert _sum_of(pickle.loads(pickle.dumps(shards))) == here
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_sum_of, [shards] * 3) == [here] * 3


def test_pixels_cannot_be_written_through_the_map(tmp_path: Path) -> None:
    shards = open_shards(build(tmp_path / "some", _images("uint8")))
    with pytest.raises(ValueError, match="read-only"):
        shards[0].image[0, 0] = 1


def test_nothing_has_its_name_before_it_is_whole(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, "some", shard_bytes=100)
    for image in _images("uint8"):
        writer.add(image, 0, "", "p")
    assert not list(tmp_path.glob("*.h5"))


def test_types_do_not_mix_in_a_source(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, "some")
    writer.add(np.zeros((2, 2), np.uint8), 0, "", "a")
    with pytest.raises(InputError, match=r"mix.*b\.png.*uint8.*uint16.*build two sources"):
        writer.add(np.zeros((2, 2), np.uint16), 0, "", "b.png")


def test_what_is_not_built_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="build-dataset --sources mstar"):
        open_shards(tmp_path / "mstar")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = build(tmp_path / "some", _images("uint8"))
    (folder / "some-00000.h5").unlink()
    with pytest.raises(InputError, match=r"shard missing.*some-00000\.h5"):
        open_shards(folder)


def test_shards_of_another_format_are_refused(tmp_path: Path) -> None:
    folder = build(tmp_path / "some", _images("uint8"))
    index = open_shards(folder).index
    write_json(folder / "index.json", index | {"format": FORMAT})
    assert len(open_shards(folder)) == 20
    write_json(folder / "index.json", index | {"format": "sarjepa-shard-0"})
    with pytest.raises(InputError, match=r"another version.*expected sarjepa-shard-1; got sarjepa-shard-0; build"):
        open_shards(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", r"not the index of a built source: .*index\.json; expected shards; build"),
        ("[]", r"not the index of a built source: .*index\.json; expected shards; build"),
        ('{"shards": [', r"not readable as JSON: .*index\.json; got .*; build"),
        ('{"format": "sarjepa-shard-0"}', "another version"),
    ],
)
def test_an_index_that_is_damaged_is_named(tmp_path: Path, text: str, message: str) -> None:
    folder = build(tmp_path / "some", _images("uint8"))
    (folder / "index.json").write_text(text)
    with pytest.raises(InputError, match=message):
        open_shards(folder)


def test_a_truncated_shard_is_named_with_a_way_on(tmp_path: Path) -> None:
    folder = build(tmp_path / "some", _images("uint8"))
    shard = folder / "some-00000.h5"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(
        InputError, match=r"damaged shard: .*some-00000\.h5; got .*; build the source again with --force"
    ):
        open_shards(folder)[0]


def test_verify_finds_a_flipped_bit(tmp_path: Path) -> None:
    folder = build(tmp_path / "some", _images("uint8"), shard_bytes=4000)
    assert verify(folder) == []
    shard = folder / "some-00001.h5"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert verify(folder) == ["some-00001.h5: content does not have its checksum"]


def edited(folder: Path, edit: Callable[[h5py.File], None]) -> Path:
    """The source, with one change in its first shard."""
    with h5py.File(folder / "some-00000.h5", "r+") as file:
        edit(file)
    return folder


def _replace(name: str, values: Callable[[np.ndarray], object]) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        changed = values(file[name][()])
        del file[name]
        file[name] = changed

    return edit


def _huge(file: h5py.File) -> None:
    del file["groups"]
    file.create_dataset("groups", (10**12,), "i8", chunks=(1000,))  # takes no room in the file


EDITS: dict[str, Callable[[h5py.File], None]] = {
    "larger shapes": _replace("shapes", lambda old: old * 2),
    "negative shapes": _replace("shapes", lambda old: -old),
    "shapes beyond numbers": _replace("shapes", lambda old: old + 2**62),
    "shapes of other chips": _replace("shapes", lambda old: old[::-1]),
    "one shape too few": _replace("shapes", lambda old: old[:-1]),
    "shapes that are floats": _replace("shapes", lambda old: old.astype(float)),
    "offsets moved": _replace("offsets", lambda old: old + 1),
    "labels beyond the classes": _replace("labels", lambda old: old + 5),
    "labels below none": _replace("labels", lambda old: old - 5),
    "labels that are text": _replace("labels", lambda old: old.astype("S")),
    "a label too many": _replace("labels", lambda old: np.append(old, 0)),
    "groups without end": _huge,
    "a column missing": lambda file: file.__delitem__("splits"),
    "paths that are no text": _replace("paths", lambda old: np.full(len(old), b"\xff\xfe")),
    "paths that are numbers": _replace("paths", lambda old: np.arange(len(old))),
    "a column that is a folder": lambda file: (file.__delitem__("splits"), file.create_group("splits")),  # type: ignore[dict-item]
    "a further column too short": _replace("meta/serial", lambda old: old[:-1]),
    "pixels of another type": _replace("pixels", lambda old: old.astype("i8")),
    "fewer pixels": _replace("pixels", lambda old: old[:-1]),
    "pixels in a plane": _replace("pixels", lambda old: old[: len(old) // 2 * 2].reshape(2, -1)),
    "pixels packed": lambda file: (file.__delitem__("pixels"), file.create_dataset("pixels", (9,), "u1", chunks=(3,))),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("name", EDITS)
def test_a_shard_that_says_other_things_than_was_written_is_named(tmp_path: Path, name: str) -> None:
    folder = edited(build(tmp_path / "some", _images("uint8")), EDITS[name])
    shards = open_shards(folder)
    with pytest.raises(InputError, match=r"damaged shard: .*some-00000\.h5; got .*--force") as refusal:
        _ = (shards.labels, shards[3])
    assert "\n" not in str(refusal.value)


def test_a_shard_cut_short_is_named_before_it_is_mapped(tmp_path: Path) -> None:
    folder = build(tmp_path / "some", [np.full((64, 64), 7, np.uint8)] * 9)
    shard = folder / "some-00000.h5"
    with h5py.File(shard) as old, h5py.File(folder / "new.h5", "w") as new:
        for name in sorted(old, key=lambda name: name == "pixels"):  # last in the file
            old.copy(name, new)
    data = bytearray((folder / "new.h5").read_bytes())[:-1000]
    data[40:48] = struct.pack("<Q", len(data))  # where HDF5 keeps the file's size, which it holds against the real one
    shard.write_bytes(data)
    with pytest.raises(InputError, match=rf"damaged shard: {shard}; got .*--force"):
        open_shards(folder).images([8])


INDEX_EDITS: dict[str, object] = {
    "shards": [None, {}, [], "x", [1], [{}]],
    "shards.0.file": [None, 3, "", "../some-00000.h5", "/etc/passwd", "a/b.h5"],
    "shards.0.num_chips": [None, "20", 2.5, -1, 10**30, True],
    "shards.0.sha256": [None, 7],
    "classes": [None, "x", [1, 2], ["x", "x"], {}],
    "normalisation": [None, [], {}],
    "normalisation.scale": [None, "255", 0, -1, 10**400],
    "num_chips": ["many", 2.5, -1],
    "label_sets": [[], {"a": None}, {"a": {"classes": "x"}}, {"a": {"classes": ["z"]}}, {"a": {}}],
    "benchmark": [[], "x", {"label_set": "z"}, {"label_set": 3}],
    "counts": [[], {"train": 3}, {"train": {"x": "many"}}, {"train": {"x": -1}}],
    "rejected": [{}, [1], [{"path": 3, "reason": "x"}]],
    "settings": [[], "x"],
    "resolution_m": ["fine", -0.3, 10**400],
    "source": [3, []],
    "format": [3, "sarjepa-shard-0"],
}


@pytest.mark.parametrize("key", INDEX_EDITS)
def test_a_key_of_another_kind_in_the_index_is_named(tmp_path: Path, key: str) -> None:
    folder = build(tmp_path / "some", _images("uint8"))
    whole = json.loads((folder / "index.json").read_text())
    for value in INDEX_EDITS[key]:  # type: ignore[attr-defined]
        content = json.loads(json.dumps(whole))
        *way, last = key.split(".")
        part = content
        for step in way:
            part = part[int(step)] if step.isdigit() else part[step]
        part[last] = value
        (folder / "index.json").write_text(json.dumps(content))
        with pytest.raises(InputError, match=r"index\.json|another version") as refusal:
            open_shards(folder)
        assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 400
