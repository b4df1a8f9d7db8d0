"""A folder that cannot be written is said before any work is done for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sarjepa.config import Common, FewshotBenchConfig, FinetuneConfig, ProbeConfig, VisualizeAttentionConfig
from sarjepa.errors import InputError
from sarjepa.evaluation import runs
from sarjepa.progress import Progress
from sarjepa.recipes import fewshot_bench, finetune, probe, visualize_attention
from sarjepa.results.result import writable_folder


def test_a_folder_is_made_with_those_above_it_and_left_empty(tmp_path: Path) -> None:
    for _ in range(2):
        assert list(writable_folder(tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("place", ["file", "file/below", "/proc", "/proc/below"])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match=r"cannot be written.*give another --out") as caught:
        writable_folder(tmp_path / place)
    assert place in str(caught.value) and "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    ("recipe", "config_class", "changes"),
    [
        (probe, ProbeConfig, {"dataset": "toy"}),
        (finetune, FinetuneConfig, {"dataset": "toy"}),
        (fewshot_bench, FewshotBenchConfig, {"datasets": ("toy",)}),
        (visualize_attention, VisualizeAttentionConfig, {"dataset": ("toy",)}),
    ],
)
def test_every_command_looks_at_its_folder_before_it_works(
    toy_root: Path,
    toy_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe: object,
    config_class: type[Common],
    changes: dict,
) -> None:
    for name in ("train_probes", "finetune"):
        monkeypatch.delattr(runs, name)
    (tmp_path / "file").write_text("kept")
    checkpoint = str(toy_run) if config_class in (ProbeConfig, FinetuneConfig) else (str(toy_run),)
    config = config_class(data_root=str(toy_root), checkpoint=checkpoint, device="cpu",  # type: ignore[call-arg]
                          out=str(tmp_path / "file"), **changes)  # fmt: skip
    with pytest.raises(InputError, match="the folder cannot be written"):
        recipe.run(config, Progress())  # type: ignore[attr-defined]
