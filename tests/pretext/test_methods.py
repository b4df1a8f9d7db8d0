"""What holds for every method of the family: it learns, it does not cheat, it comes back, it ignores the batch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

from sarjepa.config import METHODS as NAMES
from sarjepa.config import TARGETS as TARGET_NAMES
from sarjepa.errors import InputError
from sarjepa.models.encoder import Encoder, sincos_positions
from sarjepa.ops.histograms import hog
from sarjepa.ops.ratio import gradient_by_ratio
from sarjepa.pretext.global_masked import GlobalMasked
from sarjepa.pretext.latent_blocks import LatentBlocks
from sarjepa.pretext.masking import ImageKeys
from sarjepa.pretext.method import MASKED, VISIBLE, Method
from sarjepa.pretext.methods import METHODS, SETTINGS, build_method, reads
from sarjepa.pretext.targets import TARGETS, patchify, unpatchify
from sarjepa.training.optim import adamw

SMALL = {"model": "vit-demo", "image_size": 48, "radii": (2, 4), "num_windows": 2, "window_size": 4,
         "predictor_width": 48, "predictor_depth": 1, "predictor_heads": 2}  # fmt: skip
WITH_TEACHER = ("i-jepa", "latent-gradient")
OF_VIEWS = ("views", "sar-jepa-views", "safe")
WITH_TARGET = [name for name in METHODS if name not in ("views", "safe")]
DRAWING = [
    name for name in METHODS if name not in ("pgca", "pgca-deep", "views")
]  # beside the views, which are drawn before


def build(name: str, seed: int = 0, **changes: object) -> Method:
    torch.manual_seed(seed)
    return build_method(name, **{**SMALL, **changes})


def chips(num: int = 8, side: int = 48) -> torch.Tensor:
    """A bright vehicle and its shadow somewhere on speckled ground."""
    random = np.random.default_rng(0)
    image = np.full((num, 1, side, side), 0.15)
    for scene, (row, column) in zip(image[:, 0], random.integers(4, side - 20, (num, 2)), strict=True):
        scene[row : row + 8, column : column + 12] = 0.6
        scene[row : row + 8, column + 12 : column + 18] = 0.02
    speckle = np.sqrt(random.gamma(4, 1 / 4, image.shape))
    return torch.from_numpy((image * speckle).clip(0, 1)).float()


def given(method: Method, image: torch.Tensor) -> torch.Tensor:
    """Chips as a method gets them: as they are, or two views of each."""
    return torch.stack([image, 0.8 * image.flip(3)], dim=1) if method.views else image


def keys(indices: range = range(8), epoch: int = 0) -> ImageKeys:
    return ImageKeys(seed=0, epoch=epoch, indices=np.array(indices))


def test_every_method_and_target_of_the_settings_can_be_built() -> None:
    assert set(METHODS) == set(NAMES)
    assert set(TARGETS) == set(TARGET_NAMES)


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_falls_on_a_few_chips(name: str) -> None:
    method = build(name)
    image = given(method, chips())
    optimizer = adamw(method, weight_decay=0.05)
    optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = 2e-3
    before = method(image, keys(epoch=100)).item()
    for step in range(25):
        optimizer.zero_grad()
        method(image, keys(epoch=step)).backward()
        optimizer.step()
        method.after_step(step / 25)
    assert method(image, keys(epoch=100)).item() < 0.8 * before


@pytest.mark.parametrize("name", [name for name in METHODS if name not in OF_VIEWS])
def test_the_loss_of_a_batch_is_the_mean_over_its_parts(name: str) -> None:
    """Every draw belongs to the image: eight chips at once, or two at a time."""
    method, image = build(name), chips()
    whole = method(image, keys())
    parts = [method(image[start : start + 2], keys(range(start, start + 2))) for start in (0, 2, 4, 6)]
    torch.testing.assert_close(whole, torch.stack(parts).mean(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", DRAWING)
def test_seed_and_epoch_change_the_loss_and_nothing_else_does(name: str) -> None:
    method = build(name)
    image = given(method, chips())
    first = method(image, keys())
    torch.manual_seed(99)
    torch.testing.assert_close(method(image, keys()), first, atol=0, rtol=0)
    assert method(image, keys(epoch=1)) != first
    assert method(image, dataclasses.replace(keys(), seed=1)) != first


@pytest.mark.parametrize("name", METHODS)
def test_every_trainable_weight_gets_a_gradient(name: str) -> None:
    """What is left out would stop distributed training, which waits for every gradient."""
    method = build(name)
    method(given(method, chips()), keys()).backward()
    idle = [name for name, value in method.named_parameters() if value.requires_grad and value.grad is None]
    assert idle == []


@pytest.mark.parametrize("name", METHODS)
def test_a_state_dict_brings_the_method_back(name: str) -> None:
    method, other = build(name), build(name, seed=1)
    image = given(method, chips())
    assert other(image, keys()) != method(image, keys())
    other.load_state_dict(method.state_dict())
    torch.testing.assert_close(other(image, keys()), method(image, keys()), atol=0, rtol=0)


@pytest.mark.parametrize("name", METHODS)
def test_the_encoder_can_be_cut_out_of_the_state_dict(name: str) -> None:
    method = build(name)
    prefix = "encoder."
    weights = {key.removeprefix(prefix): value for key, value in method.state_dict().items() if key.startswith(prefix)}
    encoder = Encoder(method.encoder.shape)
    encoder.load_state_dict(weights)
    torch.testing.assert_close(encoder(chips()), method.encoder(chips()))


@pytest.mark.parametrize("name", METHODS)
def test_bf16_gives_nearly_the_loss_of_fp32(name: str) -> None:
    method = build(name)
    image = given(method, chips())
    exact = method(image, keys()).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = method(image, keys())
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact, rel=0.02)


def redrawn(image: torch.Tensor, place_Bm: torch.Tensor, side: int = 6) -> torch.Tensor:
    """The image with other content in some patches."""
    patches = patchify(image, side, side).clone()
    patches.scatter_(1, place_Bm[:, :, None].expand(-1, -1, patches.shape[2]), torch.rand(patches.shape))
    return unpatchify(patches, side, side, 1)


@pytest.mark.parametrize("name", ["mae", "fg-mae", "sarmae"])
def test_globally_masked_content_cannot_reach_the_prediction(name: str) -> None:
    method, image = build(name), chips()
    assert isinstance(method, GlobalMasked)
    mask = method.draw(image, keys())
    before = method.predict(method.corrupt(image, keys()), mask)
    hidden = method.predict(method.corrupt(redrawn(image, mask.masked_Bm), keys()), mask)
    torch.testing.assert_close(hidden, before, atol=0, rtol=0)
    seen = method.predict(method.corrupt(redrawn(image, mask.visible_Bn), keys()), mask)
    assert (seen - before).abs().max() > 1e-4


@pytest.mark.parametrize("name", WITH_TEACHER)
def test_only_the_context_reaches_the_prediction_and_the_teacher_sees_all(name: str) -> None:
    method, image = build(name), chips()
    assert isinstance(method, LatentBlocks)
    blocks = method.draw(image, keys())
    outside = torch.ones(8, 36, dtype=torch.bool).scatter(1, blocks.context_Bn, blocks.filler_Bn)
    patches = patchify(image, 6, 6)
    changed = unpatchify(torch.where(outside[:, :, None], torch.rand_like(patches), patches), 6, 6, 1)
    torch.testing.assert_close(method.predict(changed, blocks), method.predict(image, blocks), atol=0, rtol=0)
    assert (method.embeddings(changed, blocks) - method.embeddings(image, blocks)).abs().max() > 1e-3


def test_a_preview_shows_the_corrupted_chip_beside_the_target_of_the_clean_one() -> None:
    image, preview = chips(), build("sarmae").preview(chips(), keys())
    noisy = (preview.image != image).flatten(1).any(dim=1)
    assert 0 < noisy.sum() < len(image)
    torch.testing.assert_close(preview.target, image)


@pytest.mark.parametrize("name", WITH_TEACHER)
def test_the_teacher_gets_no_gradient_and_follows_the_encoder_slowly(name: str) -> None:
    method = build(name)
    assert isinstance(method, LatentBlocks)
    start = {key: value.clone() for key, value in method.teacher.state_dict().items()}
    optimizer = adamw(method, weight_decay=0.05)
    optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = 1e-2
    method(chips(), keys()).backward()
    optimizer.step()
    assert all(value.grad is None and not value.requires_grad for value in method.teacher.parameters())
    torch.testing.assert_close(dict(method.teacher.state_dict()), start, atol=0, rtol=0)
    method.after_step(0.0)
    for key, value in method.teacher.state_dict().items():
        torch.testing.assert_close(value, 0.996 * start[key] + 0.004 * method.encoder.state_dict()[key])
    moved = {key: value.clone() for key, value in method.teacher.state_dict().items()}
    method.after_step(1.0)
    torch.testing.assert_close(dict(method.teacher.state_dict()), moved, atol=0, rtol=0)


@pytest.mark.parametrize("name", METHODS)
def test_starting_from_an_encoder_starts_the_teacher_too(name: str) -> None:
    method, other = build(name), build(name, seed=1)
    method.start_from(other.encoder)
    for part in [method.encoder, method.teacher] if hasattr(method, "teacher") else [method.encoder]:
        torch.testing.assert_close(dict(part.state_dict()), dict(other.encoder.state_dict()))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", WITH_TARGET)
def test_any_target_goes_with_any_method_or_is_refused_in_one_line(name: str, target: str) -> None:
    if name in WITH_TEACHER and target in ("hog", "hog-gaussian", "sar-hog"):
        with pytest.raises(InputError, match="ratio-gaussian"):
            build(name, target=target)
        return
    method = build(name, target=target)
    image = given(method, chips(4))
    loss = method(image, keys(range(4)))
    assert loss.isfinite() and loss > 0
    assert loss != build(name, target="pixel" if target != "pixel" else "ratio")(image, keys(range(4)))


@pytest.mark.parametrize("target", ["pixel", "ratio"])
@pytest.mark.parametrize("name", [name for name in WITH_TARGET if name not in WITH_TEACHER])
def test_a_preview_shows_the_target_and_predictions_where_there_are_any(name: str, target: str) -> None:
    preview = build(name, target=target).preview(chips(3), keys(range(3)))
    assert preview is not None
    num_channels = len(preview.channel_names)
    assert preview.target.shape == preview.prediction.shape == (3, num_channels, 48, 48)
    assert preview.state_BN.shape == (3, 36)
    assert preview.target.isfinite().all() and preview.prediction.isfinite().any()


@pytest.mark.parametrize("name", WITH_TEACHER)
def test_a_preview_of_a_teacher_shows_what_it_sees_and_predicts_no_picture(name: str) -> None:
    method, image = build(name), chips(3)
    assert isinstance(method, LatentBlocks)
    preview, blocks = method.preview(image, keys(range(3))), method.draw(image, keys(range(3)))
    seen = image if name == "i-jepa" else gradient_by_ratio(image, SMALL["radii"])
    torch.testing.assert_close(preview.target, seen)
    assert preview.prediction.shape == seen.shape and not preview.prediction.isfinite().any()
    for state, row, filler, targets in zip(
        preview.state_BN, blocks.context_Bn, blocks.filler_Bn, blocks.target_BTm, strict=True
    ):
        assert (state == VISIBLE).nonzero().flatten().tolist() == row[~filler].tolist()
        assert (state == MASKED).nonzero().flatten().tolist() == targets.unique().tolist()


def test_fg_mae_masks_seven_tenths_and_predicts_normalised_histograms_in_gaussian_windows() -> None:
    method, image = build("fg-mae", image_size=224, model="vit-tiny"), chips(2, 224)
    assert isinstance(method, GlobalMasked)
    mask = method.draw(image, keys(range(2)))
    assert mask.masked_Bm.shape == (2, 137)
    values = patchify(hog(image, window=16), 14, 14).numpy()  # 9 bins x 4 cells a patch
    errors = []
    for one, place, predicted in zip(values, mask.masked_Bm, method.predict(image, mask).detach().numpy(), strict=True):
        for own, said in zip(one[place], predicted, strict=True):
            normalised = (own - own.mean()) / np.sqrt(own.var(ddof=1) + 1e-6)
            errors.append(np.mean((said - normalised) ** 2))
    assert method(image, keys(range(2))).item() == pytest.approx(np.mean(errors), rel=1e-4)


def test_the_brighter_a_patch_the_less_its_error_counts() -> None:
    method, image = build("mae", power_weight=True), chips(2)
    assert isinstance(method, GlobalMasked)
    mask = method.draw(image, keys(range(2)))
    values, said = patchify(image, 6, 6).numpy(), method.predict(image, mask).detach().numpy()
    errors = []
    for one, place, predicted in zip(values, mask.masked_Bm, said, strict=True):
        for own, answer in zip(one[place], predicted, strict=True):
            errors.append(np.mean(np.exp(1 - own**2)) * np.mean((answer - own) ** 2))
    assert method(image, keys(range(2))).item() == pytest.approx(np.mean(errors), rel=1e-4)


def test_normalised_pixels_do_not_ask_for_a_patchs_level_and_their_picture_has_it_back() -> None:
    method, image = build("mae", normalise_patches=True), chips()
    assert isinstance(method, GlobalMasked)
    mask = method.draw(image, keys())
    brighter = patchify(image, 6, 6)
    brighter.scatter_add_(1, mask.masked_Bm[:, :, None].expand(-1, -1, 64), torch.full((8, 27, 64), 0.3))
    torch.testing.assert_close(method(unpatchify(brighter, 6, 6, 1), keys()), method(image, keys()))
    shown = method.preview(image, keys()).prediction
    own = patchify(shown, 6, 6).gather(1, mask.masked_Bm[:, :, None].expand(-1, -1, 64))
    raw, level = (
        method.predict(image, mask),
        patchify(image, 6, 6).gather(1, mask.masked_Bm[:, :, None].expand(-1, -1, 64)),
    )
    expected = raw * (level.var(dim=2, keepdim=True) + 1e-6).sqrt() + level.mean(dim=2, keepdim=True)
    torch.testing.assert_close(own, expected.detach())


@pytest.mark.parametrize("name", METHODS)
def test_what_remains_is_the_teacher_where_it_looks_at_chips_and_its_patches_where_there_is_no_class_token(
    name: str,
) -> None:
    method = build(name)
    assert method.result() is (method.teacher if name == "i-jepa" else method.encoder)
    tokens = method.result()(chips(2))
    assert method.result().shape.class_token == (name not in WITH_TEACHER)
    if name in WITH_TEACHER:
        torch.testing.assert_close(tokens[:, 0], tokens[:, 1:].mean(dim=1))
        assert not any("cls_token" in key for key in method.state_dict())


def test_the_teacher_of_gradients_sees_a_channel_a_scale_as_the_average_of_an_encoder_of_so_many_channels() -> None:
    method, image = build("latent-gradient"), chips(2)
    assert isinstance(method, LatentBlocks)
    blocks = method.draw(image, keys(range(2)))
    gradient = gradient_by_ratio(image, SMALL["radii"])
    own, kernel = method.scales_DCPP, method.encoder.patch_embed.proj.weight
    torch.testing.assert_close(own.sum(dim=1), torch.zeros(96, 8, 8), atol=1e-6, rtol=0)
    assert own.std().item() == pytest.approx(
        kernel.std().item() / 2, rel=0.05
    )  # two scales: of each, half the variance
    both = kernel.expand(-1, 2, -1, -1) / 2 + own  # of the encoder of two channels
    stride = {"bias": method.encoder.patch_embed.proj.bias, "stride": 8}
    twice = functional.conv2d(image.expand(-1, 2, -1, -1), both, **stride)
    torch.testing.assert_close(twice, functional.conv2d(image, kernel, **stride), atol=1e-5, rtol=1e-4)
    patches = functional.conv2d(gradient, both, **stride).flatten(2).transpose(1, 2) + sincos_positions(6, 6, 96)
    tokens = method.teacher.encode(patches).gather(1, blocks.target_BTm.flatten(1)[:, :, None].expand(-1, -1, 96))
    torch.testing.assert_close(method.embeddings(image, blocks).flatten(1, 2), tokens, atol=1e-4, rtol=1e-4)


def test_a_method_without_a_target_has_no_preview() -> None:
    method = build("views")
    assert method.target is None and method.preview(chips(3), keys(range(3))) is None


def test_between_pgca_and_sar_jepa_one_thing_changes_at_a_time() -> None:
    pgca, deep, own = build("pgca"), build("pgca-deep"), build("sar-jepa")
    whole = build("sar-jepa", num_windows=1, window_size=6)  # the grid has 6 x 6 patches
    assert len(pgca.predictor.blocks) == 0 and type(deep) is type(pgca)
    shape = {key: value.shape for key, value in deep.predictor.state_dict().items()}
    assert shape == {key: value.shape for key, value in own.predictor.state_dict().items()}
    image = chips(2)
    windows = whole.draw(image, keys(range(2)))
    assert windows.patch_Sn.tolist() == [list(range(36))] * 2 and windows.masked_Sn.sum(dim=1).tolist() == [28, 28]
    deep.load_state_dict({k: v for k, v in whole.state_dict().items() if k != "mask_token"})
    windows = dataclasses.replace(windows, masked_Sn=torch.zeros(2, 36, dtype=torch.bool))  # without its mask
    torch.testing.assert_close(whole.predict(image, windows), deep.predict(image))


def test_the_predictor_is_the_methods_own_unless_chosen() -> None:
    own = {key: None if key.startswith("predictor") else value for key, value in SMALL.items()}
    assert len(build_method("i-jepa", **own).predictor.body.blocks) == 6
    with torch.device("meta"):  # 300 million weights of which only the count of blocks is asked
        assert len(build_method("i-jepa", **{**own, "model": "vit-large"}).predictor.body.blocks) == 12
    assert build_method("i-jepa", **own).predictor.mask_token.shape == (1, 1, 384)
    assert len(build_method("mae", **own).predictor.body.blocks) == 8
    assert len(build_method("lomar", **own).predictor.blocks) == 0


OTHERS = {"num_windows": 3, "window_size": 3, "mask_ratio": 0.5, "normalise_patches": True, "power_weight": True,
          "predictor_width": 96, "predictor_depth": 2, "predictor_heads": 4, "radii": (2, 5), "low_pass_radius": 30.0,
          "temperature": 0.3, "view_weight": 0.5, "target": "low-pass"}  # fmt: skip


def test_the_settings_that_some_method_reads_are_all_tried() -> None:
    elsewhere = {"model", "image_size", "patch_size"} | {"anchor", "anchor_weight"}  # the last two in test_anchored.py
    assert OTHERS.keys() | elsewhere == SETTINGS


@pytest.mark.parametrize("name", METHODS)
def test_a_method_reads_the_settings_it_says_and_no_others(name: str) -> None:
    method = build(name)
    read = reads(name, method.target.name if method.target else None)
    image = given(method, chips(2))
    before = build(name)(image, keys(range(2)))
    for key, value in OTHERS.items():
        value = not value if (name, key) == ("fg-mae", "normalise_patches") else value  # its own
        after = build(name, **{key: value})(image, keys(range(2)))
        assert (after != before) == (key in read), key


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_reads_the_settings_it_says_and_no_others(target: str) -> None:
    read = reads("lomar", target)
    before = build("lomar", target=target)(chips(2), keys(range(2)))
    for key in ("radii", "low_pass_radius"):
        after = build("lomar", target=target, **{key: OTHERS[key]})(chips(2), keys(range(2)))
        assert (after != before) == (key in read), key


def test_an_unknown_method_names_the_nearest_and_cells_must_fit_a_patch() -> None:
    with pytest.raises(InputError, match="sar-jepa"):
        build_method("sarjepa")
    with pytest.raises(TypeError, match="mask_ration"):
        build_method("mae", mask_ration=0.5)
    with pytest.raises(InputError, match="multiple of 8"):
        build("sar-jepa", target="hog", patch_size=6)
