"""An encoder for other programs: ONNX, TorchScript, timm's names, or this package's own safetensors file.

The graph of the first two takes (B, 1, H, W) float magnitude in [0, 1], any B and any H and W that are multiples of the
patch, and gives the tokens of `Encoder.forward_features`. An exporter follows tensors, not Python lists, so positions
are computed here from tensors alone, and the index of an offset between patches is looked up in a short table: all far
offsets share one. Learned positions are resampled by an operator that neither format has, so their graph takes images
of the training's size only.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from sarjepa.models.checkpoints import encoder_bytes, timm_state_dict
from sarjepa.models.encoder import Encoder
from sarjepa.models.relative_position import CLASS_BUCKET, piecewise_index

_FAR = 16  # patches; all offsets from here on share an index


class Traced(nn.Module):
    """`forward_features` of an encoder in tensors alone."""

    index: Tensor

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        index = torch.tensor([piecewise_index(offset) + 3 for offset in range(-_FAR, _FAR + 1)])
        self.register_buffer("index", index)

    def forward(self, image_B1HW: Tensor) -> Tensor:
        """(B, 1 + N, D)."""
        encoder = self.encoder
        map_BDhw = encoder.patch_embed.proj(image_B1HW)
        rows, columns = map_BDhw.shape[2:]
        patches_BND = map_BDhw.flatten(2).transpose(1, 2)
        buckets_NN = None
        if encoder.shape.positions == "relative":
            row_NN, column_NN = self._offset_indices(rows), self._offset_indices(columns)
            buckets_NN = 7 * row_NN[:, None, :, None] + column_NN[None, :, None, :]
            buckets_NN = buckets_NN.reshape(rows * columns, rows * columns)
            buckets_NN = nn.functional.pad(buckets_NN, (1, 0, 1, 0), value=CLASS_BUCKET)
        elif encoder.shape.positions == "sincos":
            patches_BND = patches_BND + self._sincos(rows, columns).to(patches_BND)
        else:
            patches_BND = patches_BND + encoder.pos_embed
        return encoder.led(encoder.encode(patches_BND, buckets_NN))

    def _sincos(self, rows: int, columns: int) -> Tensor:
        """As `sarjepa.models.encoder.sincos_positions`, without its cache, which an exporter cannot follow."""
        frequency = 10000.0 ** (-torch.arange(self.encoder.width // 4) / (self.encoder.width // 4))
        row, column = (torch.arange(length)[:, None] * frequency for length in (rows, columns))
        zero_RC1 = torch.zeros(rows, columns, 1)  # repeats a row's values along its columns, and the other way round
        parts = [column.sin()[None], column.cos()[None], row.sin()[:, None], row.cos()[:, None]]
        return torch.cat([part + zero_RC1 for part in parts], dim=2).flatten(0, 1)

    def _offset_indices(self, length: int) -> Tensor:
        """The piecewise index, counted from 0, of the offset between each two of `length` rows or columns."""
        position = torch.arange(length, device=self.index.device)
        return self.index[(position[:, None] - position[None, :]).clamp(-_FAR, _FAR) + _FAR]


def _example(encoder: Encoder) -> Tensor:
    """Two images, not square where the encoder allows it, so that no exporter takes one length for another."""
    if encoder.shape.positions == "learned":
        return torch.zeros(2, 1, encoder.image_size, encoder.image_size)
    return torch.zeros(2, 1, 3 * encoder.patch_size, 4 * encoder.patch_size)


def _torchscript(encoder: Encoder, describe: dict[str, object]) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing being deprecated, and of shapes that are traced
        torch.jit.save(torch.jit.trace(Traced(encoder), _example(encoder), check_trace=False), content)
    return content.getvalue()


def _onnx(encoder: Encoder, describe: dict[str, object]) -> bytes:
    patch, dims = encoder.patch_size, [torch.export.Dim(name) for name in ("batch", "rows", "columns")]
    sizes = {0: dims[0]}
    if encoder.shape.positions != "learned":
        sizes |= {2: patch * dims[1], 3: patch * dims[2]}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Traced(encoder),
            (_example(encoder),),
            dynamo=True,
            verbose=False,
            input_names=["image"],
            output_names=["tokens"],
            dynamic_shapes=(sizes,),
        )
        assert program is not None
        program.save(Path(folder) / "encoder.onnx", external_data=False)
        return (Path(folder) / "encoder.onnx").read_bytes()


def _timm(encoder: Encoder, describe: dict[str, object]) -> bytes:
    return save({key: value.contiguous() for key, value in timm_state_dict(encoder).items()})


FORMATS = {"safetensors": encoder_bytes, "timm": _timm, "onnx": _onnx, "torchscript": _torchscript}
