"""A run's method comes back whole from its folder, or a line says why not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from sarjepa.config import PretrainConfig, as_dict
from sarjepa.errors import InputError
from sarjepa.pretext.masking import ImageKeys
from sarjepa.pretext.method import Method
from sarjepa.pretext.methods import SETTINGS, method_settings
from sarjepa.progress import Progress
from sarjepa.recipes.visualize_attention.run_method import open_method
from sarjepa.reports.pretraining import TargetRow, target_rows, targets_figure

CPU = torch.device("cpu")


def rows_of(method: Method, image: torch.Tensor) -> tuple[list[TargetRow], tuple[str, ...]]:
    shown = method.preview(image, ImageKeys(0, 0, torch.arange(len(image)).numpy()))
    state_BRC = shown.state_BN.unflatten(1, method.encoder.grid(image))
    return target_rows(shown.image, state_BRC, shown.target, shown.prediction), shown.channel_names


def test_settings_of_a_run_make_the_settings_of_its_method() -> None:
    config = PretrainConfig(model="vit-tiny", radii=(3, 5), mask_ratio=0.5, predictor_depth=2, image_size=64,
                            low_pass_radius=30)  # fmt: skip
    found = method_settings(as_dict(config))
    assert found == {key: getattr(config, key) for key in SETTINGS}
    assert method_settings(yaml.safe_load(yaml.safe_dump(as_dict(config)))) == found


def test_a_run_folder_and_its_checkpoint_give_the_trained_weights(toy_checkpoint: Path) -> None:
    stored = torch.load(toy_checkpoint / "checkpoint-last.pt", weights_only=True)["method"]
    for name in (toy_checkpoint, toy_checkpoint / "checkpoint-last.pt"):
        found = open_method(str(name), CPU, Progress()).state_dict()
        assert found.keys() == stored.keys() and all(torch.equal(found[key], stored[key]) for key in stored)


@pytest.mark.parametrize("shape", [(32, 32), (40, 56)])
def test_rows_show_predictions_where_patches_are_masked(toy_checkpoint: Path, shape: tuple[int, int]) -> None:
    method = open_method(str(toy_checkpoint), CPU, Progress())
    rows, names = rows_of(method, torch.rand(2, 1, *shape))
    assert len(rows) == 2 and names == ("ratio, r = 2", "ratio, r = 4")
    for row in rows:
        assert row.chip.image_HW.shape == row.chip.size_px == shape and row.target_Chw.shape == (2, *shape)
        assert row.state_RC.shape == (shape[0] // 8, shape[1] // 8)
        masked = torch.from_numpy(row.state_RC == 2).repeat_interleave(8, 0).repeat_interleave(8, 1).numpy()
        assert masked.any() and torch.from_numpy(row.prediction_Chw[0]).isfinite().numpy().tolist() == masked.tolist()


def test_a_row_of_a_method_that_predicts_tokens_has_no_prediction(
    toy_checkpoint_writer: Callable[..., Path], tmp_path: Path
) -> None:
    method = open_method(str(toy_checkpoint_writer(tmp_path / "latent", "i-jepa")), CPU, Progress())
    image = torch.rand(1, 1, 32, 32)
    (row,), names = rows_of(method, image)
    assert names == ("the teacher sees pixel",) and set(row.state_RC.flatten().tolist()) <= {0, 1, 2}
    assert (row.target_Chw == image[0].numpy()).all() and not torch.from_numpy(row.prediction_Chw).isfinite().any()
    figure = targets_figure([row], names, "heading")
    assert [panel.get_title() for panel in figure.axes] == ["input", "masked", *names]
    assert "not predicted" not in [text.get_text() for text in figure.legends[0].texts]


def test_an_exported_encoder_has_no_predictor(toy_run: Path) -> None:
    with pytest.raises(InputError, match="no predictor"):
        open_method(str(toy_run / "encoder.safetensors"), CPU, Progress())
    with pytest.raises(InputError, match="no settings are stored"):
        open_method(str(toy_run), CPU, Progress())


def test_settings_of_another_model_are_refused_in_one_line(toy_checkpoint: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(toy_checkpoint, tmp_path / "run"))
    settings = yaml.safe_load((run / "settings.yaml").read_text())
    (run / "settings.yaml").write_text(yaml.safe_dump({**settings, "predictor-depth": 2}))
    with pytest.raises(InputError, match="another model") as caught:
        open_method(str(run), CPU, Progress())
    assert "\n" not in str(caught.value)
