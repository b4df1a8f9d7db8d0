"""What every test may ask for: real chips and golden numbers, small built sources, a tiny run."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from sarjepa.data.shards import ShardWriter
from sarjepa.files import write_json
from sarjepa.models.checkpoints import encoder_bytes
from sarjepa.models.encoder import Encoder, EncoderShape
from sarjepa.pretext.methods import build_method
from sarjepa.progress import Progress
from sarjepa.training.checkpoint import save_checkpoint

if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes: a core each
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)

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
    from sarjepa.recipes import build_dataset

    root = tmp_path_factory.mktemp("data")
    config = BuildDatasetConfig(data_root=str(root), sources=("synthetic",), chips_per_class=12, workers=1)
    build_dataset.run(config, Progress())
    return root


TOY_CLASSES = ("across", "along", "blob")


def toy_chip(label: int, seed: int, side: int = 32) -> np.ndarray:
    """A chip of one class: a bar across, a bar along or a blob, in single-look speckle."""
    generator = np.random.default_rng(seed)
    amplitude = np.full((side, side), 0.12)
    centre = side // 2 + generator.integers(-2, 3)
    half = (2, side // 3)
    rows, columns = {0: (half[0], half[1]), 1: (half[1], half[0]), 2: (5, 5)}[label]
    amplitude[centre - rows : centre + rows, centre - columns : centre + columns] = 0.6
    speckled = amplitude * generator.rayleigh(1 / 1.2533, amplitude.shape)
    return (np.clip(speckled, 0, 1) * 255).astype(np.uint8)


def write_toy_source(root: Path, name: str, num_per_class: int = 24, with_split: bool = True, copies: int = 1) -> Path:
    """Write a source as build-dataset does: every chip `copies` times, as one near-duplicate group."""
    folder = root / "shards" / name
    folder.mkdir(parents=True)
    writer = ShardWriter(folder, name)
    groups = []
    for label, class_name in enumerate(TOY_CLASSES):
        for number in range(num_per_class):
            chip = toy_chip(label, seed=1000 * label + number)
            split = ("test" if number % 2 else "train") if with_split else ""
            for copy in range(copies):
                brighter = np.clip(chip * (1 + 0.1 * copy), 0, 255).astype(np.uint8)
                writer.add(brighter, label, split, f"{class_name}/{number:03d}-{copy}.png")
                groups.append(label * num_per_class + number)
    shards = writer.finish(groups)
    kind = (
        {"kind": "fraction-of-train", "fraction": 0.8} if with_split else {"kind": "fraction-of-all", "fraction": 0.25}
    )
    index = {
        "source": name,
        "num_chips": len(groups),
        "classes": list(TOY_CLASSES),
        "normalisation": {"scale": 255.0},
        "label_sets": {"all-three": {"classes": list(TOY_CLASSES)}, "bars": {"classes": ["along", "across"]}},
        "benchmark": {"label_set": "all-three", "crop": None, "pool": kind},
        "resolution_m": 0.3,
        "shards": shards,
    }
    write_json(folder / "index.json", index)
    return folder


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with `toy` (train and test) and `copies` (no split, every chip four times)."""
    root = tmp_path_factory.mktemp("toy-data")
    write_toy_source(root, "toy")
    write_toy_source(root, "copies", num_per_class=10, with_split=False, copies=4)
    return root


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that holds an exported encoder of two blocks."""
    folder = tmp_path_factory.mktemp("toy-run")
    torch.manual_seed(0)
    encoder = Encoder(EncoderShape(width=16, depth=2, num_heads=2, patch_size=8, image_size=32))
    describe = {"model": "toy", "method": "sar-jepa", "sources": ["toy"]}
    (folder / "encoder.safetensors").write_bytes(encoder_bytes(encoder, describe))
    return folder


@pytest.fixture(scope="session")
def toy_writer() -> Callable[..., Path]:
    """`write_toy_source`, for tests that want a source of their own."""
    return write_toy_source


def write_toy_checkpoint(folder: Path, method: str = "sar-jepa") -> Path:
    """A run folder as pre-training leaves it, untrained: settings and a checkpoint with the predictor."""
    settings = {
        "method": method,
        "model": "vit-demo",
        "image-size": 32,
        "window-size": 3,
        "radii": [2, 4],
        "predictor-width": 48,
        "predictor-depth": 1,
        "predictor-heads": 2,
    }
    values = {key.replace("-", "_"): value for key, value in settings.items() if key != "method"}
    torch.manual_seed(0)
    built = build_method(method, **{**values, "radii": (2, 4)})
    describe = {"model": "vit-demo", "method": method, "sources": ["toy"]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    state = {"encoder_shape": asdict(built.encoder.shape), "describe": describe, "method": built.state_dict()}
    save_checkpoint(folder, state)
    return folder


@pytest.fixture(scope="session")
def toy_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with its predictor: sar-jepa, 32 px, patch 8."""
    return write_toy_checkpoint(tmp_path_factory.mktemp("runs") / "toy-checkpoint")


@pytest.fixture(scope="session")
def toy_checkpoint_writer() -> Callable[..., Path]:
    """`write_toy_checkpoint`, for tests that want another method or a folder of their own."""
    return write_toy_checkpoint
