"""Line charts as inline SVG: sharp at every width, in the page's own colours, light or dark, and without a script.

A log holds one line per step, far more than a screen has pixels. The steps are put into equal bins; the line is the
mean of a bin, the band behind it its smallest to largest value, so a single spike stays visible where a running mean
would drown it. Few points are drawn as they are, with a dot each. Colours are classes of page.css.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from matplotlib.ticker import MaxNLocator

from sarjepa.reports.elements import element

WIDTH, HEIGHT = 400, 240  # of the drawing, in its own units; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 54, 22, 12, 34  # on the right: half a label of six digits
NUM_BINS, NUM_DOTS = 80, 40


@dataclass(frozen=True)
class Binned:
    """A curve in bins: (K,) middle step, mean, smallest and largest value of each."""

    step: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def binned(step: np.ndarray, value: np.ndarray, num_bins: int = NUM_BINS) -> Binned:
    """A curve in at most `num_bins` bins of as many steps each.

    Args:
        step: (N,), ascending.
        value: (N,).
        num_bins: K or more.
    """
    places = np.array_split(np.arange(len(step)), min(len(step), num_bins))
    return Binned(
        np.array([step[place].mean() for place in places]),
        np.array([value[place].mean() for place in places]),
        np.array([value[place].min() for place in places]),
        np.array([value[place].max() for place in places]),
    )


@dataclass(frozen=True)
class _Axis:
    """From numbers to places: `low` stands at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        found = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        slack = 1e-9 * (self.high - self.low)
        return [float(tick) for tick in found if self.low - slack <= tick <= self.high + slack]


def line_chart(name: str, step: np.ndarray, value: np.ndarray, from_zero: bool = False) -> Element:
    """A figure: the name, the chart, and its first, last and extreme values in words.

    Args:
        name: what is drawn, with its unit.
        step: (N,) ascending, N at least 1.
        value: (N,) finite numbers.
        from_zero: whether the axis begins at 0.
    """
    curve = binned(step, value)
    across = _axis(float(step[0]), float(step[-1]), LEFT, WIDTH - RIGHT)
    up = _axis(0.0 if from_zero else float(curve.low.min()), float(curve.high.max()), HEIGHT - BOTTOM, TOP)
    drawing = element(
        "svg",
        *_grid(across, up),
        *_curve(curve, across, up),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{name} against steps",
        class_="chart",
    )
    return element("figure", element("figcaption", name), drawing, element("p", _in_words(step, value), class_="note"))


def _axis(low: float, high: float, start: float, end: float) -> _Axis:
    """An axis over a range; a range of one value is widened, so that its line runs through the middle."""
    if high <= low:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    return _Axis(low, high, start, end)


def _grid(across: _Axis, up: _Axis) -> list[Element]:
    parts = []
    for tick in up.ticks:
        place = f"{up(tick):.1f}"
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=place, y2=place, class_="grid"))
        parts.append(_label(f"{tick:g}", LEFT - 6, up(tick) + 4, "end"))
    for tick in across.ticks:
        if tick == int(tick):  # there is no half step
            parts.append(_label(f"{tick:.0f}", across(tick), HEIGHT - BOTTOM + 16, "middle"))
    parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM, class_="axis"))
    parts.append(_label("step", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 3, "middle"))
    return parts


def _label(text: str, x: float, y: float, anchor: str) -> Element:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _curve(curve: Binned, across: _Axis, up: _Axis) -> list[Element]:
    """Band and line; dots where there are few."""

    def path(steps: np.ndarray, values: np.ndarray) -> list[str]:
        return [f"{across(step):.1f},{up(value):.1f}" for step, value in zip(steps, values, strict=True)]

    outline = path(curve.step, curve.high) + path(curve.step[::-1], curve.low[::-1])
    line = path(curve.step, curve.mean)
    parts = [
        element("polygon", points=" ".join(outline), class_="band"),
        element("polyline", points=" ".join(line), class_="line"),
    ]
    if len(line) <= NUM_DOTS:
        for point in line:
            x, y = point.split(",")
            parts.append(element("circle", cx=x, cy=y, r=3, class_="dot"))
    return parts


def _in_words(step: np.ndarray, value: np.ndarray) -> str:
    def at(place: int) -> str:
        return f"{value[place]:.4g} at step {step[place]:.0f}"

    lowest, highest = int(value.argmin()), int(value.argmax())
    return f"First {at(0)}, last {at(-1)}; lowest {at(lowest)}, highest {at(highest)}."
