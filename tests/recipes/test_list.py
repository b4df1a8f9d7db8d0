"""list: what is there, as a newcomer to a machine sees it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sarjepa.config import ListConfig, ModelsConfig
from sarjepa.models.addresses import CLASSIFIER_FILE
from sarjepa.progress import Progress
from sarjepa.recipes import list as listing
from sarjepa.recipes import models


def test_sources_runs_and_what_they_were_trained_on_are_listed(
    tmp_path: Path, toy_writer: Callable[..., Path], toy_checkpoint_writer: Callable[..., Path]
) -> None:
    toy_writer(tmp_path / "data", "toy")
    (toy_writer(tmp_path / "data", "broken") / "index.json").write_text("{")
    run = toy_checkpoint_writer(tmp_path / "runs" / "first")
    settings = run / "settings.yaml"
    settings.write_text(settings.read_text() + "sources: [toy, mstar]\nepochs: 3\n")
    (run / "log.jsonl").write_text('{"step": 5, "epoch": 1}\n')
    (run / "finetune-toy").mkdir()
    (run / "finetune-toy" / CLASSIFIER_FILE).touch()
    (tmp_path / "runs" / "copied").mkdir()
    (tmp_path / "runs" / "copied" / "encoder.safetensors").touch()
    config = ListConfig(data_root=str(tmp_path / "data"), run_root=str(tmp_path / "runs"))
    result = listing.run(config, Progress())
    built, runs, public = result.tables
    assert [row[0] for row in built.rows] == ["broken", "toy"] and "index.json" in built.rows[0][1]
    assert built.rows[1][1:] == ("72", "3")
    assert runs.rows[1] == (str(run), "toy, mstar", "sar-jepa", "vit-demo", "2 of 3", "finetune-toy")
    assert runs.rows[0][1] == "no settings are stored in the folder"
    assert {"mstar", "opensarship"} <= {row[0] for row in public.rows}
    assert result.message.startswith("2 built sources under")


def test_published_weights_say_their_terms_and_what_nobody_confirmed() -> None:
    [table] = models.run(ModelsConfig(), Progress()).tables
    rows = {row[0]: row for row in table.rows}
    assert {"sar-jepa", "saratr-x", "sarmae", "fg-mae", "mae", "dinov2", "dinov3"} == set(rows)
    assert rows["sar-jepa"][3] == "CC BY-NC 4.0" and rows["mae"][3] == "CC BY-NC 4.0*"
    assert all(
        row[2].startswith("https://") and ("load_encoder" in row[4] or "not read" in row[4]) for row in table.rows
    )


def test_an_empty_place_is_listed_without_torch(tmp_path: Path) -> None:
    program = "import sys; sys.modules['torch'] = None; sys.argv[1:] = ['list']; "
    program += "from sarjepa.cli.app import main; main()"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "0 built sources under data, 0 runs under runs" in done.stdout and "OpenSARShip" in done.stdout
