"""Masks: each image's own, the size asked for, and the same whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sarjepa.errors import InputError
from sarjepa.pretext.masking import ImageKeys, local_windows


def keys(*indices: int, seed: int = 0, epoch: int = 0) -> ImageKeys:
    return ImageKeys(seed, epoch, np.array(indices))


def test_windows_do_not_depend_on_the_batch() -> None:
    together = local_windows(keys(*range(8)), 14, 14)
    halves = [local_windows(keys(*range(start, start + 4)), 14, 14) for start in (0, 4)]
    for name in ("patch_Sn", "masked_Sn"):
        torch.testing.assert_close(getattr(together, name), torch.cat([getattr(half, name) for half in halves]))
    assert together.image_S.tolist() == [image for image in range(8) for _ in range(4)]


def test_images_and_epochs_have_windows_of_their_own() -> None:
    first, other_epoch = local_windows(keys(0, 1), 14, 14), local_windows(keys(0, 1, epoch=1), 14, 14)
    assert not torch.equal(first.patch_Sn[:4], first.patch_Sn[4:])
    assert not torch.equal(first.patch_Sn, other_epoch.patch_Sn)


def test_39_of_49_patches_are_masked_and_windows_lie_on_the_grid() -> None:
    windows = local_windows(keys(*range(500)), 14, 10, num_windows=4, side=7, mask_ratio=0.8)
    assert (windows.masked_Sn.sum(dim=1) == 39).all()
    row, column = windows.patch_Sn // 10, windows.patch_Sn % 10
    assert (row - row[:, :1]).unique(dim=0).shape[0] == (column - column[:, :1]).unique(dim=0).shape[0] == 1
    assert set(row[:, 0].tolist()) == set(range(8)) and set(column[:, 0].tolist()) == set(range(4))
    assert row.max() == 13 and column.max() == 9


def test_every_patch_of_a_window_is_masked_equally_often() -> None:
    share = local_windows(keys(*range(2000)), 14, 14).masked_Sn.float().mean(dim=0)
    assert (share - 39 / 49).abs().max() < 0.02  # five standard errors of 8000 windows


def test_a_window_that_does_not_fit_and_an_empty_mask_are_input_errors() -> None:
    with pytest.raises(InputError, match="larger than the grid"):
        local_windows(keys(0), 6, 14)
    with pytest.raises(InputError, match="nothing or everything"):
        local_windows(keys(0), 14, 14, side=2, mask_ratio=0.2)
