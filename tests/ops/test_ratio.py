"""The dispatcher: shapes, dtypes, the choice of a path, and the golden numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sarjepa
from sarjepa.errors import InputError
from sarjepa.ops.ratio import choose_impl, gradient_by_ratio

RADII = (5, 9, 13, 17)


@pytest.mark.parametrize(("impl", "bound"), [("conv", 1e-4), ("box", 1e-6)])
def test_ratio_of_real_chips_equals_the_published_numbers(shared, impl, bound):
    golden = np.load(shared / "reference" / "gradient_by_ratio.npz")
    image = torch.from_numpy(golden["image_u8"]).float() / 255
    radii = (5, 7, 9, 13, 17)
    strength = gradient_by_ratio(image, radii, impl=impl)
    for k, radius in enumerate(radii):
        assert np.abs(strength[:, k : k + 1].numpy() - golden[f"gr_r{radius}"]).max() < bound


def test_channels_stay_apart_and_scales_follow_each_other():
    image = torch.rand(2, 4, 20, 24)
    strength = gradient_by_ratio(image, (2, 4))
    assert strength.shape == (2, 8, 20, 24)
    alone = gradient_by_ratio(image[1, 2], (4,))
    assert torch.allclose(strength[1, 5], alone[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(30, 40), (2, 30, 40), (3, 2, 30, 40)])
def test_arrays_and_tensors_of_any_rank_come_back_as_they_came(shape):
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    strength = sarjepa.gradient_by_ratio(image, (3, 5))
    assert isinstance(strength, np.ndarray) and strength.dtype == np.float32
    leading = (*shape[:-3], 2 * (shape[-3] if len(shape) > 2 else 1))
    assert strength.shape == (*leading, 30, 40)
    assert np.array_equal(strength, sarjepa.gradient_by_ratio(torch.from_numpy(image), (3, 5)).numpy())


def test_a_strided_view_is_an_image_too():
    image = np.random.default_rng(0).random((40, 60))
    assert np.array_equal(
        gradient_by_ratio(image[::-1, ::2], (3,)), gradient_by_ratio(np.ascontiguousarray(image[::-1, ::2]), (3,))
    )


@pytest.mark.filterwarnings("error")
def test_a_read_only_or_big_endian_array_is_an_image_too():
    image = np.random.default_rng(0).random((40, 60), dtype=np.float32)
    expected = gradient_by_ratio(image, (3,))
    assert np.array_equal(gradient_by_ratio(image.astype(">f4"), (3,)), expected)
    image.flags.writeable = False
    assert np.array_equal(gradient_by_ratio(image, (3,)), expected)


@pytest.mark.parametrize("radii", [np.array([3, 5]), torch.tensor([3, 5]), [3, 5]])
def test_radii_may_come_as_array_tensor_or_generator(radii):
    image = torch.rand(20, 20)
    expected = gradient_by_ratio(image, (3, 5))
    assert torch.equal(gradient_by_ratio(image, radii), expected)
    assert torch.equal(gradient_by_ratio(image, (radius for radius in radii)), expected)


def test_a_radius_may_be_as_long_as_a_large_image():
    assert gradient_by_ratio(torch.rand(260, 300), (260,)).shape == (1, 260, 300)
    with pytest.raises(InputError, match="at most 260 px for an image of 260 x 300 px; got 261"):
        gradient_by_ratio(torch.rand(260, 300), (261,))


def test_radii_may_come_in_any_order_and_twice():
    image = torch.rand(1, 1, 40, 40)
    strength = gradient_by_ratio(image, (9, 3, 9, 5))
    for k, radius in enumerate((9, 3, 9, 5)):
        assert torch.allclose(strength[:, k : k + 1], gradient_by_ratio(image, (radius,)), atol=1e-6, rtol=0)


def test_no_gradient_flows_through_the_target():
    image = torch.rand(1, 1, 20, 20, requires_grad=True)
    assert not gradient_by_ratio(image, (3,)).requires_grad


@pytest.mark.parametrize("impl", ["conv", "box"])
def test_an_empty_batch_gives_an_empty_batch(impl):
    assert gradient_by_ratio(torch.rand(0, 1, 20, 20), (3, 5), impl=impl).shape == (0, 2, 20, 20)


def test_auto_takes_the_fast_path_of_the_cpu():
    assert choose_impl(torch.device("cpu")) == "box"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": torch.zeros(8, 8, dtype=torch.uint8)}, "divide by"),
        ({"image": torch.zeros(8)}, r"expected \(H, W\)"),
        ({"image": torch.zeros(1, 1, 0, 8)}, r"expected \(H, W\)"),
        ({"radii": ()}, "radii"),
        ({"radii": (0,)}, "radii"),
        ({"radii": (2.5,)}, "radii"),
        ({"radii": 5}, "radii"),
        ({"radii": (257,)}, "at most 256 px for an image of 8 x 8 px; got 257"),
        ({"image": [[0.5]]}, r"neither a tensor nor an array; got list; pass numpy\.asarray"),
        ({"image": np.array([["a"]])}, "dtype that torch lacks; got <U1"),
        ({"image": np.ones((8, 8), np.complex64)}, r"got complex64; take its magnitude first"),
        ({"kernel": "gauss"}, "did you mean 'gaussian'"),
        ({"impl": "boxes"}, "did you mean 'box'"),
        ({"impl": "triton"}, "triton"),
    ],
)
def test_what_cannot_be_answered_is_one_clear_error(arguments, message):
    with pytest.raises(InputError, match=message):
        gradient_by_ratio(**{"image": torch.rand(8, 8), **arguments})


def test_box_is_refused_off_the_cpu():
    with pytest.raises(InputError, match="runs on the CPU"):
        choose_impl(torch.device("cuda"), "box")


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (20 * np.log10(np.full((20, 20), 0.1)), r"negative values; expected magnitude; got -20; turn decibels back"),
        (np.zeros((20, 24, 3)), r"three channels; expected magnitude; got \(20, 24, 3\); take one channel"),
        (torch.zeros(2, 3, 20, 24), "three channels"),
        (torch.zeros(3, 20, 24), r"a stack of three chips is \(3, 1, H, W\)"),
    ],
)
def test_decibels_and_colours_are_refused_in_one_line(image, words):
    with pytest.raises(InputError, match=words) as refusal:
        gradient_by_ratio(image)
    assert "\n" not in str(refusal.value)
