"""Where a checkpoint lies: in a run folder, at a web address, or on the Hugging Face hub.

Nothing here imports torch, so that a wrong path is refused at once.

ViTs of others were mostly trained on normalised images, which their files do not say. The prefix `imagenet:` or `half:`
of a path or address says so (mean and deviation of photographs; 0.5 and 0.5, as of SARMAE's released weights), and
`released` works the normalisation into the patch embedding.

A file is fetched once and kept, in the user's cache folder or in the hub's own. It is read as safely as a local file.
Only its checksum tells which file it is, so the sha256 of every file is computed, and a known file is named.
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

# sha256 of files that others publish; the first is what a public reader of the Kaggle model printed.
KNOWN_FILES = {
    "0894f1472f5beaad0e7663cb4da6261a9d7547e73016bf845b0b2c227d4b7ea0": (
        "SAR-JEPA, epoch 200, as published (Kaggle liweijie19/sar-jepa, pytorch/default/1)"
    ),
}
HUB_PREFIX = "hf-hub:"
# Mean and deviation of each channel (red, green, blue) of the images that a ViT was trained on.
Normalised = tuple[tuple[float, float, float], tuple[float, float, float]]
NORMALISED: dict[str, Normalised] = {
    "imagenet:": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half:": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
RUN_FILES = ("encoder.safetensors", "checkpoint-last.pt")  # of a run folder, in order of preference
CLASSIFIER_FILE = "classifier.safetensors"
OF_A_CLASSIFIER = "it is a classifier: sarjepa.load_classifier opens it, and sarjepa probe labels chips with it"
# In order of preference: this package's export, then what timm and others push.
HUB_FILES = ("encoder.safetensors", "model.safetensors", "pytorch_model.bin")
# A user waits for a checkpoint, so a server that does not answer is given up sooner than for an archive.
PATIENCE = Patience(attempts=3, pause_s=0.5)


def normalised_by(path: str | Path) -> Normalised | None:
    """The mean and deviation that the prefix of a path names, if it has one.

    Example:
        >>> normalised_by("half:sarmae.pth"), normalised_by("runs/mine")
        (((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), None)
    """
    return next((values for prefix, values in NORMALISED.items() if str(path).startswith(prefix)), None)


def bare(path: str | Path) -> str:
    """A path or address without the prefix that says how images were normalised.

    Example:
        >>> bare("half:sarmae.pth"), bare("runs/mine")
        ('sarmae.pth', 'runs/mine')
    """
    for prefix in NORMALISED:
        path = str(path).removeprefix(prefix)
    return str(path)


def is_address(path: str | Path) -> bool:
    """Whether a path is a web address or a model on the hub.

    Example:
        >>> is_address("hf-hub:owner/name"), is_address("runs/mine")
        (True, False)
    """
    return bare(path).startswith(("https://", "http://", HUB_PREFIX))


def fetch(address: str, patience: Patience = PATIENCE) -> Path:
    """The local copy of an address, fetched unless it is there.

    Args:
        address: `https://...`, or `hf-hub:owner/name` or `hf-hub:owner/name@revision`.
        patience: limits on attempts at an address on the web.

    Raises:
        InputError: it cannot be fetched.
    """
    return _from_hub(address) if address.startswith(HUB_PREFIX) else _from_web(address, patience)


def _from_web(address: str, patience: Patience) -> Path:
    name = Path(unquote(urlparse(address).path)).name or "checkpoint"
    key = hashlib.sha256(address.encode()).hexdigest()[:12]  # as many files are called checkpoint.pth
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sarjepa" / "checkpoints"
    try:
        return download.fetch(RemoteFile(f"{key}-{name}", addresses=(address,)), cache, Progress(), patience)
    except InputError as error:
        hint = "fetch it with a browser and give the file"
        got = f"{error.what}: {error.got}"
        raise InputError("the checkpoint cannot be fetched", where=address, got=got, hint=hint) from error


def _from_hub(address: str) -> Path:
    import huggingface_hub  # slow to import, and rarely needed
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


def checkpoint_file(path: str | Path) -> Path:
    """The local file that a run folder, path or address names; an address is fetched.

    Raises:
        InputError: the path does not exist, or the folder holds no checkpoint.

    Example:
        >>> str(checkpoint_file("runs/toy"))
        'runs/toy/encoder.safetensors'
    """
    if is_address(path):
        return fetch(bare(path))
    path = Path(bare(path))
    if not path.exists():
        raise InputError(
            "no such checkpoint", where=path, hint="give a run folder or a file, or run sarjepa pretrain first"
        )
    if path.is_file():
        return path
    for name in RUN_FILES:
        if (path / name).is_file():
            return path / name
    hint = OF_A_CLASSIFIER if is_classifier(path) else None
    raise InputError("no checkpoint in the folder", where=path, expected=" or ".join(RUN_FILES), hint=hint)


def run_folder(path: str | Path) -> Path:
    """The path as the folder of a run; its content is not checked.

    Raises:
        InputError: there is no such folder.

    Example:
        >>> run_folder("runs/none")
        Traceback (most recent call last):
        sarjepa.errors.InputError: no such run folder: runs/none; give --run a folder that sarjepa pretrain made
    """
    if not Path(path).is_dir():
        raise InputError("no such run folder", where=path, hint="give --run a folder that sarjepa pretrain made")
    return Path(path)


def newest_run(folder: str = "runs") -> str:
    """The run folder whose checkpoint is newest.

    Raises:
        InputError: no run has a checkpoint.

    Example:
        >>> newest_run("runs")
        'runs/toy'
    """
    files = [file for name in RUN_FILES for file in Path(folder).glob(f"*/{name}")]
    if not files:
        raise InputError("no run to evaluate", where=folder, hint="give --checkpoint, or run sarjepa pretrain first")
    return str(max(files, key=lambda file: (file.stat().st_mtime, str(file))).parent)


def no_classifier(path: str | Path) -> InputError:
    """The error for a path that holds no classifier.

    Example:
        >>> print(no_classifier("runs/toy"))
        no classifier here: runs/toy; run sarjepa probe or sarjepa finetune, which save one
    """
    return InputError("no classifier here", where=path, hint="run sarjepa probe or sarjepa finetune, which save one")


def is_classifier(path: str | Path) -> bool:
    """Whether a path is a classifier's file or the folder that holds it.

    Example:
        >>> is_classifier("runs/toy"), is_classifier("runs/toy/finetune-toy")
        (False, True)
    """
    return (Path(path) / CLASSIFIER_FILE).is_file() or (Path(path).name == CLASSIFIER_FILE and Path(path).is_file())
