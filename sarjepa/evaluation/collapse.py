"""Whether a representation has collapsed: three numbers that need no labels.

A method that predicts its own features can lower its loss by making all features alike. Three signs show that earlier
than a probe: the effective rank of the chips' features falls towards one; the features of all chips become equal but
for a small remainder, whose size the rank ignores; and the patches of a chip become equal.
"""

from __future__ import annotations

import torch
from torch import Tensor


def effective_rank(feature_ND: Tensor) -> float:
    """The exponential of the entropy of the normalised singular values (RankMe, Garrido et al., ICML 2023).

    Between 1 (all features on one line) and min(N, D). The mean is subtracted first: a shared offset is no information.

    Example:
        >>> round(effective_rank(torch.eye(3)), 2), round(effective_rank(torch.tensor([[1.0, 1.0], [2.0, 2.0]])), 2)
        (2.0, 1.0)
    """
    centred = feature_ND.double() - feature_ND.double().mean(dim=0)
    singular = torch.linalg.svdvals(centred)
    share = singular / singular.sum().clamp_min(1e-12) + 1e-12
    return float(torch.exp(-(share * share.log()).sum()))


def deviation(feature_ND: Tensor) -> float:
    """Root mean square distance of features from their mean, over that of features from zero: 0 to 1.

    Example:
        >>> round(deviation(torch.eye(2)), 2), deviation(torch.ones(2, 2))
        (0.71, 0.0)
    """
    feature_ND = feature_ND.double()
    within = (feature_ND - feature_ND.mean(dim=0)).square().mean()
    return float((within / feature_ND.square().mean().clamp_min(1e-12)).sqrt())


def patch_deviation(tokens_BND: Tensor) -> float:
    """Root mean square distance of a chip's patch tokens from their mean, over that of patch tokens from zero: 0 to 1.

    Args:
        tokens_BND: (B, 1 + N, D), class token first.

    Example:
        >>> patch_deviation(torch.ones(1, 5, 8))
        0.0
    """
    patches = tokens_BND[:, 1:].double()
    within = (patches - patches.mean(dim=1, keepdim=True)).square().mean()
    return float((within / patches.square().mean().clamp_min(1e-12)).sqrt())
