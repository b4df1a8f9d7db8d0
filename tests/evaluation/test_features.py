"""Features: one pass, poolings by definition, a cache that cannot be stale."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sarjepa.errors import InputError
from sarjepa.evaluation import features as module
from sarjepa.evaluation.features import cached, content_key, extract
from sarjepa.models.encoder import Encoder, EncoderShape
from sarjepa.models.heads import Feature


class Corner(nn.Module):
    """A stub encoder: a patch's token is its mean and its position; the class token is the image's mean."""

    width, patch_size = 3, 8

    def __init__(self) -> None:
        super().__init__()
        self.num_seen = 0

    def forward_features(self, image: torch.Tensor) -> torch.Tensor:
        self.num_seen += len(image)
        patches = nn.functional.avg_pool2d(image, 8)[:, 0]
        rows, columns = patches.shape[1:]
        row, column = torch.meshgrid(torch.arange(rows).float(), torch.arange(columns).float(), indexing="ij")
        tokens = torch.stack([patches, row.expand_as(patches), column.expand_as(patches)], dim=-1).flatten(1, 2)
        return torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)


def images(num: int = 10) -> torch.Tensor:
    return torch.rand(num, 1, 64, 64, generator=torch.Generator().manual_seed(0))


def test_every_image_is_seen_once_and_the_batch_size_does_not_matter() -> None:
    image, encoder = images(), Corner()
    whole = extract(encoder, lambda index: image[index], 10, batch_size=10)
    assert encoder.num_seen == 10
    parts = extract(Corner(), lambda index: image[index], 10, batch_size=3)
    for pool in ("cls", "mean", "grid2", "grid4"):
        assert np.allclose(whole[pool], parts[pool], atol=1e-6) and whole[pool].dtype == np.float32


def test_poolings_are_what_they_are_called() -> None:
    image = images()
    features = extract(Corner(), lambda index: image[index], 10)
    assert {pool: feature.shape[1] for pool, feature in features.items()} == {
        "cls": 3, "mean": 3, "grid2": 12, "grid4": 48
    }  # fmt: skip
    assert np.allclose(features["mean"][:, 0], image.mean(dim=(1, 2, 3)), atol=1e-5)
    quarters = nn.functional.avg_pool2d(image, 32).flatten(1)
    assert np.allclose(features["grid2"].reshape(10, 4, 3)[:, :, 0], quarters, atol=1e-5)
    assert features["grid2"][0].reshape(4, 3)[:, 1:].tolist() == [[1.5, 1.5], [1.5, 5.5], [5.5, 1.5], [5.5, 5.5]]


def test_what_is_on_disk_is_not_computed_again(tmp_path: Path) -> None:
    calls = []

    def compute() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"cls": np.ones((2, 3), np.float32), "mean": np.zeros((2, 3), np.float32)}

    parts = {"weights": "w", "data": ["d"]}
    assert cached(tmp_path, parts, ["cls"], compute)[0].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert cached(tmp_path, parts, ["mean"], compute)[0].sum() == 0, "the other poolings came with it"
    assert len(calls) == 1
    cached(tmp_path, {**parts, "weights": "other"}, ["cls"], compute)
    assert len(calls) == 2
    cached(tmp_path, parts, ["cls", "block-1-cls"], lambda: {"block-1-cls": np.zeros((2, 3), np.float32)})
    names = sorted(path.name for path in (tmp_path / content_key(parts)).iterdir())
    assert names == ["block-1-cls.npy", "cls.npy", "mean.npy", "parts.json"], "a block is kept beside the last one"


def test_features_of_several_blocks_and_pools_are_joined_and_the_last_block_is_the_output() -> None:
    torch.manual_seed(0)
    encoder, image = Encoder(EncoderShape(16, 3, 2, 8, 32)).eval(), torch.rand(3, 1, 32, 32)
    features = extract(encoder, lambda index: image[index], 3, blocks=(1, 3, None))
    assert np.allclose(features["block-3-cls"], features["cls"])
    assert not np.allclose(features["block-1-cls"], features["cls"], atol=0.1)
    with torch.no_grad():
        joined = Feature.read("cls+grid2@1,3")(encoder, image).numpy()
    wanted = [features[f"block-{block}-{pool}"] for block in (1, 3) for pool in ("cls", "grid2")]
    assert np.allclose(joined, np.concatenate(wanted, axis=1), atol=1e-6)
    with pytest.raises(InputError, match="no such block"):
        extract(encoder, lambda index: image[index], 3, blocks=(4,))


@pytest.mark.parametrize(
    "change", [{"weights": "x"}, {"data": "x"}, {"transform": {"crop": 64}}, {"precision": "bf16"}]
)
def test_anything_that_decides_the_numbers_changes_the_key(change: dict) -> None:
    parts = {"weights": "w", "data": "d", "transform": {"crop": 128}, "precision": "fp32"}
    assert content_key({**parts, **change}) != content_key(parts)
    assert content_key(dict(reversed(parts.items()))) == content_key(parts)


def test_an_interrupted_pass_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted() -> dict[str, np.ndarray]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, {"a": 1}, ["cls"], interrupted)
    assert cached(tmp_path, {"a": 1}, ["cls"], lambda: {"cls": np.zeros((1, 1), np.float32)})[0].shape == (1, 1)
    assert [path.name for path in tmp_path.iterdir()] == [content_key({"a": 1})]


@pytest.fixture
def small_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four features of 1 kB, used 4, 3, 2 and 1 hours ago, where 3 kB may stay."""
    for hours in (4, 3, 2, 1):
        cached(tmp_path, {"hours": hours}, ["cls"], lambda: {"cls": np.zeros((1, 218), np.float32)})
        os.utime(tmp_path / content_key({"hours": hours}), 2 * (time.time() - 3600 * hours - 60,))
    monkeypatch.setattr(module, "_LIMIT", 3000)
    return tmp_path


def kept(folder: Path) -> list[int]:
    return [hours for hours in (4, 3, 2, 1) if (folder / content_key({"hours": hours})).is_dir()]


def test_features_not_used_for_longest_make_room(small_cache: Path) -> None:
    cached(small_cache, {"hours": 4}, ["cls"], dict)  # used again, so the next one is older
    assert kept(small_cache) == [4, 3, 2, 1], "nothing was written, so nothing has to go"
    cached(small_cache, {"new": 1}, ["cls"], lambda: {"cls": np.zeros((1, 218), np.float32)})
    assert kept(small_cache) == [4, 1]
    assert not list(small_cache.glob("*.lock"))


def test_features_in_use_stay_and_so_does_what_is_no_cache(small_cache: Path) -> None:
    (small_cache / "my own").mkdir()
    (small_cache / "my own" / "cls.npy").write_bytes(bytes(5000))
    os.utime(small_cache / "my own", (0, 0))
    for hours in (3, 2):
        os.utime(small_cache / content_key({"hours": hours}))
    cached(small_cache, {"new": 1}, ["cls"], lambda: {"cls": np.zeros((1, 2180), np.float32)})
    assert kept(small_cache) == [3, 2]
    assert (small_cache / "my own" / "cls.npy").is_file()


def test_removed_features_are_computed_again_and_mapped_ones_can_still_be_read(small_cache: Path) -> None:
    [mapped] = cached(small_cache, {"hours": 4}, ["cls"], dict)
    os.utime(small_cache / content_key({"hours": 4}), (0, 0))
    cached(small_cache, {"new": 1}, ["cls"], lambda: {"cls": np.zeros((1, 2180), np.float32)})
    assert kept(small_cache) == [] and mapped.sum() == 0
    [again] = cached(small_cache, {"hours": 4}, ["cls"], lambda: {"cls": np.ones((1, 2), np.float32)})
    assert again.sum() == 2


def test_what_another_user_left_ends_no_command(small_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError("not the owner")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refused)
        cached(small_cache, {"new": 1}, ["cls"], lambda: {"cls": np.zeros((1, 2180), np.float32)})
        assert kept(small_cache) == [4, 3, 2, 1]
    with monkeypatch.context() as patch:
        patch.setattr(module, "hold", refused)
        cached(small_cache, {"new": 2}, ["cls"], lambda: {"cls": np.zeros((1, 2180), np.float32)})
        assert kept(small_cache) == [4, 3, 2, 1]
    (small_cache / "removed-0123").mkdir()  # as a call that was killed leaves it
    cached(small_cache, {"new": 3}, ["cls"], lambda: {"cls": np.zeros((1, 2180), np.float32)})
    assert kept(small_cache) == [] and not list(small_cache.glob("removed-*"))


def test_features_that_come_into_use_meanwhile_stay(small_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.rename

    def slow(path: Path, target: Path) -> Path:
        for hours in (4, 3):  # another process reads them while the first folder goes
            if (folder := small_cache / content_key({"hours": hours})).is_dir() and folder != path:
                os.utime(folder)
        return real(path, target)

    monkeypatch.setattr(Path, "rename", slow)
    cached(small_cache, {"new": 1}, ["cls"], lambda: {"cls": np.zeros((1, 2180), np.float32)})
    assert kept(small_cache) == [4, 3]
