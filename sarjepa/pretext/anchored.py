"""sarmae with optical anchors: the SAR encoder's tokens are drawn to an optical network's tokens of the same place.

A chip with an optical image of the same place adds a second loss to the reconstruction (SARC; Liu et al., arXiv
2512.16635, 2025). It is, for each visible patch i,

    1 - cos(h(z_i), t_i)          z the encoder's token, h two linear layers, t the frozen anchor's token

and its mean over the visible patches of the step's paired chips, times 0.8, is added to the loss. Chips without an
optical image are only reconstructed.

h is linear - ReLU - linear - LayerNorm, its weights normal with deviation 0.01, and is discarded after training. Its
hidden width is not published; here it is the anchor's. `sarjepa.models.anchors` describes the anchors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from sarjepa.models.anchors import Anchor
from sarjepa.models.encoder import Encoder
from sarjepa.models.predictor import QueryPredictor
from sarjepa.pretext.global_masked import GlobalMasked
from sarjepa.pretext.masking import GlobalMask, ImageKeys, take
from sarjepa.pretext.method import Alignment, Preview
from sarjepa.pretext.preview import scattered
from sarjepa.pretext.targets import Target

_STD = 0.01  # of the projector's initial weights


class Anchored(GlobalMasked):
    """Masked reconstruction with tokens that are compared with an anchor's.

    Args:
        encoder, predictor, target, corrupt, mask_ratio, normalise_patches: as in `GlobalMasked`.
        anchor: the frozen network.
        anchor_weight: weight of the alignment in the loss.
    """

    optical = True

    def __init__(
        self,
        encoder: Encoder,
        predictor: QueryPredictor,
        target: Target,
        corrupt: Callable[[torch.Tensor, ImageKeys], torch.Tensor],
        *,
        anchor: Anchor,
        anchor_weight: float = 0.8,
        mask_ratio: float = 0.75,
        normalise_patches: bool = False,
    ) -> None:
        super().__init__(
            encoder, predictor, target, corrupt, mask_ratio=mask_ratio, normalise_patches=normalise_patches
        )
        self.anchor_weight = anchor_weight
        hidden, out = nn.Linear(encoder.width, anchor.width), nn.Linear(anchor.width, anchor.width)
        for layer in (hidden, out):
            nn.init.normal_(layer.weight, std=_STD)
            nn.init.zeros_(layer.bias)
        self.projector = nn.Sequential(hidden, nn.ReLU(), out, nn.LayerNorm(anchor.width))
        self._outside = (anchor,)  # in a tuple, it is not trained, saved or exported

    @property
    def anchor(self) -> Anchor:
        """The frozen network."""
        return self._outside[0]

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Anchored:
        """Move the method to a device, with its anchor."""
        self.anchor._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def facts(self) -> dict[str, Any]:
        """The anchor's checksum."""
        return {"anchor_sha256": self.anchor.sha256}

    def forward(self, image_B4HW: torch.Tensor, keys: ImageKeys) -> torch.Tensor:
        """Reconstruction of the masked patches, plus the weighted alignment of the visible ones."""
        image_B1HW, optical_B3HW = image_B4HW[:, :1], image_B4HW[:, 1:]
        assert keys.pair_weight is not None, "the keys of pairs need pair_weight"
        weight_B = torch.from_numpy(keys.pair_weight).to(image_B1HW)
        mask = self.draw(image_B1HW, keys)
        tokens = self.see(self.corrupt(image_B1HW, keys), mask)
        loss = self.error(self.say(tokens, mask, image_B1HW), image_B1HW, mask)
        distance_B = 1 - self.agreement(tokens, mask, optical_B3HW).mean(dim=1)
        return loss + self.anchor_weight * (weight_B * distance_B).mean()

    def agreement(self, tokens: torch.Tensor, mask: GlobalMask, optical_B3HW: torch.Tensor) -> torch.Tensor:
        """Cosine of projected tokens and the anchor's tokens of the visible patches, (B, n) float32."""
        anchor_BnD = take(self.anchor(optical_B3HW, *self.encoder.grid(optical_B3HW[:, :1])).float(), mask.visible_Bn)
        patches = tokens[:, tokens.shape[1] - anchor_BnD.shape[1] :]  # the class token, if any, comes first
        return cosine_similarity(self.projector(patches).float(), anchor_BnD, dim=2)

    @torch.no_grad()
    def preview(self, image_B4HW: torch.Tensor, keys: ImageKeys) -> Preview:
        """The preview of `GlobalMasked`, with the optical images and the agreement of each visible patch."""
        image_B1HW, optical_B3HW = image_B4HW[:, :1], image_B4HW[:, 1:]
        mask, (rows, columns) = self.draw(image_B1HW, keys), self.encoder.grid(image_B1HW)
        cosine_Bn = self.agreement(self.see(self.corrupt(image_B1HW, keys), mask), mask, optical_B3HW)
        map_BN1 = scattered(cosine_Bn[:, :, None], mask.visible_Bn, rows * columns)
        assert keys.pair_weight is not None, "the keys of pairs need pair_weight"
        map_BN1[torch.from_numpy(keys.pair_weight == 0)] = float("nan")
        alignment = Alignment(optical_B3HW.cpu(), map_BN1.view(-1, rows, columns).cpu())
        return super().preview(image_B1HW, keys).beside(alignment)
