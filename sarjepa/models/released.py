"""Checkpoints as the SAR-JEPA authors publish them.

`{"model": state_dict, "epoch": ..., "args": argparse.Namespace}`, pickled by torch, with `module.` before every key
where several GPUs trained. The shape of the network is read off its tensors. What a reader must know:

- `pos_embed` is a frozen sine-cosine table that the network never adds; it tells the side of the training image.
- `sarfeature{1..4}.*` are the target's fixed kernels, which `sarjepa.ops.ratio` replaces.
- `encoder_pred`, `decoder_blocks`, `decoder_norm`, `decoder_pred` are the predictor.

The pickle is read with `weights_only=True` and an allow-list of `argparse.Namespace` alone, so that a file cannot run
code.
"""

from __future__ import annotations

import argparse
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path

import torch

from sarjepa.errors import InputError
from sarjepa.models.encoder import SIZES, EncoderShape

_PREDICTOR_NAMES = {
    "encoder_pred.": "embed.",
    "decoder_blocks.": "blocks.",
    "decoder_norm.": "norm.",
    "decoder_pred.": "head.",
}
_ENCODER_NAMES = ("cls_token", "patch_embed.", "blocks.", "norm.")

# What torch's safe unpickler raises on bytes that are no checkpoint, found by feeding it random and damaged ones.
_UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
)

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Released:
    """A released checkpoint, sorted.

    Attributes:
        shape: of the encoder.
        encoder: its weights, by this package's names.
        predictor: the predictor's weights, by this package's names; empty where the file holds none.
        mask_token: (1, 1, width), or None.
        unused: keys that were left out.
    """

    shape: EncoderShape
    encoder: Weights
    predictor: Weights
    mask_token: torch.Tensor | None
    unused: tuple[str, ...]


def read_pickle(path: Path, device: str = "cpu") -> dict:
    """The dictionary in a file of `torch.save`, read without running any code from it.

    Raises:
        InputError: the file is no such thing, or holds objects other than tensors and plain values.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location=device, weights_only=True)
    except _UNREADABLE as error:
        raise InputError(
            "not a checkpoint that can be read safely",
            where=path,
            got=str(error).split("\n")[0][:160],
            hint="give a run folder, its checkpoint-last.pt, an exported .safetensors or a released SAR-JEPA file",
        ) from error
    if not isinstance(content, dict):
        raise InputError("not a checkpoint", where=path, expected="a dictionary", got=type(content).__name__)
    return content


def is_released(content: dict) -> bool:
    """Whether a dictionary looks like a released checkpoint or a bare ViT state dict."""
    state = content.get("model", content)
    return isinstance(state, dict) and any(str(key).endswith("patch_embed.proj.weight") for key in state)


def sort_released(content: dict, path: Path) -> Released:
    """Sort a released checkpoint's tensors into encoder, predictor and the rest.

    Raises:
        InputError: the tensors do not describe a single-channel ViT of a known shape.
    """
    state = {key.removeprefix("module."): value for key, value in content.get("model", content).items()}
    encoder = {key: value for key, value in state.items() if key.startswith(_ENCODER_NAMES)}
    predictor = {
        new + key[len(old) :]: value
        for old, new in _PREDICTOR_NAMES.items()
        for key, value in state.items()
        if key.startswith(old)
    }
    used_predictor = {key for key in state if key.startswith(tuple(_PREDICTOR_NAMES))}
    unused = sorted(set(state) - set(encoder) - used_predictor - {"mask_token"})
    return Released(_shape(state, path), encoder, predictor, state.get("mask_token"), tuple(unused))


def _shape(state: Weights, path: Path) -> EncoderShape:
    """Read the encoder's shape off its tensors."""
    if "cls_token" not in state:
        raise InputError(
            "no class token in the checkpoint", where=path, expected="the layout of a released SAR-JEPA file"
        )
    projection = state["patch_embed.proj.weight"]
    width, channels, patch = projection.shape[0], projection.shape[1], projection.shape[-1]
    if channels != 1:
        raise InputError(
            "the checkpoint is not for magnitude chips", where=path, expected="1 input channel", got=channels
        )
    depth = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
    table = state.get("blocks.0.attn.rpe_k.lookup_table_weight")
    known_heads = {size[0]: size[2] for size in SIZES.values()}
    if table is None and width not in known_heads:
        raise InputError(
            "the number of heads cannot be told", where=path, got=f"width {width} without relative position"
        )
    num_heads = width // table.shape[1] if table is not None else known_heads[width]
    grid = round((state["pos_embed"].shape[1] - 1) ** 0.5) if "pos_embed" in state else 14
    return EncoderShape(width, depth, num_heads, patch, grid * patch, "relative" if table is not None else "learned")
