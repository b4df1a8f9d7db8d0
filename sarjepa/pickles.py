"""Files of torch.save, checked for damage and read without running code.

torch writes a zip archive whose members carry a CRC-32 each, which torch does not check: a bit that flipped on a disk
or on the way would silently change a weight. So every member is compared with its checksum before anything is read.
Files from before torch 1.6 are bare pickles without a checksum; they are read as they are.

The pickle is read with `weights_only=True` and an allow-list of `argparse.Namespace` alone, which released checkpoints
hold, so that a file cannot run code.
"""

from __future__ import annotations

import argparse
import pickle
import re
import zipfile
from pathlib import Path

import torch

from sarjepa.boundary import decoder_errors
from sarjepa.errors import InputError

_ZIP = b"PK\3\4"


def read_pickle(path: Path, device: str | torch.device = "cpu") -> dict:
    """The dictionary in a file of `torch.save`.

    Args:
        path: path of the file.
        device: device of its tensors.

    Raises:
        InputError: the file is not one of torch.save, does not match its checksums, or holds objects other than
            tensors and plain values.

    Example:
        >>> torch.save({"weight": torch.ones(2), "pattern": re.compile("x")}, "foreign.pt")
        >>> try:
        ...     read_pickle(Path("foreign.pt"))
        ... except InputError as error:
        ...     print(error.got)
        an object of re._compile, whose code is not run
    """
    with path.open("rb") as stream:
        is_zip = stream.read(4) == _ZIP

    def refuse(words: str) -> InputError:
        return InputError(
            "not a checkpoint that can be read safely",
            where=path,
            expected="a zip or pickle of tensors and plain values, as torch.save writes it",
            got=words,
            hint="give a run folder, its checkpoint-last.pt, an exported .safetensors or a released SAR-JEPA file",
        )

    # torch's own messages are not passed on: they are about torch's settings.
    with decoder_errors(lambda _: refuse("a zip that is damaged or of another kind" if is_zip else "neither")):
        if is_zip:
            _check(path)
        try:
            with torch.serialization.safe_globals([argparse.Namespace]):
                content = torch.load(path, map_location=device, weights_only=True)
        except pickle.UnpicklingError as error:
            if foreign := re.search(r"GLOBAL (\S+)", str(error)):
                raise refuse(f"an object of {foreign[1]}, whose code is not run") from error
            raise
    if not isinstance(content, dict):
        raise InputError("not a checkpoint", where=path, expected="a dictionary", got=type(content).__name__)
    return content


def _check(path: Path) -> None:
    """Compare every member of a zip with its checksum.

    Raises:
        InputError: a member does not match its checksum, or members claim more bytes than the file has.
    """
    with zipfile.ZipFile(path) as archive:
        claimed = sum(member.file_size for member in archive.infolist())
        bad = "its list of members" if claimed > path.stat().st_size else archive.testzip()
    if bad is not None:
        hint = "go on with --resume, which takes the checkpoint before, or copy the file again"
        raise InputError("a damaged checkpoint: it does not have its checksum", where=path, got=bad, hint=hint)
