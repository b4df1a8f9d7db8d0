"""Safetensors files that say what they hold.

A safetensors file is a table of tensors and a few strings: reading one runs no code, which a pickle cannot promise. One
string, under the name of the file's kind, is JSON with everything that is needed to use the tensors; a file without it
is somebody else's, and still tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sarjepa.errors import InputError


def described_bytes(module: nn.Module, kind: str, describe: Mapping[str, Any]) -> bytes:
    """A module's weights and what is said of them, as the content of a file.

    Args:
        module: whose weights.
        kind: the name that the description is found under.
        describe: JSON-ready.
    """
    weights = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    return save(weights, metadata={kind: json.dumps(describe, sort_keys=True)})


def read_described(file: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Tensors and description of a file; None where it has no description of this kind.

    Raises:
        InputError: it is not a safetensors file, or is cut short.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            describe = json.loads((opened.metadata() or {}).get(kind, "null"))
            return {key: opened.get_tensor(key) for key in opened.keys()}, describe  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise InputError("not a readable safetensors file", where=file, got=error) from error
