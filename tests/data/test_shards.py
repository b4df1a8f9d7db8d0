"""Shards: what goes in comes out, from any process, and a file that is not whole is never taken for one."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path

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


def test_columns_agree_with_the_chips(tmp_path: Path) -> None:
    shards = open_shards(build(tmp_path / "some", _images("uint8"), shard_bytes=3000))
    assert shards.labels.tolist() == [chip.label for chip in shards]
    assert shards.groups.tolist() == [chip.group for chip in shards]
    assert shards.splits.tolist() == [chip.split for chip in shards]
    assert shards.paths == [chip.path for chip in shards]
    assert shards.shapes.tolist() == [list(chip.image.shape) for chip in shards]
    assert shards.meta("serial")[:4] == ["", "s1", "", "s3"]
    with pytest.raises(KeyError):
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
        ('{"shards": [', r"not a JSON file: .*index\.json; got .*; build"),
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
