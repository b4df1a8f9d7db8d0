"""Pictures of a pre-training run: its curves, and what it is asked to predict against what it predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_UNSEEN, _MASKED = 0, 2
_METADATA = {"Software": None}  # leave the library's version out, so that the same run gives the same file


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG under a temporary name, then rename."""
    temporary = path.with_name(path.name + ".partial")
    figure.savefig(temporary, format="png", dpi=150, metadata=_METADATA)
    temporary.replace(path)


def draw_curves(records: Sequence[Mapping[str, float]], path: Path) -> None:
    """Loss (each step and its running mean), learning rate and speed against steps.

    Args:
        records: the lines of log.jsonl.
        path: the PNG.
    """
    step = np.array([record["step"] for record in records])
    loss = np.array([record["loss"] for record in records])
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    probed = [record for record in records if "knn" in record]
    left, middle, right, *more = figure.subplots(1, 4 if probed else 3)
    left.plot(step, loss, color="#9ecae1", linewidth=0.8, label="each step")
    window = max(1, len(loss) // 50)
    if window > 1:
        mean = np.convolve(loss, np.ones(window) / window, mode="valid")
        left.plot(step[window - 1 :], mean, color="#08519c", linewidth=1.5, label=f"mean of {window}")
        left.legend(frameon=False, fontsize=8)
    left.set_ylabel("loss")
    middle.plot(step, [record["lr"] for record in records], color="#08519c")
    middle.set_ylabel("learning rate")
    middle.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    right.plot(step, [record["images/s"] for record in records], color="#08519c", linewidth=0.8)
    right.set_ylabel("images/s")
    right.set_ylim(bottom=0)
    for axes in more:
        axes.plot([record["step"] for record in probed], [record["knn"] for record in probed], "o-", color="#08519c")
        axes.set_ylabel("online kNN accuracy (%)")
    for axes in (left, middle, right, *more):
        axes.set_xlabel("step")
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def draw_targets(
    image: np.ndarray,
    state: np.ndarray,
    target: np.ndarray,
    prediction: np.ndarray,
    channel_names: Sequence[str],
    path: Path,
) -> None:
    """A row a chip: the input, what is masked, then each target channel with the prediction beside it.

    Args:
        image: (B, 1, H, W) in [0, 1].
        state: (B, rows, columns) of patches: 0 not looked at, 1 visible, 2 masked.
        target: (B, C, h, w).
        prediction: (B, C, h, w), NaN where nothing is predicted.
        channel_names: (C,) names.
        path: the PNG.
    """
    shown = list(range(len(channel_names)))[:4]  # histograms have dozens of channels; four tell the story
    num_columns = 2 + 2 * len(shown)
    figure = Figure(figsize=(1.45 * num_columns, 1.5 * len(image) + 0.3), layout="constrained")
    grid = figure.subplots(len(image), num_columns, squeeze=False)
    for row, axes_row in enumerate(grid):
        _show(axes_row[0], image[row, 0], "gray", 0, max(1e-3, float(np.quantile(image[row, 0], 0.995))))
        _show_masked(axes_row[1], image[row, 0], state[row])
        for position, channel in enumerate(shown):
            top = max(1e-6, float(np.quantile(target[row, channel], 0.995)))
            low = min(0.0, float(target[row, channel].min()))
            _show(axes_row[2 + 2 * position], target[row, channel], "magma", low, top)
            _show(axes_row[3 + 2 * position], prediction[row, channel], "magma", low, top)
    titles = ["input", "masked"] + [title for c in shown for title in (channel_names[c], "predicted")]
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    save_figure(figure, path)


def _show(axes: Axes, values: np.ndarray, colormap: str, low: float, high: float) -> None:
    colors = colormaps[colormap].with_extremes(bad="#d9d9d9")
    axes.imshow(np.ma.masked_invalid(values), cmap=colors, vmin=low, vmax=high, interpolation="nearest")
    axes.set_axis_off()


def _show_masked(axes: Axes, image: np.ndarray, state: np.ndarray) -> None:
    """The input dimmed where no window looks and covered where a patch is masked."""
    top = max(1e-3, float(np.quantile(image, 0.995)))
    shown = np.repeat(np.clip(image / top, 0, 1)[:, :, None], 3, axis=2)
    patch = image.shape[0] // state.shape[0], image.shape[1] // state.shape[1]
    state_HW = np.kron(state, np.ones(patch, dtype=state.dtype))
    shown[state_HW == _UNSEEN] = 0.25 * shown[state_HW == _UNSEEN]
    shown[state_HW == _MASKED] = (0.16, 0.33, 0.55)
    axes.imshow(shown, interpolation="nearest")
    axes.set_axis_off()
