"""Anchors: frozen patch tokens of an optical image: of timm, of its patch embedding alone, or of our own encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from sarjepa.errors import InputError
from sarjepa.models import anchors
from sarjepa.models.anchors import load_anchor
from sarjepa.models.checkpoints import encoder_bytes
from sarjepa.models.encoder import Encoder, EncoderShape

NETWORK = "test_vit"


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    torch.manual_seed(0)
    network = timm.create_model(NETWORK, num_classes=0, dynamic_img_size=True).eval()
    file = tmp_path_factory.mktemp("timm") / "model.safetensors"
    save_file(network.state_dict(), file)
    return network, file


def as_trained(image: torch.Tensor, network: torch.nn.Module) -> torch.Tensor:
    mean, std = (torch.tensor(network.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    return (image - mean) / std


def test_a_network_of_timm_gives_its_patch_tokens_on_the_grid_asked_for(vit: tuple[torch.nn.Module, Path]) -> None:
    network, file = vit
    anchor = load_anchor(f"timm:{NETWORK}@{file}")
    image = torch.rand(2, 3, 3 * anchor.patch_size, 4 * anchor.patch_size)
    expected = network.forward_features(as_trained(image, network))[:, network.num_prefix_tokens :]
    torch.testing.assert_close(anchor(image, 3, 4), expected)
    assert anchor(torch.rand(2, 3, 24, 24), 3, 3).shape == (2, 9, anchor.width)
    assert not any(parameter.requires_grad for parameter in anchor.parameters())


def test_released_is_the_patch_embedding_and_a_norm_whatever_the_blocks_hold(
    vit: tuple[torch.nn.Module, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, file = vit
    monkeypatch.setattr(anchors, "PAPER_NETWORK", NETWORK)
    anchor = load_anchor(f"released@{file}")
    image = torch.rand(1, 3, 2 * anchor.patch_size, 2 * anchor.patch_size)
    flat = network.patch_embed(as_trained(image, network)).reshape(1, 4, anchor.width)
    torch.testing.assert_close(anchor(image, 2, 2), network.norm(flat))
    before = anchor(image, 2, 2)
    for parameter in anchor.network.blocks.parameters():
        parameter.data.zero_()
    assert torch.equal(anchor(image, 2, 2), before)
    assert not torch.allclose(load_anchor(f"timm:{NETWORK}@{file}")(image, 2, 2), before)


def test_an_own_encoder_sees_grey(tmp_path: Path) -> None:
    encoder = Encoder(EncoderShape(16, 1, 2, 4, 16)).eval()
    file = tmp_path / "encoder.safetensors"
    file.write_bytes(encoder_bytes(encoder, {}))
    anchor = load_anchor(str(file))
    grey = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(anchor(grey.expand(-1, 3, -1, -1), 4, 4), encoder.forward_features(grey)[:, 1:])
    assert anchor.sha256 == load_anchor(str(file)).sha256


@pytest.mark.parametrize("address", ["timm:no_such_vit", "timm:test_vit@/nowhere/model.safetensors", "timm:resnet10t"])
def test_what_is_no_anchor_is_refused_in_one_line(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=f"anchor {address}") as caught:
        load_anchor(address)
    assert "\n" not in str(caught.value)
