"""The folder of a grid: its runs are found again, also by a version that has more settings."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from sarjepa.config import FewshotBenchConfig
from sarjepa.documents import read_record
from sarjepa.errors import InputError
from sarjepa.results.records import Run
from sarjepa.results.store import RunStore

GOLDEN = Path(__file__).parents[1] / "golden" / "results" / "grid"
CONFIG = FewshotBenchConfig(precision="fp32", epochs=5, batch_size=50, lr=1e-3, weight_decay=5e-4, layer_decay=1.0)


def key(store: RunStore) -> dict[str, object]:
    return {"dataset": "mstar", "protocol": "linear-probe", "shots": 2, "seed": 0, "settings": store.settings}


def test_the_settings_of_a_folder_are_stored_as_before(tmp_path: Path) -> None:
    with RunStore(tmp_path, CONFIG) as store:
        assert (
            json.loads((tmp_path / "settings.json").read_text()).items()
            >= json.loads((GOLDEN / "settings.json").read_text()).items()
        )
        assert not {"data_root", "device", "out", "shots", "seed"} & store.settings.keys()


def test_runs_of_a_version_with_fewer_settings_are_found_again(tmp_path: Path) -> None:
    run = read_record(next((GOLDEN / "runs").glob("*.json")), Run)
    older = json.loads((GOLDEN / "settings.json").read_text())
    del older["label_set"]
    (tmp_path / "settings.json").write_text(json.dumps(older))
    with RunStore(tmp_path, CONFIG) as store:
        assert store.settings == older
        store.put(key(store), run)
    with RunStore(tmp_path, dataclasses.replace(CONFIG, data_root="elsewhere", runs=99)) as store:
        assert store.get(key(store)) == run
    with pytest.raises(InputError, match=r"expected lr 0\.001; got lr 0\.5; give another --out"):
        RunStore(tmp_path, dataclasses.replace(CONFIG, lr=0.5)).__enter__()
