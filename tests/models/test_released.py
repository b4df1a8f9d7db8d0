"""Released checkpoints, sorted."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from sarjepa.errors import InputError
from sarjepa.models.checkpoints import encoder_bytes, load_encoder
from sarjepa.models.encoder import Encoder, EncoderShape, sincos_positions
from sarjepa.models.released import sort_released
from sarjepa.pickles import read_pickle


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


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"import torch\n", "got neither"),
        (b"", "got neither"),
        (b"PK\x03\x04 and no more", "got a zip that is damaged"),
    ],
)
def test_what_is_not_a_checkpoint_is_said_in_our_words(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "mk.py").write_bytes(content)
    with pytest.raises(InputError, match=rf"mk\.py; expected a zip or pickle of tensors .*; {words}"):
        read_pickle(tmp_path / "mk.py")


def test_an_object_that_is_not_plain_is_named(tmp_path: Path) -> None:
    torch.save({"path": Path("somewhere")}, tmp_path / "some.pth")
    with pytest.raises(InputError, match=r"an object of pathlib\S*Path"):
        read_pickle(tmp_path / "some.pth")


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


def photograph_vit(**changes: object) -> timm.models.VisionTransformer:
    """A ViT as timm builds it, with three input channels and a position table that is not at its start."""
    torch.manual_seed(0)
    arguments = {"img_size": 32, "patch_size": 8, "embed_dim": 96, "depth": 2, "num_heads": 3, "num_classes": 5}
    vit = timm.models.VisionTransformer(**{**arguments, **changes}).eval()
    torch.nn.init.normal_(vit.pos_embed)
    return vit


@pytest.mark.parametrize(("suffix", "channels"), [(".pth", 3), (".safetensors", 3), (".pth", 2)])
def test_a_vit_of_photographs_sees_a_chip_as_a_grey_photograph(suffix: str, channels: int, tmp_path: Path) -> None:
    vit, file, image = photograph_vit(in_chans=channels), tmp_path / f"vit{suffix}", torch.rand(2, 1, 32, 32)
    if suffix == ".pth":
        torch.save(vit.state_dict(), file)
    else:
        save_file(vit.state_dict(), file)
    encoder = load_encoder(file)
    assert encoder.shape == EncoderShape(96, 2, 3, 8, 32, "learned")
    assert encoder.describe["unused"] == ["head.bias", "head.weight"]
    expected = vit.forward_features(image.expand(-1, channels, -1, -1))
    torch.testing.assert_close(encoder(image), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("word", "mean", "std"),
    [("half:", [0.5] * 3, [0.5] * 3), ("imagenet:", IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)],
)
def test_images_it_was_trained_on_may_have_been_normalised(
    word: str, mean: list[float], std: list[float], tmp_path: Path
) -> None:
    vit, file, image = photograph_vit(), tmp_path / "vit.safetensors", torch.rand(2, 1, 32, 32)
    save_file(vit.state_dict(), file)
    mean_311, std_311 = (torch.tensor(values)[:, None, None] for values in (mean, std))
    expected = vit.forward_features((image - mean_311) / std_311)
    torch.testing.assert_close(load_encoder(f"{word}{file}")(image), expected, atol=1e-5, rtol=1e-4)
    assert (load_encoder(file)(image) - expected).abs().max() > 1e-2


def test_an_own_encoder_is_not_told_how_its_images_were_normalised(tmp_path: Path) -> None:
    own, grey = tmp_path / "own.safetensors", tmp_path / "grey.pth"
    own.write_bytes(encoder_bytes(Encoder(EncoderShape(16, 1, 2, 4, 16)), {}))
    with pytest.raises(InputError, match=f"give {own}"):
        load_encoder(f"half:{own}")
    torch.save(photograph_vit(in_chans=1).state_dict(), grey)
    with pytest.raises(InputError, match="3 channels"):
        load_encoder(f"half:{grey}")
    with pytest.raises(InputError, match="no such checkpoint"):
        load_encoder("half:nowhere.pth")


def test_its_positions_are_interpolated_to_another_grid_as_timm_does(tmp_path: Path) -> None:
    vit, image = photograph_vit(), torch.rand(1, 1, 48, 56)
    torch.save({"state_dict": vit.state_dict()}, tmp_path / "vit.pth")
    expected = photograph_vit(dynamic_img_size=True)
    expected.load_state_dict(vit.state_dict())
    theirs = expected.forward_features(image.expand(-1, 3, -1, -1))
    torch.testing.assert_close(load_encoder(tmp_path / "vit.pth")(image), theirs, atol=1e-4, rtol=1e-4)


def test_a_table_without_a_class_row_belongs_to_the_patches_alone(tmp_path: Path) -> None:
    vit, image = photograph_vit(no_embed_class=True), torch.rand(1, 1, 32, 32)
    torch.save(vit.state_dict(), tmp_path / "vit.pth")
    expected = vit.forward_features(image.expand(-1, 3, -1, -1))
    torch.testing.assert_close(load_encoder(tmp_path / "vit.pth")(image), expected, atol=1e-5, rtol=1e-4)


def test_maes_fixed_positions_are_recognised(tmp_path: Path) -> None:
    """An MAE file can then start a method of this package that has such positions, and runs on any grid."""
    vit, image = photograph_vit(), torch.rand(1, 1, 32, 32)
    table = torch.cat([torch.zeros(1, 96), sincos_positions(4, 4, 96)])[None]
    vit.load_state_dict({**vit.state_dict(), "pos_embed": table})
    decoder = {"mask_token": torch.zeros(1, 1, 48), "decoder_pos_embed": torch.zeros(1, 17, 48)}
    torch.save({"model": {**vit.state_dict(), **decoder}, "epoch": 800}, tmp_path / "mae.pth")
    encoder = load_encoder(tmp_path / "mae.pth")
    assert encoder.shape.positions == "sincos"
    expected = vit.forward_features(image.expand(-1, 3, -1, -1))
    torch.testing.assert_close(encoder(image), expected, atol=1e-5, rtol=1e-4)


def test_a_layer_scale_is_worked_into_its_layer(tmp_path: Path) -> None:
    vit, image = photograph_vit(init_values=0.1), torch.rand(2, 1, 32, 32)
    for name, weight in vit.named_parameters():
        if name.endswith("gamma"):
            torch.nn.init.uniform_(weight, -2, 2)
    torch.save(vit.state_dict(), tmp_path / "vit.pth")
    expected = vit.forward_features(image.expand(-1, 3, -1, -1))
    torch.testing.assert_close(load_encoder(tmp_path / "vit.pth")(image), expected, atol=1e-5, rtol=1e-4)
    state = vit.state_dict()
    torch.save({**state, "blocks.0.ls2.gamma": torch.ones(5)}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match="layer scale"):
        load_encoder(tmp_path / "bad.pth")


@pytest.mark.parametrize("changes", [{"reg_tokens": 2}, {"pre_norm": True}, {"qk_norm": True}])
def test_a_vit_with_parts_that_are_not_here_is_an_input_error(changes: dict, tmp_path: Path) -> None:
    torch.save(photograph_vit(**changes).state_dict(), tmp_path / "vit.pth")
    with pytest.raises(InputError, match=r"another kind|does not fit"):
        load_encoder(tmp_path / "vit.pth")


@pytest.mark.parametrize("missing", ["cls_token", "pos_embed", "norm.weight", "blocks.0.attn.qkv.bias"])
def test_a_vit_with_a_part_missing_is_an_input_error(missing: str, tmp_path: Path) -> None:
    state = photograph_vit().state_dict()
    del state[missing]
    torch.save(state, tmp_path / "vit.pth")
    with pytest.raises(InputError):
        load_encoder(tmp_path / "vit.pth")
