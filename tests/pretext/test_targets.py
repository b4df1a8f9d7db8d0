"""Targets: the cut into patches, the faults, and that no gradient flows."""

from __future__ import annotations

import pytest
import torch

from sarjepa.errors import InputError
from sarjepa.ops.histograms import hog
from sarjepa.ops.lowpass import low_pass
from sarjepa.ops.ratio import gradient_by_ratio
from sarjepa.pretext.targets import TARGETS, build_target, patchify, unpatchify


def test_a_patch_lists_scale_by_scale_row_by_row() -> None:
    features = torch.arange(2 * 4 * 6).reshape(1, 2, 4, 6)
    patches = patchify(features, 2, 3)
    assert patches[0, 4].tolist() == [14, 15, 20, 21, 38, 39, 44, 45]  # second row of patches, second column


def test_unpatchify_undoes_patchify() -> None:
    features = torch.rand(2, 3, 8, 12)
    torch.testing.assert_close(unpatchify(patchify(features, 2, 3), 2, 3, 3), features)


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_fills_every_patch_without_gradient(name: str) -> None:
    image = torch.rand(2, 1, 32, 48, requires_grad=True)
    target = build_target(name, radii=(2, 3))
    values = target(image, 2, 3)
    assert values.shape == (2, 6, target.values_per_patch(16))
    assert values.dtype == torch.float32 and not values.requires_grad
    assert values.isfinite().all() and values.std() > 0


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_is_float32_whatever_the_autocast(name: str) -> None:
    image = torch.rand(1, 1, 32, 32)
    target = build_target(name, radii=(2, 3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = target(image.bfloat16(), 2, 2)
    torch.testing.assert_close(cast, target(image.bfloat16().float(), 2, 2))


def test_the_ratio_target_is_the_operator_cut_up() -> None:
    image = torch.rand(2, 1, 32, 32)
    expected = patchify(gradient_by_ratio(image, (2, 5)), 4, 4)
    torch.testing.assert_close(build_target("ratio", radii=(2, 5))(image, 4, 4), expected)
    disjoint = patchify(gradient_by_ratio(image, (2, 5), centre=False), 4, 4)
    torch.testing.assert_close(build_target("ratio-disjoint", radii=(2, 5))(image, 4, 4), disjoint)
    assert (disjoint - expected).abs().max() > 0.01


def test_the_low_pass_target_keeps_the_frequencies_up_to_its_radius() -> None:
    image = torch.rand(1, 1, 32, 32)
    for radius, settings in ((30, {"low_pass_radius": 30}), (60, {})):
        found = build_target("low-pass", **settings)(image, 2, 2)
        torch.testing.assert_close(found, patchify(low_pass(image, radius), 2, 2))


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(InputError, match="ratio"):
        build_target("ration")


def test_a_histogram_target_lists_bin_by_bin_the_cells_of_its_patch() -> None:
    image = torch.rand(1, 1, 32, 32)
    cells = hog(image)  # (1, 9, 4, 4)
    patch = build_target("hog")(image, 2, 2)[0, 1]  # top right: rows 0 and 1, columns 2 and 3 of the cells
    torch.testing.assert_close(patch, cells[0, :, :2, 2:].flatten())


def test_a_scaled_target_has_a_name_for_every_channel() -> None:
    image = torch.rand(1, 1, 32, 32)
    for name in TARGETS:
        target = build_target(name, radii=(2, 3, 5))
        assert target.image(image).shape[1] == len(target.channel_names) == len(set(target.channel_names))
