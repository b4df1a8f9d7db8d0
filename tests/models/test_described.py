"""Safetensors files that describe themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sarjepa.errors import InputError
from sarjepa.models.described import described_bytes, read_described


def test_weights_and_words_come_back(tmp_path: Path) -> None:
    module, file = nn.Linear(3, 2), tmp_path / "a.safetensors"
    file.write_bytes(described_bytes(module, "kind", {"made": ["by", 1]}))
    weights, describe = read_described(file, "kind")
    assert describe == '{"made": ["by", 1]}' and weights.keys() == module.state_dict().keys()
    assert all(torch.equal(weights[key], value) for key, value in module.state_dict().items())


def test_a_file_of_another_kind_has_tensors_and_no_description(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(described_bytes(nn.Linear(3, 2), "kind", {}))
    weights, describe = read_described(file, "another")
    assert describe is None and weights["weight"].shape == (2, 3)


def test_a_file_cut_short_is_an_input_error(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(described_bytes(nn.Linear(3, 2), "kind", {})[:-1])
    with pytest.raises(InputError, match="not a readable safetensors file"):
        read_described(file, "kind")


def test_a_flipped_bit_anywhere_is_an_error_or_changes_nothing(tmp_path: Path) -> None:
    file, module = tmp_path / "a.safetensors", nn.Linear(3, 2)
    whole = described_bytes(module, "kind", {"made": "by"})
    for place in range(8 * len(whole)):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        file.write_bytes(bytes(content))
        try:
            weights, describe = read_described(file, "kind")
        except InputError as error:
            assert str(file) in str(error)
            continue
        assert describe == '{"made": "by"}'
        assert all(torch.equal(weights[key], value) for key, value in module.state_dict().items())


def test_a_file_without_a_checksum_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    save_file({"weight": torch.ones(2)}, file, metadata={"kind": "{}"})
    assert read_described(file, "kind")[1] == "{}"


def test_the_same_weights_are_the_same_bytes() -> None:
    module = nn.Linear(2, 3)
    assert len({described_bytes(module, "kind", {"name": "\u00e9"}) for _ in range(20)}) == 1
