"""Predicting a masked share of the whole grid from the visible patches: mae, fg-mae and sarmae.

Three quarters of a chip's patches are masked at random and the encoder sees only the others, which makes a step four
times cheaper; a predictor that is given the positions of the masked patches predicts their target. Nearly every masked
patch has a visible neighbour, so that apart from speckle the task can be solved by interpolation, and a pixel target
includes the speckle. `local_masked` and the ratio target change that.

    mae      target: pixels                          He et al., CVPR 2022
    fg-mae   target: histograms of gradients (HOG) in Gaussian windows, a patch's values normalised; masks 70%
                                                     Wang et al., IEEE TGRS 62, 2024 (arXiv 2310.18653)
    sarmae   target: pixels of the clean chip, while half of the chips are shown with speckle added
                                                     Liu et al., arXiv 2512.16635, 2025

Here positions are sine-cosine, and SARMAE's second part, for chips with an optical image, is in `anchored`. Pixels are
predicted without normalisation, since a patch's mean and spread tell target from clutter; MAE's other form, (values -
mean) / sqrt(variance + 1e-6) of each patch, is an option. So is SAR-W-MixMAE's weight of a patch's error (Caglayan et
al., IGARSS 2025, arXiv 2503.01181), the mean of exp(1 - power) over its pixels: bright scatterers, whose errors are
largest, count up to e times less than dark ground. Their images mix two chips' patches, and ours are masked.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from sarjepa.models.encoder import Encoder
from sarjepa.models.predictor import QueryPredictor
from sarjepa.pretext.masking import GlobalMask, ImageKeys, global_mask, take
from sarjepa.pretext.method import MASKED, VISIBLE, Method, Preview
from sarjepa.pretext.preview import patch_preview, scattered
from sarjepa.pretext.targets import Target, patchify


def as_it_is(image_B1HW: torch.Tensor, keys: ImageKeys) -> torch.Tensor:
    """The chip itself, without corruption.

    Example:
        >>> import numpy as np
        >>> chips = torch.rand(2, 1, 8, 8)
        >>> as_it_is(chips, ImageKeys(seed=0, epoch=1, indices=np.arange(2))) is chips
        True
    """
    return image_B1HW


def level_of(values_BmV: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of each patch's values, (B, m, 1) each, as in MAE's normalisation.

    Example:
        >>> mean, deviation = level_of(torch.tensor([[[1.0, 2.0, 3.0]]]))
        >>> mean.item(), round(deviation.item(), 3)
        (2.0, 1.0)
    """
    variance, mean = torch.var_mean(values_BmV, dim=2, keepdim=True)
    return mean, (variance + 1e-6).sqrt()


def power_weight(image_B1HW: torch.Tensor) -> torch.Tensor:
    """exp(1 - power) of each pixel, power being the square of magnitude in [0, 1]: from e in the dark to 1.

    Example:
        >>> power_weight(torch.tensor([0.0, 1.0]))
        tensor([2.7183, 1.0000])
    """
    return (1 - image_B1HW.square()).exp()


class GlobalMasked(Method):
    """Encoder, predictor and target around a random mask.

    Args:
        encoder: encoder that adds positions to the patches, as it sees only some of them.
        predictor: network from the encoder's width to the target's values.
        target: function of the clean chip whose values masked patches predict.
        corrupt: function of chips and keys that makes the encoder's input.
        mask_ratio: share of the grid that is masked.
        normalise_patches: whether a patch's values are predicted less their mean, over their deviation.
        power_weight: whether a patch's error is weighted by `power_weight`, less for bright patches.
    """

    target: Target

    def __init__(
        self,
        encoder: Encoder,
        predictor: QueryPredictor,
        target: Target,
        corrupt: Callable[[torch.Tensor, ImageKeys], torch.Tensor] = as_it_is,
        *,
        mask_ratio: float = 0.75,
        normalise_patches: bool = False,
        power_weight: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.predictor, self.target, self.corrupt = encoder, predictor, target, corrupt
        self.mask_ratio, self.normalise_patches, self.power_weight = mask_ratio, normalise_patches, power_weight

    def draw(self, image_B1HW: torch.Tensor, keys: ImageKeys) -> GlobalMask:
        """The masks of a batch, on the batch's device."""
        return global_mask(keys, *self.encoder.grid(image_B1HW), mask_ratio=self.mask_ratio).to(image_B1HW.device)

    def see(self, shown_B1HW: torch.Tensor, mask: GlobalMask) -> torch.Tensor:
        """The encoder's tokens of the visible patches of its input, class token first."""
        return self.encoder.encode(take(self.encoder.embed_patches(shown_B1HW), mask.visible_Bn))

    def say(self, tokens: torch.Tensor, mask: GlobalMask, image_B1HW: torch.Tensor) -> torch.Tensor:
        """Predictions of the masked patches, (B, m, values), from the encoder's tokens."""
        return self.predictor(tokens, mask.visible_Bn, mask.masked_Bm, self.encoder.grid(image_B1HW))

    def predict(self, shown_B1HW: torch.Tensor, mask: GlobalMask) -> torch.Tensor:
        """Predictions of the masked patches, (B, m, values), from the encoder's input."""
        return self.say(self.see(shown_B1HW, mask), mask, shown_B1HW)

    def forward(self, image_B1HW: torch.Tensor, keys: ImageKeys) -> torch.Tensor:
        """Squared error, mean over the values of the masked patches."""
        mask = self.draw(image_B1HW, keys)
        return self.error(self.predict(self.corrupt(image_B1HW, keys), mask), image_B1HW, mask)

    def error(self, prediction: torch.Tensor, image_B1HW: torch.Tensor, mask: GlobalMask) -> torch.Tensor:
        """Squared error of predictions of the masked patches, a scalar."""
        grid = self.encoder.grid(image_B1HW)
        target = take(self.target(image_B1HW, *grid), mask.masked_Bm)
        if self.normalise_patches:
            mean, deviation = level_of(target)
            target = (target - mean) / deviation
        error_BmV = (prediction.float() - target).square()
        if self.power_weight:
            weight_BmV = take(patchify(power_weight(image_B1HW), *grid), mask.masked_Bm)
            error_BmV = error_BmV * weight_BmV.mean(dim=2, keepdim=True)
        return error_BmV.mean()

    @torch.no_grad()
    def preview(self, image_B1HW: torch.Tensor, keys: ImageKeys) -> Preview:
        """The predictions at their positions; the target is the clean chip's."""
        mask, grid = self.draw(image_B1HW, keys), self.encoder.grid(image_B1HW)
        num_patches = grid[0] * grid[1]
        state_BN = torch.full((len(image_B1HW), num_patches), VISIBLE).scatter(1, mask.masked_Bm.cpu(), MASKED)
        shown = self.corrupt(image_B1HW, keys)
        prediction = self.predict(shown, mask).float()
        if self.normalise_patches:  # undone for the picture, which is of the chip
            mean, deviation = level_of(take(self.target(image_B1HW, *grid), mask.masked_Bm))
            prediction = prediction * deviation + mean
        canvas = scattered(prediction, mask.masked_Bm, num_patches)
        return patch_preview(shown, image_B1HW, self.target, grid, state_BN, canvas)
