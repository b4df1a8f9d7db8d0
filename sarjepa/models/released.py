"""Checkpoints as others publish them: SAR-JEPA's authors, and ViTs in the layout of MAE and timm.

`{"model": state_dict, "epoch": ..., "args": argparse.Namespace}`, pickled by torch, with `module.` before every key
where several GPUs trained. The shape of the network is read off its tensors. A reader must know:

- `pos_embed` is a frozen sine-cosine table that the network never adds; its length tells the size of training images.
- `sarfeature{1..4}.*` are the target's fixed kernels, which `sarjepa.ops.ratio` replaces.
- `encoder_pred`, `decoder_blocks`, `decoder_norm`, `decoder_pred` are the predictor.

ViTs of photographs use the same names for their blocks. They have no relative position but add `pos_embed`, which is
read as sine-cosine positions if it holds exactly these (MAE) and as a learned table otherwise. The kernels of several
input channels are summed to one, which gives the same result as a grey photograph. If channel c of their images was
normalised by mean m_c and deviation s_c, the patch embedding w, b does it instead: w_c / s_c, and
b - sum of w_c m_c / s_c. The class token's row of the table is added to the class token. A layer scale g (DINOv2: the
output of a layer times g) is worked into the layer's last weights and biases, times g.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from sarjepa.errors import InputError
from sarjepa.models.addresses import Normalised
from sarjepa.models.encoder import SIZES, EncoderShape, sincos_positions

_PREDICTOR_NAMES = {
    "encoder_pred.": "embed.",
    "decoder_blocks.": "blocks.",
    "decoder_norm.": "norm.",
    "decoder_pred.": "head.",
}
# Of ViTs of another kind: more tokens in front, a norm before the blocks. Without them the result would be wrong.
_FOREIGN_NAMES = ("reg_token", "register_tokens", "dist_token", "norm_pre.")
_ENCODER_NAMES = ("cls_token", "patch_embed.", "blocks.", "norm.")

# The axes of the tensors that the shape of the network is read off.
_TABLE = "blocks.0.attn.rpe_k.lookup_table_weight"
_FORMS = {
    "patch_embed.proj.weight": ("width", "channels", "patch", "patch"),
    "cls_token": ("1", "1", "width"),
    "pos_embed": ("1", "patches", "width"),
    _TABLE: ("1", "width of a head", "buckets"),
}

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Released:
    """The tensors of a released checkpoint, sorted.

    Attributes:
        layout: name of the layout.
        shape: shape of the encoder.
        encoder: weights of the encoder, by this package's names.
        predictor: the predictor's weights, by this package's names; empty where the file holds none.
        mask_token: (1, 1, width), or None.
        unused: keys of tensors that are in none of these.
    """

    layout: str
    shape: EncoderShape
    encoder: Weights
    predictor: Weights
    mask_token: torch.Tensor | None
    unused: tuple[str, ...]


def _state(content: dict) -> dict:
    """The state dict of a file that holds it alone or under a key."""
    states = [content[key] for key in ("model", "state_dict") if isinstance(content.get(key), dict)]
    return states[0] if states else content


def is_released(content: dict) -> bool:
    """Whether a dictionary looks like a released checkpoint or a ViT's state dict.

    Example:
        >>> weight = torch.zeros(16, 3, 8, 8)
        >>> is_released({"model": {"module.patch_embed.proj.weight": weight}}), is_released({"conv1.weight": weight})
        (True, False)
    """
    return any(str(key).removeprefix("module.") == "patch_embed.proj.weight" for key in _state(content))


def sort_released(content: dict, path: Path, normalised: Normalised | None = None) -> Released:
    """Sort a released checkpoint's tensors into encoder, predictor and unused.

    Args:
        content: content of the file.
        path: path of the file, for messages.
        normalised: mean and deviation of each channel of the training images, to be worked into the encoder.

    Raises:
        InputError: the tensors do not describe a ViT with a class token of a known shape.

    Example:
        >>> from sarjepa.models.encoder import Encoder
        >>> state = Encoder(EncoderShape(width=16, depth=1, num_heads=2, patch_size=8)).state_dict()
        >>> state |= {"decoder_pred.bias": torch.zeros(64), "sarfeature1.weight_h": torch.zeros(1)}
        >>> found = sort_released({"model": state, "epoch": 200}, Path("released.pth"))
        >>> found.layout, list(found.predictor), found.unused
        ("SAR-JEPA's layout", ['head.bias'], ('sarfeature1.weight_h',))
    """
    state = {str(key).removeprefix("module."): value for key, value in _state(content).items()}
    foreign = [key for key in state if key.startswith(_FOREIGN_NAMES)]
    if foreign or "cls_token" not in state:
        raise InputError(
            "a ViT of another kind",
            where=path,
            expected="patches and one class token, as of SAR-JEPA, MAE and timm's plain ViTs",
            got=foreign[0] if foreign else "no class token",
        )
    encoder = {key: value for key, value in state.items() if key.startswith(_ENCODER_NAMES)}
    if faults := [key for key, value in encoder.items() if not is_weight(value)]:
        raise InputError("not a weight", where=f"{faults[0]} in {path}", expected="a tensor of floats")
    _check_forms(state, path)
    if normalised is not None:
        _work_in(encoder, normalised, path)
    encoder["patch_embed.proj.weight"] = encoder["patch_embed.proj.weight"].sum(dim=1, keepdim=True)
    _work_in_scales(encoder, path)
    shape = _shape(state, path)
    predictor = {
        new + key[len(old) :]: value
        for old, new in _PREDICTOR_NAMES.items()
        for key, value in state.items()
        if key.startswith(old)
    }
    used_predictor = {key for key in state if key.startswith(tuple(_PREDICTOR_NAMES))}
    unused = set(state) - set(encoder) - used_predictor - {"mask_token"}
    layout = "SAR-JEPA's layout" if shape.positions == "relative" else "ViT in the layout of MAE and timm"
    if shape.positions != "relative":
        class_1D, patches_1ND = _split_positions(state["pos_embed"])
        encoder["cls_token"] = encoder["cls_token"] + class_1D
        unused -= {"pos_embed"}
        if shape.positions == "learned":
            encoder["pos_embed"] = patches_1ND
    return Released(layout, shape, encoder, predictor, state.get("mask_token"), tuple(sorted(unused)))


def _work_in(encoder: Weights, normalised: Normalised, path: Path) -> None:
    """Work the normalisation of images into the patch embedding."""
    weight_DCPP, bias_D = encoder["patch_embed.proj.weight"], encoder.get("patch_embed.proj.bias")
    if weight_DCPP.shape[1] != 3 or bias_D is None:
        got = f"{weight_DCPP.shape[1]} channels" if bias_D is not None else "no bias"
        raise InputError("no patch embedding of normalised photographs", where=path, expected="3 channels and a bias",
                         got=got, hint="give the path alone")  # fmt: skip
    mean_C11, std_C11 = (torch.tensor(values).to(weight_DCPP)[:, None, None] for values in normalised)
    encoder["patch_embed.proj.weight"] = weight_DCPP / std_C11
    encoder["patch_embed.proj.bias"] = bias_D - (weight_DCPP * (mean_C11 / std_C11)).sum(dim=(1, 2, 3))


def _work_in_scales(encoder: Weights, path: Path) -> None:
    """Work the layer scales into the last linear layer of attention and MLP."""
    for key in [key for key in encoder if key.endswith((".ls1.gamma", ".ls2.gamma"))]:
        gamma_D, block = encoder.pop(key), key.rpartition(".ls")[0]
        layer = f"{block}.attn.proj" if key.endswith(".ls1.gamma") else f"{block}.mlp.fc2"
        for name in (f"{layer}.weight", f"{layer}.bias"):
            if name not in encoder or gamma_D.shape != encoder[name].shape[:1]:
                raise InputError("a layer scale without its layer", where=f"{key} in {path}", got=tuple(gamma_D.shape))
            encoder[name] = encoder[name] * gamma_D.reshape(-1, *[1] * (encoder[name].dim() - 1))


def is_weight(value: object) -> bool:
    """Whether a value of a state dict is a tensor of floats.

    Example:
        >>> is_weight(torch.zeros(2)), is_weight(torch.zeros(2, dtype=torch.int64)), is_weight(0.5)
        (True, False, False)
    """
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _check_forms(state: dict, path: Path) -> None:
    """Check that the tensors that the shape is read off agree with each other.

    Raises:
        InputError: one is not a tensor of floats, has other axes, or differs in size from one before it.
    """
    sizes = {"1": 1}
    for key, form in _FORMS.items():
        if key not in state:
            continue
        shape = tuple(state[key].shape) if is_weight(state[key]) else ()
        if len(shape) != len(form) or any(
            size != sizes.setdefault(axis, size) or not size for axis, size in zip(form, shape, strict=True)
        ):
            got, expected = shape or type(state[key]).__name__, f"({', '.join(form)})"
            raise InputError("not a ViT's weight", where=f"{key} in {path}", expected=expected, got=got)


def _split_positions(table_1ND: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows of a position table for the class token (their sum; zero if there is none) and for the patches."""
    num_patches = math.isqrt(table_1ND.shape[1]) ** 2
    num_other = table_1ND.shape[1] - num_patches
    return table_1ND[:, :num_other].sum(dim=1, keepdim=True), table_1ND[:, num_other:]


def _positions(state: Weights, path: Path) -> tuple[str, int]:
    """The kind of positions, and the side of the grid."""
    if "pos_embed" not in state:
        return "relative", 14
    _, patches_1ND = _split_positions(state["pos_embed"])
    side = math.isqrt(patches_1ND.shape[1])
    if state["pos_embed"].shape[1] - side * side > 1:
        raise InputError(
            "the position table is not of a square grid", where=path, got=f"{state['pos_embed'].shape[1]} rows"
        )
    if _TABLE in state:
        return "relative", side
    fixed = sincos_positions(side, side, patches_1ND.shape[2])
    is_fixed = fixed.shape == patches_1ND[0].shape and torch.allclose(patches_1ND[0].float(), fixed, atol=1e-3)
    return "sincos" if is_fixed else "learned", side


def _shape(state: Weights, path: Path) -> EncoderShape:
    """Read the encoder's shape off its tensors."""
    projection = state["patch_embed.proj.weight"]
    width, patch = projection.shape[0], projection.shape[-1]
    depth = len({key.split(".")[1] for key in state if key.startswith("blocks.")})
    table = state.get(_TABLE)
    known_heads = {size[0]: size[2] for size in SIZES.values()}
    if table is None and width not in known_heads:
        raise InputError(
            "the number of heads cannot be told", where=path, got=f"width {width} without relative position"
        )
    if table is not None and width % table.shape[1]:
        expected = f"a divisor of {width}, the width"
        raise InputError("no such width of a head", where=f"{_TABLE} in {path}", expected=expected, got=table.shape[1])
    num_heads = width // table.shape[1] if table is not None else known_heads[width]
    positions, grid = _positions(state, path)
    return EncoderShape(width, depth, num_heads, patch, grid * patch, positions)
