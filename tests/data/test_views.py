"""A view is the chip, moved and disturbed by exactly what was drawn, and it belongs to the chip."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from sarjepa.config import VIEW_AUGMENTATIONS
from sarjepa.data.views import AUGMENTATIONS, ViewKey, ViewParameters, draw_views, make_views, render_views
from sarjepa.resampling import centre_crop_and_resize

ALL = tuple(AUGMENTATIONS)
SHAPES = [(80, 80), (100, 90), (64, 120), (200, 150), (41, 67)]


def key(num: int, view: int = 0, **changes: object) -> ViewKey:
    return dataclasses.replace(ViewKey(0, "test", 0, np.arange(num), view), **changes)  # type: ignore[arg-type]


def square(num: int, side: int = 64) -> np.ndarray:
    return np.full((num, 2), side)


def chips(num: int = 8, side: int = 80) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.gamma(1.0, 40.0, (side, side)).clip(0, 255).astype(np.uint8) for _ in range(num)]


def blob(height: int, width: int, row: float, column: float, sigma: float = 3.0) -> np.ndarray:
    """A smooth bright spot about a point (px, pixel centres at halves)."""
    rows, columns = np.arange(height)[:, None] + 0.5, np.arange(width)[None] + 0.5
    return (0.9 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 2 / sigma**2)).astype(np.float32)


def centre_of(view_HW: torch.Tensor) -> tuple[float, float]:
    weight, place = view_HW.double(), torch.arange(view_HW.shape[0]) + 0.5
    return float((weight.sum(1) * place).sum() / weight.sum()), float((weight.sum(0) * place).sum() / weight.sum())


def nothing(num: int, **changes: object) -> ViewParameters:
    """Parameters that change nothing, but for some."""
    drawn = draw_views(square(num), (), key(num))
    return dataclasses.replace(drawn, **{name: np.full(num, value) for name, value in changes.items()})  # type: ignore[arg-type]


def test_with_nothing_on_a_view_is_the_evaluations_plain_centre_crop() -> None:
    images = [chips(1, 128)[0][:height, :width] for height, width in [(128, 128), (90, 101), (40, 50)]]
    plain = centre_crop_and_resize(images, 255.0, 64, 48)
    torch.testing.assert_close(make_views(images, [255.0] * 3, square(3), (), key(3), 48), plain, atol=0, rtol=0)


def test_the_affine_map_reads_an_unmoved_window_as_it_is() -> None:
    """An angle too small to see takes the other way through the code, at the chip's resolution and at a lower one."""
    images = [blob(128, 128, 60, 66, sigma=9.0), blob(128, 128, 70, 55, sigma=12.0)]
    for window in (64, 96):
        plain = make_views(images, [1.0] * 2, square(2, window), (), key(2), 64)
        turned = render_views(images, [1.0] * 2, square(2, window), nothing(2, angle_deg=1e-6), 64)
        torch.testing.assert_close(turned, plain, atol=5e-3 if window > 64 else 1e-5, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mirror", [False, True])
def test_a_scatterer_appears_where_the_drawn_parameters_put_it(shape: tuple[int, int], mirror: bool) -> None:
    """The map is inverted here, from the chip to the view: shift, then turn back, magnify, mirror."""
    height, width = shape
    window = np.array([[round(height / 1.25), round(width / 1.25)]])
    drawn = nothing(1, down_px=3, right_px=-2, mirror=mirror, angle_deg=14.0, scale=1.1)
    row, column = height / 2 + 0.15 * height, width / 2 - 0.12 * width
    view = render_views([blob(height, width, row, column)], [1.0], window, drawn, 64)[0, 0]
    corner = (np.array(shape) - window[0]) // 2 + np.array([3, -2])
    y, x = np.array([row, column]) - corner - window[0] / 2
    angle = np.deg2rad(14.0)
    x, y = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    x, y = (-x if mirror else x) * 1.1, y * 1.1
    expected = 32 + y * 64 / window[0, 0], 32 + x * 64 / window[0, 1]
    assert centre_of(view) == pytest.approx(expected, abs=0.25)


def test_a_mirrored_view_is_the_mirror_of_the_one_that_is_not() -> None:
    images = chips(8)
    drawn = draw_views(square(8), ("shift", "rotate", "scale", "gain"), key(8))
    plain = render_views(images, [255.0] * 8, square(8), drawn, 64)
    mirrored = render_views(images, [255.0] * 8, square(8), dataclasses.replace(drawn, mirror=np.ones(8, bool)), 64)
    torch.testing.assert_close(mirrored, plain.flip(3), atol=1e-3, rtol=0)
    assert (plain - plain.flip(3)).abs().mean() > 0.1


def test_a_shift_moves_by_whole_pixels_and_stays_in_the_chip() -> None:
    """A window of 64 px is anywhere in 80 px: every pixel of a view is one of the chip, unchanged."""
    images = [np.arange(6400, dtype=np.float32).reshape(80, 80) for _ in range(200)]
    views = make_views(images, [6400.0] * 200, square(200), ("shift",), key(200), 64)
    corners = set()
    for view in (views[:, 0] * 6400).round().int().numpy():
        row, column = divmod(int(view[0, 0]), 80)
        np.testing.assert_array_equal(view, images[0][row : row + 64, column : column + 64])
        corners.add((row, column))
    assert {row for row, _ in corners} == {column for _, column in corners} == set(range(17))


def test_gain_multiplies_and_is_cut_off_at_one() -> None:
    images = chips(8)
    plain = render_views(images, [255.0] * 8, square(8), nothing(8), 64)
    bright = render_views(images, [255.0] * 8, square(8), nothing(8, gain=1.6), 64)
    torch.testing.assert_close(bright, (1.6 * plain).clamp(max=1))


def test_a_ramp_rises_by_its_decibels_from_border_to_border_and_leaves_the_centre() -> None:
    images = [np.full((65, 65), 0.1, np.float32)]
    view = render_views(images, [1.0], square(1, 65), nothing(1, down_db=6.0, right_db=-4.0), 65)[0, 0]
    decibels = 20 * torch.log10(view / 0.1)
    assert decibels[32, 32].item() == pytest.approx(0, abs=1e-4)
    assert (decibels[-1] - decibels[0]).numpy() == pytest.approx(6, abs=1e-3)
    assert (decibels[:, -1] - decibels[:, 0]).numpy() == pytest.approx(-4, abs=1e-3)


def test_contrast_keeps_the_mean_and_scales_the_distance_from_it() -> None:
    images = [blob(64, 64, 32, 32) * 0.2 + 0.4 for _ in range(2)]
    plain = render_views(images, [1.0] * 2, square(2), nothing(2), 64)
    flat = render_views(images, [1.0] * 2, square(2), nothing(2, contrast=0.5), 64)
    torch.testing.assert_close(flat - flat.mean(), 0.5 * (plain - plain.mean()), atol=1e-6, rtol=0)
    assert flat.mean().item() == pytest.approx(plain.mean().item(), abs=1e-6)


@pytest.mark.parametrize("looks", [2, 8])
def test_speckle_has_the_mean_and_variance_of_its_looks(looks: int) -> None:
    images = [np.full((80, 80), 0.05, np.float32) for _ in range(16)]
    drawn = nothing(16, looks=looks)
    intensity = (render_views(images, [1.0] * 16, square(16), drawn, 64) / 0.05).square()
    assert intensity.mean().item() == pytest.approx(1, abs=0.02)
    assert intensity.var().item() == pytest.approx(1 / looks, rel=0.05)


def test_what_is_drawn_lies_in_the_ranges_and_reaches_their_ends() -> None:
    drawn = draw_views(square(4000), ALL, key(4000))
    for name, values in (("rotate", drawn.angle_deg), ("scale", drawn.scale), ("gain", drawn.gain),
                         ("contrast", drawn.contrast), ("ramp", drawn.down_db), ("ramp", drawn.right_db)):  # fmt: skip
        low, high = AUGMENTATIONS[name].low, AUGMENTATIONS[name].high
        assert low <= values.min() < low + 0.01 * (high - low) and high - 0.01 * (high - low) < values.max() <= high
    assert set(drawn.looks) == {0, *range(2, 9)}
    assert abs((drawn.looks > 0).mean() - 0.5) < 0.04 and abs(drawn.mirror.mean() - 0.5) < 0.04
    assert set(drawn.down_px) == set(drawn.right_px) == set(range(-8, 9))


def test_views_epochs_seeds_and_streams_have_draws_of_their_own() -> None:
    angles = [draw_views(square(50), ALL, one).angle_deg for one in
              (key(50), key(50, view=1), key(50, epoch=1), key(50, seed=1), key(50, stream="other"))]  # fmt: skip
    assert np.abs(np.corrcoef(angles) - np.eye(5)).max() < 0.5


@pytest.mark.parametrize("left_out", ALL)
def test_switching_one_off_leaves_the_draws_of_the_others(left_out: str) -> None:
    fields = {"shift": ("down_px", "right_px"), "mirror": ("mirror",), "rotate": ("angle_deg",), "speckle": ("looks",),
              "ramp": ("down_db", "right_db")}  # fmt: skip
    whole = draw_views(square(50), ALL, key(50))
    rest = draw_views(square(50), [name for name in ALL if name != left_out], key(50))
    neutral = draw_views(square(50), (), key(50))
    for field in dataclasses.fields(ViewParameters):
        wanted = neutral if field.name in fields.get(left_out, (left_out,)) else whole
        np.testing.assert_array_equal(getattr(rest, field.name), getattr(wanted, field.name))


def test_a_view_does_not_depend_on_the_batch() -> None:
    images = [chips(1, 200)[0][:height, :width] for height, width in SHAPES]
    windows = np.round(np.array(SHAPES) / 1.25).astype(np.int64)
    together = make_views(images, [255.0] * 5, windows, ALL, key(5), 64)
    apart = torch.cat(
        [make_views([images[i]], [255.0], windows[i : i + 1], ALL, key(5, indices=np.array([i])), 64) for i in range(5)]
    )
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=0)


def test_past_the_border_a_view_shows_the_chips_mirror_image_and_no_black_corner() -> None:
    images = [np.full((64, 64), 100, np.uint8) for _ in range(20)]
    views = make_views(images, [255.0] * 20, square(20), ("shift", "mirror", "rotate", "scale"), key(20), 64)
    torch.testing.assert_close(views, torch.full_like(views, 100 / 255), atol=1e-5, rtol=0)


def test_bytes_floats_and_16_bits_give_one_view() -> None:
    image = chips(1, 150)[0]
    forms = [(image, 255.0), (image.astype(np.uint16) * 257, 65535.0), (image.astype(np.float32) / 255, 1.0)]
    for window in (64, 120):
        views = [make_views([form], [scale], square(1, window), ALL, key(1), 64) for form, scale in forms]
        for view in views[1:]:
            torch.testing.assert_close(view, views[0], atol=1e-5, rtol=0)


def test_the_words_of_a_view_name_what_was_drawn_and_nothing_else() -> None:
    drawn = nothing(1, down_px=3, right_px=-4, mirror=True, angle_deg=-7.2, scale=1.1, gain=0.5, contrast=1.2, looks=4)
    assert drawn.words(0) == ("+3 -4 px, mirror", "-7°, scale 1.10", "gain 0.50, 4 looks", "contrast 1.20")
    assert nothing(1, down_db=2.6, right_db=-4.4).words(0) == ("ramp +3 -4 dB",)
    assert nothing(1).words(0) == () and nothing(1, looks=2).words(0) == ("2 looks",)


def test_the_settings_offer_every_augmentation() -> None:
    assert tuple(AUGMENTATIONS) == VIEW_AUGMENTATIONS


def test_every_augmentation_says_where_it_is_wrong() -> None:
    for name, kind in AUGMENTATIONS.items():
        assert kind.parameter and kind.physics.endswith(".") and kind.wrong.endswith("."), name
        assert kind.low <= kind.high and 0 < kind.share <= 1, name
