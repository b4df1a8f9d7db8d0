"""Pre-training as a run: its files, exact resumption, refusals that lose nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import forked
import numpy as np
import pytest
import torch
import yaml
from demo_run import demo_settings, train
from PIL import Image
from recording import Recorder

import sarjepa
from sarjepa.config import (
    METHODS,
    BuildDatasetConfig,
    FewshotBenchConfig,
    PretrainConfig,
    ProbeConfig,
    ReportConfig,
    as_dict,
)
from sarjepa.errors import InputError
from sarjepa.files import hold
from sarjepa.models.anchors import load_anchor
from sarjepa.models.blocks import Block
from sarjepa.models.encoder import Encoder
from sarjepa.overlay import overlay, read_preset
from sarjepa.pretext.masking import ImageKeys
from sarjepa.pretext.views import ViewAgreement, feature_of
from sarjepa.progress import Progress
from sarjepa.recipes import build_dataset, fewshot_bench, pretrain, probe, report
from sarjepa.recipes.pretrain import method as method_of_run
from sarjepa.recipes.pretrain.batches import Batches
from sarjepa.resampling import resample
from sarjepa.setting import COMMAND_LINE
from sarjepa.training.loop import LossNotFiniteError
from sarjepa.training.runtime import Ranks, pick_precision

FILES = ("settings.yaml", "log.jsonl", "checkpoint-last.pt", "encoder.safetensors", "curves.png", "targets.png")


@pytest.fixture(autouse=True)
def only_pictures_that_are_looked_at(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes two thirds of the time of so short a run; a test that looks at pictures is marked."""
    if "pictures" not in request.keywords:
        monkeypatch.setattr(pretrain, "_draw", lambda run, state: None)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoint-last.pt", weights_only=True)["method"]


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.pictures
def test_a_run_leaves_its_files_and_the_loss_falls(synthetic_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(synthetic_root, run, epochs=12)
    for name in FILES:
        assert (run / name).stat().st_size > 0, name
    first, last = losses(run)[:5], losses(run)[-5:]
    assert sum(last) < 0.8 * sum(first)
    encoder = sarjepa.load_encoder(run)
    assert encoder.forward_features(torch.rand(2, 1, 64, 64)).shape == (2, 65, encoder.width)
    assert encoder.describe["sources"] == ["synthetic"] and encoder.describe["target"] == "ratio"
    stored = yaml.safe_load((run / "settings.yaml").read_text())
    precision = pick_precision("auto", torch.device("cpu"))
    assert overlay(PretrainConfig, [("stored", stored)]) == demo_settings(
        synthetic_root, run, epochs=12, precision=precision
    )


def test_a_run_goes_on_in_the_number_format_it_was_started_with(synthetic_root: Path, tmp_path: Path) -> None:
    other = {"bf16": "fp32", "fp32": "bf16"}[pick_precision("auto", torch.device("cpu"))]
    train(synthetic_root, tmp_path / "run", max_steps=1, precision=other)
    train(synthetic_root, tmp_path / "run", max_steps=2, resume=True)
    assert yaml.safe_load((tmp_path / "run" / "settings.yaml").read_text())["precision"] == other


def test_a_run_can_be_repeated_to_the_bit(synthetic_root: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        train(synthetic_root, tmp_path / name)
    assert_same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert losses(tmp_path / "a") == losses(tmp_path / "b")


def test_ones_own_folder_is_trained_on_whole_by_the_name_it_was_built_by(tmp_path: Path) -> None:
    images = tmp_path / "harbour"
    images.mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    named = (f"folder:{images}",)
    build_dataset.run(BuildDatasetConfig(data_root=str(tmp_path / "data"), sources=named, workers=1), Progress())
    train(tmp_path / "data", tmp_path / "run", sources=named, max_steps=1)
    describe = sarjepa.load_encoder(tmp_path / "run").describe
    assert describe["sources"] == ["harbour"] and describe["num_chips"] == 6
    assert yaml.safe_load((tmp_path / "run" / "settings.yaml").read_text())["sources"] == ["harbour"]


@pytest.fixture(scope="module")
def pairs_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated chips with and without optical images, and runs whose encoders can be anchors."""
    root = tmp_path_factory.mktemp("pairs")
    names = ("synthetic-pairs", "synthetic")
    asked = BuildDatasetConfig(data_root=str(root), sources=names, chips_per_class=6, workers=1)
    build_dataset.run(asked, Progress())
    for seed in (0, 1):
        train(root, root / f"anchor{seed}", sources=("synthetic-pairs",), method="mae", seed=seed, max_steps=1)
    return root


@pytest.mark.pictures
def test_pairs_go_through_sarmae_with_an_anchor_and_on_to_the_bit(pairs_root: Path, tmp_path: Path) -> None:
    given = {"sources": ("synthetic-pairs", "synthetic"), "method": "sarmae", "anchor": str(pairs_root / "anchor0")}
    for name, stops in (("whole", (None,)), ("halves", (2, None))):
        for number, stop in enumerate(stops):
            train(pairs_root, tmp_path / name, max_steps=stop, resume=number > 0, paired_share=0.7, **given)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "halves"))
    for name in ("targets.png", "pairs.png"):
        assert (tmp_path / "whole" / name).stat().st_size > 0
    page = tmp_path / "page.html"
    report.run(ReportConfig(run=str(tmp_path / "whole"), out=str(page), data_root=str(pairs_root)), Progress())
    assert "optical images of the same places" in page.read_text()
    describe = sarjepa.load_encoder(tmp_path / "whole").describe
    assert describe["anchor_sha256"] == load_anchor(str(pairs_root / "anchor0")).sha256
    other = {**given, "anchor": str(pairs_root / "anchor1")}
    with pytest.raises(InputError, match="anchor"):
        train(pairs_root, tmp_path / "halves", resume=True, paired_share=0.7, **other)


def test_a_batch_of_pairs_is_cropped_and_flipped_together(pairs_root: Path) -> None:
    config = demo_settings(pairs_root, pairs_root / "none", sources=("synthetic-pairs",), method="sarmae", anchor="x")
    batches = Batches(config, torch.device("cpu"), Ranks(), wants_optical=True)
    batches.pool.optical = lambda chips: [  # type: ignore[method-assign]
        np.stack([image] * 3) for image in batches.pool.images(chips)[0]
    ]
    image, keys = batches.augmented(0, np.arange(12))
    plain = Batches(dataclasses.replace(config, contrast=0.0), torch.device("cpu"), Ranks())
    assert keys.pair_weight is not None and keys.pair_weight.tolist() == [1.0] * 12
    for plane in (1, 2, 3):  # but for the contrast, which is the radar image's
        assert torch.equal(image[:, plane], plain.augmented(0, np.arange(12))[0][:, 0])


def test_chips_may_be_resized_alone(synthetic_root: Path) -> None:
    config = demo_settings(synthetic_root, synthetic_root / "none", crop_scale=(1.0, 1.0), contrast=0.0, flip=False)
    batches, own = Batches(config, torch.device("cpu"), Ranks()), np.arange(5)
    images, scales = batches.pool.images(own)
    assert len({image.shape for image in images}) == 1 and images[0].shape[0] == images[0].shape[1]
    resized = resample(images, scales, config.image_size)
    for epoch in range(3):
        assert torch.equal(batches.augmented(epoch, own)[0], resized)


def test_settings_of_pairs_without_pairs_are_refused(synthetic_root: Path, pairs_root: Path, tmp_path: Path) -> None:
    anchor = str(pairs_root / "anchor0")
    for changes, words in (
        ({"method": "sarmae", "anchor": anchor}, "no optical images"),
        ({"method": "sarmae", "anchor_weight": 0.5}, "anchor-weight"),
        ({"method": "sarmae", "paired_share": 0.5}, "paired-share"),
        ({"method": "mae", "anchor": anchor}, "anchor"),
    ):
        with pytest.raises(InputError, match=words):
            train(synthetic_root, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_chips_that_are_left_out_are_told_and_all_takes_them(synthetic_root: Path, tmp_path: Path) -> None:
    found = {}
    for name, splits in (("default", None), ("all", ("all",))):
        progress = Recorder()
        pretrain.run(demo_settings(synthetic_root, tmp_path / name, splits=splits, max_steps=1), progress)
        found[name] = sarjepa.load_encoder(tmp_path / name).describe["num_chips"]
        told = [line for line in progress.notes if "chips, its" in line]
        assert bool(told) == (name == "default")
        if told:
            assert told[0].startswith(f"synthetic: {found[name]} of {2 * found[name]} chips, its training split")
    assert found["all"] == 2 * found["default"]


@pytest.mark.parametrize(("epochs", "warmup"), [(20, "2"), (300, "20")])
def test_the_warm_up_is_as_published_and_a_tenth_of_a_shorter_run(
    synthetic_root: Path, tmp_path: Path, epochs: int, warmup: str
) -> None:
    run, progress = tmp_path / "run", Recorder()
    config = demo_settings(synthetic_root, run, epochs=epochs, warmup_epochs=None, max_steps=2, lr=1.0)
    pretrain.run(config, progress)
    assert f"the learning rate warms up over {warmup} of {epochs} epochs" in progress.notes
    assert yaml.safe_load((run / "settings.yaml").read_text())["warmup-epochs"] is None
    num_warmup_steps = int(warmup) * (sarjepa.load_encoder(run).describe["num_chips"] // 16)
    second = json.loads((run / "log.jsonl").read_text().splitlines()[1])
    assert second["lr"] == pytest.approx(16 / 256 / num_warmup_steps)


def test_another_seed_gives_another_run(synthetic_root: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        train(synthetic_root, tmp_path / str(seed), seed=seed, max_steps=2)
    assert losses(tmp_path / "0") != losses(tmp_path / "1")


@pytest.mark.parametrize("method", ["sar-jepa", "views"])
def test_a_run_stopped_and_resumed_gives_the_weights_of_one_that_was_not(
    synthetic_root: Path, tmp_path: Path, method: str
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(synthetic_root, whole, method=method)
    train(synthetic_root, parts, method=method, max_steps=4)
    assert len(losses(parts)) == 4
    train(synthetic_root, parts, method=method, resume=True)
    assert_same(weights(whole), weights(parts))
    assert losses(whole) == losses(parts)


def test_sigterm_saves_and_the_exit_says_how_to_go_on(synthetic_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["pretrain", "--preset", "demo", "--data-root", synthetic_root, "--run-dir", run, "--epochs", "2000",
             "--batch-size", "16"]  # fmt: skip
    process = forked.Popen(words)
    deadline = time.monotonic() + 120
    while not (run / "checkpoint-last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    ended = process.finished(timeout=60)
    assert ended.returncode == 143
    assert "SIGTERM" in ended.stdout
    assert "--resume" in ended.stdout
    assert torch.load(run / "checkpoint-last.pt", weights_only=True)["step"] == len(losses(run))
    assert (run / "encoder.safetensors").exists()


def test_a_run_folder_that_exists_is_refused_and_untouched(synthetic_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(synthetic_root, run, max_steps=1)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with pytest.raises(InputError, match=r"exists already.*--resume"):
        train(synthetic_root, run)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_that_ended_before_its_first_checkpoint_is_started_anew(synthetic_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(synthetic_root, run, max_steps=1)
    for name in ("checkpoint-last.pt", "encoder.safetensors"):
        (run / name).unlink()
    with pytest.raises(InputError, match=r"no checkpoint to resume from.*without --resume"):
        train(synthetic_root, run, resume=True)
    train(synthetic_root, run, max_steps=2)
    assert [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()] == [1, 2]


def test_one_process_at_a_time_trains_in_a_folder(synthetic_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(synthetic_root, run, max_steps=1)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with hold(run / ".lock"), pytest.raises(InputError, match="another process is training here"):
        train(synthetic_root, run, resume=True)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_that_is_refused_leaves_no_folder(synthetic_root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run to resume"):
        train(synthetic_root, tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", ["sar-jepa", "sar-jepa-views"])
def test_a_run_that_is_refused_in_its_first_step_leaves_no_folder(
    synthetic_root: Path, tmp_path: Path, method: str
) -> None:
    with pytest.raises(InputError, match="the window is larger than the grid"):
        train(synthetic_root, tmp_path / "run", method=method, window_size=9)
    assert not (tmp_path / "run").exists()
    train(synthetic_root, tmp_path / "run", method=method, max_steps=1)


def test_a_resumed_run_that_is_refused_in_its_first_step_keeps_its_files(
    synthetic_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that diverged at once has a checkpoint without a step."""
    for error, resume in ((LossNotFiniteError("the loss is not finite"), False), (InputError("refused"), True)):

        def fails(*_: object, error: InputError = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(pretrain, "fit", fails)
        with pytest.raises(InputError, match=error.what):
            train(synthetic_root, tmp_path / "run", resume=resume)
        assert {"settings.yaml", "checkpoint-last.pt"} <= {path.name for path in (tmp_path / "run").iterdir()}


def test_what_is_tested_later_is_told_where_it_is_trained_on(synthetic_root: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    pretrain.run(demo_settings(synthetic_root, tmp_path / "apart", max_steps=1), recorder)
    assert not any("an evaluation on it" in note for note in recorder.notes)
    pretrain.run(demo_settings(synthetic_root, tmp_path / "all", max_steps=1, splits=("all",)), recorder)
    assert any(note.startswith("synthetic: an evaluation on it tests chips that are") for note in recorder.notes)
    for name, beware in (("apart", False), ("all", True)):
        config = FewshotBenchConfig(data_root=str(synthetic_root), checkpoint=(str(tmp_path / name),), shots=(2,),
                                    datasets=("synthetic",), runs=1, baselines=("pixels",), solver=("lda",),
                                    out=str(tmp_path / "out" / name))  # fmt: skip
        [table] = fewshot_bench.run(config, Progress()).tables
        said = f"Beware, {tmp_path / name}: pre-training took chips that are tested, without their labels"
        assert (said in table.note) is beware
        (tmp_path / "report" / name).mkdir(parents=True)
        asked = ProbeConfig(data_root=str(synthetic_root), checkpoint=str(tmp_path / name), dataset="synthetic",
                            solver="lda", out=str(tmp_path / "report" / name))  # fmt: skip
        [table] = probe.run(asked, Progress()).tables
        assert ("Beware: pre-training took" in table.note) is beware


def test_a_run_does_not_go_on_with_other_chips(tmp_path: Path) -> None:
    root, run = tmp_path / "data", tmp_path / "run"

    def build(seed: int) -> None:
        sources = ("synthetic",)
        build_dataset.run(
            BuildDatasetConfig(
                data_root=str(root), sources=sources, chips_per_class=4, seed=seed, workers=1, force=True
            ),
            Progress(),
        )

    build(0)
    train(root, run, max_steps=1)
    build(1)
    with pytest.raises(InputError, match=r"not the one that the run was started with: synthetic"):
        train(root, run, resume=True)
    build(0)
    train(root, run, resume=True, max_steps=2)


def test_a_checkpoint_is_kept_whether_or_not_one_is_due(synthetic_root: Path, tmp_path: Path) -> None:
    train(synthetic_root, tmp_path / "run", epochs=5, max_steps=None, save_every=3, keep_every=2)
    assert sorted(path.name for path in (tmp_path / "run").glob("checkpoint-0*")) == [
        "checkpoint-0002.pt",
        "checkpoint-0004.pt",
    ]


def test_a_smaller_last_step_takes_none(synthetic_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(synthetic_root, run, max_steps=3)
    result = train(synthetic_root, run, max_steps=1, resume=True)
    assert "0 steps" in result.message and "at step 3" in result.message
    assert "resume" not in yaml.safe_load((run / "settings.yaml").read_text())


@pytest.mark.parametrize(
    ("key", "value"),
    [("patch_size", 0), ("max_hours", -1.0), ("clip_grad", -1.0), ("lr", float("inf")), ("seed", 2**63)],
)
def test_a_number_out_of_range_names_its_key(key: str, value: float) -> None:
    with pytest.raises(InputError, match=f"value out of range: {key.replace('_', '-')}"):
        PretrainConfig(**{key: value})  # type: ignore[arg-type]


def test_a_width_that_the_heads_cannot_share_is_refused(synthetic_root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not divide among the heads: width 64, 3 heads"):
        train(synthetic_root, tmp_path / "run", predictor_heads=3)


def test_resuming_with_other_settings_shows_the_difference(synthetic_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(synthetic_root, run, max_steps=1)
    with pytest.raises(InputError, match=r"expected weight-decay 0\.05; got weight-decay 0\.1; resume with"):
        train(synthetic_root, run, resume=True, weight_decay=0.1)


def test_a_setting_younger_than_the_run_had_its_default(synthetic_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(synthetic_root, run, max_steps=1)
    stored = yaml.safe_load((run / "settings.yaml").read_text())
    del stored["fraction"]
    (run / "settings.yaml").write_text(yaml.safe_dump(stored))
    with pytest.raises(InputError, match=r"expected fraction 1\.0; got fraction 0\.5"):
        train(synthetic_root, run, resume=True, fraction=0.5)
    train(synthetic_root, run, resume=True, max_steps=2)


def test_the_run_says_how_many_chips_its_share_was(synthetic_root: Path, tmp_path: Path) -> None:
    for name, fraction in (("whole", 1.0), ("half", 0.5)):
        train(synthetic_root, tmp_path / name, max_steps=1, fraction=fraction)
    whole, half = (sarjepa.load_encoder(tmp_path / name).describe for name in ("whole", "half"))
    assert half["num_chips"] == whole["num_chips"] / 2 and half["fraction"] == 0.5
    assert losses(tmp_path / "whole") != losses(tmp_path / "half")


@pytest.mark.parametrize(("method", "key", "value"), [("lomar", "predictor_depth", 4), ("i-jepa", "mask_ratio", 0.5),
    ("pgca", "window_size", 3), ("mae", "radii", (3, 5)), ("sar-jepa", "low_pass_radius", 30.0),
    ("sar-jepa", "temperature", 0.5), ("mae", "view_augment", ("shift",))])  # fmt: skip
def test_a_setting_that_the_method_does_not_read_is_refused(
    synthetic_root: Path, tmp_path: Path, method: str, key: str, value: object
) -> None:
    with pytest.raises(InputError, match=rf"neither {method} nor its target \S+ reads.*: {key.replace('_', '-')}; got"):
        train(synthetic_root, tmp_path / "run", method=method, **{key: value})
    assert not (tmp_path / "run").exists()


def test_a_typed_setting_that_is_not_read_is_refused_even_where_a_preset_or_the_default_has_its_value(
    synthetic_root: Path, tmp_path: Path
) -> None:
    base = {"data-root": str(synthetic_root), "run-dir": str(tmp_path / "run"), "method": "mae", "max-steps": 1}
    preset = ("preset demo", read_preset("demo", "pretrain"))
    for key, value in (("window-size", preset[1]["window-size"]), ("num-windows", PretrainConfig().num_windows)):
        config = overlay(PretrainConfig, [preset, (COMMAND_LINE, {**base, key: value})])
        with pytest.raises(InputError, match=rf"neither mae nor its target pixel reads.*: {key}; got {value}; leave"):
            pretrain.run(config, Progress())
        pretrain.run(overlay(PretrainConfig, [preset, ("file", {key: value}), (COMMAND_LINE, base)]), Progress())
        shutil.rmtree(tmp_path / "run")


@pytest.mark.parametrize(("key", "value"), [("target", "pixel"), ("contrast", 0.1), ("crop_scale", (0.5, 0.5))])
def test_views_refuse_what_only_the_other_methods_read(
    synthetic_root: Path, tmp_path: Path, key: str, value: object
) -> None:
    with pytest.raises(InputError, match=rf"views does not read this setting: {key.replace('_', '-')}; got"):
        train(synthetic_root, tmp_path / "run", method="views", **{key: value})


def test_a_batch_that_is_compared_cannot_be_taken_in_parts(synthetic_root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"compares all chips of a batch.*: accumulate; got 2"):
        train(synthetic_root, tmp_path / "run", method="views", accumulate=2)


@pytest.mark.pictures  # every method's
def test_what_a_preset_sets_is_for_every_method(synthetic_root: Path, tmp_path: Path) -> None:
    for method in METHODS:
        config = demo_settings(synthetic_root, tmp_path / method, method=method, max_steps=1)
        assert config.window_size != PretrainConfig().window_size
        pretrain.run(config, Progress())


@pytest.mark.parametrize(("epochs", "given", "expected"), [(2, {}, 0.2), (60, {}, 4), (2, {"warmup_epochs": 2}, 2)])
def test_the_warm_up_of_a_preset_does_not_fill_a_short_run(epochs: int, given: dict, expected: float) -> None:
    layers = [("preset demo", read_preset("demo", "pretrain")), (COMMAND_LINE, {"epochs": epochs, **given})]
    assert pretrain.warmup_epochs(overlay(PretrainConfig, layers)) == pytest.approx(expected)


@pytest.mark.parametrize("crop", ["published", "synthetic=published", "mstar=80,synthetic=published"])
def test_a_published_crop_is_not_one_of_pre_training(crop: str) -> None:
    with pytest.raises(InputError, match=r"no such centre-crop: .*; expected none, N or SOURCE=N"):
        PretrainConfig(centre_crop=crop)


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01])
def test_a_share_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(InputError, match=r"fraction; expected above 0 to 1"):
        PretrainConfig(fraction=fraction)


def test_resuming_a_checkpoint_of_another_model_is_one_line(synthetic_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(synthetic_root, run, max_steps=1)
    state = torch.load(run / "checkpoint-last.pt", weights_only=True)
    state["method"].pop("mask_token")
    torch.save(state, run / "checkpoint-last.pt")
    with pytest.raises(InputError, match=r"another model than the settings describe.*mask_token"):
        train(synthetic_root, run, resume=True)


def test_what_remains_of_i_jepa_is_the_teacher_from_whatever_file(synthetic_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(synthetic_root, run, method="i-jepa", max_steps=2)
    state = torch.load(run / "checkpoint-last.pt", weights_only=True)["method"]
    for file in (run / "encoder.safetensors", run / "checkpoint-last.pt"):
        for key, value in sarjepa.load_encoder(file).state_dict().items():
            torch.testing.assert_close(value, state[f"teacher.{key}"], atol=0, rtol=0)
    assert not torch.equal(state["teacher.norm.bias"], state["encoder.norm.bias"])


def test_a_run_of_before_its_method_changed_is_not_gone_on_with(synthetic_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(synthetic_root, run, max_steps=1)
    state = torch.load(run / "checkpoint-last.pt", weights_only=True)
    del state["describe"]["revision"]  # as runs were of old
    torch.save(state, run / "checkpoint-last.pt")
    with pytest.raises(InputError, match=r"another sar-jepa.*expected revision 2.*got revision 1"):
        train(synthetic_root, run, resume=True)


def test_resuming_an_optimiser_of_another_grouping_is_one_line(synthetic_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(synthetic_root, run, max_steps=1)
    state = torch.load(run / "checkpoint-last.pt", weights_only=True)
    decayed, free = (group["params"] for group in state["optimizer"]["param_groups"])
    free.append(decayed.pop())
    torch.save(state, run / "checkpoint-last.pt")
    with pytest.raises(InputError, match=rf"other weight decay: {run}; start another run with --init {run}"):
        train(synthetic_root, run, resume=True)


@pytest.mark.parametrize("content", [b"a: [1\n", b"\xff\xfe", b"- 1\n"])
def test_resuming_with_settings_that_cannot_be_read_is_one_line(
    synthetic_root: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "settings.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"not .*settings\.yaml") as caught:
        train(synthetic_root, tmp_path, resume=True)
    assert "\n" not in str(caught.value) and (tmp_path / "settings.yaml").read_bytes() == content


def test_resuming_nothing_is_refused(synthetic_root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run to resume"):
        train(synthetic_root, tmp_path / "nowhere", resume=True)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("method", ["sar-jepa", "views"])
def test_starting_from_an_encoder_starts_from_its_weights(synthetic_root: Path, tmp_path: Path, method: str) -> None:
    train(synthetic_root, tmp_path / "a", max_steps=3)
    # The first step's rate is zero (warm-up), so one step leaves the weights as they came.
    config = demo_settings(synthetic_root, tmp_path / "b", max_steps=1, init=str(tmp_path / "a"), seed=5, method=method)
    pretrain.run(config, Progress())
    first, second = sarjepa.load_encoder(tmp_path / "a"), sarjepa.load_encoder(tmp_path / "b")
    assert_same(first.state_dict(), second.state_dict())


def test_two_ranks_train_as_one_with_the_whole_batch(synthetic_root: Path, tmp_path: Path) -> None:
    changes = {"max_steps": 4, "precision": "fp32", "warmup_epochs": 0}
    one, two = tmp_path / "one", tmp_path / "two"
    train(synthetic_root, one, **changes)
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(as_dict(demo_settings(synthetic_root, two, **changes))))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "sarjepa", "pretrain", "--config", str(tmp_path / "two.yaml")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr[-2000:]
    assert losses(one) == pytest.approx(losses(two), rel=1e-5)
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    for name in first:
        # AdamW divides by the gradient's size, so where a gradient is all rounding its sign may differ: a few steps.
        torch.testing.assert_close(first[name], second[name], rtol=1e-3, atol=2e-4, msg=name)


@pytest.mark.pictures
def test_shards_go_on_where_one_process_stopped_and_the_other_way_round(synthetic_root: Path, tmp_path: Path) -> None:
    changes = {"precision": "fp32", "lr": 1e-3, "warmup_epochs": 0, "accumulate": 2, "clip_grad": 1.0}
    one, parts = tmp_path / "one", tmp_path / "parts"
    train(synthetic_root, one, max_steps=5, **changes)
    train(synthetic_root, parts, max_steps=1, **changes)
    two = demo_settings(synthetic_root, parts, max_steps=4, shard=True, resume=True, **changes)
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(as_dict(two)))
    forked.run_ranks(2, "pretrain", "--config", tmp_path / "two.yaml")
    sharded = sarjepa.load_encoder(parts)
    assert (parts / "targets.png").exists() and all(torch.isfinite(value).all() for value in weights(parts).values())
    torch.testing.assert_close(sharded.state_dict(), sarjepa.load_encoder(parts / "checkpoint-last.pt").state_dict())
    train(synthetic_root, parts, max_steps=5, resume=True, **changes)
    assert losses(one) == pytest.approx(losses(parts), rel=1e-5)
    states = [torch.load(run / "checkpoint-last.pt", weights_only=True) for run in (one, parts)]
    assert states[0]["optimizer"]["param_groups"] == states[1]["optimizer"]["param_groups"]
    for key in ("method", "optimizer"):
        first, second = (state[key]["state"] if key == "optimizer" else state[key] for state in states)
        torch.testing.assert_close(first, second, rtol=0, atol=1e-5)


@pytest.mark.parametrize("change", [{"method": "i-jepa"}, {"method": "latent-gradient"}, {"ema": 0.9},
                                    {"probe_every": 1}])  # fmt: skip
def test_what_needs_whole_weights_between_steps_is_not_sharded(
    synthetic_root: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    key, value = next(iter(change.items()))
    with pytest.raises(InputError, match=rf"does not go with --shard: {key.replace('_', '-')}; got {value}"):
        train(synthetic_root, tmp_path / "run", shard=True, **change)
    assert not (tmp_path / "run").exists()


@pytest.mark.pictures
def test_the_online_probe_and_the_pictures_change_nothing(synthetic_root: Path, tmp_path: Path) -> None:
    plain, watched = tmp_path / "plain", tmp_path / "watched"
    train(synthetic_root, plain)
    train(synthetic_root, watched, probe_every=1, picture_every=1)
    assert_same(weights(plain), weights(watched))
    seen = [json.loads(line) for line in (watched / "log.jsonl").read_text().splitlines()]
    probed = [line for line in seen if "knn" in line]
    assert [line["epoch"] for line in probed] == [0, 1, 2]
    assert all(0 <= line["knn"] <= 100 and line["rank"] >= 1 for line in probed)


def test_a_run_of_views_that_collapses_is_told_so(
    synthetic_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing pushes chips apart any more: each view is only drawn to the mean of all."""

    def only_attraction(self: ViewAgreement, encoder: Encoder, view: torch.Tensor, keys: ImageKeys) -> torch.Tensor:
        feature = feature_of(encoder(view.flatten(0, 1)))
        idle = sum(value.sum() for value in self.projection.parameters())
        return (feature - feature.mean(dim=0)).square().mean() + 0 * idle

    config = demo_settings(synthetic_root, tmp_path / "sound", method="views", probe_every=3)
    progress = Recorder()
    pretrain.run(config, progress)
    assert progress.warnings == []
    monkeypatch.setattr(ViewAgreement, "forward", only_attraction)
    pretrain.run(dataclasses.replace(config, run_dir=str(tmp_path / "collapsed"), lr=3e-2), progress)
    assert len(progress.warnings) == 1 and "the representation may be collapsing" in progress.warnings[0]
    last = json.loads((tmp_path / "collapsed" / "log.jsonl").read_text().splitlines()[-1])
    assert last["deviation"] < 0.03


@pytest.mark.pictures
def test_a_run_of_views_shows_them_and_has_no_picture_of_targets(synthetic_root: Path, tmp_path: Path) -> None:
    train(synthetic_root, tmp_path, method="views", max_steps=1)
    with Image.open(tmp_path / "views.png") as picture:
        assert min(picture.size) > 300
    assert not (tmp_path / "targets.png").exists()
    assert sarjepa.load_encoder(tmp_path).describe["target"] is None


def test_recomputing_activations_gives_the_same_weights(synthetic_root: Path, tmp_path: Path) -> None:
    for name, recompute in (("kept", False), ("recomputed", True)):
        config = demo_settings(synthetic_root, tmp_path / name, max_steps=3, precision="fp32", recompute=recompute)
        pretrain.run(config, Progress())
    assert_same(weights(tmp_path / "kept"), weights(tmp_path / "recomputed"))


def test_compiled_blocks_train_stop_and_export_as_plain_ones(
    synthetic_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Code generation is torch's and takes a minute; what is ours is that every block can be traced into one graph, and
    # that nothing else of a run notices. So the graphs are run as they were traced.
    graphs = []

    def keep(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    monkeypatch.setattr(method_of_run, "check_compiler", lambda device: None)
    monkeypatch.setattr(Block, "compile", lambda block: torch.nn.Module.compile(block, backend=keep, fullgraph=True))
    plain, compiled = tmp_path / "plain", tmp_path / "compiled"
    changes = {"precision": "fp32", "ema": 0.9, "recompute": True}
    train(synthetic_root, plain, **changes)
    assert not graphs
    for more in ({"compile": True, "max_steps": 2}, {"max_steps": 3}, {"compile": True}):
        train(synthetic_root, compiled, **changes, resume=compiled.exists(), **more)
    assert len(graphs) >= 2, "encoder and predictor, at least"
    assert losses(compiled) == pytest.approx(losses(plain), rel=1e-5)
    for name in ("encoder.safetensors", "encoder-ema.safetensors"):
        first, second = (sarjepa.load_encoder(run / name).state_dict() for run in (plain, compiled))
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)
    assert weights(plain).keys() == weights(compiled).keys()


def test_without_a_compiler_compile_is_refused_before_the_run_begins(synthetic_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [sys.executable, "-m", "sarjepa", "pretrain", "--preset", "demo", "--data-root", str(synthetic_root),
             "--run-dir", str(run), "--device", "cpu", "--compile"]  # fmt: skip
    environment = {**os.environ, "CXX": "/no/such/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    result = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 1 and "torch.compile does not work on this machine" in result.stderr
    assert "Traceback" not in result.stderr and not run.exists()


def test_the_averaged_encoder_survives_a_stop(synthetic_root: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(synthetic_root, whole, ema=0.9)
    train(synthetic_root, parts, ema=0.9, max_steps=3)
    train(synthetic_root, parts, ema=0.9, resume=True)
    averaged = [sarjepa.load_encoder(run / "encoder-ema.safetensors").state_dict() for run in (whole, parts)]
    assert_same(*averaged)
    last = sarjepa.load_encoder(whole).state_dict()
    assert any(not torch.equal(averaged[0][name], last[name]) for name in last)


def test_a_run_that_diverges_says_how_to_go_on_from_its_last_good_weights(synthetic_root: Path, tmp_path: Path) -> None:
    run, first = tmp_path / "run", tmp_path / "first"
    changes = {"precision": "fp32", "warmup_epochs": 0}
    train(synthetic_root, run, max_steps=4, lr=1e-3, **changes)
    stored = yaml.safe_load((run / "settings.yaml").read_text())
    (run / "settings.yaml").write_text(yaml.safe_dump({**stored, "lr": 1e30}))
    with pytest.raises(InputError, match=rf"not a number.*another run with --init {run} and a lower --lr, or --precis"):
        train(synthetic_root, run, resume=True, lr=1e30, **changes)
    assert torch.load(run / "checkpoint-last.pt", weights_only=True)["step"] == 4
    train(synthetic_root, tmp_path / "other", init=str(run), max_steps=1, **changes)
    with pytest.raises(InputError, match="not a number"):
        train(synthetic_root, first, lr=1e30, **changes)
    kept = torch.load(first / "checkpoint-last.pt", weights_only=True)
    lines = (first / "log.jsonl").read_text().splitlines()
    assert kept["step"] == json.loads(lines[-1])["step"] < 4


def test_names_that_nothing_has_are_refused_before_the_folder_is_made(synthetic_root: Path, tmp_path: Path) -> None:
    for changes, words in (
        ({"centre_crop": "synthetci=20"}, "no such source: 'synthetci' in crop .*did you mean 'synthetic'"),
        ({"splits": ("test", "nope")}, "no such split: 'nope'"),
        ({"probe_dataset": "nope"}, "nothing is probed: probe-dataset; got nope; give --probe-every"),
    ):
        with pytest.raises(InputError, match=words):
            train(synthetic_root, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()
