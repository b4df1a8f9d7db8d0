"""sarmae with anchors: the stated loss, from visible patches of paired chips alone, however a step is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sarjepa.models.checkpoints import encoder_bytes
from sarjepa.models.encoder import Encoder, EncoderShape
from sarjepa.pretext.anchored import Anchored
from sarjepa.pretext.masking import ImageKeys
from sarjepa.pretext.methods import build_method
from sarjepa.training.optim import adamw

SMALL = {"model": "vit-demo", "image_size": 32, "predictor_width": 48, "predictor_depth": 1, "predictor_heads": 2}
PAIRED = np.array([True, False, True, True])


@pytest.fixture(scope="module")
def anchor_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(5)
    file = tmp_path_factory.mktemp("anchor") / "encoder.safetensors"
    file.write_bytes(encoder_bytes(Encoder(EncoderShape(24, 2, 2, 4, 16)), {}))
    return file


def build(anchor_file: Path, **changes: object) -> Anchored:
    torch.manual_seed(0)
    method = build_method("sarmae", **{**SMALL, "anchor": str(anchor_file), **changes})
    assert isinstance(method, Anchored)
    return method


def images() -> torch.Tensor:
    return torch.rand(4, 4, 32, 32, generator=torch.Generator().manual_seed(1))


def keys(rows: slice = slice(None), paired: np.ndarray = PAIRED) -> ImageKeys:
    indices = np.arange(4)
    weight = paired * len(paired) / max(1, paired.sum())
    return ImageKeys(0, 0, indices[rows], indices[rows], weight[rows])


def test_the_loss_is_the_reconstruction_and_the_mean_of_one_minus_the_cosine(anchor_file: Path) -> None:
    method, image, drawn = build(anchor_file), images(), keys()
    plain = build_method("sarmae", **SMALL)
    plain.load_state_dict({key: value for key, value in method.state_dict().items() if "projector" not in key})
    mask = method.draw(image[:, :1], drawn)
    tokens = method.see(method.corrupt(image[:, :1], drawn), mask)[:, 1:].detach().double().numpy()
    wanted = method.anchor(image[:, 1:], 4, 4).double().numpy()
    hidden, _, out, norm = (layer.double() for layer in build(anchor_file).projector)
    away = []
    for row in np.flatnonzero(PAIRED):
        for place, token in zip(mask.visible_Bn[row], tokens[row], strict=True):
            x = np.maximum(token @ hidden.weight.detach().numpy().T, 0) @ out.weight.detach().numpy().T
            x = (x - x.mean()) / np.sqrt(x.var() + norm.eps)
            t = wanted[row, place]
            away.append(1 - x @ t / np.linalg.norm(x) / np.linalg.norm(t))
    expected = plain(image[:, :1], drawn).item() + 0.8 * np.mean(away)
    assert method(image, drawn).item() == pytest.approx(expected, abs=2e-5)


def test_masked_patches_and_images_of_unpaired_chips_do_not_reach_the_alignment(anchor_file: Path) -> None:
    method, image, drawn = build(anchor_file), images(), keys()
    mask = method.draw(image[:, :1], drawn)

    def agreement(image_B4HW: torch.Tensor) -> torch.Tensor:
        tokens = method.see(image_B4HW[:, :1], mask)
        return method.agreement(tokens, mask, image_B4HW[:, 1:])

    changed = image.clone()
    row, column = divmod(int(mask.masked_Bm[0, 0]), 4)
    changed[0, 0, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 0
    assert torch.equal(agreement(changed), agreement(image))
    other = image.clone()
    other[1, 1:] = 0.5  # the optical image of the chip that has none
    assert torch.equal(method(other, drawn), method(image, drawn))


def test_a_step_may_be_cut_anyhow(anchor_file: Path) -> None:
    method, image = build(anchor_file), images()
    whole = method(image, keys())
    parts = [method(image[rows], keys(rows)) for rows in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(sum(parts) / 2, whole)


def test_a_step_without_pairs_is_reconstructed_alone(anchor_file: Path) -> None:
    method, image = build(anchor_file), images()
    none = keys(paired=np.zeros(4, bool))
    plain = build_method("sarmae", **SMALL)
    plain.load_state_dict({key: value for key, value in method.state_dict().items() if "projector" not in key})
    torch.testing.assert_close(method(image, none), plain(image[:, :1], none))


def test_the_anchor_is_neither_trained_nor_saved_and_tokens_are_drawn_to_it(anchor_file: Path) -> None:
    method, image, drawn = build(anchor_file), images(), keys()
    before = method.anchor.sha256
    optimizer = adamw(method, 0.05)
    for group in optimizer.param_groups:
        group["lr"] = 3e-3
    first = method(image, drawn)
    for _ in range(20):
        optimizer.zero_grad()
        method(image, drawn).backward()
        optimizer.step()
    assert method(image, drawn) < 0.6 * first
    assert not [key for key in method.state_dict() if "anchor" in key]
    del method.anchor.__dict__["sha256"]
    assert method.anchor.sha256 == before
