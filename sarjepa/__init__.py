"""sarjepa: self-supervised SAR target recognition, from public archives to a few-shot table.

The names in `__all__` are the public ones; they load on first use, so that `import sarjepa` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sarjepa.version import __version__

if TYPE_CHECKING:
    from sarjepa.data import transforms
    from sarjepa.data.shards import open_shards
    from sarjepa.data.transforms import ChipDataset
    from sarjepa.evaluation.classifier import load_classifier
    from sarjepa.models.checkpoints import load_encoder, timm_state_dict
    from sarjepa.ops.ratio import gradient_by_ratio

_HOMES = {
    "ChipDataset": "sarjepa.data.transforms",
    "gradient_by_ratio": "sarjepa.ops.ratio",
    "load_classifier": "sarjepa.evaluation.classifier",
    "load_encoder": "sarjepa.models.checkpoints",
    "open_shards": "sarjepa.data.shards",
    "timm_state_dict": "sarjepa.models.checkpoints",
}

__all__ = [
    "ChipDataset",
    "__version__",
    "gradient_by_ratio",
    "load_classifier",
    "load_encoder",
    "open_shards",
    "timm_state_dict",
    "transforms",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module (PEP 562)."""
    if name == "transforms":
        return importlib.import_module("sarjepa.data.transforms")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return __all__
