"""A saved classifier: encoder, head, classes, temperature and how a chip becomes an input, in one safetensors file.

    classifier = sarjepa.load_classifier("runs/demo/finetune-mstar")
    labels = classifier.predict(images)             # names
    probabilities = classifier.probabilities(images)  # (N, C), calibrated

Images are one 2-D array or several, of any size, as a reader gives them: 8-bit and 16-bit integers are divided by the
largest value of their type; floats must be magnitude in [0, 1].
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from sarjepa.boundary import decoder_errors
from sarjepa.documents import parse_record
from sarjepa.errors import InputError
from sarjepa.evaluation.finetune import predict
from sarjepa.evaluation.spreading import Nodes, SpreadHead
from sarjepa.models.addresses import CLASSIFIER_FILE, no_classifier
from sarjepa.models.checkpoints import LARGEST_SIDE_PX, check_shape
from sarjepa.models.described import described_bytes, read_described
from sarjepa.models.encoder import Encoder, EncoderShape
from sarjepa.models.heads import Classifier, Feature, Head
from sarjepa.resampling import centre_crop_and_resize, magnitudes

_KIND = "sarjepa-classifier"


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """The draw of the chips that the classifier was trained on."""

    split_policy: str
    shots: int | None
    seed: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class _Source:
    """How the chips that the classifier was trained on were read and cut, and the largest (H, W) among them."""

    bands: str | None = None
    chip_size: int | None = None
    overlap: float = 0.0
    largest_px: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class _Description:
    """The facts of a file whose types are checked; all other facts are kept as they are.

    A file without `normalise` is from when every head had a normalisation, one without `precision` from when every
    classifier computed in float32.
    """

    classes: tuple[str, ...]
    temperature: float
    crop: int | None
    pool: str
    shape: EncoderShape
    normalise: bool = True
    precision: Literal["bf16", "fp32"] = "fp32"
    dataset: str = ""
    label_set: str | None = None
    draw: _Drawn | None = None
    recipe: str = "published"
    solver: str = "fine-tune"
    augment: str = "none"
    encoder: dict[str, Any] = field(default_factory=dict)
    normalisation: dict[str, str | float | None] = field(default_factory=dict)
    source: _Source = field(default_factory=_Source)


class SavedClassifier:
    """A classifier ready for new chips.

    Args:
        classifier: encoder, pooling and head, on its device.
        describe: facts of the classifier: "classes", "temperature", "crop", "pool", "shape", "precision", "solver"
            and any others.
    """

    def __init__(self, classifier: Classifier, describe: dict[str, Any]) -> None:
        self.classifier, self.describe = classifier.eval(), describe

    @property
    def classes(self) -> tuple[str, ...]:
        """C class names, in the order of the probabilities."""
        return tuple(self.describe["classes"])

    def probabilities(self, images: Any) -> np.ndarray:
        """(N, C) float64 probabilities of N chips.

        Args:
            images: one chip or several, as `sarjepa.resampling.magnitudes` takes them.

        Raises:
            InputError: an image has several channels, or is neither of integers nor of magnitudes in [0, 1].
        """
        chips = magnitudes(images)
        if not chips:
            return np.zeros((0, len(self.classes)))
        device = next(self.classifier.parameters()).device
        crop, size = self.describe["crop"], self.describe["shape"]["image_size"]

        def load(indices: np.ndarray) -> torch.Tensor:
            return centre_crop_and_resize([chips[i] for i in indices], 1.0, crop, size, device)

        # The number format of the test in the report: a probe's head reads features in float32.
        logits_NC = predict(self.classifier, load, np.arange(len(chips)), precision=self.describe["precision"],
                            plain_head=self.describe["solver"] != "fine-tune")  # fmt: skip
        return (logits_NC.double() / self.describe["temperature"]).softmax(dim=1).numpy()

    def predict(self, images: Any) -> list[str]:
        """The class name of each chip; arguments and errors as of `probabilities`."""
        return [self.classes[label] for label in self.probabilities(images).argmax(axis=1)]


def classifier_bytes(classifier: Classifier, describe: Mapping[str, Any]) -> bytes:
    """The content of a classifier's file.

    Args:
        classifier: encoder, feature, and a `Head` or a `SpreadHead`.
        describe: JSON-ready facts; "classes", "temperature" and "crop" are needed to use the classifier.

    Example:
        >>> classifier = Classifier(sarjepa.load_encoder("runs/toy"), Head(16, 2))
        >>> facts = {"classes": ["cargo", "tanker"], "temperature": 1.0, "crop": None}
        >>> _ = Path("ships.safetensors").write_bytes(classifier_bytes(classifier, facts))
        >>> load_classifier("ships.safetensors").classes
        ('cargo', 'tanker')
    """
    shape = asdict(classifier.encoder.shape)  # type: ignore[call-overload]
    return described_bytes(
        classifier,
        _KIND,
        {
            **describe,
            "normalise": getattr(classifier.head, "norm", None) is not None,
            "pool": classifier.feature.name,
            "shape": shape,
        },
    )


def _head(
    weights: Mapping[str, torch.Tensor], described: _Description, width: int, fault: Callable[[str], InputError]
) -> nn.Module:
    """A head for the weights of a file; the caller loads them."""
    num_classes = len(described.classes)
    if described.solver != "label-spreading":
        if (got := weights["head.linear.weight"].shape) != (num_classes, width):
            raise fault(f"a head of {tuple(got)}")
        return Head(width, num_classes, described.normalise)
    nodes, score_MC = Nodes(*(weights[f"head.{one.name}"] for one in fields(Nodes))), weights["head.score_MC"]
    num = len(score_MC)
    for got, expected in (
        (nodes.mean_D.shape, (width,)), (nodes.root_DD.shape, (width, width)), (nodes.node_MD.shape, (num, width)),
        (nodes.degree_M.shape, (num,)), (score_MC.shape, (num, num_classes)),
    ):  # fmt: skip
        if got != expected:
            raise fault(f"a head of {tuple(got)}")
    return SpreadHead(nodes, score_MC)


def load_classifier(path: str | Path, device: str = "cpu") -> SavedClassifier:
    """Open what `sarjepa finetune` or `sarjepa probe` saved.

    Args:
        path: folder of the report, or the file in it.
        device: device of the classifier.

    Raises:
        InputError: nothing is there, or it cannot be read as a classifier.

    Examples:
        >>> import numpy as np
        >>> classifier = load_classifier("runs/toy/finetune-toy")
        >>> chips = [np.zeros((40, 32), np.uint8), np.ones((32, 32), np.float32)]
        >>> classifier.probabilities(chips).shape
        (2, 3)
        >>> set(classifier.predict(chips)) <= set(classifier.classes)
        True
    """
    file = Path(path)
    file = file / CLASSIFIER_FILE if file.is_dir() else file
    if not file.is_file():
        raise no_classifier(file)
    weights, text = read_described(file, _KIND)
    if text is None:
        raise InputError("not a classifier", where=file, expected=f"metadata {_KIND!r}")
    described = parse_record(text.encode(), _Description, file)
    prefix = "encoder."
    encoder_weights = {key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}
    check_shape(described.shape, encoder_weights, file)

    def fault(words: str) -> InputError:
        return InputError("the file does not fit the classifier it describes", where=file, got=words)

    if not 0 < described.temperature < math.inf:
        raise fault(f"temperature {described.temperature}")
    if described.crop is not None and not 1 <= described.crop <= LARGEST_SIDE_PX:
        raise fault(f"crop {described.crop}")
    source = described.source
    if not (source.chip_size is None or source.chip_size >= 8) or not 0 <= source.overlap <= 0.9:
        raise fault(f"tiles of {source.chip_size} px, overlap {source.overlap}")
    with decoder_errors(fault):
        feature = Feature.read(described.pool)
        encoder, width = Encoder(described.shape), described.shape.width * feature.num_tokens
        classifier = Classifier(encoder, _head(weights, described, width, fault), feature)
        classifier.load_state_dict(weights)
    keys = ("dataset", "label_set", "temperature", "solver", "precision")
    checked = {
        "shape": asdict(described.shape),
        "source": asdict(source),
        **{key: getattr(described, key) for key in keys},
    }
    return SavedClassifier(classifier.to(device), {**json.loads(text), **checked})
