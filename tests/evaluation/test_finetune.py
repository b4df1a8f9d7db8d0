"""Fine-tuning: everything trains by the published schedule; layer decay; temperature."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from sarjepa.evaluation.finetune import finetune, fit_temperature, parameter_groups, predict
from sarjepa.evaluation.training import Training
from sarjepa.models.encoder import Encoder, EncoderShape
from sarjepa.models.heads import Classifier, Head
from sarjepa.training.loop import LossNotFiniteError


def classifier() -> Classifier:
    torch.manual_seed(0)
    encoder = Encoder(EncoderShape(width=12, depth=3, num_heads=2, patch_size=8, image_size=16))
    return Classifier(encoder, Head(12, 2))


def chips(num: int = 40) -> tuple[torch.Tensor, np.ndarray]:
    """Chips striped across and along, in noise."""
    generator = torch.Generator().manual_seed(1)
    image, label = torch.rand(num, 1, 16, 16, generator=generator) * 0.5, np.arange(num) % 2
    image[label == 0, :, ::2] += 0.5
    image[label == 1, :, :, ::2] += 0.5
    return image, label


def test_every_weight_moves_and_the_classes_are_learnt() -> None:
    image, label = chips()
    model = classifier()
    before = copy.deepcopy(model.state_dict())
    training = Training(epochs=20, batch_size=10, lr=5e-3)
    curve = finetune(model, lambda index, epoch: image[index], np.arange(20), label, 0, training)
    assert len(curve.loss) == 20 and curve.loss[-1] < 0.3 * curve.loss[0]
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name
    logits = predict(model, lambda index: image[index], np.arange(20, 40))
    assert (logits.argmax(1).numpy() == label[20:]).mean() > 0.9


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    image, label = chips()
    found = []
    for seed in (0, 0, 1):
        model = classifier()
        training = Training(epochs=3, batch_size=10)
        finetune(model, lambda index, epoch: image[index], np.arange(20), label, seed, training)
        found.append(model.head.linear.weight.detach())  # type: ignore[union-attr]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_without_decay_there_is_one_rate_for_everything() -> None:
    assert [group["scale"] for group in parameter_groups(classifier(), 1.0)] == [1.0]


def test_the_head_may_have_a_rate_of_its_own() -> None:
    scales = {group["scale"]: len(group["params"]) for group in parameter_groups(classifier(), 1.0, 4.0)}  # type: ignore
    assert scales[4.0] == 2, "weight and bias of the head"


def test_layer_decay_falls_from_the_head_to_the_patches() -> None:
    model = classifier()
    scale = {id(p): group["scale"] for group in parameter_groups(model, 0.5) for p in group["params"]}  # type: ignore
    named = {name: scale[id(parameter)] for name, parameter in model.named_parameters()}
    assert named["head.linear.weight"] == 1 and named["encoder.norm.weight"] == 0.5
    assert [named[f"encoder.blocks.{block}.norm1.weight"] for block in (2, 1, 0)] == [0.5, 0.25, 0.125]
    assert named["encoder.cls_token"] == named["encoder.patch_embed.proj.weight"] == 0.0625
    assert len(named) == len(scale), "each parameter in one group"


def test_watching_the_epochs_changes_nothing() -> None:
    image, label = chips()
    found = []
    for watch in (None, lambda model: float(predict(model, lambda index: image[index], np.arange(4)).sum())):
        model = classifier()
        training = Training(epochs=3)
        curve = finetune(model, lambda index, epoch: image[index], np.arange(20), label, 0, training, watch=watch)
        found.append((model.head.linear.weight.detach(), len(curve.watched)))  # type: ignore[union-attr]
    assert torch.equal(found[0][0], found[1][0]) and [entry[1] for entry in found] == [0, 3]


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    image, label = chips()
    image[3] = float("nan")
    with pytest.raises(LossNotFiniteError, match="step 1"):
        finetune(classifier(), lambda index, epoch: image[index], np.arange(20), label, 0, Training(epochs=3))


def test_steps_in_place_of_epochs_end_anywhere_and_draw_each_epoch_its_own_views() -> None:
    image, label = chips()
    seen = []

    def load(index: np.ndarray, epoch: int) -> torch.Tensor:
        seen.append((epoch, len(index)))
        return image[index]

    curve = finetune(classifier(), load, np.arange(20), label, 0, Training(steps=5, batch_size=8))
    assert seen == [(0, 8), (0, 8), (1, 8), (1, 8), (2, 8)] and len(curve.loss) == 3


def test_dropout_belongs_to_an_image_and_an_epoch() -> None:
    """What the head does not see of an image is the same whatever batch it is in, and changes with the epoch."""
    image, label = chips()
    order: list[tuple[int, int]] = []
    seen: dict[tuple[int, int], list[torch.Tensor]] = {}

    def load(index: np.ndarray, epoch: int) -> torch.Tensor:
        order.extend((epoch, int(chip)) for chip in index)
        return image[index]

    def watch(module: torch.nn.Module, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
        for chip, keep in zip(order[-len(inputs[1]) :], inputs[1], strict=True):
            seen.setdefault(chip, []).append(keep)

    for batch_size in (5, 10):
        model = classifier()
        model.head.register_forward_pre_hook(watch)
        finetune(model, load, np.arange(20), label, 0, Training(epochs=2, batch_size=batch_size, dropout=0.5))
    assert len(seen) == 40 and all(torch.equal(*keeps) for keeps in seen.values())
    assert not torch.equal(seen[0, 3][0], seen[1, 3][0])
    assert {float(value) for keeps in seen.values() for value in keeps[0]} == {0.0, 2.0}


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_stretch_of_calibrated_logits(true_temperature: float) -> None:
    generator = torch.Generator().manual_seed(2)
    logits = 2 * torch.randn(20_000, 5, generator=generator)
    label = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    assert fit_temperature(logits * true_temperature, label) == pytest.approx(true_temperature, rel=0.05)
