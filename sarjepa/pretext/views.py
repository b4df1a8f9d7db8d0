r"""Agreement of two views of one chip: views, and with the local masked loss sar-jepa-views.

Two views of a chip (`sarjepa.data.views`: other shift, gain, speckle, the mirror image) are mapped to two points of a
sphere, which the loss draws closer to one another than to the points of all other chips. That is NT-Xent (Chen et al.,
SimCLR, ICML 2020). With s_ij the cosine of two embeddings over the temperature, for an anchor i, one of its positives p
and all its negatives n:

    loss(i, p) = -ln( exp(s_ip) / (exp(s_ip) + sum_n exp(s_in)) ),      mean over p, then over i

Positives are all other views of the anchor's chip and of its near-duplicates, which are never negatives: SAR-ACD stores
one chip several times in other brightness, and copies that repel each other would undo what the views teach. Where no
chip of the batch has a copy, this is exactly SimCLR's loss.

An embedding is made of the class token and the mean of the patch tokens, by a projection of two layers that is
discarded after training (2 x width, 512, 128). Its hidden layer is batch-normalised, as in SimCLR, without which
training does not start: an untrained encoder gives all chips nearly the same feature, so all points of the sphere would
coincide, the loss would be ln(N - 1), and its gradient almost zero. The statistics are always those of the current
batch.

The loss compares all chips of a batch. Processes exchange their features, with gradients, so that each has all
negatives and the statistics of all; k processes equal one. A batch cannot be split into parts.

    views            the loss of the views alone, on chips of any size
    sar-jepa-views   the local masked loss of sar-jepa on the first view, plus a weight times the loss of the views

Shapes: B chips of V views each, M = B * V views here and N on all processes, D values of an embedding.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional

from sarjepa.models.encoder import Encoder
from sarjepa.models.predictor import Predictor
from sarjepa.pretext.local_masked import LocalMasked
from sarjepa.pretext.masking import ImageKeys
from sarjepa.pretext.method import Method
from sarjepa.pretext.targets import Target

EMBEDDING = 128
_HIDDEN = 512
_NO_LOGIT = -1e4  # its exponential is 0, and its gradient is not NaN, even where there is no negative at all


class _Gather(torch.autograd.Function):
    """Rows of all processes one after the other; a row's gradient is the sum of its gradients in all processes."""

    @staticmethod
    def forward(ctx: Any, row_MD: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(row_MD) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, row_MD.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradient: torch.Tensor) -> torch.Tensor:
        gradient_ND = gradient[0].contiguous()
        dist.all_reduce(gradient_ND)
        return gradient_ND.chunk(dist.get_world_size())[dist.get_rank()]


def of_all_processes(row_MD: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The rows of all processes in the order of ranks, and the number of the first own row; all have equally many.

    If each process computes the loss of its own rows, and gradients are averaged as DistributedDataParallel does, the
    gradient is that of one process with all rows.

    Example:
        >>> of_all_processes(torch.zeros(1, 2))  # in a single process
        (tensor([[0., 0.]]), 0)
    """
    if not (dist.is_available() and dist.is_initialized()):
        return row_MD, 0
    return _Gather.apply(row_MD), dist.get_rank() * len(row_MD)


def nt_xent(
    embedding_ND: torch.Tensor, group_N: torch.Tensor, temperature: float, own: slice = slice(None)
) -> torch.Tensor:
    """The loss of the module's formula, mean over some of the views as anchors.

    Args:
        embedding_ND: embeddings of any length; they are normalised here.
        group_N: int64, equal for the views of one chip and of its near-duplicates; each number at least twice.
        temperature: divisor of the cosines.
        own: views that are anchors; default: all.

    Returns:
        A scalar.

    Example:
        >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> apart, mixed = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        >>> nt_xent(embeddings, apart, temperature=0.5), nt_xent(embeddings, mixed, temperature=0.5)
        (tensor(0.2395), tensor(2.2395))
    """
    point_ND = functional.normalize(embedding_ND, dim=1)
    logit_MN = point_ND[own] @ point_ND.T / temperature
    same_MN = group_N[own, None] == group_N[None, :]
    negatives_M1 = logit_MN.masked_fill(same_MN, _NO_LOGIT).logsumexp(dim=1, keepdim=True)
    number_N = torch.arange(len(point_ND), device=point_ND.device)
    positive_MN = same_MN & (number_N[own, None] != number_N[None, :])
    loss_MN = functional.softplus(negatives_M1 - logit_MN) * positive_MN
    return (loss_MN.sum(dim=1) / positive_MN.sum(dim=1)).mean()


def feature_of(tokens_BND: torch.Tensor, filler_BN: torch.Tensor | None = None) -> torch.Tensor:
    """The class token and the mean of the patch tokens, (B, 2 x width) float32.

    Args:
        tokens_BND: tokens, class token first.
        filler_BN: bool, patches that are left out of the mean.

    Example:
        >>> feature_of(torch.tensor([[[9.0], [1.0], [5.0]]]))
        tensor([[9., 3.]])
    """
    class_BD, patches_BND = tokens_BND[:, 0].float(), tokens_BND[:, 1:].float()
    if filler_BN is None:
        return torch.cat([class_BD, patches_BND.mean(dim=1)], dim=1)
    seen_BN1 = (~filler_BN)[:, :, None]
    return torch.cat([class_BD, (patches_BND * seen_BN1).sum(dim=1) / seen_BN1.sum(dim=1)], dim=1)


def projection(width: int) -> nn.Module:
    """A network from features of an encoder of this width to embeddings, (B, 2 x width) to (B, 128), float32.

    Example:
        >>> features = 1 + 0.1 * torch.eye(4, 32)  # nearly equal, as those of an untrained encoder: cosines of 0.9997
        >>> embeddings = projection(width=16)(features)
        >>> bool(functional.cosine_similarity(embeddings[:1], embeddings[1:]).max() < 0.9)
        True
    """
    return nn.Sequential(
        nn.Linear(2 * width, _HIDDEN),
        nn.BatchNorm1d(_HIDDEN, track_running_stats=False),
        nn.ReLU(),
        nn.Linear(_HIDDEN, EMBEDDING),
    )


class ViewAgreement(nn.Module):
    """The projection and the loss of views, without the encoder.

    Args:
        width: width of the encoder.
        temperature: temperature of the loss.
    """

    def __init__(self, width: int, temperature: float) -> None:
        super().__init__()
        self.projection, self.temperature = projection(width), temperature

    def forward(self, encoder: Encoder, view_BV1HW: torch.Tensor, keys: ImageKeys) -> torch.Tensor:
        """The loss of a batch, a scalar."""
        feature_MD = feature_of(encoder(view_BV1HW.flatten(0, 1)))
        group_B = torch.from_numpy(keys.groups).to(feature_MD.device)
        with torch.autocast(feature_MD.device.type, enabled=False):
            feature_ND, first = of_all_processes(feature_MD)
            group_N, _ = of_all_processes(group_B.repeat_interleave(view_BV1HW.shape[1]))
            own = slice(first, first + len(feature_MD))
            return nt_xent(self.projection(feature_ND), group_N, self.temperature, own)


class Views(Method):
    """Encoder and projection around two views.

    Args:
        encoder: encoder, which sees whole views.
        temperature: temperature of the loss.
    """

    views = (frozenset[str](), frozenset[str]())

    def __init__(self, encoder: Encoder, *, temperature: float = 0.2) -> None:
        super().__init__()
        self.encoder = encoder
        self.agreement = ViewAgreement(encoder.width, temperature)

    def forward(self, image: torch.Tensor, keys: ImageKeys) -> torch.Tensor:
        """The loss of a batch of views, (B, 2, 1, H, W)."""
        return self.agreement(self.encoder, image, keys)


class LocalMaskedViews(LocalMasked):
    """Local windows of the first view are predicted, and the two views agree.

    Args:
        encoder, predictor, target, num_windows, window_size, mask_ratio: as in `LocalMasked`.
        temperature: temperature of the loss of the views.
        view_weight: weight of the loss of the views; that of the masked loss is 1. Both losses share the encoder.
    """

    views = (frozenset[str](), frozenset[str]())

    def __init__(
        self,
        encoder: Encoder,
        predictor: Predictor,
        target: Target,
        *,
        temperature: float = 0.2,
        view_weight: float = 0.1,
        num_windows: int = 4,
        window_size: int = 7,
        mask_ratio: float = 0.8,
    ) -> None:
        super().__init__(
            encoder, predictor, target, num_windows=num_windows, window_size=window_size, mask_ratio=mask_ratio
        )
        self.agreement, self.view_weight = ViewAgreement(encoder.width, temperature), view_weight

    def forward(self, image: torch.Tensor, keys: ImageKeys) -> torch.Tensor:
        """The loss of a batch of views, (B, 2, 1, H, W)."""
        return super().forward(image[:, 0], keys) + self.view_weight * self.agreement(self.encoder, image, keys)
