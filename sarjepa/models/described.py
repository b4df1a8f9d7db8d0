"""Safetensors files that describe their content.

A safetensors file is a table of tensors and a few strings; unlike a pickle, it can be read without running code. One
string, under the name of the file's kind, is JSON with all that is needed to use the tensors; files of others lack it,
and their tensors can still be read. The format has no checksum. Ours is a second string, a SHA-256 over names, types,
shapes and bytes of the tensors and over the description, so that a flipped bit is an error, not another weight. Files
of others, and those written before there was a checksum, are read without one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sarjepa.boundary import decoder_errors
from sarjepa.errors import InputError

_CHECKSUM = "sarjepa-sha256"


def described_bytes(module: nn.Module, kind: str, describe: Mapping[str, Any]) -> bytes:
    """A module's weights and their description, as the content of a file.

    Args:
        module: module that holds the weights.
        kind: key of the description in the file.
        describe: JSON-ready facts of the weights.

    Example:
        >>> content = described_bytes(nn.Linear(2, 1), "my-head", {"classes": ["ship"]})
        >>> header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        >>> header["weight"]["shape"], header["__metadata__"]["my-head"]
        ([1, 2], '{"classes": ["ship"]}')
    """
    weights = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    strings = {kind: json.dumps(describe, sort_keys=True)}
    return _in_order(save(weights, metadata={**strings, _CHECKSUM: _sha256(weights, strings)}))


def _in_order(content: bytes) -> bytes:
    """The file with its strings sorted, as the library writes them in an order that changes between processes."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors are aligned
    return len(text).to_bytes(8, "little") + text + content[end:]


def _sha256(weights: Mapping[str, Tensor], strings: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(strings, sort_keys=True).encode())
    for key, value in sorted(weights.items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_described(file: Path, kind: str) -> tuple[dict[str, Tensor], str | None]:
    """Tensors of a file, and its description of this kind as JSON text, or None.

    Raises:
        InputError: it is not a safetensors file, is cut short, or does not match its checksum.

    Example:
        >>> weights, text = read_described(Path("runs/toy/encoder.safetensors"), "sarjepa-encoder")
        >>> weights["cls_token"].shape, json.loads(text)["sources"]
        (torch.Size([1, 1, 16]), ['toy'])
    """
    with decoder_errors(lambda words: InputError("not a readable safetensors file", where=file, got=words)):
        with safe_open(file, framework="pt") as opened:
            strings = dict(opened.metadata() or {})
            weights = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - not a dict
        expected = strings.pop(_CHECKSUM, None)
        if expected not in (None, _sha256(weights, strings)):
            hint = "copy the file again, or export it again from its run"
            raise InputError("a damaged file: it does not have its checksum", where=file, hint=hint)
    return weights, strings.get(kind)
