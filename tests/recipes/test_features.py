"""features: the file other tools read holds what the encoder makes of every chip."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import h5py
import numpy as np
import pytest

import sarjepa
from sarjepa.config import FeaturesConfig
from sarjepa.errors import InputError
from sarjepa.progress import Progress
from sarjepa.recipes import features


def written(toy_root: Path, out: Path, checkpoint: object, **changes: object) -> Path:
    settings: dict = {"data_root": str(toy_root), "dataset": "toy", "device": "cpu", "out": str(out), **changes}
    features.run(FeaturesConfig(checkpoint=str(checkpoint), **settings), Progress())
    return out


def test_a_row_is_what_embed_gives_of_the_chip_beside_its_label_split_and_path(
    toy_root: Path, toy_run: Path, tmp_path: Path
) -> None:
    chips = sarjepa.open_shards(toy_root / "shards" / "toy")
    expected = sarjepa.load_encoder(toy_run).embed(chips.images(range(len(chips))), "cls+grid2@1,2", crop=24)
    changes = {"pool": "cls+grid2", "blocks": (1, 2), "crop": "24"}
    with np.load(written(toy_root, tmp_path / "f.npz", toy_run, **changes)) as npz:
        found = dict(npz)
    np.testing.assert_allclose(found["feature"], expected, atol=1e-5)
    assert found["feature"].dtype == np.float32 and found["feature"].shape == (72, 2 * 5 * 16)
    assert found["path"].tolist() == chips.paths and found["split"].tolist() == chips.splits.tolist()
    assert found["classes"][found["label"]].tolist() == [path.split("/")[0] for path in chips.paths]
    with h5py.File(written(toy_root, tmp_path / "f.h5", toy_run, **changes)) as h5:
        assert h5.keys() == found.keys()
        np.testing.assert_array_equal(h5["feature"], found["feature"])
        assert h5["path"].asstr()[:].tolist() == chips.paths


def test_a_baseline_has_features_too(toy_root: Path, tmp_path: Path) -> None:
    with np.load(written(toy_root, tmp_path / "f.npz", "pixels")) as npz:
        assert npz["feature"].shape == (72, 256)


def test_parquet_is_written_where_pyarrow_is_and_refused_where_not(
    toy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("pyarrow"):
        from pyarrow import parquet

        table = parquet.read_table(written(toy_root, tmp_path / "f.parquet", "pixels"))
        assert len(table["feature"][0].as_py()) == 256
        assert set(table["class"].to_pylist()) == {
            "across",
            "along",
            "blob",
        }
    monkeypatch.setattr(features, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs pyarrow, which is not installed.*\.npz or \.h5"):
        written(toy_root, tmp_path / "g.parquet", "pixels")
    with pytest.raises(InputError, match=r"expected a file that ends in \.npz, \.h5 or \.parquet"):
        FeaturesConfig(out="f.csv")
