"""Pictures of attention: the same bytes for the same numbers, one scale for all maps, the mark on its patch."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from sarjepa.reports.attention_figures import HeadDistances, attention_distance, map_grid
from sarjepa.reports.chips import PAPER_WIDTH, ShownChip
from sarjepa.reports.figures import figure_bytes


def distances(num: int = 1) -> Figure:
    generator = np.random.default_rng(0)
    found = {f"run-{number}": HeadDistances(generator.random((4, 3)) * 50, 33.0) for number in range(num)}
    return attention_distance(found, "64 chips")


def maps(spread: float = 0.5, num: int = 3, marked: bool = True) -> Figure:
    generator = np.random.default_rng(0)
    chips = [
        ShownChip(generator.random((32, 32)), "T72\nmstar", (128, 128), 0.3),
        ShownChip(generator.random((32, 48)), "scene", (320, 480)),
    ]
    values = [np.exp(spread * generator.normal(size=(num, 4, columns))) for columns in (4, 6)]
    return map_grid(chips, values, [f"head {n}" for n in range(num)], "heading", [(1, 2), (3, 5)] if marked else None)


@pytest.mark.parametrize("draw", [distances, maps])
def test_same_numbers_same_bytes(draw: Callable[[], Figure]) -> None:
    first, second = (figure_bytes(draw(), "svg") for _ in range(2))
    assert first == second


@pytest.mark.parametrize("draw", [distances, maps])
def test_there_is_something_to_see(draw: Callable[[], Figure]) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(figure_bytes(draw(), "png"))).convert("L"))
    assert min(pixels.shape) > 200 and len(np.unique(pixels)) > 20


@pytest.mark.parametrize("num", [1, 2, 3, 5])
def test_every_checkpoint_has_a_panel_on_one_scale(num: int) -> None:
    figure = distances(num)
    panels = [axes for axes in figure.axes if axes.get_title().startswith("run-")]
    assert len(panels) == num and len({axes.get_ylim() for axes in panels}) == 1
    assert figure.get_figwidth() <= PAPER_WIDTH


@pytest.mark.filterwarnings("error")
def test_an_input_of_one_patch_has_no_distances() -> None:
    attention_distance({"run": HeadDistances(np.zeros((4, 3)), 0.0)})


def test_uniform_attention_need_not_be_known() -> None:
    figure = attention_distance({"run": HeadDistances(np.ones((2, 2)))})
    assert "uniform attention" not in [text.get_text() for text in figure.legends[0].texts]


def test_all_maps_share_one_scale_about_uniform_attention() -> None:
    figure = maps()
    shown = [image.norm for axes in figure.axes for image in axes.images if image.get_alpha() not in (None, 1)]
    assert len(shown) == 6 and all(norm is shown[0] for norm in shown)
    assert shown[0].vmin * shown[0].vmax == pytest.approx(1) and float(shown[0](1.0)) == pytest.approx(0.5)


@pytest.mark.parametrize(("spread", "last_tick"), [(0.0, "1.05"), (0.05, "1.2"), (0.5, "4"), (5.0, "16")])
def test_the_scale_is_as_wide_as_the_maps_ask_for(spread: float, last_tick: str) -> None:
    """Nearly uniform attention is not made to look interested; its scale says how little there is."""
    bar = next(axes for axes in maps(spread, marked=False).axes if axes.get_xlabel().startswith("attention"))
    labels = [label.get_text() for label in bar.get_xticklabels()]
    assert labels[-1] == last_tick and labels[0] == f"1/{last_tick}" and "1" in labels


def test_the_mark_lies_on_its_patch_in_units_of_the_chip() -> None:
    scene = [axes for axes in maps().axes if axes.images and axes.images[0].get_extent()[1] == 480]
    assert len(scene) == 4, "on the chip and on every map"
    for axes in scene:
        boxes = [patch.get_bbox().bounds for patch in axes.patches if isinstance(patch, Rectangle)]
        assert set(boxes) == {(400, 240, 80, 80)}, "row 3 and column 5 of 4 x 6 patches of 80 px"
