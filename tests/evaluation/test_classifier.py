"""The file of a saved classifier: whole, or one line that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from sarjepa.errors import InputError
from sarjepa.evaluation.classifier import classifier_bytes, load_classifier
from sarjepa.evaluation.spreading import SpreadHead, graph_of
from sarjepa.models.addresses import CLASSIFIER_FILE
from sarjepa.models.encoder import Encoder, EncoderShape
from sarjepa.models.heads import Classifier, Feature, Head

DESCRIBE = {"classes": ["a", "b"], "temperature": 1.5, "crop": None}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    encoder = Encoder(EncoderShape(width=16, depth=1, num_heads=2, patch_size=8, image_size=16))
    (tmp_path / CLASSIFIER_FILE).write_bytes(
        classifier_bytes(Classifier(encoder, Head(16, 2, std=1.0), Feature(("cls",))), DESCRIBE)
    )
    return tmp_path / CLASSIFIER_FILE


def test_a_flipped_bit_is_named_with_its_file_and_never_gives_another_answer(file: Path) -> None:
    whole, image = file.read_bytes(), np.full((16, 16), 0.5)
    expected = load_classifier(file).probabilities([image])
    for place in np.random.default_rng(0).integers(0, 8 * len(whole), size=40).tolist():
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        file.write_bytes(bytes(content))
        try:
            found = load_classifier(file).probabilities([image])
        except InputError as error:
            assert str(file) in str(error)
        else:
            assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("classes", None),
        ("classes", ["a"]),
        ("classes", [1, 2]),
        ("temperature", "1"),
        ("temperature", 0),
        ("temperature", -1.0),
        ("crop", 0),
        ("crop", "64"),
        ("crop", 2**40),
        ("pool", "max"),
        ("pool", "cls@x"),
        ("pool", "+".join(["grid4"] * 1000)),
        ("normalise", False),
        ("normalise", 1),
        ("shape", None),
        ("shape", {"width": 16}),
        ("draw", {"seed": 0}),
        ("draw", 3),
        ("label_set", 3),
        ("solver", "label-spreading"),
        ("precision", "fp8"),
        ("source", {"chip_size": 0}),
        ("source", {"chip_size": 8, "overlap": 1.0}),
    ],
)
def test_a_description_that_says_something_else_is_one_line(file: Path, key: str, value: Any) -> None:
    with safe_open(file, "pt") as opened:
        said = json.loads(opened.metadata()["sarjepa-classifier"])
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
    said[key] = value
    save_file(weights, file, metadata={"sarjepa-classifier": json.dumps(said)})  # as before there was a checksum
    with pytest.raises(InputError, match=str(file)):
        load_classifier(file)


def test_a_description_that_leaves_the_side_of_an_image_out_takes_its_default(file: Path) -> None:
    with safe_open(file, "pt") as opened:
        said = json.loads(opened.metadata()["sarjepa-classifier"])
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
    del said["shape"]["image_size"]
    save_file(weights, file, metadata={"sarjepa-classifier": json.dumps(said)})
    found = load_classifier(file)
    assert found.describe["shape"]["image_size"] == 224 and found.describe["dataset"] == ""
    assert found.probabilities([np.full((16, 16), 0.5)]).shape == (1, 2)


def test_a_temperature_without_a_point_is_a_number(file: Path) -> None:
    with safe_open(file, "pt") as opened:
        said = json.loads(opened.metadata()["sarjepa-classifier"])
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
    said["temperature"] = 10**40
    save_file(weights, file, metadata={"sarjepa-classifier": json.dumps(said)})
    assert load_classifier(file).probabilities([np.full((16, 16), 0.5)]) == pytest.approx(0.5)


def test_a_classifier_without_a_weight_is_one_line(file: Path) -> None:
    with safe_open(file, "pt") as opened:
        said, weights = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    for name in ("head.linear.weight", "head.linear.bias", "encoder.cls_token"):
        left = {key: value for key, value in weights.items() if key != name}
        save_file(left, file, metadata={"sarjepa-classifier": said["sarjepa-classifier"]})
        with pytest.raises(InputError, match=str(file)):
            load_classifier(file)


def test_spread_labels_come_back_and_those_that_do_not_fit_are_one_line(file: Path) -> None:
    encoder = load_classifier(file).classifier.encoder
    head = SpreadHead(graph_of(torch.randn(12, 16)).nodes, torch.rand(12, 2))
    classifier = Classifier(encoder, head).eval()
    file.write_bytes(classifier_bytes(classifier, {**DESCRIBE, "temperature": 1.0, "solver": "label-spreading"}))
    image = np.random.default_rng(0).random((16, 16), np.float32)
    expected = classifier(torch.from_numpy(image)[None, None]).softmax(dim=1).detach().numpy()
    assert load_classifier(file).probabilities([image]) == pytest.approx(expected, abs=1e-6)
    with safe_open(file, "pt") as opened:
        said, weights = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    for name in (name for name in weights if name.startswith("head.")):
        cut = {**weights, name: weights[name][:-1].contiguous()}
        save_file(cut, file, metadata={"sarjepa-classifier": said["sarjepa-classifier"]})
        with pytest.raises(InputError, match="does not fit the classifier"):
            load_classifier(file)
