"""Released checkpoints, sorted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sarjepa.errors import InputError
from sarjepa.models.encoder import EncoderShape
from sarjepa.models.released import read_pickle, sort_released


@pytest.mark.shared
def test_every_key_of_a_released_file_has_its_place(shared: Path) -> None:
    file = shared / "reference" / "tiny_release_checkpoint.pth"
    content = read_pickle(file)
    released = sort_released(content, file)
    assert released.shape == EncoderShape(width=64, depth=3, num_heads=2, patch_size=16, image_size=224)
    assert released.mask_token is not None and released.mask_token.shape == (1, 1, 64)
    assert set(released.unused) == {"pos_embed"} | {
        f"sarfeature{scale}.weight_{side}" for scale in (1, 2, 3, 4) for side in ("x1", "x2", "y1", "y2")
    }
    num_placed = len(released.encoder) + len(released.predictor) + 1 + len(released.unused)
    assert num_placed == len(content["model"])


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64))
def test_no_bytes_raise_anything_but_an_input_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "random-bytes.pth"
    file.write_bytes(content)
    with pytest.raises(InputError):
        read_pickle(file)


def test_a_damaged_file_is_read_or_named(tmp_path: Path) -> None:
    """A flipped byte may fall on a weight and go unseen here; anywhere else it is one InputError."""
    file = tmp_path / "some.pth"
    torch.save({"model": {"a": torch.zeros(3)}}, file)
    good = bytearray(file.read_bytes())
    named = 0
    for position in range(0, len(good), 3):
        damaged = good.copy()
        damaged[position] ^= 0xFF
        file.write_bytes(damaged)
        try:
            read_pickle(file)
        except InputError:
            named += 1
    assert named > 10
