"""A method's targets and predictions as pictures."""

from __future__ import annotations

import torch

from sarjepa.pretext.method import Preview
from sarjepa.pretext.targets import Target, unpatchify


def patch_preview(
    shown_B1HW: torch.Tensor,
    image_B1HW: torch.Tensor,
    target: Target,
    grid: tuple[int, int],
    state_BN: torch.Tensor,
    prediction_BNV: torch.Tensor,
) -> Preview:
    """Put patches back into pictures.

    Args:
        shown_B1HW: input of the encoder.
        image_B1HW: image that the target is computed from; it differs from the input if that is corrupted.
        target: target that is predicted.
        grid: rows and columns of patches.
        state_BN: `UNSEEN`, `VISIBLE` or `MASKED`.
        prediction_BNV: predicted values of each patch in the target's order, NaN where there are none.

    Example:
        >>> from sarjepa.pretext.targets import build_target
        >>> image, state = torch.ones(1, 1, 1, 2), torch.tensor([[1, 2]])  # two patches of a pixel, the second masked
        >>> prediction = scattered(torch.tensor([[[0.7]]]), torch.tensor([[1]]), num_patches=2)
        >>> preview = patch_preview(image, image, build_target("pixel"), (1, 2), state, prediction)
        >>> preview.target, preview.prediction
        (tensor([[[[1., 1.]]]]), tensor([[[[   nan, 0.7000]]]]))
    """
    channels = len(target.channel_names)
    return Preview(
        shown_B1HW.cpu(),
        state_BN.cpu(),
        unpatchify(target(image_B1HW, *grid).cpu(), *grid, channels),
        unpatchify(prediction_BNV.float().cpu(), *grid, channels),
        target.channel_names,
    )


def scattered(prediction_BmV: torch.Tensor, position_Bm: torch.Tensor, num_patches: int) -> torch.Tensor:
    """Predictions at some positions of a grid of NaN, (B, num_patches, V).

    Example:
        >>> scattered(torch.tensor([[[0.5], [0.7]]]), torch.tensor([[3, 0]]), num_patches=4).flatten()
        tensor([0.7000,    nan,    nan, 0.5000])
    """
    canvas = prediction_BmV.new_full((len(prediction_BmV), num_patches, prediction_BmV.shape[2]), float("nan"))
    return canvas.scatter(1, position_Bm[:, :, None].expand_as(prediction_BmV), prediction_BmV)
