"""A pre-training of the demo preset that takes seconds."""

from __future__ import annotations

from pathlib import Path

from sarjepa.config import PretrainConfig
from sarjepa.overlay import overlay, read_preset
from sarjepa.progress import Progress
from sarjepa.recipes import pretrain
from sarjepa.results.result import Result


def demo_settings(root: Path, run: Path, **changes: object) -> PretrainConfig:
    """Settings of a run on the synthetic source of a data root: 3 epochs of batches of 16, on the CPU, and changes."""
    own = {
        "data_root": str(root),
        "run_dir": str(run),
        "device": "cpu",
        "epochs": 3,
        "warmup_epochs": 1,
        "batch_size": 16,
    }
    return overlay(PretrainConfig, [("preset", read_preset("demo", "pretrain")), ("test", {**own, **changes})])


def train(root: Path, run: Path, **changes: object) -> Result:
    """Pre-train with these settings."""
    return pretrain.run(demo_settings(root, run, **changes), Progress())
