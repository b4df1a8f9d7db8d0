"""Local masked prediction: the reference's numbers, and what the prediction may not see."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from sarjepa.models.encoder import Encoder, EncoderShape
from sarjepa.models.predictor import Predictor
from sarjepa.models.released import sort_released
from sarjepa.pickles import read_pickle
from sarjepa.pretext.local_masked import LocalMasked
from sarjepa.pretext.masking import ImageKeys, LocalWindows
from sarjepa.pretext.method import MASKED, UNSEEN, VISIBLE
from sarjepa.pretext.targets import build_target, patchify, unpatchify
from sarjepa.training.optim import adamw

KEYS = ImageKeys(seed=0, epoch=0, indices=np.arange(3))


def small_method(seed: int = 0) -> LocalMasked:
    """Windows of 3 x 3 on a 6 x 6 grid of 4 px patches."""
    torch.manual_seed(seed)
    encoder = Encoder(EncoderShape(width=32, depth=2, num_heads=2, patch_size=4, image_size=24))
    target = build_target("pixel")
    predictor = Predictor(32, target.values_per_patch(4), width=32, depth=1, num_heads=2)
    return LocalMasked(encoder, predictor, target, num_windows=2, window_size=3, mask_ratio=0.7)


def at_the_reference(shared: Path) -> tuple[LocalMasked, torch.Tensor, LocalWindows, Mapping[str, np.ndarray]]:
    """The reference's weights in a method, its three images and windows, and its numbers."""
    golden = np.load(shared / "reference" / "tiny_model.npz")
    file = shared / "reference" / "tiny_release_checkpoint.pth"
    released = sort_released(read_pickle(file), file)
    target = build_target("ratio", radii=(5, 9, 13, 17))
    predictor = Predictor(64, target.values_per_patch(16), width=32, depth=2, num_heads=2)
    method = LocalMasked(Encoder(released.shape), predictor, target)
    method.encoder.load_state_dict(released.encoder)
    predictor.load_state_dict(released.predictor)
    method.mask_token.data = released.mask_token

    image = torch.from_numpy(golden["image_u8"][:3]) / 255
    top, left = (torch.from_numpy(golden[name])[golden["element_window"]] for name in ("tops", "lefts"))
    offset = torch.arange(7)
    rows = top[:, None, None] + offset[None, :, None]
    columns = left[:, None, None] + offset[None, None, :]
    windows = LocalWindows(
        image_S=torch.from_numpy(golden["element_image"]),
        patch_Sn=(rows * 14 + columns).flatten(1),
        masked_Sn=torch.from_numpy(golden["mask"]),
        side=7,
    )
    return method, image, windows, golden


@pytest.mark.shared
def test_prediction_target_and_loss_equal_the_reference(shared: Path) -> None:
    method, image, windows, golden = at_the_reference(shared)
    with torch.no_grad():
        prediction = method.predict(image, windows)
        targets = method.targets(image, windows)
        loss = method.loss(prediction, targets, windows)
    np.testing.assert_allclose(prediction, golden["pred"], atol=1e-4)
    np.testing.assert_allclose(method.target(image, 14, 14)[:, :4], golden["target_patches"], atol=1e-4)
    np.testing.assert_allclose(loss, golden["loss"], atol=1e-4)


@pytest.mark.shared
def test_every_gradient_at_the_reference_is_the_slope_of_its_loss(shared: Path) -> None:
    """Along a random direction of each weight, in double precision, against a central difference; of two windows."""
    method, image, whole, _ = at_the_reference(shared)
    windows = LocalWindows(whole.image_S[3:5], whole.patch_Sn[3:5], whole.masked_Sn[3:5], whole.side)
    method, image = method.double(), image.double()
    targets = method.targets(image.float(), windows).double()

    def loss() -> torch.Tensor:  # as defined; the method's own ends in single precision
        return (method.predict(image, windows) - targets).square().mean(dim=2)[windows.masked_Sn].mean()

    loss().backward()
    random, step = torch.Generator().manual_seed(0), 1e-5
    for name, weight in method.named_parameters():
        assert weight.grad is not None, name
        along = torch.randn(weight.shape, generator=random, dtype=torch.float64)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                weight += sign * step * along
                ends.append(loss().item())
                weight -= sign * step * along
        slope = (ends[0] - ends[1]) / (2 * step)
        expected = (weight.grad * along).sum().item()
        assert slope == pytest.approx(expected, rel=1e-5, abs=1e-8), name


@pytest.mark.shared
def test_two_steps_at_the_reference_are_adamw_s(shared: Path) -> None:
    """Loshchilov & Hutter 2019, algorithm 2, written out: betas 0.9 and 0.95, decay 0.05 but for biases and norms."""
    method, image, windows, _ = at_the_reference(shared)
    optimizer = adamw(method, 0.05)
    expected = {name: weight.detach().double().numpy().copy() for name, weight in method.named_parameters()}
    first, second = ({name: np.zeros_like(value) for name, value in expected.items()} for _ in range(2))
    for step, rate in enumerate((1e-3, 5e-4), start=1):
        optimizer.zero_grad()
        method.loss(method.predict(image, windows), method.targets(image, windows), windows).backward()
        for name, weight in method.named_parameters():
            assert weight.grad is not None, name
            gradient = weight.grad.double().numpy()
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.95 * second[name] + 0.05 * gradient**2
            move = first[name] / (1 - 0.9**step) / (np.sqrt(second[name] / (1 - 0.95**step)) + 1e-8)
            decay = 0.0 if name.endswith("bias") or "norm" in name else 0.05
            expected[name] -= rate * (move + decay * expected[name])
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        for name, weight in method.named_parameters():
            np.testing.assert_allclose(weight.detach(), expected[name], atol=2e-6, err_msg=name)


def test_masked_content_cannot_reach_the_prediction() -> None:
    method, image = small_method(), torch.rand(3, 1, 24, 24)
    windows = method.draw(image, KEYS)
    before = method.predict(image, windows)
    for sequence in range(len(windows.image_S)):
        patches = patchify(image.clone(), 6, 6)
        hidden = windows.patch_Sn[sequence][windows.masked_Sn[sequence]]
        patches[windows.image_S[sequence], hidden] = torch.rand(len(hidden), 16)
        changed = unpatchify(patches, 6, 6, 1)
        torch.testing.assert_close(method.predict(changed, windows)[sequence], before[sequence], atol=0, rtol=0)


def test_visible_content_does_reach_the_prediction() -> None:
    method, image = small_method(), torch.rand(3, 1, 24, 24)
    windows = method.draw(image, KEYS)
    before = method.predict(image, windows)
    patches = patchify(image.clone(), 6, 6)
    seen = windows.patch_Sn[0][~windows.masked_Sn[0]]
    patches[0, seen] = torch.rand(len(seen), 16)
    after = method.predict(unpatchify(patches, 6, 6, 1), windows)
    assert (after[0][windows.masked_Sn[0]] - before[0][windows.masked_Sn[0]]).abs().max() > 1e-4


def test_only_masked_patches_count_in_the_loss() -> None:
    method, image = small_method(), torch.rand(3, 1, 24, 24)
    windows = method.draw(image, KEYS)
    target = method.targets(image, windows)
    prediction = target.clone()
    prediction[~windows.masked_Sn] += 100
    assert method.loss(prediction, target, windows) == 0
    prediction[windows.masked_Sn] += 2
    torch.testing.assert_close(method.loss(prediction, target, windows), torch.tensor(4.0), atol=1e-3, rtol=0)


def test_the_preview_paints_each_prediction_at_its_place() -> None:
    method, image = small_method(), torch.rand(3, 1, 24, 24)
    preview = method.preview(image, KEYS)
    assert preview.target.shape == preview.prediction.shape == (3, 1, 24, 24)
    torch.testing.assert_close(preview.target, image)
    masked_B6 = preview.state_BN.reshape(3, 1, 6, 6).repeat_interleave(4, 2).repeat_interleave(4, 3) == MASKED
    torch.testing.assert_close(preview.prediction.isfinite(), masked_B6)
    assert set(preview.state_BN.flatten().tolist()) == {UNSEEN, VISIBLE, MASKED}
