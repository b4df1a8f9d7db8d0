"""Pictures of a feature space: classes and sources named, shares on the axes, other classes framed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from sarjepa.reports.chips import PAPER_WIDTH, ShownChip
from sarjepa.reports.feature_figures import NO_LABEL, Neighbour, feature_map, neighbour_grid
from sarjepa.reports.figures import figure_bytes

CHIP = ShownChip(np.random.default_rng(0).random((16, 16)), "T72\nmstar", (64, 64), 0.3)


def plane(classes: list[str]) -> Figure:
    points = np.random.default_rng(0).normal(size=(len(classes), 2)) * (3, 1)
    sources = ["mstar" if number % 2 else "saracd" for number in range(len(classes))]
    return feature_map(points, np.array([0.62, 0.171]), classes, sources, "heading")


def neighbours() -> Figure:
    found = [Neighbour(CHIP, 0.12, False), Neighbour(CHIP, 0.34, True)]
    return neighbour_grid([CHIP, CHIP], [found, found], "heading", "note")


def legends(figure: Figure) -> list[list[str]]:
    return [[text.get_text() for text in axes.get_legend().texts] for axes in figure.axes if axes.get_legend()]


@pytest.mark.parametrize("draw", [lambda: plane(["tank", "truck", ""] * 5), neighbours])
def test_same_numbers_same_bytes(draw: Callable[[], Figure]) -> None:
    first, second = (figure_bytes(draw(), "svg") for _ in range(2))
    assert first == second and draw().get_figwidth() <= PAPER_WIDTH


def test_the_axes_say_how_much_of_the_variance_they_hold() -> None:
    labels = " ".join(axes.get_xlabel() + axes.get_ylabel() for axes in plane(["tank"] * 4).axes)
    assert "62.0%" in labels and "17.1%" in labels


def test_points_are_named_by_class_and_by_source() -> None:
    assert legends(plane(["tank", "truck", ""] * 5)) == [[NO_LABEL, "tank", "truck"], ["mstar", "saracd"]]


def test_of_a_hundred_classes_the_frequent_ones_are_named() -> None:
    names = [f"class {number:03d}" for number in range(100)]
    [by_class, _] = legends(plane(names + names[50:60]))
    assert by_class[0] == "other" and set(names[50:60]) < set(by_class) and len(by_class) == 21


def test_places_that_are_all_one_are_drawn() -> None:
    assert figure_bytes(feature_map(np.zeros((3, 2)), np.zeros(2), ["a", "b", ""], ["s"] * 3, "h"), "png")


def test_a_neighbour_of_another_class_is_framed_and_crossed_and_says_its_distance() -> None:
    figure = neighbours()
    same, other = figure.axes[1], figure.axes[2]
    assert "0.12" in same.get_title() and "0.34" in other.get_title()
    assert "x" in [text.get_text() for text in other.texts] and "x" not in [text.get_text() for text in same.texts]
    assert other.spines["top"].get_linewidth() > same.spines["top"].get_linewidth()
