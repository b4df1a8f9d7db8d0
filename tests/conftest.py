"""What every test may ask for: the folder of real chips and golden numbers, and a small built source."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real archives and golden numbers; a test that asks for it is skipped where it is absent."""
    folder = Path(os.environ.get("SARJEPA_SHARED", ROOT.parent / "shared")).resolve()
    if not (folder / "reference").is_dir():
        pytest.skip(f"no shared folder at {folder} (set SARJEPA_SHARED)")
    return folder


@pytest.fixture(autouse=True)
def _fixed_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich wraps by the width of the terminal; tests read one width, without colour."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")


@pytest.fixture(scope="session")
def synthetic_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a small simulated source: every class, both splits."""
    from sarjepa.config import BuildDatasetConfig
    from sarjepa.progress import Progress
    from sarjepa.recipes import build_dataset

    root = tmp_path_factory.mktemp("data")
    config = BuildDatasetConfig(data_root=str(root), sources=("synthetic",), chips_per_class=12, workers=1)
    build_dataset.run(config, Progress())
    return root
