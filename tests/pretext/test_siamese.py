"""A masked, speckled view is named as the teacher names the clean one, and the names are not all the same."""

from __future__ import annotations

import math

import numpy as np
import torch

from sarjepa.data.views import AUGMENTATIONS
from sarjepa.ops.despeckle import despeckled
from sarjepa.pretext.masking import ImageKeys
from sarjepa.pretext.method import MASKED
from sarjepa.pretext.methods import build_method
from sarjepa.pretext.siamese import MaskedSiamese
from sarjepa.pretext.targets import patchify, unpatchify

KEYS = ImageKeys(0, 0, np.arange(6))


def build() -> MaskedSiamese:
    torch.manual_seed(0)
    method = build_method("safe", model="vit-demo", image_size=48, mask_ratio=0.4)
    assert isinstance(method, MaskedSiamese)
    return method


def views() -> torch.Tensor:
    return torch.rand(6, 2, 1, 48, 48, generator=torch.Generator().manual_seed(1))


def test_masked_content_cannot_reach_the_loss_and_seen_content_does() -> None:
    method, view = build(), views()
    masked_BN = method.masked(view[:, 0], KEYS)
    assert (masked_BN.sum(dim=1) == int(0.4 * 36)).all()
    patches = patchify(view[:, 0], 6, 6)
    before = method(view, KEYS)
    for place, is_seen in ((masked_BN, False), (~masked_BN, True)):
        other = unpatchify(torch.where(place[:, :, None], torch.rand_like(patches), patches), 6, 6, 1)
        after = method(torch.stack([other, view[:, 1]], dim=1), KEYS)
        assert (after != before) == is_seen


def test_only_the_encoders_view_gets_speckle_and_the_teacher_sees_it_despeckled() -> None:
    assert "speckle" not in MaskedSiamese.views[0] and MaskedSiamese.views[1] == {"speckle"} <= set(AUGMENTATIONS)
    method, view = build(), views()
    seen: list[torch.Tensor] = []
    method.teacher.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    method(view, KEYS)
    torch.testing.assert_close(seen[0], despeckled(view[:, 1]))


def test_the_loss_is_the_published_one_and_lowest_for_sharp_names_that_are_all_used() -> None:
    method, view = build(), views()
    target_BK = method.named(view[:, 1])
    assert target_BK.max() > 2 / target_BK.shape[1]
    log_BK: list[torch.Tensor] = []
    plain = method.logits

    def remembered(embedding: torch.Tensor, temperature: float) -> torch.Tensor:
        logits = plain(embedding, temperature)
        if temperature == 0.1:
            log_BK.append(logits.log_softmax(dim=1))
        return logits

    method.logits = remembered  # type: ignore[method-assign]
    loss = method(view, KEYS)
    mean_K = log_BK[0].exp().mean(dim=0)
    cross_entropy = -(target_BK * log_BK[0]).sum(dim=1).mean()
    torch.testing.assert_close(loss, cross_entropy - torch.distributions.Categorical(mean_K).entropy() + math.log(1024))


def test_naming_all_chips_the_same_costs_more_than_naming_each_its_own_way() -> None:
    """Six chips, each sure of a prototype: of its own, or all of one."""
    method, view = build(), views()
    prototypes = torch.nn.functional.normalize(method.prototypes_KD.detach(), dim=1)
    losses = []
    for chosen in (torch.arange(6), torch.zeros(6, dtype=torch.long)):
        method.projection.forward = method.teacher_projection.forward = lambda _, c=chosen: prototypes[c]  # type: ignore
        losses.append(method(view, KEYS).item())
    assert losses[0] < losses[1] - 0.5 * math.log(6)


def test_the_teacher_follows_slowly_and_gets_no_gradient() -> None:
    method = build()
    method(views(), KEYS).backward()
    with torch.no_grad():
        for value in (*method.encoder.parameters(), *method.projection.parameters()):
            value += 1.0
    pairs = [(method.teacher, method.encoder), (method.teacher_projection, method.projection)]
    before = [[value.clone() for value in slow.parameters()] for slow, _ in pairs]
    method.after_step(0.0)
    for (slow, fast), start in zip(pairs, before, strict=True):
        for value, own, old in zip(slow.parameters(), fast.parameters(), start, strict=True):
            assert value.grad is None
            torch.testing.assert_close(value, 0.996 * old + 0.004 * own)


def test_the_preview_shows_what_is_masked_and_the_chip_despeckled() -> None:
    method, image = build(), views()[:, 0]
    preview = method.preview(image, KEYS)
    assert ((preview.state_BN == MASKED) == method.masked(image, KEYS)).all()
    torch.testing.assert_close(preview.target, despeckled(image))
    assert not preview.prediction.isfinite().any()
