"""Fine-tuning from epoch to epoch: how training loss and test accuracy went.

The two have no common unit, so each has a panel of its own over the same epochs; an axis on either side of one panel
would let the crossing of the lines depend on the ranges.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sarjepa.reports.figures import SERIES_COLORS, new_figure, style

_FEW = 50  # epochs that are told apart by a dot each


def finetuning_curves(curves: Mapping[str, Mapping[str, np.ndarray]], title: str) -> Figure:
    """Training loss and test accuracy against epochs: one line per encoder, the mean of its seeds, their range shaded.

    Args:
        curves: {data set: {encoder: (S, E, 2)}}, loss and accuracy (%) of S seeds after E epochs.
        title: above everything.
    """
    figure = new_figure(7.4, 2.7 * len(curves) + 0.7)
    grid = figure.subplots(len(curves), 2, squeeze=False)
    for (left, right), (dataset, encoders) in zip(grid, curves.items(), strict=True):
        for number, (name, curve_SE2) in enumerate(encoders.items()):
            for axes, of_SE in zip((left, right), np.moveaxis(curve_SE2, 2, 0), strict=True):
                epoch, color = np.arange(1, of_SE.shape[1] + 1), SERIES_COLORS[number % len(SERIES_COLORS)]
                marker = "o" if len(epoch) <= _FEW else ""
                axes.plot(epoch, of_SE.mean(axis=0), "-", marker=marker, color=color, linewidth=1.4, markersize=2.5,
                          label=name)  # fmt: skip
                axes.fill_between(epoch, of_SE.min(axis=0), of_SE.max(axis=0), color=color, alpha=0.18, linewidth=0)
        left.set_ylim(0, 1.05 * max(float(curve_SE2[..., 0].max()) for curve_SE2 in encoders.values()))
        left.set_ylabel(f"{dataset}: training loss", fontsize=8)
        right.set_ylabel(f"{dataset}: test accuracy (%)", fontsize=8)
        for axes in (left, right):
            axes.set_xlabel("epoch", fontsize=8)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            style(axes)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure
