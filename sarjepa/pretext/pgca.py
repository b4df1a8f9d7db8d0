"""Predicting every patch's own gradient, with nothing masked: pgca and pgca-deep.

The no-mask ablation of Li et al. (ISPRS J. 218, 2024): the encoder sees the whole chip, and one linear layer predicts
the target of a patch from that patch's output. The target is a fixed function of the encoder's input, so the encoder
only learns to compute it; what other methods gain over this row, they gain from predicting masked patches. But it
differs from sar-jepa in the mask, the window and the predictor. Two rows lie between: `pgca-deep` has sar-jepa's
predictor of 8 blocks, and sar-jepa with one window as large as the grid has the mask and the whole chip.
"""

from __future__ import annotations

import torch

from sarjepa.models.encoder import Encoder
from sarjepa.models.predictor import Predictor
from sarjepa.models.relative_position import bucket_ids
from sarjepa.pretext.masking import ImageKeys
from sarjepa.pretext.method import VISIBLE, Method, Preview
from sarjepa.pretext.preview import patch_preview
from sarjepa.pretext.targets import Target


class PatchGradient(Method):
    """Encoder, predictor and target, no mask.

    Args:
        encoder: encoder, which sees the whole chip.
        predictor: network from the encoder's width to the target's values.
        target: function of an image whose values each patch predicts.
    """

    target: Target

    def __init__(self, encoder: Encoder, predictor: Predictor, target: Target) -> None:
        super().__init__()
        self.encoder, self.predictor, self.target = encoder, predictor, target

    def predict(self, image_B1HW: torch.Tensor) -> torch.Tensor:
        """Predictions of every patch from the encoder's output, (B, N, values)."""
        buckets_NN = bucket_ids(*self.encoder.grid(image_B1HW)).to(image_B1HW.device)
        return self.predictor(self.encoder(image_B1HW), buckets_NN)[:, 1:]

    def forward(self, image_B1HW: torch.Tensor, keys: ImageKeys) -> torch.Tensor:
        """Squared error, mean over all values."""
        target = self.target(image_B1HW, *self.encoder.grid(image_B1HW))
        return (self.predict(image_B1HW).float() - target).square().mean()

    @torch.no_grad()
    def preview(self, image_B1HW: torch.Tensor, keys: ImageKeys) -> Preview:
        """The predictions of all patches, which are all visible."""
        grid = self.encoder.grid(image_B1HW)
        state_BN = torch.full((len(image_B1HW), grid[0] * grid[1]), VISIBLE)
        return patch_preview(image_B1HW, image_B1HW, self.target, grid, state_BN, self.predict(image_B1HW))
