"""From a path to an encoder, and from an encoder to a file.

Read are a run folder, its `checkpoint-last.pt`, an exported `.safetensors` (weights plus JSON that says what they are),
a checkpoint as the SAR-JEPA authors publish it, and a ViT in the layout of MAE and timm; each here, at a web address or
on the Hugging Face hub. The safetensors file is the one to share: it cannot carry code and describes itself.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch

from sarjepa.errors import InputError
from sarjepa.files import sha256_of
from sarjepa.models.addresses import KNOWN_FILES, OF_A_CLASSIFIER, checkpoint_file
from sarjepa.models.described import described_bytes, read_described
from sarjepa.models.encoder import Encoder, EncoderShape, sincos_positions
from sarjepa.models.released import Weights, is_released, read_pickle, sort_released

_KIND = "sarjepa-encoder"


def load_encoder(path: str | Path, device: str = "cpu") -> Encoder:
    """The encoder of a run folder, checkpoint, exported `.safetensors`, released SAR-JEPA or MAE/timm-layout file.

    Args:
        path: where it is: a path, `https://...` or `hf-hub:owner/name`.
        device: where it goes.

    Returns:
        The encoder in evaluation mode; `describe` says what is known of it, `describe_line` says it in one line.

    Raises:
        InputError: nothing is there, or it is not a checkpoint.

    Example:
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
    except RuntimeError as error:  # torch's word for missing, unexpected and misshapen weights
        faults = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise InputError("the checkpoint does not fit the encoder it describes", where=path, got=faults) from error
    encoder.describe = {**describe, "shape": asdict(shape)}
    return encoder.eval().to(device)


def initial_encoder(path: str | Path, seed: int, device: str = "cpu") -> Encoder:
    """The encoder of the same shape as the one at `path`, at random initialisation.

    Args:
        path: as in `load_encoder`.
        seed: where the file does not say from which seed its own weights started.
        device: where it goes.
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
    """What is known of an encoder's file, for a person: what it is, its checksum, what of it was left out."""
    facts = encoder.describe
    parts = [str(facts.get("known_as") or facts.get("method") or "an encoder")]
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
    shape, weights, describe = read(file)
    sha256 = sha256_of(file)
    known = {"known_as": KNOWN_FILES[sha256]} if sha256 in KNOWN_FILES else {}
    return shape, weights, {**describe, "file": str(path), "sha256": sha256, **known}


def _read_torch(file: Path) -> tuple[EncoderShape, Weights, dict]:
    content = read_pickle(file)
    if "encoder_shape" not in content:
        return _read_released(content, file)
    prefix = content.get("exported", "encoder") + "."
    weights = {key[len(prefix) :]: value for key, value in content["method"].items() if key.startswith(prefix)}
    return EncoderShape(**content["encoder_shape"]), weights, content["describe"]


def _read_safetensors(file: Path) -> tuple[EncoderShape, Weights, dict]:
    weights, describe = read_described(file, _KIND)
    if describe is None:
        return _read_released(weights, file)
    return EncoderShape(**describe["shape"]), weights, describe


def _read_released(content: dict, file: Path) -> tuple[EncoderShape, Weights, dict]:
    if not is_released(content):
        keys = sorted(map(str, content))
        hint = OF_A_CLASSIFIER if "encoder.cls_token" in keys else None
        raise InputError("not a checkpoint of a known kind", where=file, got=f"keys {keys[:5]}", hint=hint)
    released = sort_released(content, file)
    return released.shape, released.encoder, {"method": released.layout, "unused": list(released.unused)}


def encoder_bytes(encoder: Encoder, describe: dict[str, object]) -> bytes:
    """The encoder as a self-describing safetensors file.

    Args:
        encoder: whose weights.
        describe: what they are, JSON-ready (model, method, sources, normalisation).
    """
    return described_bytes(encoder, _KIND, {**describe, "shape": asdict(encoder.shape)})


def timm_state_dict(encoder: Encoder) -> Weights:
    """The weights as timm's VisionTransformer (no classifier, one input channel, no dropout) names them.

    Those of an encoder without a class token are for `class_token=False, global_pool="avg", fc_norm=False`.

    Raises:
        InputError: the encoder has relative positions, which timm's ViT has not.

    Example:
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
        class_row = torch.zeros_like(weights["cls_token"])  # its position is part of the class token here
        weights["pos_embed"] = torch.cat([class_row, weights["pos_embed"].to(class_row)], dim=1)
    return weights


def weights_sha256(encoder: Encoder) -> str:
    """A content hash of the weights and the shape, the same wherever they came from."""
    shape = asdict(encoder.shape)
    if shape["class_token"]:  # most have one, and had it before the shape said so: their names stay
        del shape["class_token"]
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode())
    for key, value in sorted(encoder.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
