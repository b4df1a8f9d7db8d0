"""From a path to an encoder, and from an encoder to a file.

These are read: a run folder, its `checkpoint-last.pt`, an exported `.safetensors` (weights plus JSON that describes
them), a checkpoint as the SAR-JEPA authors publish it, and a ViT in the layout of MAE and timm; each local, at a web
address or on the Hugging Face hub. The safetensors file is the one to share: it cannot carry code and describes itself.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from sarjepa.boundary import decoder_errors
from sarjepa.documents import parse_record
from sarjepa.errors import InputError
from sarjepa.files import sha256_of
from sarjepa.models.addresses import KNOWN_FILES, OF_A_CLASSIFIER, Normalised, bare, checkpoint_file, normalised_by
from sarjepa.models.described import described_bytes, read_described
from sarjepa.models.encoder import Encoder, EncoderShape, sincos_positions
from sarjepa.models.released import Weights, is_released, is_weight, sort_released
from sarjepa.pickles import read_pickle

_KIND = "sarjepa-encoder"
LARGEST_SIDE_PX = 4096  # of an image, as of the settings


def load_encoder(path: str | Path, device: str = "cpu") -> Encoder:
    """The encoder of a run folder, checkpoint, exported `.safetensors`, released SAR-JEPA or MAE/timm-layout file.

    Args:
        path: path of the checkpoint, or an address: `https://...` or `hf-hub:owner/name`; with the prefix `imagenet:`
            or `half:` for a ViT of others that was trained on images so normalised.
        device: device of the encoder.

    Returns:
        The encoder in evaluation mode; `describe` holds the facts of its file, `describe_line` makes a line of them.

    A checkpoint of a run and an exported encoder are compared with their checksums; files of others, and exports from
    before there were checksums, have none.

    Raises:
        InputError: there is no such file, it is not a checkpoint, or it is damaged.

    Examples:
        >>> import torch
        >>> encoder = load_encoder("runs/toy")
        >>> encoder.forward_features(torch.rand(2, 1, 64, 48)).shape  # class token and 8 x 6 patches
        torch.Size([2, 49, 16])
        >>> [tuple(weights.shape) for weights in encoder.attention(torch.rand(1, 1, 32, 32))]
        [(1, 2, 17, 17), (1, 2, 17, 17)]
    """
    shape, weights, describe = _read(path)
    encoder = Encoder(shape)
    try:
        encoder.load_state_dict(weights)
    except RuntimeError as error:  # torch's error for missing, unexpected and misshapen weights
        faults = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise InputError("the checkpoint does not fit the encoder it describes", where=path, got=faults) from error
    encoder.describe = {**describe, "shape": asdict(shape)}
    return encoder.eval().to(device)


def initial_encoder(path: str | Path, seed: int, device: str = "cpu") -> Encoder:
    """The encoder of the same shape as the one at `path`, at random initialisation.

    Args:
        path: path or address, as in `load_encoder`.
        seed: seed of the weights, if the file states none.
        device: device of the encoder.

    Example:
        >>> untrained = initial_encoder("runs/toy", seed=1)
        >>> untrained.shape == load_encoder("runs/toy").shape, untrained.describe["seed"]  # the file states none
        (True, 1)
    """
    shape, _, describe = _read(path)
    seed = int(describe.get("seed", seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(shape)
    encoder.describe = {
        "method": "random initialisation",
        "seed": seed,
        "shape": asdict(shape),
        "sources_of_run": describe.get("sources"),
    }
    return encoder.eval().to(device)


def describe_line(encoder: Encoder) -> str:
    """A line for people on an encoder's file: its name or method, how far it came, its checksum, its unused keys.

    Example:
        >>> encoder = Encoder(EncoderShape(width=16, depth=1, num_heads=2, patch_size=8))
        >>> encoder.describe = {"method": "SAR-JEPA's layout", "unused": ["sarfeature1.a", "sarfeature2.a", "fc.bias"]}
        >>> describe_line(encoder)
        "SAR-JEPA's layout; 3 keys not used (fc, sarfeature1, sarfeature2)"
    """
    facts = encoder.describe
    parts = [str(facts.get("known_as") or facts.get("method") or "an encoder")]
    done, planned = facts.get("epochs"), facts.get("planned_epochs")
    if isinstance(done, float) and isinstance(planned, int) and done < planned:
        parts.append(f"stopped after {done:.3g} of {planned} epochs")
    if "sha256" in facts:
        parts.append(f"sha256 {facts['sha256']}")
    unused = facts.get("unused")
    if isinstance(unused, list) and unused:
        families = sorted({key.split(".")[0] for key in unused})
        parts.append(f"{len(unused)} keys not used ({', '.join(families)})")
    return "; ".join(parts)


def _read(path: str | Path) -> tuple[EncoderShape, Weights, dict]:
    """Shape, weights and description of the encoder at a path or address."""
    file = checkpoint_file(path)
    read = _read_safetensors if file.suffix == ".safetensors" else _read_torch
    normalised = normalised_by(path)
    shape, weights, describe = read(file, normalised)
    if normalised and "unused" not in describe:  # the file is of this package
        raise InputError("the checkpoint knows its own images", where=path, hint=f"give {bare(path)}")
    sha256 = sha256_of(file)
    known = {"known_as": KNOWN_FILES[sha256]} if sha256 in KNOWN_FILES else {}
    return shape, weights, {**describe, "file": str(path), "sha256": sha256, **known}


@dataclass(frozen=True, kw_only=True)
class _Description:
    """The facts of a file whose types are checked; all other facts are kept as they are."""

    shape: EncoderShape
    method: str | None = None
    model: str | None = None
    target: str | None = None
    seed: int | None = None
    sources: tuple[str, ...] | None = None
    num_chips: int | None = None
    epochs: float | None = None
    steps: int | None = None
    versions: dict[str, str] | None = None
    data: dict[str, str] | None = None
    centre_crop: dict[str, int | None] | None = None


def _read_torch(file: Path, normalised: Normalised | None) -> tuple[EncoderShape, Weights, dict]:
    content = read_pickle(file)
    if "encoder_shape" not in content:
        return _read_released(content, file, normalised)
    for key in ("method", "describe"):
        if not isinstance(content.get(key), dict):
            got = type(content.get(key)).__name__
            raise InputError("not a checkpoint of a run", where=f"{key} in {file}", expected="a mapping", got=got)
    prefix = f"{content.get('exported', 'encoder')}."
    weights = {key[len(prefix) :]: value for key, value in content["method"].items() if str(key).startswith(prefix)}
    with decoder_errors(lambda words: InputError("not a checkpoint of a run", where=f"describe in {file}", got=words)):
        text = json.dumps({**content["describe"], "shape": content["encoder_shape"]})
    return _described_shape(text, weights, file), weights, content["describe"]


def _read_safetensors(file: Path, normalised: Normalised | None) -> tuple[EncoderShape, Weights, dict]:
    weights, text = read_described(file, _KIND)
    if text is None:
        return _read_released(weights, file, normalised)
    return _described_shape(text, weights, file), weights, json.loads(text)


def _described_shape(text: str, weights: Weights, file: Path) -> EncoderShape:
    shape = parse_record(text.encode(), _Description, file).shape
    check_shape(shape, weights, file)
    return shape


def check_shape(shape: EncoderShape, weights: Weights, file: Path) -> None:
    """Compare the shape that a file describes with its weights, before an encoder is made of it.

    Raises:
        InputError: the shape is not that of the weights.

    Example:
        >>> shape = EncoderShape(width=16, depth=3, num_heads=2, patch_size=8)  # the weights are of two blocks
        >>> check_shape(shape, load_encoder("runs/toy").state_dict(), Path("a"))
        Traceback (most recent call last):
        sarjepa.errors.InputError: the checkpoint does not fit the encoder it describes: depth in a; expected 2; got 3
    """

    def fault(message: str, key: str, expected: object, got: object) -> InputError:
        return InputError(message, where=f"{key} in {file}", expected=expected, got=got)

    for key, value in weights.items():
        if not is_weight(value):
            raise fault("not a weight", key, "a tensor of floats", type(value).__name__)
    sizes = {
        "width": _size(weights, "patch_embed.proj.weight", 0),
        "patch_size": _size(weights, "patch_embed.proj.weight", -1),
        "depth": len({key.split(".")[1] for key in weights if key.startswith("blocks.")}),
    }
    for key, size in sizes.items():
        if not 0 < getattr(shape, key) == size:
            raise fault("the checkpoint does not fit the encoder it describes", key, size, getattr(shape, key))
    if shape.num_heads < 1 or shape.width % shape.num_heads:
        raise fault("no such number of heads", "num_heads", f"a divisor of {shape.width}, the width", shape.num_heads)
    largest = LARGEST_SIDE_PX
    if shape.positions == "learned":  # the largest side whose grid is that of the file's table
        largest = (math.isqrt(_size(weights, "pos_embed", 1)) + 1) * shape.patch_size - 1
    if not shape.patch_size <= shape.image_size <= largest:
        raise fault("no such size of an image", "image_size", f"{shape.patch_size} to {largest} px", shape.image_size)


def _size(weights: Weights, key: str, axis: int) -> int:
    """The size of a tensor along an axis; 0 if there is no such tensor or axis."""
    shape = weights[key].shape if key in weights else ()
    return shape[axis] if -len(shape) <= axis < len(shape) else 0


def _read_released(content: dict, file: Path, normalised: Normalised | None) -> tuple[EncoderShape, Weights, dict]:
    if not is_released(content):
        keys = sorted(map(str, content))
        hint = OF_A_CLASSIFIER if "encoder.cls_token" in keys else None
        raise InputError("not a checkpoint of a known kind", where=file, got=f"keys {keys[:5]}", hint=hint)
    released = sort_released(content, file, normalised)
    return released.shape, released.encoder, {"method": released.layout, "unused": list(released.unused)}


def encoder_bytes(encoder: Encoder, describe: dict[str, object]) -> bytes:
    """The encoder as a self-describing safetensors file.

    Args:
        encoder: encoder that holds the weights.
        describe: JSON-ready facts of the weights (model, method, sources, normalisation).

    Example:
        >>> content = encoder_bytes(load_encoder("runs/toy"), {"method": "sar-jepa", "resolution_m": 0.3})
        >>> _ = Path("to-share.safetensors").write_bytes(content)
        >>> load_encoder("to-share.safetensors").describe["resolution_m"]
        0.3
    """
    return described_bytes(encoder, _KIND, {**describe, "shape": asdict(encoder.shape)})


def timm_state_dict(encoder: Encoder) -> Weights:
    """The weights under the names of timm's VisionTransformer (no classifier, one input channel, no dropout).

    Those of an encoder without a class token are for `class_token=False, global_pool="avg", fc_norm=False`.

    Raises:
        InputError: the encoder has relative positions, which timm's ViT lacks.

    Examples:
        >>> import timm
        >>> from sarjepa.models.encoder import Encoder, EncoderShape
        >>> shape = EncoderShape(width=192, depth=12, num_heads=3, patch_size=16, image_size=224, positions="sincos")
        >>> encoder = Encoder(shape)
        >>> vit = timm.create_model("vit_tiny_patch16_224", in_chans=1, num_classes=0)
        >>> vit.load_state_dict(timm_state_dict(encoder))
        <All keys matched successfully>
    """
    shape = encoder.shape
    if shape.positions == "relative":
        raise InputError(
            "timm's ViT has no place for relative positions",
            where="the encoder",
            hint="share the .safetensors file, which sarjepa.load_encoder reads",
        )
    weights = {key: value.detach().clone() for key, value in encoder.state_dict().items()}
    if shape.positions == "sincos":
        weights["pos_embed"] = sincos_positions(shape.grid_side, shape.grid_side, shape.width)[None]
    if shape.class_token:
        class_row = torch.zeros_like(weights["cls_token"])  # its position is already in the class token
        weights["pos_embed"] = torch.cat([class_row, weights["pos_embed"].to(class_row)], dim=1)
    return weights


def weights_sha256(encoder: Encoder) -> str:
    """A content hash of the weights and the shape, whatever file they came from.

    Example:
        >>> first = load_encoder("runs/toy")
        >>> _ = Path("renamed.safetensors").write_bytes(encoder_bytes(first, {"method": "renamed"}))
        >>> second = load_encoder("renamed.safetensors")  # another file with the same weights
        >>> weights_sha256(first) == weights_sha256(second), first.describe["sha256"] == second.describe["sha256"]
        (True, False)
    """
    shape = asdict(encoder.shape)
    if shape["class_token"]:  # shapes did not record it at first, when all encoders had one: their hashes stay
        del shape["class_token"]
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode())
    for key, value in sorted(encoder.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
