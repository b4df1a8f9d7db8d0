"""predict: a folder of images, by a saved classifier, to a table."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from recording import Recorder

from sarjepa.config import BuildDatasetConfig, FinetuneConfig, PredictConfig, ProbeConfig
from sarjepa.errors import InputError
from sarjepa.evaluation.benchmark import open_benchmark
from sarjepa.evaluation.classifier import classifier_bytes, load_classifier
from sarjepa.models.addresses import CLASSIFIER_FILE
from sarjepa.models.encoder import Encoder, EncoderShape
from sarjepa.models.heads import Classifier, Head
from sarjepa.progress import Progress
from sarjepa.recipes import build_dataset, finetune, predict, probe

DESCRIBE = {"classes": ["tank", "truck"], "temperature": 1.5, "crop": 24}


def saved(folder: Path, **describe: object) -> Path:
    torch.manual_seed(0)
    encoder = Encoder(EncoderShape(width=16, depth=1, num_heads=2, patch_size=8, image_size=16))
    (folder / CLASSIFIER_FILE).write_bytes(
        classifier_bytes(Classifier(encoder, Head(16, 2, std=1.0)), {**DESCRIBE, **describe})
    )
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_image_of_the_folder_has_its_class_and_confidence(tmp_path: Path) -> None:
    classifier, folder, out = saved(tmp_path), tmp_path / "new", tmp_path / "sub" / "found.csv"
    (folder / "deep").mkdir(parents=True)
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, shape, dtype=np.uint8) for shape in ((40, 32), (16, 50))]
    images += [(images[0].astype(np.uint16) << 8)]
    for image, name in zip(images, ("a.png", "deep/b.png", "c.png"), strict=True):
        Image.fromarray(image).save(folder / name)
    (folder / "d.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    progress = Recorder()
    predict.run(PredictConfig(folder=str(folder), classifier=str(classifier), out=str(out), device="cpu"), progress)
    found, loaded = {row["path"]: row for row in rows_of(out)}, load_classifier(classifier)
    assert found.keys() == {"a.png", "deep/b.png", "c.png"}
    for image, name in zip(images, ("a.png", "deep/b.png", "c.png"), strict=True):
        assert [found[name]["predicted"]] == loaded.predict(image)
        [probability] = loaded.probabilities(image)
        assert float(found[name]["confidence"]) == pytest.approx(probability.max(), abs=1e-4)
        assert float(found[name]["p(truck)"]) == pytest.approx(probability[1], abs=1e-4)
    assert progress.warnings and "1 file left out, e.g. d.png" in progress.warnings[0]


def test_images_are_normalised_as_those_of_the_training(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    image = np.random.default_rng(0).rayleigh(40.0, (24, 24)).astype(np.float32)
    np.save(tmp_path / "new" / "a.npy", image)
    out = tmp_path / "found.csv"
    config = PredictConfig(folder=str(tmp_path / "new"), classifier=str(saved(tmp_path)), out=str(out), device="cpu")
    with pytest.raises(
        InputError, match=r"no image in the folder can be used: a.npy; .*above 1.*build-dataset has these"
    ):
        predict.run(config, Progress())
    saved(
        tmp_path, normalisation={"method": "linear", "per": "set", "reference": 200.0, "dtype": "float32", "scale": 1.0}
    )
    predict.run(config, Progress())
    [expected] = load_classifier(tmp_path).probabilities((image / 200).clip(0, 1))
    assert float(rows_of(out)[0]["p(tank)"]) == pytest.approx(expected[0], abs=1e-4)


@pytest.mark.parametrize("solver", ["lda", "label-spreading", "fine-tune"])
def test_files_are_labelled_in_the_number_format_of_the_report(
    toy_root: Path, toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, solver: str
) -> None:
    given: dict = {"data_root": str(toy_root), "dataset": "toy", "checkpoint": str(toy_run), "shots": 2,
                   "recipe": "augmented", "precision": "bf16", "device": "cpu", "out": str(tmp_path)}  # fmt: skip
    toy, tested = open_benchmark(str(toy_root), "toy"), []
    if solver == "fine-tune":
        classify = finetune.classify
        monkeypatch.setattr(finetune, "classify", lambda *rest: tested.append(classify(*rest)) or tested[-1])
        finetune.run(FinetuneConfig(**given, steps=10, head_lr=0.1), Progress())
    else:
        probe_runs = probe.probe_runs
        monkeypatch.setattr(
            probe, "probe_runs", lambda *rest: tested.append((rest[0], probe_runs(*rest))) or tested[-1][1]
        )
        probe.run(ProbeConfig(**given, solver=solver), Progress())
        [(features, [probed, *_])] = tested
        tested = [probed.head()(torch.from_numpy(features[probed.draw.test]))]
    test = np.flatnonzero(toy.shards.splits == "test")
    for number, image in zip(test.tolist(), toy.shards.images(test), strict=True):
        (tmp_path / "new").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "new" / f"{number:03d}.png")
    config = PredictConfig(folder=str(tmp_path / "new"), classifier=str(tmp_path), out=str(tmp_path / "found.csv"))
    predict.run(replace(config, device="cpu"), Progress())
    found = rows_of(tmp_path / "found.csv")
    assert [row["predicted"] for row in found] == [toy.classes[label] for label in tested[0].argmax(dim=1)]
    temperature = load_classifier(tmp_path).describe["temperature"]
    expected = (tested[0].detach().double() / temperature).softmax(dim=1).numpy()
    np.testing.assert_allclose(
        [[float(row[f"p({name})"]) for name in toy.classes] for row in found], expected, atol=1e-4
    )


@pytest.fixture(scope="module")
def dual(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of the second of two bands, in tiles of 16 px, and beside it a folder of one new file."""
    root, generator = tmp_path_factory.mktemp("dual"), np.random.default_rng(0)
    for name, height in (("dual/train/ship", 24), ("dual/train/sea", 24), ("dual/test/ship", 24), ("dual/test/sea", 24),
                         ("new", 30)):  # fmt: skip
        (root / name).mkdir(parents=True)
        level = 0.3 if name.endswith("ship") else 0.1
        for number in range(1 if name == "new" else 4):
            image = generator.rayleigh(level, (height, 16, 2)).clip(0, 1).astype(np.float32)
            np.save(root / name / f"{number}.npy", image)
    given: dict = {"data_root": str(root), "sources": (f"folder:{root / 'dual'}",), "workers": 1}
    build_dataset.run(BuildDatasetConfig(**given, bands="2", chip_size=16, overlap=0.5), Progress())
    given = {"data_root": str(root), "dataset": "dual", "checkpoint": str(toy_run), "device": "cpu", "out": str(root)}
    probe.run(ProbeConfig(**given, solver="lda"), Progress())
    return root


def test_new_files_are_read_and_cut_as_those_of_the_training(dual: Path, tmp_path: Path) -> None:
    config = PredictConfig(folder=str(dual / "new"), classifier=str(dual), out=str(tmp_path / "a.csv"), device="cpu")
    progress = Recorder()
    predict.run(config, progress)
    image, found = np.load(dual / "new" / "0.npy")[..., 1], rows_of(tmp_path / "a.csv")
    assert [row["path"] for row in found] == ["0.npy@0,0", "0.npy@8,0", "0.npy@14,0"]
    expected = load_classifier(dual).probabilities([image[row : row + 16] for row in (0, 8, 14)])
    assert [float(row["p(sea)"]) for row in found] == pytest.approx(expected[:, 0], abs=1e-4)
    assert progress.said == ["1 file cut into tiles of 16 px, as those of the training were, e.g. 0.npy"]


def test_bands_that_the_classifier_says_nothing_of_are_a_case_for_build_dataset(dual: Path, tmp_path: Path) -> None:
    config = PredictConfig(folder=str(dual / "new"), classifier=str(saved(tmp_path)), out=str(tmp_path / "a.csv"))
    with pytest.raises(InputError, match=r"--bands 1 takes one.*build-dataset has.*probe --checkpoint .* labels what"):
        predict.run(config, Progress())


def test_files_much_larger_than_the_training_chips_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    for side in (36, 37):
        Image.fromarray(np.full((20, side), 9, np.uint8)).save(tmp_path / "new" / f"{side}.png")
    classifier = saved(tmp_path, source={"largest_px": [20, 24]})
    progress = Recorder()
    config = PredictConfig(folder=str(tmp_path / "new"), classifier=str(classifier), out=str(tmp_path / "a.csv"))
    predict.run(config, progress)
    [line] = progress.warnings
    assert "1 file larger than any training chip (20 x 24 px) and not cut, e.g. 37.png (20 x 37 px)" in line
