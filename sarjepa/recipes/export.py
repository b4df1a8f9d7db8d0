"""export: the encoder of a run as a file for other programs (`sarjepa.models.exports`)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sarjepa.config import ExportConfig
from sarjepa.errors import InputError
from sarjepa.files import write_atomically
from sarjepa.models.addresses import bare, is_address, newest_run
from sarjepa.models.checkpoints import load_encoder
from sarjepa.models.exports import FORMATS
from sarjepa.progress import Progress
from sarjepa.results.result import Result, writable_folder

NAMES = {"safetensors": "exported.safetensors", "timm": "timm.safetensors", "onnx": "encoder.onnx",
         "torchscript": "encoder.torchscript"}  # fmt: skip
NEEDED = ("onnx", "onnxscript")


def run(config: ExportConfig, progress: Progress) -> Result:
    """Export the encoder of a run, and note which images it takes.

    Raises:
        InputError: the checkpoint cannot be read, the format cannot hold its positions, ONNX's packages are missing, or
            the file cannot be written.

    Example:
        >>> run(ExportConfig(run="runs/toy", out="toy.safetensors"), Progress()).message
        'safetensors, 0.0 MB; toy.safetensors'
        >>> load_encoder("toy.safetensors").describe["method"]
        'sar-jepa'
    """
    if config.format == "onnx" and (missing := [name for name in NEEDED if find_spec(name) is None]):
        hint = "pip install 'sarjepa[export]'"
        raise InputError("ONNX needs packages that are not installed", where=", ".join(missing), hint=hint)
    name = config.run or newest_run()
    encoder = load_encoder(name)
    path = Path("." if is_address(name) else bare(name))
    out = Path(config.out) if config.out else (path if path.is_dir() else path.parent) / NAMES[config.format]
    writable_folder(out.parent)
    describe = {key: value for key, value in encoder.describe.items() if key not in ("shape", "file", "sha256")}
    content = FORMATS[config.format](encoder, describe)
    write_atomically(out, content)
    progress.note(f"takes magnitude in [0, 1], (B, 1, {encoder.image_size}, {encoder.image_size}) as in the training")
    return Result(f"{config.format}, {len(content) / 1e6:.1f} MB; {out}", out.parent)
