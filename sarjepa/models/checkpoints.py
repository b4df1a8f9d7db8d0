"""From a path to an encoder, and from an encoder to a file.

Four kinds of file are read: a run folder, its `checkpoint-last.pt`, an exported `.safetensors` (weights plus JSON that
says what they are), and a checkpoint as the SAR-JEPA authors publish it. The safetensors file is the one to share: it
cannot carry code and describes itself.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from sarjepa.errors import InputError
from sarjepa.models.encoder import Encoder, EncoderShape
from sarjepa.models.released import Weights, is_released, read_pickle, sort_released

RUN_FILES = ("encoder.safetensors", "checkpoint-last.pt")
_KIND = "sarjepa-encoder"


def load_encoder(path: str | Path, device: str = "cpu") -> Encoder:
    """The encoder of a run folder, checkpoint, exported `.safetensors` or released SAR-JEPA checkpoint.

    Args:
        path: where it is.
        device: where it goes.

    Returns:
        The encoder in evaluation mode; `describe` says what is known of it.

    Raises:
        InputError: nothing is there, or it is no checkpoint.
    """
    shape, weights, describe = _read(Path(path))
    encoder = Encoder(shape)
    try:
        encoder.load_state_dict(weights)
    except RuntimeError as error:  # torch's word for missing, unexpected and misshapen weights
        faults = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise InputError("the checkpoint does not fit the encoder it describes", where=path, got=faults) from error
    encoder.describe = {**describe, "shape": asdict(shape)}
    return encoder.eval().to(device)


def initial_encoder(path: str | Path, seed: int, device: str = "cpu") -> Encoder:
    """The encoder of the same shape as the one at `path`, at random initialisation from `seed`."""
    shape, _, describe = _read(Path(path))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(shape)
    encoder.describe = {
        "method": "random initialisation",
        "seed": seed,
        "shape": asdict(shape),
        "image_like": describe.get("sources"),
    }
    return encoder.eval().to(device)


def checkpoint_file(path: Path) -> Path:
    """The file that a run folder or path stands for.

    Raises:
        InputError: there is none.
    """
    if not path.exists():
        raise InputError(
            "no such checkpoint", where=path, hint="give a run folder or a file, or run sarjepa pretrain first"
        )
    if path.is_file():
        return path
    for name in RUN_FILES:
        if (path / name).is_file():
            return path / name
    raise InputError("no checkpoint in the folder", where=path, expected=" or ".join(RUN_FILES))


def _read(path: Path) -> tuple[EncoderShape, Weights, dict]:
    """Shape, weights and description of the encoder at a path."""
    file = checkpoint_file(path)
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    content = read_pickle(file)
    if "encoder_shape" in content:
        prefix = "encoder."
        weights = {key[len(prefix) :]: value for key, value in content["method"].items() if key.startswith(prefix)}
        return EncoderShape(**content["encoder_shape"]), weights, content["describe"]
    if is_released(content):
        released = sort_released(content, file)
        return (
            released.shape,
            released.encoder,
            {"method": "sar-jepa, released layout", "unused": list(released.unused)},
        )
    raise InputError("not a checkpoint of a known kind", where=file, got=f"keys {sorted(map(str, content))[:5]}")


def _read_safetensors(file: Path) -> tuple[EncoderShape, Weights, dict]:
    try:
        with safe_open(file, framework="pt") as opened:
            describe = json.loads((opened.metadata() or {}).get(_KIND, "null"))
            weights = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise InputError("not a readable safetensors file", where=file, got=error) from error
    if describe is None:
        raise InputError("the file does not say what it holds", where=file, expected=f"metadata {_KIND!r}")
    return EncoderShape(**describe["shape"]), weights, describe


def encoder_bytes(encoder: Encoder, describe: dict[str, object]) -> bytes:
    """The encoder as a self-describing safetensors file.

    Args:
        encoder: whose weights.
        describe: what they are, JSON-ready (model, method, sources, normalisation).
    """
    text = json.dumps({**describe, "shape": asdict(encoder.shape)}, sort_keys=True)
    weights = {key: value.detach().cpu().contiguous() for key, value in encoder.state_dict().items()}
    return save(weights, metadata={_KIND: text})


def weights_sha256(encoder: Encoder) -> str:
    """A content hash of the weights and the shape, the same wherever they came from."""
    digest = hashlib.sha256(json.dumps(asdict(encoder.shape), sort_keys=True).encode())
    for key, value in sorted(encoder.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
