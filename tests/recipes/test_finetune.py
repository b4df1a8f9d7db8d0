"""Fine-tuning: its report and the classifier it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from sarjepa.config import FinetuneConfig, ProbeConfig
from sarjepa.data.shards import open_shards
from sarjepa.documents import read_record
from sarjepa.errors import InputError
from sarjepa.evaluation.benchmark import open_benchmark
from sarjepa.evaluation.classifier import load_classifier
from sarjepa.evaluation.fewshot import draw
from sarjepa.evaluation.opened import open_checkpoint
from sarjepa.models.addresses import CLASSIFIER_FILE
from sarjepa.models.checkpoints import load_encoder
from sarjepa.models.described import described_bytes
from sarjepa.models.encoder import Encoder, EncoderShape
from sarjepa.models.heads import Classifier, Head
from sarjepa.progress import Progress
from sarjepa.recipes import finetune, probe
from sarjepa.recipes.report.results import Found, report_line
from sarjepa.reports.class_table import class_table
from sarjepa.results.records import Report


@pytest.fixture(scope="module")
def tuned(toy_root: Path, toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned")
    config = FinetuneConfig(data_root=str(toy_root), dataset="toy", checkpoint=str(toy_run), pool="grid2", device="cpu",
                            out=str(out), epochs=20)  # fmt: skip
    finetune.run(config, Progress())
    return out


def note_of(folder: Path) -> str:
    return class_table(read_record(folder / "report.json", Report)).note


def test_report_has_the_curve_and_the_temperature(tuned: Path) -> None:
    report = json.loads((tuned / "report.json").read_text())
    assert len(report["train_loss"]) == 20 and report["train_loss"][-1] < report["train_loss"][0]
    assert report["temperature"] > 0 and report["num_held_for_temperature"] == 3
    assert (tuned / "confusion.png").exists()


def test_the_chips_held_out_for_the_temperature_are_not_said_to_be_trained_on(
    toy_root: Path, toy_run: Path, tuned: Path, tmp_path: Path
) -> None:
    assert "33 of the 36 training chips (3 held out for the temperature)" in note_of(tuned)
    config = FinetuneConfig(data_root=str(toy_root), dataset="toy", checkpoint=str(toy_run), shots=3, device="cpu",
                            out=str(tmp_path), epochs=1)  # fmt: skip
    finetune.run(config, Progress())
    assert "9 training chips (3 shots per class)" in note_of(tmp_path)


def test_the_head_is_the_published_linear_layer_and_older_classifiers_keep_their_normalisation(
    tuned: Path, tmp_path: Path
) -> None:
    assert load_classifier(tuned).classifier.head.norm is None
    torch.manual_seed(0)
    encoder = Encoder(EncoderShape(16, 1, 2, 8, 32))
    older = Classifier(encoder, Head(16, 2)).eval()
    describe = {"classes": ["a", "b"], "temperature": 1.0, "crop": None, "pool": "cls", "shape": asdict(encoder.shape)}
    (tmp_path / CLASSIFIER_FILE).write_bytes(described_bytes(older, "sarjepa-classifier", describe))
    image = torch.rand(2, 1, 32, 32)
    assert torch.equal(load_classifier(tmp_path).classifier(image), older(image))


def test_testing_after_every_epoch_changes_no_result(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    reports = []
    for curve in (False, True):
        out = tmp_path / str(curve)
        config = FinetuneConfig(data_root=str(toy_root), dataset="toy", checkpoint=str(toy_run), pool="grid2",
                                device="cpu", out=str(out), epochs=4, curve=curve)  # fmt: skip
        finetune.run(config, Progress())
        reports.append({**json.loads((out / "report.json").read_text()), "settings": None})
    assert reports[0] == reports[1]
    assert not (tmp_path / "False" / "curve.csv").exists() and (tmp_path / "True" / "curve.png").stat().st_size > 1000
    header, *rows = [line.split(",") for line in (tmp_path / "True" / "curve.csv").read_text().splitlines()]
    assert header == ["epoch", "train_loss", "test_accuracy"] and [row[0] for row in rows] == ["1", "2", "3", "4"]
    assert [float(row[1]) for row in rows] == reports[1]["train_loss"]
    assert float(rows[-1][2]) == reports[1]["accuracy"]


def test_a_report_leaves_no_files_of_the_one_before(toy_root: Path, toy_run: Path, tmp_path: Path) -> None:
    config = FinetuneConfig(data_root=str(toy_root), dataset="toy", checkpoint=str(toy_run), shots=3, device="cpu",
                            out=str(tmp_path), epochs=2, curve=True)  # fmt: skip
    finetune.run(config, Progress())
    assert {"curve.csv", "curve.png"} < {path.name for path in tmp_path.iterdir()}
    (tmp_path / "report.json").write_text("{")  # one that can be read would be refused
    finetune.run(replace(config, epochs=1, curve=False), Progress())
    assert {path.name for path in tmp_path.iterdir()} == {"classifier.safetensors", "confusion.png", "report.json"}


def test_saved_classifier_repeats_the_reported_accuracy(toy_root: Path, tuned: Path) -> None:
    shards = open_shards(toy_root / "shards" / "toy")
    classifier = load_classifier(tuned)
    test = np.flatnonzero(shards.splits == "test")
    predicted = classifier.predict(shards.images(test))
    hits = [name == shards.classes[label] for name, label in zip(predicted, shards.labels[test], strict=True)]
    assert 100 * np.mean(hits) == pytest.approx(json.loads((tuned / "report.json").read_text())["accuracy"], abs=1e-3)


def test_probabilities_sum_to_one_and_agree_with_the_prediction(toy_root: Path, tuned: Path) -> None:
    images = open_shards(toy_root / "shards" / "toy").images(range(5))
    classifier = load_classifier(tuned)
    probability = classifier.probabilities(images)
    assert np.allclose(probability.sum(axis=1), 1)
    assert [classifier.classes[label] for label in probability.argmax(axis=1)] == classifier.predict(images)


def test_integers_and_magnitudes_give_the_same_label(toy_root: Path, tuned: Path) -> None:
    [image] = open_shards(toy_root / "shards" / "toy").images([0])
    classifier = load_classifier(tuned)
    assert np.allclose(classifier.probabilities([image]), classifier.probabilities([image / 255.0]), atol=1e-5)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((4, 4), np.nan), "got float64, nan to nan"),
        (np.full((4, 4), -0.5), "got float64, -0.5 to -0.5"),
        (np.full((4, 4), -1, np.int16), "got int16, -1 to -1"),
        (np.full((4, 4), 255.0), "got float64, 255 to 255"),
        (np.full((4, 4), 1j), "got complex128"),
        (np.zeros((0, 4)), r"got \(0, 4\)"),
        (np.zeros((4, 4, 3)), r"got \(4, 4, 3\)"),
    ],
)
def test_images_that_are_not_of_magnitudes_are_refused(tuned: Path, image: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=rf"image 1; expected .*{words}"):
        load_classifier(tuned).predict([np.zeros((4, 4)), image])


def test_an_encoder_is_not_looked_for_in_a_classifier_s_file(tuned: Path) -> None:
    for path in (tuned, tuned / "classifier.safetensors"):
        with pytest.raises(InputError, match=r"sarjepa\.load_classifier"):
            load_encoder(path)


def test_a_folder_without_a_classifier_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sarjepa finetune"):
        load_classifier(tmp_path)


def test_pixels_cannot_be_fine_tuned(toy_root: Path, tmp_path: Path) -> None:
    config = FinetuneConfig(
        data_root=str(toy_root), dataset="toy", checkpoint="pixels", device="cpu", out=str(tmp_path)
    )
    with pytest.raises(InputError, match="nothing to fine-tune"):
        finetune.run(config, Progress())


@pytest.mark.parametrize("shots", [None, 3])
def test_the_temperature_sees_neither_training_nor_test_chips(toy_root: Path, shots: int | None) -> None:
    benchmark = open_benchmark(str(toy_root), "toy")
    drawn = draw(benchmark.candidates, "published", shots, 0)
    train, held = finetune.calibration_chips(drawn, benchmark)
    assert len(held) and not set(held) & set(train) and not set(held) & set(drawn.test)
    if shots is not None:
        assert set(train) == set(drawn.train), "every shot is trained on"


def test_probe_labels_chips_with_a_saved_classifier(toy_root: Path, tuned: Path, tmp_path: Path) -> None:
    config = ProbeConfig(data_root=str(toy_root), dataset="toy", checkpoint=str(tuned), device="cpu", out=str(tmp_path))
    probe.run(config, Progress())
    lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert lines[0] == "path,label,predicted,p(across),p(along),p(blob)" and len(lines) == 37
    accuracies = [json.loads((folder / "report.json").read_text())["accuracy"] for folder in (tmp_path, tuned)]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=1e-3)


def test_a_saved_classifier_refuses_the_settings_of_a_training(toy_root: Path, tuned: Path, tmp_path: Path) -> None:
    config = ProbeConfig(data_root=str(toy_root), dataset="toy", checkpoint=str(tuned), device="cpu", out=str(tmp_path))
    for key, value in {"shots": 3, "solver": "knn", "label_set": "bars", "split_policy": "grouped", "pool": "grid2",
                       "crop": "16"}.items():  # fmt: skip
        with pytest.raises(InputError, match=f"not trained again.*leave out --{key.replace('_', '-')}$"):
            probe.run(replace(config, **{key: value}), Progress())
    assert not any(tmp_path.iterdir())
    probe.run(replace(config, crop="none"), Progress())  # the classifier's own
    found = Found(tmp_path, read_record(tmp_path / "report.json", Report))
    assert report_line(found).startswith("saved classifier on toy: ")


@pytest.fixture(scope="module")
def tuned_on_copies(toy_root: Path, toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tuned on a source without a split: 30 of its 120 chips, all with copies among the others."""
    out = tmp_path_factory.mktemp("tuned-on-copies")
    config = FinetuneConfig(data_root=str(toy_root), dataset="copies", checkpoint=str(toy_run), device="cpu",
                            out=str(out), epochs=2, seed=3)  # fmt: skip
    finetune.run(config, Progress())
    return out


def test_a_saved_classifier_is_not_scored_on_the_chips_it_was_trained_on(
    toy_root: Path, tuned_on_copies: Path, tmp_path: Path
) -> None:
    config = ProbeConfig(data_root=str(toy_root), dataset="copies", checkpoint=str(tuned_on_copies), device="cpu",
                         out=str(tmp_path))  # fmt: skip
    probe.run(config, Progress())
    report, trained = (json.loads((folder / "report.json").read_text()) for folder in (tmp_path, tuned_on_copies))
    for key in ("num_test", "confusion", "draw_sha256", "near_copy_percent", "split_policy"):
        assert report[key] == trained[key], key
    assert report["near_copy_percent"] > 0 and report["num_test"] == 90
    benchmark = open_benchmark(str(toy_root), "copies")
    drawn = draw(benchmark.candidates, "published", None, 3)
    labelled = {line.split(",")[0] for line in (tmp_path / "predictions.csv").read_text().splitlines()[1:]}
    assert labelled == {benchmark.candidates.paths[index] for index in drawn.test}


def test_a_data_set_that_changed_since_the_training_is_not_scored(
    tuned_on_copies: Path, tmp_path: Path, toy_writer: Callable[..., Path]
) -> None:
    toy_writer(tmp_path, "copies", num_per_class=11, with_split=False, copies=4)
    config = ProbeConfig(data_root=str(tmp_path), dataset="copies", checkpoint=str(tuned_on_copies), device="cpu",
                         out=str(tmp_path / "out"))  # fmt: skip
    with pytest.raises(InputError, match=r"cannot be told.*copies"):
        probe.run(config, Progress())
    assert not (tmp_path / "out").exists()


def test_on_another_data_set_near_copies_are_not_known(toy_root: Path, tuned_on_copies: Path, tmp_path: Path) -> None:
    config = ProbeConfig(data_root=str(toy_root), dataset="toy", checkpoint=str(tuned_on_copies), device="cpu",
                         out=str(tmp_path))  # fmt: skip
    probe.run(config, Progress())
    assert json.loads((tmp_path / "report.json").read_text())["near_copy_percent"] is None
    assert "is not known" in note_of(tmp_path) and "test split" in note_of(tmp_path)


def test_chips_without_labels_are_labelled_too(tuned: Path, tmp_path: Path, toy_writer: Callable[..., Path]) -> None:
    folder = toy_writer(tmp_path, "mine", num_per_class=2, with_split=False)
    with h5py.File(folder / "mine-00000.h5", "r+") as file:
        file["labels"][:] = -1
    config = ProbeConfig(data_root=str(tmp_path), dataset="mine", checkpoint=str(tuned), device="cpu",
                         out=str(tmp_path / "out"))  # fmt: skip
    result = probe.run(config, Progress())
    assert "6 chips labelled" in result.message and not (tmp_path / "out" / "report.json").exists()


def test_the_encoder_of_a_saved_classifier_can_be_evaluated(toy_root: Path, tuned: Path) -> None:
    opened = open_checkpoint(str(tuned), 0, torch.device("cpu"))
    assert opened.image_size == 32 and not opened.encoder.training
