r"""Assigning a masked chip to prototypes as a teacher assigns the clean chip: safe.

Masked Siamese networks (Assran et al., ECCV 2022) with radar views, as in SAFE for SAR (Muzeau et al., arXiv
2407.00851, 2024): the encoder sees a view of a chip with speckle added and patches masked, the teacher another view,
despeckled (Lee's filter) and whole. Both are compared with K learned prototypes, and the encoder learns to give the
chip the teacher's distribution over them:

    p = softmax(cos(z, q_k) / t),   p+ = softmax(cos(z+, q_k) / t+),   t+ = t / 4
    loss = H(p+, p) + ln K - H(mean of p over the batch)

The teacher's distribution is sharpened (t+ < t). The last two terms, which are zero when the batch uses all prototypes
equally, keep all chips from getting the same distribution (mean-entropy maximisation). t = 0.1 and K = 1024 are the
published values. The published share of masked patches depends on the size of the ViT, from 0.15 to 0.7; 0.3 is that of
ViT-B. The teacher's weights are an average of the encoder's (`sarjepa.pretext.teacher`).

Here one masked view is drawn per chip, without the small focal crops. An embedding is made of the class token and the
mean of the patches by the projection of `sarjepa.pretext.views`. Positions are relative, as in sar-jepa, so masked
patches keep their positions and no token attends to them, at the cost of whole chips. SAFE's sub-aperture views are
left out: they are looks at parts of the Doppler spectrum, which only complex chips have, and shards hold magnitudes.

Shapes: B chips, N chips on all processes, D values of an embedding, K prototypes.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from sarjepa.models.encoder import Encoder
from sarjepa.models.relative_position import bucket_ids
from sarjepa.ops.despeckle import despeckled
from sarjepa.pretext.masking import ImageKeys, global_mask
from sarjepa.pretext.method import MASKED, VISIBLE, Method, Preview
from sarjepa.pretext.teacher import follow, teacher_of
from sarjepa.pretext.views import EMBEDDING, feature_of, of_all_processes, projection

_NUM_PROTOTYPES = 1024
_SHARPENED = 0.25  # the teacher's temperature over the encoder's


class MaskedSiamese(Method):
    """Encoder, projection and prototypes, and a teacher of the first two.

    Args:
        encoder: encoder, which sees the masked view.
        temperature: t, divisor of the encoder's cosines.
        mask_ratio: share of the patches that is masked.
    """

    views = (frozenset[str](), frozenset({"speckle"}))

    def __init__(self, encoder: Encoder, *, temperature: float = 0.1, mask_ratio: float = 0.3) -> None:
        super().__init__()
        self.encoder, self.projection = encoder, projection(encoder.width)
        self.teacher, self.teacher_projection = teacher_of(encoder), teacher_of(self.projection)
        self.prototypes_KD = nn.Parameter(torch.randn(_NUM_PROTOTYPES, EMBEDDING))
        self.temperature, self.mask_ratio = temperature, mask_ratio

    def start_from(self, encoder: Encoder) -> None:
        """Encoder and teacher both begin as `encoder`."""
        super().start_from(encoder)
        self.teacher.load_state_dict(encoder.state_dict())

    def masked(self, image_B1HW: torch.Tensor, keys: ImageKeys) -> torch.Tensor:
        """Which patches the encoder does not see, (B, patches) bool."""
        rows, columns = self.encoder.grid(image_B1HW)
        mask = global_mask(keys, rows, columns, mask_ratio=self.mask_ratio).to(image_B1HW.device)
        unmasked_BN = torch.zeros(len(image_B1HW), rows * columns, dtype=torch.bool, device=image_B1HW.device)
        return unmasked_BN.scatter(1, mask.masked_Bm, True)

    def logits(self, embedding_ND: torch.Tensor, temperature: float) -> torch.Tensor:
        """Cosines with the prototypes over the temperature, (N, K)."""
        prototypes_KD = functional.normalize(self.prototypes_KD, dim=1)
        return functional.normalize(embedding_ND, dim=1) @ prototypes_KD.T / temperature

    @torch.no_grad()
    def named(self, view_B1HW: torch.Tensor) -> torch.Tensor:
        """The teacher's distributions for the chips of all processes, (N, K)."""
        feature_BD = feature_of(self.teacher(despeckled(view_B1HW)))
        with torch.autocast(view_B1HW.device.type, enabled=False):
            embedding_ND = self.teacher_projection(of_all_processes(feature_BD)[0])
            return self.logits(embedding_ND, self.temperature * _SHARPENED).softmax(dim=1)

    def forward(self, image: torch.Tensor, keys: ImageKeys) -> torch.Tensor:
        """The loss of a batch of views, (B, 2, 1, H, W)."""
        anchor_B1HW, target_B1HW = image.unbind(dim=1)
        masked_BN = self.masked(anchor_B1HW, keys)
        buckets_NN = bucket_ids(*self.encoder.grid(anchor_B1HW)).to(image.device)
        tokens = self.encoder.encode(self.encoder.embed_patches(anchor_B1HW), buckets_NN, masked_BN)
        feature_BD = feature_of(tokens, masked_BN)
        with torch.autocast(image.device.type, enabled=False):
            feature_ND, first = of_all_processes(feature_BD)
            log_NK = self.logits(self.projection(feature_ND), self.temperature).log_softmax(dim=1)
            own = slice(first, first + len(image))
            agreement = -(self.named(target_B1HW)[own] * log_NK[own]).sum(dim=1).mean()
            mean_K = log_NK.exp().mean(dim=0)
            return agreement + (mean_K * mean_K.clamp(min=1e-12).log()).sum() + math.log(len(mean_K))

    @torch.no_grad()
    def preview(self, image_B1HW: torch.Tensor, keys: ImageKeys) -> Preview:
        """The masked patches and the despeckled chip; a distribution over prototypes is not a picture."""
        state_BN = torch.where(self.masked(image_B1HW, keys), MASKED, VISIBLE).cpu()
        clean = despeckled(image_B1HW).cpu()
        return Preview(image_B1HW.cpu(), state_BN, clean, torch.full_like(clean, float("nan")), ("despeckled",))

    def after_step(self, share_done: float) -> None:
        """Move the teacher towards the encoder."""
        follow(self.teacher, self.encoder, share_done)
        follow(self.teacher_projection, self.projection, share_done)
