"""Predicting local masked patches: sar-jepa, lomar and lomar-sar.

Small windows of the patch grid are drawn from a chip. In each, most patches are replaced by a learned token; encoder
and predictor see the whole window, and the loss is the squared error over the masked patches alone. Windows are local
because a SAR target's scattering centres inform about their neighbourhood, and the background about little.

    sar-jepa   target: gradient by ratio at four scales; predictor of 8 blocks   Li et al., ISPRS J. 218, 2024
    lomar      target: pixels; predictor: one linear layer                       Chen et al., arXiv 2206.00790, 2022
    lomar-sar  target: pixels; predictor of 8 blocks (the paper's "MIM" row)

The three differ in target and predictor only, so they are this one composition.
"""

from __future__ import annotations

import torch
from torch import nn

from sarjepa.models.encoder import Encoder
from sarjepa.models.predictor import Predictor
from sarjepa.models.relative_position import bucket_ids
from sarjepa.pretext.masking import ImageKeys, LocalWindows, local_windows
from sarjepa.pretext.method import MASKED, UNSEEN, VISIBLE, Method, Preview
from sarjepa.pretext.preview import patch_preview
from sarjepa.pretext.targets import Target


class LocalMasked(Method):
    """Encoder, predictor and target around local windows.

    Args:
        encoder: encoder of relative positions, so that it runs on windows and on the whole grid.
        predictor: network from the encoder's width to the target's values.
        target: function of an image whose values masked patches predict.
        num_windows, window_size: number of windows per image, and a window's side in patches.
        mask_ratio: share of a window's patches that is masked.
    """

    target: Target

    def __init__(
        self,
        encoder: Encoder,
        predictor: Predictor,
        target: Target,
        *,
        num_windows: int = 4,
        window_size: int = 7,
        mask_ratio: float = 0.8,
    ) -> None:
        super().__init__()
        self.encoder, self.predictor, self.target = encoder, predictor, target
        self.num_windows, self.window_size, self.mask_ratio = num_windows, window_size, mask_ratio
        self.mask_token = nn.Parameter(torch.zeros(1, 1, encoder.width))
        nn.init.normal_(self.mask_token, std=0.02)

    def draw(self, image_B1HW: torch.Tensor, keys: ImageKeys) -> LocalWindows:
        """The windows of a batch, on the batch's device."""
        return local_windows(
            keys,
            *self.encoder.grid(image_B1HW),
            num_windows=self.num_windows,
            side=self.window_size,
            mask_ratio=self.mask_ratio,
        ).to(image_B1HW.device)

    def predict(self, image_B1HW: torch.Tensor, windows: LocalWindows) -> torch.Tensor:
        """Predictions of every patch of every window, (S, n, values), masked or not."""
        patches = self.encoder.embed_patches(image_B1HW)[windows.image_S[:, None], windows.patch_Sn]
        patches = torch.where(windows.masked_Sn[:, :, None], self.mask_token.to(patches.dtype), patches)
        buckets_NN = bucket_ids(windows.side, windows.side).to(image_B1HW.device)
        return self.predictor(self.encoder.encode(patches, buckets_NN), buckets_NN)[:, 1:]

    def targets(self, image_B1HW: torch.Tensor, windows: LocalWindows) -> torch.Tensor:
        """The targets of every patch of every window, (S, n, values)."""
        target = self.target(image_B1HW, *self.encoder.grid(image_B1HW))
        return target[windows.image_S[:, None], windows.patch_Sn]

    def loss(self, prediction: torch.Tensor, target: torch.Tensor, windows: LocalWindows) -> torch.Tensor:
        """Squared error, mean over a patch's values, mean over masked patches."""
        error_Sn = (prediction.float() - target).square().mean(dim=-1)
        return error_Sn[windows.masked_Sn].mean()

    def forward(self, image_B1HW: torch.Tensor, keys: ImageKeys) -> torch.Tensor:
        """The loss of a batch, a scalar."""
        windows = self.draw(image_B1HW, keys)
        return self.loss(self.predict(image_B1HW, windows), self.targets(image_B1HW, windows), windows)

    @torch.no_grad()
    def preview(self, image_B1HW: torch.Tensor, keys: ImageKeys) -> Preview:
        """The windows put back onto the grid; where they overlap, the later one covers the earlier."""
        windows = self.draw(image_B1HW, keys)
        rows, columns = self.encoder.grid(image_B1HW)
        predicted, windows = self.predict(image_B1HW, windows).float().cpu(), windows.to(torch.device("cpu"))
        canvas = torch.full((len(image_B1HW), rows * columns, predicted.shape[-1]), float("nan"))
        state_BN = torch.full((len(image_B1HW), rows * columns), UNSEEN)
        for image, patch_n, masked_n, values in zip(
            windows.image_S, windows.patch_Sn, windows.masked_Sn, predicted, strict=True
        ):
            state_BN[image, patch_n] = torch.where(masked_n, MASKED, VISIBLE)
            canvas[image, patch_n] = torch.where(masked_n[:, None], values, float("nan"))
        return patch_preview(image_B1HW, image_B1HW, self.target, (rows, columns), state_BN, canvas)
