"""Pictures of a pre-training run: its curves, its targets and predictions, its pairs and views."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from sarjepa.reports.chips import SMALL, TINY, ShownChip, bare, grey_of, show_chip, tight_grid
from sarjepa.reports.figures import SERIES_COLORS, new_figure, style

_UNSEEN, _MASKED = 0, 2
_MASK_COLOR, _NOTHING = "#29548c", "#d9d9d9"  # colours of masked patches, and of patches without a prediction
_NUM_BINS, _NUM_DOTS = 80, 40  # of a curve; up to this many points have a dot each
_NAMES = {
    "loss": "loss",
    "lr": "learning rate",
    "images/s": "images a second, waiting included",
    "knn": "online kNN probe, accuracy (%)",
    "rank": "effective rank of the class tokens",
    "deviation": "deviation of the class tokens from chip to chip",
    "patch_deviation": "deviation of a chip's patches",
}
_NOT_CURVES = {"step", "epoch", "wait"}
_IN_A_ROW = ("loss", "lr", "images/s", "knn")


@dataclass(frozen=True)
class Curve:
    """One number of log.jsonl.

    Attributes:
        key: key in the log.
        step_N: steps, ascending.
        value_N: finite values at these steps.
    """

    key: str
    step_N: np.ndarray
    value_N: np.ndarray

    @property
    def name(self) -> str:
        """The name of the number, with its unit."""
        return _NAMES.get(self.key, self.key)

    def in_words(self) -> str:
        """The first, the last and the extreme values, in a sentence."""

        def at(number: int) -> str:
            return f"{self.value_N[number]:.4g} at step {self.step_N[number]:.0f}"

        lowest, highest = int(self.value_N.argmin()), int(self.value_N.argmax())
        return f"First {at(0)}, last {at(-1)}; lowest {at(lowest)}, highest {at(highest)}."


def curve_of(records: Sequence[Mapping[str, float]], key: str) -> Curve:
    """The values of a key, without those that are not finite numbers.

    Example:
        >>> curve_of([{"step": 1, "loss": 2.0}, {"step": 2, "loss": math.nan}], "loss").value_N
        array([2.])
    """
    pairs = [
        (record["step"], record[key])
        for record in records
        if isinstance(record.get(key), int | float) and math.isfinite(record[key])
    ]
    return Curve(key, *np.array(pairs, dtype=float).reshape(-1, 2).T)


def curves_of(records: Sequence[Mapping[str, float]]) -> list[Curve]:
    """Every curve of a log, those with a name first.

    Example:
        >>> records = [{"step": 1, "own": 0.5, "lr": 1e-3, "loss": 2.0, "knn": math.nan}]
        >>> [curve.name for curve in curves_of(records)]
        ['loss', 'learning rate', 'own']
    """
    keys = dict.fromkeys([*_NAMES, *(key for record in records for key in record if key not in _NOT_CURVES)])
    return [curve for key in keys if len((curve := curve_of(records, key)).step_N)]


def binned(curve: Curve) -> np.ndarray:
    """(4, K): middle step, mean, smallest and largest value of K bins of equally many steps, at most 80.

    A log has far more steps than a picture has pixels. A running mean would hide a single spike, which stays visible in
    the largest value of its bin.

    Example:
        >>> spike = np.where(np.arange(8000) == 4000, 9.0, 1.0)
        >>> step, mean, low, high = binned(Curve("loss", np.arange(8000.0), spike))
        >>> len(step), float(mean.max()), float(high.max())
        (80, 1.08, 9.0)
    """
    bins = np.array_split(np.arange(len(curve.step_N)), min(len(curve.step_N), _NUM_BINS))
    values = [curve.value_N[members] for members in bins]
    steps = [curve.step_N[members].mean() for members in bins]
    return np.array([steps, *([part(value) for value in values] for part in (np.mean, np.min, np.max))])


def curve_figure(curve: Curve) -> Figure:
    """One curve: the mean of neighbouring steps, and a band from their smallest to their largest value.

    Example:
        >>> axes = curve_figure(Curve("knn", np.array([10.0, 20.0]), np.array([31.0, 45.5]))).axes[0]
        >>> axes.get_title(), axes.lines[0].get_ydata()
        ('online kNN probe, accuracy (%)', array([31. , 45.5]))
    """
    figure = new_figure(4.2, 2.7)
    _draw_curve(figure.subplots(), curve)
    return figure


def _draw_curve(axes: Axes, curve: Curve) -> None:
    step, mean, low, high = binned(curve)
    axes.fill_between(step, low, high, color=SERIES_COLORS[0], alpha=0.25, linewidth=0)
    axes.plot(step, mean, "o-" if len(step) <= _NUM_DOTS else "-", color=SERIES_COLORS[0], linewidth=1.5, markersize=3)
    axes.set_title(curve.name, fontsize=8)
    axes.set_xlabel("step", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if curve.key == "images/s":
        axes.set_ylim(bottom=0)
    style(axes)


def curves_figure(records: Sequence[Mapping[str, float]]) -> Figure:
    """Loss, learning rate, speed and, if it was probed, accuracy against steps, side by side.

    Args:
        records: the lines of log.jsonl.

    Example:
        >>> log = [{"step": 1, "loss": 2.0, "lr": 0.1, "rank": 3.0}, {"step": 2, "loss": 1.0, "lr": 0.2, "rank": 3.5}]
        >>> [axes.get_title() for axes in curves_figure(log).axes]  # of a rank there is no panel
        ['loss', 'learning rate']
    """
    curves = [curve for curve in curves_of(records) if curve.key in _IN_A_ROW]
    figure = new_figure(2.9 * len(curves), 2.7)
    for axes, curve in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        _draw_curve(axes, curve)
    return figure


@dataclass(frozen=True)
class TargetRow:
    """One chip of the picture of targets.

    Attributes:
        chip: input of the encoder.
        state_RC: state of each patch: 0 outside every window, 1 visible, 2 masked.
        target_Chw: values to predict.
        prediction_Chw: predicted values, NaN where there is no prediction.
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
        image_B1HW, state_BRC, target_BChw, prediction_BChw: fields of B chips; see `TargetRow`.
        chips: the same chips with title and scale; default: without.

    Example:
        >>> image, state = np.ones((1, 1, 16, 16)), np.array([[[1, 2], [1, 2]]])  # the right half is masked
        >>> [row] = target_rows(image, state, np.ones((1, 1, 2, 2)), np.where(state == 2, 0.9, np.nan)[:, None])
        >>> row.chip.size_px, row.prediction_Chw[0]
        ((16, 16), array([[nan, 0.9],
               [nan, 0.9]]))
    """
    images_BHW = np.asarray(image_B1HW)[:, 0]
    shown = chips or [ShownChip(image_HW, "", image_HW.shape) for image_HW in images_BHW]
    rows = zip(shown, *map(np.asarray, (state_BRC, target_BChw, prediction_BChw)), strict=True)
    return [TargetRow(*row) for row in rows]


def targets_figure(rows: Sequence[TargetRow], channel_names: Sequence[str], heading: str) -> Figure:
    """One row per chip: the input, the mask, then each target channel with the prediction beside it, if any.

    Target and prediction of a channel share one scale, from zero to the 99.5% quantile of the chip's target. A key
    below explains the colours.

    Args:
        rows: the chips, of any sizes.
        channel_names: (C,) names.
        heading: line above the figure.

    Example:
        >>> image, state = np.ones((1, 1, 16, 16)), np.array([[[1, 2], [1, 2]]])  # the right half is masked
        >>> rows = target_rows(image, state, np.ones((1, 2, 2, 2)), np.ones((1, 2, 2, 2)))
        >>> [axes.get_title() for axes in targets_figure(rows, ["radius 5", "radius 9"], "one chip").axes]
        ['input', 'masked', 'radius 5', 'predicted', 'radius 9', 'predicted']
    """
    shown = list(range(len(channel_names)))[:4]  # histograms have dozens of channels; four are enough to look at
    is_predicted = any(np.isfinite(row.prediction_Chw).any() for row in rows)
    num_panels = 2 if is_predicted else 1  # per channel; predicted tokens cannot be drawn
    num_columns = 2 + num_panels * len(shown)
    figure, axes_RC, _ = tight_grid([row.chip.size_px for row in rows], num_columns, 0.8)
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
    _key(figure, rows, is_predicted)
    return figure


def _key(figure: Figure, rows: Sequence[TargetRow], is_predicted: bool) -> None:
    """Explain the colours of masks and targets below the figure."""
    words: dict[str, Any] = {"masked": _MASK_COLOR}
    if any((row.state_RC == _UNSEEN).any() for row in rows):
        words["in no window"] = "#404040"
    words["each target: from 0 (dark) to its 99.5% quantile (bright)"] = colormaps["magma"](0.85)
    if is_predicted:
        words["not predicted"] = _NOTHING
    handles = [Rectangle((0, 0), 1, 1, facecolor=color, label=name) for name, color in words.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=TINY, frameon=False,
                  handlelength=1, columnspacing=1.2)  # fmt: skip


def _show_pair(panels: np.ndarray, row: TargetRow, channel: int) -> None:
    """Draw a channel's target and, if there is a panel for it, its prediction on the same scale; grey where NaN."""
    target = row.target_Chw[channel]
    top, low = max(1e-6, float(np.quantile(target, 0.995))), min(0.0, float(target.min()))
    colors = colormaps["magma"].with_extremes(bad=_NOTHING)
    for axes, values in zip(panels, (target, row.prediction_Chw[channel]), strict=False):
        axes.imshow(np.ma.masked_invalid(values), cmap=colors, vmin=low, vmax=top, extent=row.chip.extent,
                    interpolation="nearest")  # fmt: skip
        bare(axes)


def _show_masked(axes: Axes, row: TargetRow) -> None:
    """Draw the input, dimmed outside of all windows and covered where a patch is masked."""
    image_HW, state_RC = row.chip.image_HW, row.state_RC
    shown = np.repeat(grey_of(image_HW)[:, :, None], 3, axis=2)
    patch = image_HW.shape[0] // state_RC.shape[0], image_HW.shape[1] // state_RC.shape[1]
    state_HW = np.kron(state_RC, np.ones(patch, dtype=state_RC.dtype))
    shown[state_HW == _UNSEEN] *= 0.35
    shown[state_HW == _MASKED] = to_rgb(_MASK_COLOR)
    axes.imshow(shown, extent=row.chip.extent, interpolation="nearest")
    bare(axes)


def pairs_figure(
    clean_BHW: np.ndarray, rows: Sequence[TargetRow], optical_B3HW: np.ndarray, cosine_BRC: np.ndarray
) -> Figure:
    """One row per chip: the chip, its optical image, the encoder's input, and the agreement with the anchor's tokens.

    Args:
        clean_BHW: chips without added speckle.
        rows: the same chips as the encoder gets them.
        optical_B3HW: optical images of the same places, in [0, 1].
        cosine_BRC: cosine of each patch's token with the anchor's; NaN for masked patches and chips without a pair.

    Example:
        >>> image, state = np.ones((1, 1, 16, 16)), np.array([[[1, 2], [1, 2]]])  # the right half is masked
        >>> rows = target_rows(image, state, np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)))
        >>> cosines = np.array([[[0.5, math.nan], [0.7, math.nan]]])
        >>> pairs_figure(image[:, 0], rows, np.ones((1, 3, 16, 16)), cosines).axes[3].get_ylabel()
        'mean 0.600'
    """
    figure, axes_RC, _ = tight_grid([row.chip.size_px for row in rows], 4, 0.45)
    colors = colormaps["viridis"].with_extremes(bad=_NOTHING)
    cosines = cosine_BRC[np.isfinite(cosine_BRC)]
    low, high = (float(cosines.min()), float(cosines.max())) if len(cosines) else (-1.0, 1.0)
    for axes_C, clean_HW, row, optical_3HW, cosine_RC in zip(
        axes_RC, clean_BHW, rows, optical_B3HW, cosine_BRC, strict=True
    ):
        show_chip(axes_C[0], replace(row.chip, image_HW=clean_HW))
        axes_C[1].imshow(np.moveaxis(optical_3HW, 0, -1), extent=row.chip.extent, interpolation="nearest")
        _show_masked(axes_C[2], row)
        axes_C[3].imshow(np.ma.masked_invalid(cosine_RC), cmap=colors, vmin=low, vmax=high, extent=row.chip.extent,
                         interpolation="nearest")  # fmt: skip
        for axes in axes_C[1:]:
            bare(axes)
        known = cosine_RC[np.isfinite(cosine_RC)]
        axes_C[3].set_ylabel(f"mean {known.mean():.3f}" if len(known) else "no pair", fontsize=TINY)
        axes_C[3].yaxis.set_label_position("right")
    for axes, title in zip(axes_RC[0], ["chip", "optical", "seen, with speckle", "agreement"], strict=True):
        axes.set_title(title, fontsize=TINY, pad=2)
    figure.suptitle(
        f"Agreement: cosine of a token with the anchor's, dark {low:.2f} to bright {high:.2f}", fontsize=SMALL
    )
    return figure


@dataclass(frozen=True)
class ViewRow:
    """One chip of the picture of views.

    Attributes:
        chip: stored chip, or its centre crop.
        window_px: rows and columns of the centred window that a view without shift shows.
        views: views of the chip, (S, S) each.
        words: lines that describe the drawn parameters of each view.
    """

    chip: ShownChip
    window_px: tuple[int, int]
    views: tuple[np.ndarray, ...]
    words: tuple[tuple[str, ...], ...]


def views_figure(rows: Sequence[ViewRow], headings: Sequence[str]) -> Figure:
    r"""One row per chip: the chip with its window outlined, then views with their drawn parameters.

    The greys of a row share the chip's scale, so that a gain is visible.

    Args:
        rows: chips, each with the same number of views.
        headings: headings of the columns of views.

    Example:
        >>> chip = ShownChip(np.ones((80, 80)), "ship", size_px=(80, 80))
        >>> row = ViewRow(chip, window_px=(64, 64), views=(np.ones((32, 32)),), words=(("shift 3, -2", "gain 0.9"),))
        >>> figure = views_figure([row], ["view 1"])
        >>> figure.axes[0].patches[0].get_xy(), figure.axes[1].get_xlabel()  # corner of the window, drawn parameters
        ((8.0, 8.0), 'shift 3, -2\ngain 0.9')
    """
    num_lines = max(len(words) for row in rows for words in row.words)
    below = 0.09 * num_lines + 0.02  # inches of a caption
    figure, axes_RC, _ = tight_grid([row.chip.size_px for row in rows], 1 + len(headings), 0.45, above=0.03 + below)
    for axes_C, row in zip(axes_RC, rows, strict=True):
        show_chip(axes_C[0], row.chip)
        axes_C[0].set_ylabel(row.chip.title, fontsize=TINY)
        (height, width), (window_height, window_width) = row.chip.size_px, row.window_px
        corner = ((width - window_width) / 2, (height - window_height) / 2)
        axes_C[0].add_patch(Rectangle(corner, window_width, window_height, fill=False, color="#56B4E9", linewidth=0.8))
        top = float(np.quantile(row.chip.image_HW, 0.995))
        extent = (0, window_width, window_height, 0)
        for axes, view_SS, words in zip(axes_C[1:], row.views, row.words, strict=True):
            axes.imshow(grey_of(view_SS, top), cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="nearest")
            bare(axes)
            axes.set_xlabel("\n".join(words), fontsize=TINY, labelpad=1.5, linespacing=1.05)
    for axes, heading in zip(axes_RC[0], ["chip", *headings], strict=True):
        axes.set_title(heading, fontsize=TINY, pad=2)
    figure.suptitle(
        "Below each view: the shift of its window (down, right), mirror, rotation, scale, gain, added speckle",
        fontsize=SMALL,
    )
    return figure
