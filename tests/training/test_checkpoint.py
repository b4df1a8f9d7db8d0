"""Checkpoints: whole or not there, and the one before when the last is damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from recording import Recorder

from sarjepa.errors import InputError
from sarjepa.pickles import read_pickle
from sarjepa.training.checkpoint import LAST, PREVIOUS, load_last_checkpoint, save_checkpoint

CPU = torch.device("cpu")


def state(step: int) -> dict:
    return {"step": step, "weights": torch.full((64, 64), float(step))}


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def test_the_last_checkpoint_is_read_and_the_one_before_is_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, state(step))
    assert load_last_checkpoint(tmp_path, CPU).content["step"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [LAST, PREVIOUS]
    assert torch.load(tmp_path / PREVIOUS, weights_only=True)["step"] == 2


def test_a_damaged_checkpoint_is_recognised_and_the_one_before_is_used_with_a_warning(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state(1))
    save_checkpoint(tmp_path, state(2))
    damage(tmp_path / LAST)
    with pytest.raises(InputError, match="damaged"):
        read_pickle(tmp_path / LAST)
    progress = Recorder()
    assert load_last_checkpoint(tmp_path, CPU, progress).content["step"] == 1
    assert len(progress.warnings) == 1
    assert LAST in progress.warnings[0]


def test_a_file_cut_short_is_damaged(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, state(1))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="a zip that is damaged"):
        read_pickle(path)


def test_a_crash_while_writing_leaves_the_last_checkpoint_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, state(1))

    def fail(content: object, file: object) -> None:
        file.write(b"half a file")  # type: ignore[attr-defined]
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(InputError, match=r"cannot write the checkpoint.*No space.*--resume"):
        save_checkpoint(tmp_path, state(2))
    assert load_last_checkpoint(tmp_path, CPU).content["step"] == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("error", [None, RuntimeError("[enforce fail at inline_container.cc:671] unexpected pos")])
def test_a_full_disk_is_said_in_plain_words(
    error: Exception | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{LAST}.partial").symlink_to("/dev/full")

    def fail(content: object, file: object) -> None:
        raise error  # type: ignore[misc]

    if error is not None:
        monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(
        InputError, match=r"cannot write the checkpoint.*(No space left on device|cut short); free"
    ) as it:
        save_checkpoint(tmp_path, state(1))
    assert "enforce" not in str(it.value) and "Errno" not in str(it.value)


def test_a_kept_checkpoint_outlives_the_next_ones(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state(1), keep_as="checkpoint-0001.pt")
    save_checkpoint(tmp_path, state(2))
    save_checkpoint(tmp_path, state(3))
    assert torch.load(tmp_path / "checkpoint-0001.pt", weights_only=True)["step"] == 1


def test_an_empty_folder_has_nothing_to_resume_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint to resume from"):
        load_last_checkpoint(tmp_path, CPU)


def test_a_save_that_was_killed_before_its_end_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"step": 1})
    os.link(tmp_path / LAST, tmp_path / PREVIOUS)  # where the new one has yet to take its name
    save_checkpoint(tmp_path, {"step": 2})
    assert {path.name for path in tmp_path.iterdir()} == {LAST, PREVIOUS}
