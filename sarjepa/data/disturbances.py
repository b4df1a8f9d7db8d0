"""Disturbances: changes of the test chips that the training chips do not have.

A table of accuracy holds for a radar that stays as it was. Fewer looks, another receiver gain, or a gain that drifts
over the scene are what a user meets next, and what features of ratios are said to withstand: a ratio of averages over
two neighbouring windows loses a common factor, and averaging reduces the speckle. So the classifier learns from chips
as they are, and the test chips are disturbed.

    speckle=L   magnitude times the root of a gamma variable of L looks (`sarjepa.speckle`), drawn anew for each pixel
                of the encoder's input. It is added to the speckle that is there, so 1 look is stronger than any
                radar's single look; it is not correlated between pixels as a point-spread function would make it
    gain=G      magnitude times G
    ramp=R      a factor that rises evenly in decibels from left to right, R-fold over the chip, 1 at its middle: a
                scene at the edge of the antenna's pattern

Magnitude is clipped to [0, 1] afterwards, as a receiver saturates. The noise of a chip depends on its index alone, so
every encoder and every draw of shots is tested on the same chips.
"""

from __future__ import annotations

import numpy as np
import torch

from sarjepa.data.views import with_ramp
from sarjepa.draws import uniforms
from sarjepa.speckle import speckled


def disturbed(image_B1HW: torch.Tensor, disturbance: str, indices: np.ndarray) -> torch.Tensor:
    """Chips under a disturbance.

    Args:
        image_B1HW: magnitude in [0, 1], float32.
        disturbance: "none", "speckle=4", "gain=2" or "ramp=8"; the settings check its form.
        indices: (B,) of the chips in their data set, on which the noise depends.

    Returns:
        (B, 1, H, W) in [0, 1].

    Example:
        >>> image_B1HW = disturbed(torch.full((1, 1, 1, 3), 0.25), "ramp=4", np.array([0]))
        >>> [round(value, 3) for value in image_B1HW.flatten().tolist()]
        [0.125, 0.25, 0.5]
    """
    name, _, amount = disturbance.partition("=")
    if name == "speckle":
        seed_B = (uniforms(0, "disturbance", 0, indices, 1)[:, 0] * 2.0**53).astype(np.int64)
        image_B1HW = speckled(image_B1HW, seed_B, np.full(len(indices), int(amount)))
    elif name == "gain":
        image_B1HW = image_B1HW * float(amount)
    elif name == "ramp":
        rise_db = 20 * np.log10(float(amount))
        image_B1HW = with_ramp(image_B1HW, np.zeros(len(indices)), np.full(len(indices), rise_db))
    return image_B1HW.clamp(0, 1)
