"""Attention pictures and numbers of tiny runs: every file, any checkpoint, any size, the same bytes twice."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from recording import Recorder

from sarjepa.config import VisualizeAttentionConfig
from sarjepa.errors import InputError
from sarjepa.models.checkpoints import encoder_bytes, load_encoder
from sarjepa.recipes import visualize_attention
from sarjepa.reports.figures import figure_bytes

PICTURES = ("attention-distance", "maps", "patch-maps", "rollout", "targets", "feature-map", "neighbours")


def look(root: Path, checkpoint: object, out: Path, **changes: object) -> list[str]:
    """Run the command; what it said."""
    names = checkpoint if isinstance(checkpoint, tuple) else (str(checkpoint),)
    settings: dict = {"data_root": str(root), "checkpoint": names, "device": "cpu", "out": str(out),
                      "num_images": 9, "num_points": 20, **changes}  # fmt: skip
    progress = Recorder()
    visualize_attention.run(VisualizeAttentionConfig(**settings), progress)
    return progress.notes


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "attention-distance.csv").open() as file:
        return list(csv.DictReader(file))


def pictures(folder: Path, suffix: str = "png") -> set[str]:
    return {path.stem for path in folder.glob(f"*.{suffix}")}


@pytest.fixture(scope="module", autouse=True)
def _small_pictures() -> Iterator[None]:
    """Two chips a picture: drawing takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(visualize_attention, "NUM_SHOWN", 2)
        yield


@pytest.fixture
def _unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are named but not drawn, where a test is about something else."""
    monkeypatch.setattr(visualize_attention, "figure_bytes", lambda figure, file_format: file_format.encode())


@pytest.fixture(scope="module")
def drawn(toy_root: Path, toy_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with its predictor, drawn as SVG, looked at on two sources."""
    out = tmp_path_factory.mktemp("attention")
    assert look(toy_root, toy_checkpoint, out, dataset=("toy", "copies"), format="svg")[1:] == []
    return out


def test_every_picture_is_there_and_named_by_its_format(drawn: Path) -> None:
    assert pictures(drawn, "svg") == set(PICTURES) and not pictures(drawn)


@pytest.mark.usefixtures("_unpainted")
def test_pictures_that_a_later_run_does_not_draw_are_removed(
    toy_root: Path, toy_run: Path, toy_checkpoint: Path, tmp_path: Path
) -> None:
    look(toy_root, toy_checkpoint, tmp_path, dataset=("toy",), format="svg")
    look(toy_root, toy_checkpoint, tmp_path, dataset=("toy",))
    assert pictures(tmp_path) == set(PICTURES)
    look(toy_root, toy_run, tmp_path, dataset=("toy",))
    assert pictures(tmp_path) == set(PICTURES) - {"targets"}, "an encoder alone predicts nothing"
    assert pictures(tmp_path, "svg") == set(PICTURES), "another format is left"


@pytest.mark.usefixtures("_unpainted")
def test_files_of_somebody_else_are_left(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "targets.png").write_bytes(b"of another command")
    look(toy_root, toy_run, tmp_path, dataset=("toy",))
    assert (tmp_path / "targets.png").read_bytes() == b"of another command"


def test_a_distance_for_every_head_of_every_block(drawn: Path) -> None:
    found = rows(drawn)
    assert list(found[0]) == ["block", "head", "distance_px"]
    assert [(row["block"], row["head"]) for row in found] == [
        (str(b), str(h)) for b in range(1, 5) for h in range(1, 4)
    ]
    assert all(0 < float(row["distance_px"]) < 32 * 2**0.5 for row in found)


def test_the_same_call_writes_the_same_bytes(drawn: Path, toy_root: Path, toy_checkpoint: Path, tmp_path: Path) -> None:
    look(toy_root, toy_checkpoint, tmp_path, dataset=("toy", "copies"), format="svg")
    for name in (*(f"{stem}.svg" for stem in PICTURES), "attention-distance.csv"):
        assert (drawn / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_png_is_the_default(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    notes = look(toy_root, toy_run, tmp_path)
    assert pictures(tmp_path) == set(PICTURES) - {"targets"}
    assert any("no picture of targets" in note for note in notes), "an exported encoder has no predictor"
    for stem in pictures(tmp_path):
        assert min(Image.open(tmp_path / f"{stem}.png").size) > 300


@pytest.mark.usefixtures("_unpainted")
def test_several_checkpoints_have_a_folder_each_and_a_common_table(
    toy_root: Path, toy_run: Path, toy_checkpoint: Path, tmp_path: Path
) -> None:
    look(toy_root, (str(toy_checkpoint), f"random:{toy_checkpoint}", str(toy_run)), tmp_path, seed=3)
    names = ["toy-checkpoint", "random-toy-checkpoint", toy_run.name]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == sorted(names)
    assert pictures(tmp_path) == {"attention-distance"} and pictures(tmp_path / names[0]) == set(PICTURES)
    together = rows(tmp_path)
    assert list(together[0]) == ["checkpoint", "block", "head", "distance_px"]
    for name in names:
        own = [{key: row[key] for key in row if key != "checkpoint"} for row in together if row["checkpoint"] == name]
        assert own == rows(tmp_path / name) and own
    assert rows(tmp_path / names[0]) != rows(tmp_path / names[1])


@pytest.mark.usefixtures("_unpainted")
def test_only_renormalised_distances_forget_what_goes_to_the_class_token(
    toy_root: Path, toy_run: Path, tmp_path: Path
) -> None:
    encoder = load_encoder(toy_run)
    for block in encoder.blocks:
        torch.nn.init.zeros_(block.attn.qkv.weight[: encoder.width])  # no query: every head looks everywhere alike
    even = tmp_path / "even.safetensors"
    even.write_bytes(encoder_bytes(encoder, {}))
    look(toy_root, even, tmp_path / "plain")
    look(toy_root, even, tmp_path / "renormalised", renormalise=True)
    for plain, other in zip(rows(tmp_path / "plain"), rows(tmp_path / "renormalised"), strict=True):
        ratio = float(other["distance_px"]) / float(plain["distance_px"])
        assert ratio == pytest.approx(17 / 16, rel=1e-4), "the class token gets one of 17 parts"


@pytest.mark.usefixtures("_unpainted")
@pytest.mark.parametrize(("size", "patch"), [("native", (5, 7)), ("24x40", (2, 4)), (None, ())])
def test_images_of_any_size(
    toy_root: Path, toy_checkpoint: Path, tmp_path: Path, size: str | None, patch: tuple[int, ...]
) -> None:
    for name, shape in (("scene.PNG", (50, 70)), ("other.png", (48, 64))):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)).save(tmp_path / name)
    names = tuple(str(tmp_path / name) for name in ("scene.PNG", "other.png"))
    look(toy_root, toy_checkpoint, tmp_path / "out", images=names, image_size=size, patch=patch)
    assert pictures(tmp_path / "out") == set(PICTURES)


@pytest.mark.usefixtures("_unpainted")
def test_images_without_a_data_set_have_all_but_the_feature_pictures(
    toy_checkpoint: Path, toy_run: Path, tmp_path: Path
) -> None:
    Image.fromarray(np.full((40, 40), 99, np.uint8)).save(tmp_path / "scene.png")
    notes = look(tmp_path / "nothing", toy_run, tmp_path / "out", images=(str(tmp_path / "scene.png"),))
    assert pictures(tmp_path / "out") == {"attention-distance", "maps", "patch-maps", "rollout"}
    assert any("no pictures of features" in note for note in notes)
    assert any("not built here and left out: toy" in note for note in notes)


@pytest.mark.usefixtures("_unpainted")
def test_a_method_that_predicts_tokens_has_its_picture_too(
    toy_root: Path, toy_checkpoint_writer: Callable[..., Path], tmp_path: Path
) -> None:
    run = toy_checkpoint_writer(tmp_path / "run", "i-jepa")
    look(toy_root, run, tmp_path / "out")
    assert "targets" in pictures(tmp_path / "out")


def test_near_duplicates_of_a_query_are_no_neighbours(
    toy_root: Path, toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every chip of `copies` has three copies; distances of zero would be theirs."""
    kept = []
    monkeypatch.setattr(visualize_attention, "figure_bytes", lambda figure, name: kept.append(figure) or b"")
    look(toy_root, toy_run, tmp_path, dataset=("copies",), num_points=40)
    [grid] = [figure for figure in kept if "near-duplicates" in figure.get_suptitle()]
    distances = [
        float(axes.get_title().split("\n")[0].split()[-1]) for axes in grid.axes if "query" not in axes.get_title()
    ]
    assert len(distances) == 12 and min(distances) > 0
    assert figure_bytes(grid, "png")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patch": (4, 0)}, "row 0 to 3, column 0 to 3"),
        ({"image_size": "30x32"}, "multiples of 8 px"),
        ({"dataset": ("nowhere",)}, "not built"),
        ({"checkpoint": ("pixels",)}, "no attention"),
        ({"images": ("nowhere.png",)}, "no such image"),
        ({"crop": "mstra=64"}, "no such source"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(
    toy_root: Path, toy_run: Path, tmp_path: Path, changes: dict, words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        look(toy_root, changes.pop("checkpoint", toy_run), tmp_path / "out", **changes)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("changes", [{"patch": (1,)}, {"patch": (-1, 2)}, {"format": "jpg"}, {"pool": "max"}])
def test_settings_out_of_range_name_their_key(changes: dict) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        VisualizeAttentionConfig(**changes)


def test_damaged_weights_are_refused(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    encoder = load_encoder(toy_run)
    with torch.no_grad():
        encoder.cls_token.fill_(float("nan"))
    (tmp_path / "broken.safetensors").write_bytes(encoder_bytes(encoder, {"sources": ["toy"]}))
    with pytest.raises(InputError, match="attention is not finite"):
        look(toy_root, tmp_path / "broken.safetensors", tmp_path / "out")
