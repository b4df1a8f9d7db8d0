"""Masks: each image's own, the size asked for, and the same whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sarjepa.errors import InputError
from sarjepa.pretext.masking import ImageKeys, TargetBlocks, global_mask, local_windows, target_blocks


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


@pytest.mark.parametrize(("grid", "num_windows"), [((14, 14), 4), ((14, 14), 8), ((8, 10), 2), ((8, 10), 5)])
def test_no_two_windows_of_an_image_share_a_row_or_a_column_until_all_are_taken(
    grid: tuple[int, int], num_windows: int
) -> None:
    first_S = local_windows(keys(*range(300)), *grid, num_windows=num_windows).patch_Sn[:, 0]
    for starts, most in ((first_S // grid[1], grid[0] - 6), (first_S % grid[1], grid[1] - 6)):
        num_distinct = [len(own.unique()) for own in starts.reshape(300, num_windows)]
        assert set(num_distinct) == {min(num_windows, most)}
        share = torch.bincount(starts, minlength=most) / len(starts)
        assert (share - 1 / most).abs().max() < 0.08  # and every start is as likely as another


def test_rows_and_columns_of_windows_do_not_go_together() -> None:
    first_S = local_windows(keys(*range(500)), 14, 14).patch_Sn[:, 0]
    rows, columns = (first_S // 14).double(), (first_S % 14).double()
    assert abs(torch.corrcoef(torch.stack([rows, columns]))[0, 1]) < 0.1  # 4.5 standard errors of 2000 windows


def test_every_patch_of_a_window_is_masked_equally_often() -> None:
    share = local_windows(keys(*range(2000)), 14, 14).masked_Sn.float().mean(dim=0)
    assert (share - 39 / 49).abs().max() < 0.02  # five standard errors of 8000 windows


def test_a_window_that_does_not_fit_and_an_empty_mask_are_input_errors() -> None:
    with pytest.raises(InputError, match="larger than the grid"):
        local_windows(keys(0), 6, 14)
    with pytest.raises(InputError, match="nothing or everything"):
        local_windows(keys(0), 14, 14, side=2, mask_ratio=0.2)


def test_a_global_mask_holds_every_patch_once() -> None:
    mask = global_mask(keys(*range(50)), 14, 14)
    assert mask.masked_Bm.shape == (50, 147)
    both = torch.cat([mask.visible_Bn, mask.masked_Bm], dim=1).sort(dim=1).values
    assert (both == torch.arange(196)).all()


def test_every_patch_of_the_grid_is_masked_equally_often() -> None:
    mask = global_mask(keys(*range(2000)), 6, 6)
    share = torch.bincount(mask.masked_Bm.flatten(), minlength=36) / 2000
    assert (share - 0.75).abs().max() < 0.05  # five standard errors


def test_a_global_mask_of_nothing_is_an_input_error() -> None:
    with pytest.raises(InputError, match="nothing or everything"):
        global_mask(keys(0), 4, 4, mask_ratio=0.05)


def contexts(blocks: TargetBlocks) -> list[list[int]]:
    """The context of each image, without what fills up its row."""
    return [row[~filler].tolist() for row, filler in zip(blocks.context_Bn, blocks.filler_Bn, strict=True)]


@pytest.mark.parametrize("grid", [(4, 4), (8, 8), (14, 14), (14, 9)])
def test_the_context_holds_no_target_and_blocks_are_rectangles(grid: tuple[int, int]) -> None:
    rows, columns = grid
    for epoch in range(10):
        blocks = target_blocks(keys(*range(60), epoch=epoch), rows, columns)
        for context, targets in zip(contexts(blocks), blocks.target_BTm, strict=True):
            assert len(set(context)) == len(context) >= 0.1 * rows * columns
            assert not set(context) & set(targets.flatten().tolist())
            for target in targets:
                height, width = (len((target // columns).unique()), len((target % columns).unique()))
                assert height * width == len(target.unique()) == len(target)
                assert target.max() < rows * columns


def test_the_context_is_all_that_the_targets_leave_of_a_block() -> None:
    place, shares = torch.arange(196).reshape(14, 14), []
    for epoch in range(20):
        blocks = target_blocks(keys(*range(20), epoch=epoch), 14, 14)
        for context, targets in zip(contexts(blocks), blocks.target_BTm, strict=True):
            shares.append(len(context) / 196)
            boxes = [place] + [place[top : top + 13, left : left + 13] for top in (0, 1) for left in (0, 1)]
            left_over = [set(box.flatten().tolist()) - set(targets.flatten().tolist()) for box in boxes]
            assert set(context) in left_over
    assert np.mean(shares) == pytest.approx(0.46, abs=0.03)


def test_blocks_are_of_the_published_size() -> None:
    shares = [target_blocks(keys(0, epoch=e), 14, 14).target_BTm.shape[2] / 196 for e in range(200)]
    assert min(shares) == 5 * 5 / 196 and max(shares) == 6 * 7 / 196  # 0.15 and 0.2, sides rounded to whole patches


def test_global_masks_and_blocks_do_not_depend_on_the_batch() -> None:
    pairs = [keys(i, i + 1) for i in (0, 2, 4, 6)]
    whole, parts = global_mask(keys(*range(8)), 14, 14), [global_mask(pair, 14, 14) for pair in pairs]
    for name in ("visible_Bn", "masked_Bm"):
        torch.testing.assert_close(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))
    blocks, parts = target_blocks(keys(*range(8)), 14, 14), [target_blocks(pair, 14, 14) for pair in pairs]
    torch.testing.assert_close(blocks.target_BTm, torch.cat([part.target_BTm for part in parts]))
    assert contexts(blocks) == [context for part in parts for context in contexts(part)]


def test_a_grid_too_small_for_blocks_is_an_input_error() -> None:
    with pytest.raises(InputError, match="4 x 4"):
        target_blocks(keys(0), 3, 8)
