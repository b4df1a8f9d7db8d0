"""Checkpoints that lie elsewhere: a web address, or a model on the Hugging Face hub.

A file is fetched once and kept, in the user's cache folder or in the hub's own. What it holds is read as safely as a
local file; what it is, only its checksum tells, so `sha256` is computed of every file and a known one is called by its
name.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import unquote, urlparse

from sarjepa import download
from sarjepa.download import Patience, RemoteFile
from sarjepa.errors import InputError
from sarjepa.progress import Progress

# sha256 of files that others publish. The first as a public reader of the Kaggle model printed it.
KNOWN_FILES = {
    "0894f1472f5beaad0e7663cb4da6261a9d7547e73016bf845b0b2c227d4b7ea0": (
        "SAR-JEPA, epoch 200, as published (Kaggle liweijie19/sar-jepa, pytorch/default/1)"
    ),
}
HUB_PREFIX = "hf-hub:"
# In order of preference: this package's export, then what timm and others push.
HUB_FILES = ("encoder.safetensors", "model.safetensors", "pytorch_model.bin")
# Somebody waits for a checkpoint, so a server that does not answer is given up sooner than for an archive.
PATIENCE = Patience(attempts=3, pause_s=0.5)


def is_address(path: str | Path) -> bool:
    """Whether a path is a web address or a model on the hub."""
    return str(path).startswith(("https://", "http://", HUB_PREFIX))


def fetch(address: str, patience: Patience = PATIENCE) -> Path:
    """The local copy of an address, fetched unless it is there.

    Args:
        address: `https://...` or `hf-hub:owner/name`, with `@revision` behind it if need be.
        patience: how long to try an address on the web.

    Raises:
        InputError: it cannot be had.
    """
    return _from_hub(address) if address.startswith(HUB_PREFIX) else _from_web(address, patience)


def _from_web(address: str, patience: Patience) -> Path:
    name = Path(unquote(urlparse(address).path)).name or "checkpoint"
    mark = hashlib.sha256(address.encode()).hexdigest()[:12]  # many a file is called checkpoint.pth
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sarjepa" / "checkpoints"
    try:
        return download.fetch(RemoteFile(f"{mark}-{name}", addresses=(address,)), cache, Progress(), patience)
    except InputError as error:
        hint = "fetch it with a browser and give the file"
        raise InputError("the checkpoint cannot be fetched", where=address, got=error.got, hint=hint) from error


def _from_hub(address: str) -> Path:
    import huggingface_hub  # slow to import, and seldom needed
    from huggingface_hub import errors

    repository, _, revision = address.removeprefix(HUB_PREFIX).partition("@")
    for name in HUB_FILES:
        try:
            return Path(huggingface_hub.hf_hub_download(repository, name, revision=revision or None))
        except errors.LocalEntryNotFoundError as error:  # the hub could not be asked
            raise InputError("the hub cannot be reached", where=address, got=error) from error
        except errors.EntryNotFoundError:
            continue
        except (errors.HfHubHTTPError, OSError, ValueError) as error:
            raise InputError("the model cannot be fetched from the hub", where=address, got=error) from error
    raise InputError("no weights in the model on the hub", where=address, expected=" or ".join(HUB_FILES))
