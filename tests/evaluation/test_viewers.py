"""How a subject becomes an input: any height and width in whole patches, and no more than fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sarjepa.data.subjects import Subject
from sarjepa.errors import InputError
from sarjepa.evaluation.viewers import Viewer, input_rule, labels_of
from sarjepa.models.encoder import Encoder, EncoderShape
from sarjepa.recipes.visualize_attention.pictures import shown_chip
from sarjepa.resampling import resample

CPU = torch.device("cpu")


def subject(height: int, width: int) -> Subject:
    image = np.random.default_rng(0).random((height, width)).astype(np.float32)
    return Subject(image, "T72", "mstar", resolution_m=0.5)


def test_a_square_input_is_what_the_evaluation_makes_of_the_chip() -> None:
    chip = subject(50, 70)
    assert torch.equal(input_rule(None, 32, 8, CPU)(chip), resample([chip.image_HW], [1.0], 32))


def test_rows_are_resampled_to_rows_and_columns_to_columns() -> None:
    ramp = Subject(np.linspace(0.1, 0.9, 60, dtype=np.float32)[:, None].repeat(100, 1))
    found = input_rule("24x40", 32, 8, CPU)(ramp)[0, 0]
    assert found.shape == (24, 40)
    assert torch.allclose(found, found[:, :1].expand_as(found), atol=1e-5), "nothing changes along a row"
    assert bool((found[1:, 0] > found[:-1, 0]).all())


@pytest.mark.parametrize(
    ("shape", "expected"), [((50, 70), (48, 64)), ((8, 8), (8, 8)), ((5, 30), (8, 24)), ((64, 16), (64, 16))]
)
def test_native_keeps_the_pixels_of_the_centre_in_whole_patches(
    shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    chip, rule = subject(*shape), input_rule("native", 32, 8, CPU)
    found = rule(chip)[0, 0].numpy()
    assert found.shape == expected and rule.grid(chip) == (expected[0] // 8, expected[1] // 8)
    top, left = (max(0, (had - has) // 2) for had, has in zip(shape, expected, strict=True))
    above = max(0, (expected[0] - shape[0]) // 2)
    rows, columns = min(shape[0], expected[0]), expected[1]
    assert np.array_equal(found[above : above + rows], chip.image_HW[top : top + rows, left : left + columns])


def test_a_picture_keeps_proportions_and_scale_of_the_subject() -> None:
    chip = subject(50, 70)
    stretched, native = (shown_chip(input_rule(setting, 32, 8, CPU), chip) for setting in ("64", "native"))
    assert stretched.image_HW.shape == (64, 64) and stretched.size_px == (50, 70) and stretched.resolution_m == 0.5
    assert native.image_HW.shape == native.size_px == (48, 64)


@pytest.mark.parametrize("setting", ["", "axb", "1x2x3", "-8x8", "8.5", "nativ"])
def test_a_size_that_is_none_is_refused(setting: str) -> None:
    with pytest.raises(InputError, match="no such image size"):
        input_rule(setting or "x", 32, 8, CPU)


@pytest.mark.parametrize(("setting", "hint"), [("50x70", "48x72"), ("60", "64x64"), ("0x8", "8x8")])
def test_a_size_not_in_whole_patches_names_one_that_is(setting: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"multiples of 8 px.*try {hint}"):
        input_rule(setting, 32, 8, CPU)


def viewer(setting: str | None, heads: int = 2) -> Viewer:
    torch.manual_seed(0)
    encoder = Encoder(EncoderShape(width=16, depth=2, num_heads=heads, patch_size=8, image_size=32)).eval()
    return Viewer("run", "run", encoder, input_rule(setting, 32, 8, CPU))


@pytest.mark.parametrize("setting", ["24x56", "native"])
def test_an_encoder_looks_at_scenes_that_are_no_square(setting: str) -> None:
    scene, looking = subject(45, 90), viewer(setting)
    rows, columns = looking.rule.grid(scene)
    attentions = looking.encoder.attention(looking.rule(scene))
    assert all(one.shape == (1, 2, 1 + rows * columns, 1 + rows * columns) for one in attentions)
    assert looking.encoder.forward_features(looking.rule(scene)).shape == (1, 1 + rows * columns, 16)


def test_batches_do_not_change_the_attention() -> None:
    chips, looking = [subject(40, 40), subject(60, 30)], viewer("32x48")
    together = looking.encoder.attention(looking.inputs(chips))
    for number, chip in enumerate(chips):
        for one, many in zip(looking.encoder.attention(looking.rule(chip)), together, strict=True):
            assert torch.allclose(one[0], many[number], atol=1e-6)
    assert looking.batch_size(chips) == 64 and viewer("native").batch_size(chips) == 1


def test_a_scene_that_would_not_fit_is_refused_with_a_size_that_would() -> None:
    scene, looking = subject(2000, 3000), viewer("native")
    with pytest.raises(InputError, match="too large to look at") as caught:
        looking.check_memory(scene)
    fits = str(caught.value).split("--image-size ")[1].split(",")[0]
    viewer(fits).check_memory(scene)
    assert 0.6 < int(fits.split("x")[0]) / int(fits.split("x")[1]) < 0.7, "the proportions are kept"


def test_names_of_checkpoints_are_short_and_differ() -> None:
    names = (
        "runs/a/",
        "b/a",
        "random:runs/a",
        "runs/c/encoder.safetensors",
        "x/checkpoint-0100.pt",
        "hf-hub:owner/name",
    )
    assert labels_of(names) == ["a", "a-2", "random-a", "c", "checkpoint-0100", "name"]
    assert labels_of(("..",)) == [Path("..").resolve().name], "never a step out of the folder"
