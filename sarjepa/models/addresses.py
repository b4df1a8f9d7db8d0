"""Checkpoints that lie elsewhere: a web address, or a model on the Hugging Face hub.

A file is fetched once and kept, in the user's cache folder or in the hub's own. What it holds is read as safely as a
local file; what it is, only its checksum tells, so `sha256` is computed of every file and a known one is called by its
name.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import unquote, urlparse

import pooch
import requests

from sarjepa.errors import InputError

# sha256 of files that others publish. The first as a public reader of the Kaggle model printed it.
KNOWN_FILES = {
    "0894f1472f5beaad0e7663cb4da6261a9d7547e73016bf845b0b2c227d4b7ea0": (
        "SAR-JEPA, epoch 200, as published (Kaggle liweijie19/sar-jepa, pytorch/default/1)"
    ),
}
HUB_PREFIX = "hf-hub:"
# In order of preference: this package's export, then what timm and others push.
HUB_FILES = ("encoder.safetensors", "model.safetensors", "pytorch_model.bin")
_CHUNK, _TIMEOUT_S = 1 << 20, 30


def is_address(path: str | Path) -> bool:
    """Whether a path is a web address or a model on the hub."""
    return str(path).startswith(("https://", "http://", HUB_PREFIX))


def fetch(address: str) -> Path:
    """The local copy of an address, fetched unless it is there.

    Args:
        address: `https://...` or `hf-hub:owner/name`, with `@revision` behind it if need be.

    Raises:
        InputError: it cannot be had.
    """
    return _from_hub(address) if address.startswith(HUB_PREFIX) else _from_web(address)


def _from_web(address: str) -> Path:
    name = Path(unquote(urlparse(address).path)).name or "checkpoint"
    mark = hashlib.sha256(address.encode()).hexdigest()[:12]  # many a file is called checkpoint.pth
    pooch.get_logger().setLevel("WARNING")  # else it announces every download
    try:
        # Written under a name of its own and moved, so processes that fetch it at the same time do not meet.
        found = pooch.retrieve(
            address,
            known_hash=None,  # the checksum is computed, told and compared with the known ones by whoever reads it
            fname=f"{mark}-{name}",
            path=pooch.os_cache("sarjepa") / "checkpoints",
            downloader=pooch.HTTPDownloader(timeout=_TIMEOUT_S, chunk_size=_CHUNK),
        )
    except requests.RequestException as error:
        raise InputError("the checkpoint cannot be fetched", where=address, got=error) from error
    return Path(found)


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
