"""The curve of a fine-tuning: how training loss and test accuracy went from epoch to epoch.

The two have no common unit, so each has a panel of its own over the same epochs; an axis on either side of one panel
would let the crossing of the lines depend on the ranges.
"""

from __future__ import annotations

from collections.abc import Sequence

from sarjepa.reports.figures import SERIES_COLORS, new_figure, png_bytes, style


def finetuning_curve(loss_E: Sequence[float], accuracy_E: Sequence[float], title: str) -> bytes:
    """Training loss and test accuracy against epochs, as PNG.

    Args:
        loss_E: mean training loss of each epoch.
        accuracy_E: test accuracy (percent) after each epoch.
        title: above both.
    """
    figure = new_figure(7.2, 2.9)
    left, right = figure.subplots(1, 2)
    epoch = range(1, len(loss_E) + 1)
    marker = "o" if len(loss_E) <= 50 else ""
    left.plot(epoch, loss_E, marker, linestyle="-", color=SERIES_COLORS[0], linewidth=1.3, markersize=3)
    right.plot(epoch, accuracy_E, marker, linestyle="-", color=SERIES_COLORS[1], linewidth=1.3, markersize=3)
    left.set(ylabel="training loss", ylim=(0, 1.05 * max(loss_E)))
    right.set(ylabel="test accuracy (%)")
    right.set_title(f"after the last epoch: {accuracy_E[-1]:.1f}%", fontsize=8)
    for axes in (left, right):
        axes.set(xlabel="epochs", xlim=(0, 1.03 * len(loss_E)))
        axes.xaxis.get_major_locator().set_params(integer=True)
        style(axes)
    figure.suptitle(title, fontsize=9)
    return png_bytes(figure)
