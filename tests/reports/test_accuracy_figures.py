"""Figures of accuracy: there, not blank, every pre-training drawn, the same bytes for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from sarjepa.reports import accuracy_figures as figures
from sarjepa.reports.figures import figure_bytes


def shots_plot() -> Figure:
    lines = [
        figures.Line("a", ((10, 30, 28, 32), (20, 40, 38, 42))),
        figures.Line("paper", ((10, 67, 67, 67),), published=True),
    ]
    return figures.accuracy_against_shots({"mstar": lines, "saracd": lines[:1]}, {"mstar": 10, "saracd": 20})


ROWS = [("pixel", {10: (50.0, 52.0), 20: (60.0, 61.0)}), ("ratio", {10: (55.0,), 20: (66.0,)}), ("missing", {})]
POINTS = [(1.0, {10: (50.0, 51.0)}), (0.25, {10: (40.0, 44.0)})]
PICTURES: dict[str, Callable[[], Figure]] = {
    "shots": shots_plot,
    "confusion": lambda: figures.confusion(np.eye(10, dtype=int) * 30, [f"class {i}" for i in range(10)], "title"),
    "rows": lambda: figures.accuracy_of_rows({"mstar\nclass token": ROWS, "saracd\nclass token": ROWS}, "T"),
    "scaling": lambda: figures.accuracy_against({"mstar": {"share": POINTS, "epochs": POINTS}}, "T"),
    "under": lambda: figures.accuracy_under({"gain": [("1", {"a": [50.0, 52.0]}), ("2", {"a": [40.0]})]}, "T"),
    "epochs": lambda: figures.finetuning_curves({"mstar": {"mae": np.arange(12.0).reshape(2, 3, 2)}}, "title"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_same_numbers_same_bytes_and_something_to_see(name: str) -> None:
    first, second = (figure_bytes(PICTURES[name]()) for _ in range(2))
    assert first == second
    pixels = np.asarray(Image.open(io.BytesIO(first)).convert("L"))
    assert min(pixels.shape) > 200 and len(np.unique(pixels)) > 20


def test_a_quantity_of_zero_has_its_place_before_the_others() -> None:
    points = [(number, {10: (50.0 + number,)}) for number in (0, 3, 6, 24)]
    [axes] = figures.accuracy_against(
        {"mstar, a name so long that one line does not hold it": {"epochs": points}}, "T"
    ).axes
    places = [axes.transAxes.inverted().transform(axes.transData.transform((number, 50)))[0] for number, _ in points]
    assert min(np.diff(places)) > 0.1 and places[0] >= 0 and places[-1] <= 1
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "3", "6", "24"]
    assert max(map(len, axes.get_ylabel().splitlines())) <= 36


def test_the_word_for_chance_stands_inside_and_hides_no_bar() -> None:
    figure = figures.accuracy_against_shots(
        {"mstar": [figures.Line("a", ((10, 15, 5, 25), (20, 18, 8, 28)))]}, {"mstar": 10}
    )
    figure_bytes(figure)
    [axes] = figure.axes
    [word] = axes.texts
    box = word.get_window_extent()
    first, last = (axes.transData.transform((shots, 10))[0] for shots in (10, 20))
    assert first + 5 < box.x0 < box.x1 < last - 5


@pytest.mark.parametrize("num_classes", [41, 300])
def test_a_confusion_matrix_of_many_classes_is_no_larger_and_names_some(num_classes: int) -> None:
    few = figures.confusion(np.eye(20, dtype=int), [f"class {i}" for i in range(20)], "title")
    many = figures.confusion(np.eye(num_classes, dtype=int), [f"class {i}" for i in range(num_classes)], "title")
    assert many.get_size_inches().tolist() == few.get_size_inches().tolist()
    assert not many.axes[0].texts and len(many.axes[0].get_xticklabels()) <= 40
    assert many.axes[0].get_xticklabels()[1].get_text() == f"class {-(-num_classes // 40)}"


def test_every_pretraining_is_a_dot() -> None:
    axes = PICTURES["rows"]().axes[0]
    dots = sorted(x for line in axes.lines if line.get_linestyle() == "None" for x in np.atleast_1d(line.get_xdata()))
    assert dots == [50.0, 52.0, 55.0, 60.0, 61.0, 66.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["pixel", "ratio", "missing (not run)"]


def test_the_legend_of_many_shot_counts_lies_inside_a_figure_of_one_panel() -> None:
    values = {shots: [50.0 + shots] for shots in (1, 2, 5, 10, 20, 40)}
    figure = figures.accuracy_of_rows({"mstar": [("sar-jepa", values)]}, "Views")
    figure.canvas.draw()
    [legend] = figure.legends
    box, page = legend.get_window_extent(), figure.bbox
    assert page.x0 <= box.x0 and box.x1 <= page.x1


def test_scaling_is_drawn_from_small_to_large() -> None:
    axes = PICTURES["scaling"]().axes[0]
    mean = next(line for line in axes.lines if line.get_label() == "10 shots")
    assert list(mean.get_xdata()) == [0.25, 1.0] and list(mean.get_ydata()) == [42.0, 50.5]


def test_a_method_has_the_same_colour_in_every_figure() -> None:
    names = ("untrained", "mae", "sar-jepa")
    lines = [figures.Line(name, ((10, 30, 28, 32),)) for name in names]
    by_shots = figures.accuracy_against_shots({"mstar": lines}, {"mstar": 10}).axes[0]
    rows = {name: [50.0] for name in ("hog", *reversed(names))}
    under = figures.accuracy_under({"gain": [("1", rows), ("2", rows)]}, "T").axes[0]
    colors = {line.get_label(): line.get_color() for line in under.lines}
    for name, bars in zip(names, by_shots.containers, strict=True):
        assert name == "mae" or bars.lines[0].get_color() == colors[name]
    assert len({colors[name] for name in rows}) == 4


def test_lines_of_a_checkpoint_share_its_colour_and_differ_in_their_dashes() -> None:
    points = ((10, 30, 28, 32), (20, 40, 38, 42))
    names = [(name, solver) for name in ("a", "b", "c", "d", "e") for solver in ("lda", "knn")]
    lines = [figures.Line(f"{name}, {solver}", points, series=name) for name, solver in names]
    lines.append(figures.Line("paper", points, published=True))
    [axes] = figures.accuracy_against_shots({"mstar": lines}, {"mstar": 10}).axes
    drawn = [bars.lines[0] for bars in axes.containers]
    for first, second in zip(drawn[:-1:2], drawn[1::2], strict=True):
        assert (first.get_color(), first.get_marker()) == (second.get_color(), second.get_marker())
    assert len({line.get_color() for line in drawn}) == 6
    assert [line.get_linestyle() for line in drawn] == ["-", ":"] * 5 + ["--"]


def test_no_two_lines_look_alike() -> None:
    """As of three features by three solvers: more lines of a checkpoint than there are dashes."""
    points = ((10, 30, 28, 32), (20, 40, 38, 42))
    lines = [figures.Line(f"{name}, {number}", points, series=name) for name in "ab" for number in range(9)]
    [axes] = figures.accuracy_against_shots({"mstar": lines}, {"mstar": 10}).axes
    drawn = [bars.lines[0] for bars in axes.containers]
    looks = [(line.get_color(), line.get_marker(), str(line._dash_pattern)) for line in drawn]  # type: ignore[attr-defined]
    assert len(set(looks)) == 18


@pytest.mark.parametrize(("num_datasets", "places"), [(1, (1, 1)), (3, (1, 3)), (4, (2, 2)), (7, (3, 3))])
def test_a_row_has_at_most_three_panels(num_datasets: int, places: tuple[int, int]) -> None:
    line = figures.Line("a", ((10, 30, 28, 32),))
    titles = [f"set {number}" for number in range(num_datasets)]
    figure = figures.accuracy_against_shots({title: [line] for title in titles}, dict.fromkeys(titles, 10))
    assert figure.axes[0].get_gridspec().get_geometry() == places
    assert [axes.get_title() for axes in figure.axes if axes.get_visible()] == titles


@pytest.mark.parametrize("num_epochs", [1, 60])
@pytest.mark.parametrize("num_seeds", [1, 3])
def test_lines_are_means_over_seeds(num_seeds: int, num_epochs: int) -> None:
    curve_SE2 = np.random.default_rng(0).random((num_seeds, num_epochs, 2))
    figure = figures.finetuning_curves({"mstar": {"mae": curve_SE2, "pgca": curve_SE2 + 1}}, "title")
    loss, accuracy = figure.axes
    assert [label.get_text() for label in figure.legends[0].get_texts()] == ["mae", "pgca"]
    np.testing.assert_allclose(loss.lines[0].get_ydata(), curve_SE2[..., 0].mean(axis=0))
    np.testing.assert_allclose(accuracy.lines[1].get_ydata(), curve_SE2[..., 1].mean(axis=0) + 1)
    assert list(loss.lines[0].get_xdata()) == list(range(1, num_epochs + 1)) and loss.get_ylim()[0] == 0
