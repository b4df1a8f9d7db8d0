"""Files to encoders and back."""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

import sarjepa
from sarjepa.errors import InputError
from sarjepa.models.addresses import KNOWN_FILES
from sarjepa.models.checkpoints import (
    describe_line,
    encoder_bytes,
    initial_encoder,
    load_encoder,
    weights_sha256,
)
from sarjepa.models.encoder import Encoder, EncoderShape
from sarjepa.training.checkpoint import save_checkpoint

SMALL = EncoderShape(width=32, depth=2, num_heads=2, patch_size=8, image_size=32)


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(SMALL).eval()


@pytest.mark.shared
def test_a_released_checkpoint_gives_the_authors_features(shared: Path) -> None:
    golden = np.load(shared / "reference" / "tiny_model.npz")
    encoder = sarjepa.load_encoder(shared / "reference" / "tiny_release_checkpoint.pth")
    with torch.no_grad():
        tokens = encoder.forward_features(torch.from_numpy(golden["image_u8"]) / 255)
    assert tokens.shape == (6, 197, 64)
    np.testing.assert_allclose(tokens[:, 0], golden["cls"], atol=1e-4)
    np.testing.assert_allclose(tokens[:, :8], golden["tokens"], atol=1e-4)
    assert "pos_embed" in encoder.describe["unused"]
    assert encoder.image_size == 224


def test_an_exported_encoder_comes_back_with_its_description(encoder: Encoder, tmp_path: Path) -> None:
    file = tmp_path / "encoder.safetensors"
    file.write_bytes(encoder_bytes(encoder, {"method": "sar-jepa", "sources": ["mstar"]}))
    back, image = load_encoder(file), torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(back(image), encoder(image), atol=0, rtol=0)
    assert back.shape == SMALL
    assert (back.describe["method"], back.describe["sources"]) == ("sar-jepa", ["mstar"])
    assert weights_sha256(back) == weights_sha256(encoder)


def test_a_run_folder_stands_for_its_encoder(encoder: Encoder, tmp_path: Path) -> None:
    state = {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
    content = {"encoder_shape": asdict(SMALL), "describe": {"method": "sar-jepa"}, "method": {**state, "mask_token": 0}}
    torch.save(content, tmp_path / "checkpoint-last.pt")
    assert weights_sha256(load_encoder(tmp_path)) == weights_sha256(encoder)
    (tmp_path / "encoder.safetensors").write_bytes(encoder_bytes(encoder, {"method": "exported"}))
    assert load_encoder(tmp_path).describe["method"] == "exported"


def test_an_argparse_namespace_beside_the_weights_is_read(encoder: Encoder, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint-200.pth"
    state = {f"module.{key}": value for key, value in encoder.state_dict().items()}
    torch.save({"model": state, "epoch": 200, "args": argparse.Namespace(lr=1e-3, model="mae")}, file)
    image = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(load_encoder(file)(image), encoder(image))


class _Harm:
    """An object whose unpickling would run code."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("harm-was-done"),))


def _not_a_pickle(file: Path) -> None:
    file.write_bytes(b"this is not a checkpoint")


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _a_bare_pickle(file: Path) -> None:
    file.write_bytes(pickle.dumps({"model": [1, 2]}, protocol=2))


def _a_tensor(file: Path) -> None:
    torch.save(torch.zeros(3), file)


def _another_network(file: Path) -> None:
    torch.save({"state_dict": {"conv1.weight": torch.zeros(3, 3)}}, file)


def _code(file: Path) -> None:
    torch.save({"model": _Harm()}, file)


def _cut_short(file: Path) -> None:
    torch.save({"model": {"cls_token": torch.zeros(1, 1, 1000)}}, file)
    file.write_bytes(file.read_bytes()[:1000])


@pytest.mark.parametrize(
    "write", [_not_a_pickle, _empty, _a_bare_pickle, _a_tensor, _another_network, _code, _cut_short]
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_not_a_checkpoint_is_one_input_error(
    write: object, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / f"some{suffix}"
    write(file)  # type: ignore[operator]
    with pytest.raises(InputError) as caught:
        load_encoder(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)
    assert not Path("harm-was-done").exists()


def test_a_missing_path_and_an_empty_folder_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such checkpoint"):
        load_encoder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no checkpoint in the folder"):
        load_encoder(tmp_path)


def test_weights_that_do_not_fit_their_description_are_an_input_error(encoder: Encoder, tmp_path: Path) -> None:
    for changed in ({"depth": 3}, {"width": 64}):
        state = {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
        shape = {**asdict(SMALL), **changed}
        torch.save({"encoder_shape": shape, "describe": {}, "method": state}, tmp_path / "checkpoint-last.pt")
        with pytest.raises(InputError, match="does not fit"):
            load_encoder(tmp_path)


def _as_files(encoder: Encoder, folder: Path) -> dict[str, bytes]:
    """A run's checkpoint and its export, by name."""
    state = {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
    content = {"encoder_shape": asdict(SMALL), "describe": {"method": "sar-jepa"}, "method": state}
    save_checkpoint(folder, content)
    checkpoint = (folder / "checkpoint-last.pt").read_bytes()
    return {"checkpoint-last.pt": checkpoint, "encoder.safetensors": encoder_bytes(encoder, {"method": "sar-jepa"})}


@pytest.mark.parametrize("name", ["checkpoint-last.pt", "encoder.safetensors"])
def test_a_flipped_bit_is_named_with_its_file_and_never_gives_other_weights(
    name: str, encoder: Encoder, tmp_path: Path
) -> None:
    whole, generator = _as_files(encoder, tmp_path)[name], np.random.default_rng(0)
    file, num_refused = tmp_path / name, 0
    for place in generator.integers(0, 8 * len(whole), size=60).tolist():
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        file.write_bytes(bytes(content))
        try:
            found = load_encoder(file)
        except InputError as error:
            assert str(file) in str(error) and "\n" not in str(error)
            num_refused += 1
        else:
            assert weights_sha256(found) == weights_sha256(encoder), f"bit {place}"
    assert num_refused > 40


_EDITS: dict[str, tuple[dict[str, object], str]] = {
    "no heads": ({"num_heads": 0}, "num_heads"),
    "heads that do not divide the width": ({"num_heads": 5}, "num_heads"),
    "a billion blocks": ({"depth": 10**9}, "depth"),
    "a patch that is none": ({"patch_size": 0}, "patch_size"),
    "an image without end": ({"image_size": 10**12}, "image_size"),
    "a width in words": ({"width": "32"}, "shape.width"),
}


@pytest.mark.parametrize("edit", _EDITS)
def test_a_description_that_says_something_else_names_file_and_key(edit: str, encoder: Encoder, tmp_path: Path) -> None:
    changed, key = _EDITS[edit]
    shape = {**asdict(SMALL), **changed}
    weights = {key: value.contiguous() for key, value in encoder.state_dict().items()}
    save_file(weights, tmp_path / "a.safetensors", metadata={"sarjepa-encoder": json.dumps({"shape": shape})})
    method = {f"encoder.{key}": value for key, value in weights.items()}
    torch.save({"encoder_shape": shape, "describe": {}, "method": method}, tmp_path / "a.pt")
    for file in (tmp_path / "a.safetensors", tmp_path / "a.pt"):
        with pytest.raises(InputError, match=f"{key} in {file}"):
            load_encoder(file)


def test_metadata_and_parts_of_another_kind_name_file_and_key(encoder: Encoder, tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    weights = {key: value.contiguous() for key, value in encoder.state_dict().items()}
    for metadata, words in {
        "null": "the file in",
        "[]": "the file in",
        "{": "JSON",
        '{"shape": 1}': "shape in",
    }.items():
        save_file(weights, file, metadata={"sarjepa-encoder": metadata})
        with pytest.raises(InputError, match=words):
            load_encoder(file)
    whole = {"encoder_shape": asdict(SMALL), "describe": {}, "method": {"encoder.cls_token": torch.ones(1)}}
    for key, value in {"method": None, "describe": 3, "encoder_shape": [1]}.items():
        torch.save({**whole, key: value}, tmp_path / "a.pt")
        with pytest.raises(InputError, match=r"a\.pt"):
            load_encoder(tmp_path / "a.pt")
    torch.save({key: value for key, value in whole.items() if key != "method"}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"method in .*a\.pt"):
        load_encoder(tmp_path / "a.pt")


@pytest.mark.parametrize("positions", ["relative", "learned"])
def test_released_layouts_with_tensors_of_other_axes_name_file_and_key(positions: str, tmp_path: Path) -> None:
    encoder, file = Encoder(EncoderShape(192, 1, 3, 8, 32, positions)), tmp_path / "a.pth"
    state = {**encoder.state_dict(), "pos_embed": torch.rand(1, 17, 192)}
    table = "blocks.0.attn.rpe_k.lookup_table_weight"
    for key in ("pos_embed", "cls_token", "patch_embed.proj.weight", *([table] if positions == "relative" else [])):
        for value in (torch.ones(3), torch.ones(1, 0, 5), torch.ones(1, 1, 7), torch.tensor(1), None, "words"):
            torch.save({"model": {**state, key: value}}, file)
            with pytest.raises(InputError, match=r"a\.pth"):
                load_encoder(file)


def test_a_safetensors_file_of_something_else_is_an_input_error(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="known kind"):
        load_encoder(tmp_path / "other.safetensors")


def test_the_initial_encoder_starts_from_the_seed_of_the_run(encoder: Encoder, tmp_path: Path) -> None:
    file = tmp_path / "encoder.safetensors"
    file.write_bytes(encoder_bytes(encoder, {"seed": 7, "sources": ["toy"]}))
    torch.manual_seed(7)
    expected = Encoder(encoder.shape).state_dict()
    found = initial_encoder(file, seed=0)
    assert found.describe["seed"] == 7 and found.describe["sources_of_run"] == ["toy"]
    assert all(torch.equal(expected[key], tensor) for key, tensor in found.state_dict().items())


def test_the_initial_encoder_has_the_shape_but_not_the_weights(encoder: Encoder, tmp_path: Path) -> None:
    file = tmp_path / "encoder.safetensors"
    file.write_bytes(encoder_bytes(encoder, {"method": "sar-jepa"}))
    before = torch.random.get_rng_state()
    one, same, other = (initial_encoder(file, seed) for seed in (0, 0, 1))
    assert one.shape == SMALL
    assert weights_sha256(one) == weights_sha256(same) != weights_sha256(other)
    torch.testing.assert_close(torch.random.get_rng_state(), before)


def test_the_description_is_plain_json(encoder: Encoder, tmp_path: Path) -> None:
    from safetensors import safe_open

    file = tmp_path / "encoder.safetensors"
    file.write_bytes(encoder_bytes(encoder, {"method": "sar-jepa"}))
    with safe_open(file, framework="pt") as opened:
        assert json.loads(opened.metadata()["sarjepa-encoder"])["shape"] == asdict(SMALL)


def test_the_description_holds_the_checksum_and_a_known_file_its_name(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "checkpoint-200.pth"
    state = {f"module.{key}": value for key, value in encoder.state_dict().items()}
    torch.save({"model": {**state, "sarfeature1.weight_x1": torch.zeros(1)}}, file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    opened = load_encoder(file)
    assert opened.describe["sha256"] == sha256 and "known_as" not in opened.describe
    assert describe_line(opened) == f"SAR-JEPA's layout; sha256 {sha256}; 1 keys not used (sarfeature1)"
    monkeypatch.setitem(KNOWN_FILES, sha256, "the authors' weights")
    assert describe_line(load_encoder(file)).startswith("the authors' weights; sha256")


def test_the_published_checkpoint_is_known() -> None:
    assert "SAR-JEPA" in KNOWN_FILES["0894f1472f5beaad0e7663cb4da6261a9d7547e73016bf845b0b2c227d4b7ea0"]


@pytest.mark.parametrize("positions", ["sincos", "learned"])
def test_timm_reads_an_export_and_gives_the_same_features(positions: str) -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderShape(32, 2, 2, patch_size=8, image_size=32, positions=positions)).eval()
    if positions == "learned":
        torch.nn.init.normal_(encoder.pos_embed)
    vit = timm.models.VisionTransformer(32, 8, in_chans=1, num_classes=0, embed_dim=32, depth=2, num_heads=2).eval()
    vit.load_state_dict(sarjepa.timm_state_dict(encoder))
    image = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(vit.forward_features(image), encoder(image), atol=1e-5, rtol=1e-4)


def test_relative_positions_have_no_place_in_timm(encoder: Encoder) -> None:
    with pytest.raises(InputError, match="relative positions"):
        sarjepa.timm_state_dict(encoder)


def test_a_vit_of_timm_without_a_class_token_gives_the_mean_of_the_patches() -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderShape(32, 2, 2, 8, 32, "sincos", class_token=False)).eval()
    vit = timm.models.VisionTransformer(32, 8, in_chans=1, num_classes=0, embed_dim=32, depth=2, num_heads=2,
                                        class_token=False, global_pool="avg", fc_norm=False).eval()  # fmt: skip
    vit.load_state_dict(sarjepa.timm_state_dict(encoder))
    image = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(vit(image), encoder(image)[:, 0], atol=1e-5, rtol=1e-4)


def test_names_of_weights_stay_as_they_were_before_a_shape_spoke_of_its_class_token() -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderShape(16, 1, 2, 8, 32))
    facts = {"depth": 1, "image_size": 32, "num_heads": 2, "patch_size": 8, "positions": "relative", "width": 16}
    digest = hashlib.sha256(json.dumps(facts).encode())
    for key, value in sorted(encoder.state_dict().items()):
        digest.update(key.encode() + value.numpy().tobytes())
    assert weights_sha256(encoder) == digest.hexdigest()
