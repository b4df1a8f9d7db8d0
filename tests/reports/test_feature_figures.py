"""Pictures of a feature space: classes and sources named, shares on the axes, other classes framed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from sarjepa.reports.chips import PAPER_WIDTH, ShownChip
from sarjepa.reports.feature_figures import Neighbour, feature_map, neighbour_grid
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
    figure = plane(["tank"] * 4)
    assert "62.0%" in figure.get_supxlabel() and "17.1%" in figure.get_supylabel()


def test_each_source_has_a_panel_of_its_classes_and_all_share_one_of_sources() -> None:
    figure = plane(["tank", "truck", "", "tank"] * 5)
    assert [axes.get_title() for axes in figure.axes] == ["mstar, by class", "saracd, by class", "all, by source"]
    assert legends(figure) == [["tank", "truck"], ["tank"], ["mstar", "saracd"]]
    one = feature_map(np.random.default_rng(0).normal(size=(4, 2)), np.ones(2), ["a", "b"] * 2, ["mstar"] * 4, "h")
    assert [axes.get_title() for axes in one.axes] == [
        "mstar, by class"
    ]  # no panel, and no empty place, for one source


def test_more_classes_than_colours_are_named_where_they_lie() -> None:
    number_N = np.arange(27) % 9
    points = np.stack([10.0 * number_N, np.zeros(27)], axis=1)
    names = [f"class {number}" for number in number_N]
    [axes] = feature_map(points, np.ones(2), names, ["mstar"] * 27, "h").axes
    assert {text.get_text(): text.get_position()[0] for text in axes.texts} == {f"class {n}": 10 * n for n in range(9)}


def test_of_a_hundred_classes_the_frequent_ones_are_named() -> None:
    names = [f"class {number:03d}" for number in range(100)]
    [axes] = feature_map(np.zeros((110, 2)), np.ones(2), names + names[50:60], ["mstar"] * 110, "h").axes
    named = {text.get_text() for text in axes.texts}
    assert set(names[50:60]) < named and len(named) == 20


def test_distances_of_a_row_have_digits_that_differ() -> None:
    near = [Neighbour(CHIP, 0.00121, False), Neighbour(CHIP, 0.00124, False)]
    titles = [axes.get_title() for axes in neighbour_grid([CHIP], [near], "heading", "note").axes[1:]]
    assert "0.00121" in titles[0] and "0.00124" in titles[1]


def test_places_that_are_all_one_are_drawn() -> None:
    assert figure_bytes(feature_map(np.zeros((3, 2)), np.zeros(2), ["a", "b", ""], ["s"] * 3, "h"), "png")


def test_a_neighbour_of_another_class_is_framed_and_crossed_and_says_its_distance() -> None:
    figure = neighbours()
    same, other = figure.axes[1], figure.axes[2]
    assert "0.12" in same.get_title() and "0.34" in other.get_title()
    assert "x" in [text.get_text() for text in other.texts] and "x" not in [text.get_text() for text in same.texts]
    assert other.spines["top"].get_linewidth() > same.spines["top"].get_linewidth()
