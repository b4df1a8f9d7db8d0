"""Pictures of a pre-training run: its curves, and what it is asked to predict against what it predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from sarjepa.reports.chips import TINY, ShownChip, bare, grey_of, show_chip, tight_grid
from sarjepa.reports.figures import new_figure

_UNSEEN, _MASKED = 0, 2


def curves_figure(records: Sequence[Mapping[str, float]]) -> Figure:
    """Loss (each step and its running mean), learning rate and speed against steps.

    Args:
        records: the lines of log.jsonl.
    """
    step = np.array([record["step"] for record in records])
    loss = np.array([record["loss"] for record in records])
    figure = new_figure(9, 3.2)
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
    return figure


@dataclass(frozen=True)
class TargetRow:
    """One chip of the picture of targets.

    Attributes:
        chip: the input.
        state_RC: of its patches: 0 not looked at, 1 visible, 2 masked.
        target_Chw: what is to be predicted.
        prediction_Chw: what was predicted, NaN where nothing was.
    """

    chip: ShownChip
    state_RC: np.ndarray
    target_Chw: np.ndarray
    prediction_Chw: np.ndarray


def target_rows(
    image_B1HW: ArrayLike,
    state_BRC: ArrayLike,
    target_BChw: ArrayLike,
    prediction_BChw: ArrayLike,
    chips: Sequence[ShownChip] = (),
) -> list[TargetRow]:
    """The rows of a picture of targets, from the fields of a method's preview.

    Args:
        image_B1HW, state_BRC, target_BChw, prediction_BChw: of B chips; see `TargetRow`.
        chips: the same chips as they are to be shown; default: without title and scale.
    """
    images_BHW = np.asarray(image_B1HW)[:, 0]
    shown = chips or [ShownChip(image_HW, "", image_HW.shape) for image_HW in images_BHW]
    rows = zip(shown, *map(np.asarray, (state_BRC, target_BChw, prediction_BChw)), strict=True)
    return [TargetRow(*row) for row in rows]


def targets_figure(rows: Sequence[TargetRow], channel_names: Sequence[str], heading: str = "") -> Figure:
    """One row per chip: the input, what is masked, then each target channel with the prediction beside it, if any.

    Target and prediction of a channel share one scale, from zero to the 99.5% quantile of the chip's target.

    Args:
        rows: the chips, of any sizes.
        channel_names: (C,) names.
        heading: above everything.
    """
    shown = list(range(len(channel_names)))[:4]  # histograms have dozens of channels; four tell the story
    is_predicted = any(np.isfinite(row.prediction_Chw).any() for row in rows)
    num_panels = 2 if is_predicted else 1  # of a channel; tokens that are predicted are not a picture
    num_columns = 2 + num_panels * len(shown)
    figure, axes_RC, _ = tight_grid([row.chip.size_px for row in rows], num_columns, 0.5 if heading else 0.25)
    for axes_C, row in zip(axes_RC, rows, strict=True):
        show_chip(axes_C[0], row.chip)
        axes_C[0].set_ylabel(row.chip.title, fontsize=TINY)
        _show_masked(axes_C[1], row)
        for channel, axes in zip(shown, axes_C[2:].reshape(-1, num_panels), strict=True):
            _show_pair(axes, row, channel)
    titles = ["input", "masked"] + [title for c in shown for title in (channel_names[c], "predicted")[:num_panels]]
    for axes, title in zip(axes_RC[0], titles, strict=True):
        axes.set_title(title, fontsize=TINY, pad=2)
    figure.suptitle(heading, fontsize=8)
    return figure


def _show_pair(panels: np.ndarray, row: TargetRow, channel: int) -> None:
    """A channel's target and its prediction, if it has a panel, on the target's scale; grey where none was made."""
    target = row.target_Chw[channel]
    top, low = max(1e-6, float(np.quantile(target, 0.995))), min(0.0, float(target.min()))
    colors = colormaps["magma"].with_extremes(bad="#d9d9d9")
    for axes, values in zip(panels, (target, row.prediction_Chw[channel]), strict=False):
        axes.imshow(np.ma.masked_invalid(values), cmap=colors, vmin=low, vmax=top, extent=row.chip.extent,
                    interpolation="nearest")  # fmt: skip
        bare(axes)


def _show_masked(axes: Axes, row: TargetRow) -> None:
    """The input dimmed where no window looks and covered where a patch is masked."""
    image_HW, state_RC = row.chip.image_HW, row.state_RC
    shown = np.repeat(grey_of(image_HW)[:, :, None], 3, axis=2)
    patch = image_HW.shape[0] // state_RC.shape[0], image_HW.shape[1] // state_RC.shape[1]
    state_HW = np.kron(state_RC, np.ones(patch, dtype=state_RC.dtype))
    shown[state_HW == _UNSEEN] *= 0.35
    shown[state_HW == _MASKED] = (0.16, 0.33, 0.55)
    axes.imshow(shown, extent=row.chip.extent, interpolation="nearest")
    bare(axes)
