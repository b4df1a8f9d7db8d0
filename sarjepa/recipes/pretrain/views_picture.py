"""views.png: a few chips, and the views of them that a method compares."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from sarjepa.pretext.masking import ImageKeys
from sarjepa.recipes.pretrain.batches import Batches
from sarjepa.reports.chips import ShownChip
from sarjepa.reports.pretraining import ViewRow, views_figure
from sarjepa.resampling import resample

_NUM_CHIPS, _NUM_EPOCHS, _SIDE_PX = 5, 3, 128  # the side at which chips of any size are drawn


def views_picture(batches: Batches, seed: int) -> Figure:
    """A few chips, evenly spaced in the pool, with their views of the first epochs and the drawn parameters."""
    pool, numbers = batches.pool, range(len(batches.views))
    indices = np.linspace(0, len(pool) - 1, min(_NUM_CHIPS, len(pool))).astype(np.int64)
    images, scales = pool.images(indices)
    chips_B1SS = resample(images, scales, _SIDE_PX)
    views = []
    for epoch in range(_NUM_EPOCHS):
        keys = ImageKeys(seed, epoch, indices)
        views += [(batches.view(number, keys).cpu(), batches.drawn(number, keys)) for number in numbers]
    rows = [
        ViewRow(
            ShownChip(chips_B1SS[row, 0].numpy(), f"chip {index}", (int(size[0]), int(size[1]))),
            (int(window[0]), int(window[1])),
            tuple(view_B1SS[row, 0].numpy() for view_B1SS, _ in views),
            tuple(drawn.words(row) for _, drawn in views),
        )
        for row, (index, size, window) in enumerate(
            zip(indices, pool.shapes[indices], batches.windows(indices), strict=True)
        )
    ]
    headings = [f"epoch {epoch}, view {number + 1}" for epoch in range(_NUM_EPOCHS) for number in numbers]
    return views_figure(rows, headings)
