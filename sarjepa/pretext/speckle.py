"""Speckle put onto a chip, to be seen through: what sarmae shows its encoder."""

from __future__ import annotations

import numpy as np
import torch

from sarjepa.draws import uniforms
from sarjepa.pretext.masking import ImageKeys
from sarjepa.speckle import speckled

LOOKS = 4  # added to chips of about one look: enough to blur edges, not to drown targets
SHARE = 0.5  # of the chips; Liu et al., arXiv 2512.16635


def add_speckle(image_B1HW: torch.Tensor, keys: ImageKeys) -> torch.Tensor:
    """Speckle of `LOOKS` looks on a share of the chips, clipped to [0, 1]; which ones, and how, is up to the keys."""
    draws = uniforms(keys.seed, "speckle", keys.epoch, keys.indices, 2)
    looks_B = np.where(draws[:, 0] < SHARE, LOOKS, 0)
    return speckled(image_B1HW, (draws[:, 1] * 2.0**53).astype(np.int64), looks_B).clamp(0, 1)
