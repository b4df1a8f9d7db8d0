"""Anchors: frozen networks that describe an optical image patch by patch.

SARMAE (Liu et al., arXiv 2512.16635, 2025) draws the tokens of a SAR encoder towards the tokens that a network trained
on photographs gives for an optical image of the same place. The choice of that network decides what is learned:

    timm:NAME       any ViT of timm with its published weights; the paper's is vit_base_patch16_dinov3.lvd1689m
    PATH            an encoder of this package, or of a layout it reads; it sees the image in grey
    released        the anchor of the published code, which differs from the paper: the patch embedding and the last
                    LayerNorm of the paper's network, without its blocks. Tokens are then a linear map of the patch.

Weights of timm come from its hub. Where that cannot be reached, `@FILE` behind the name gives their file.

An image is resized so that its patches are those of the SAR encoder's grid, whatever the two patch sizes are.

Shapes: B images, N = rows * columns patches, D the width of the anchor's tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.nn.functional import interpolate

from sarjepa.boundary import decoder_errors
from sarjepa.errors import InputError
from sarjepa.models.checkpoints import load_encoder

TIMM, RELEASED = "timm:", "released"
PAPER_NETWORK = "vit_base_patch16_dinov3.lvd1689m"
_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Anchor(nn.Module):
    """A frozen network.

    Args:
        network: network of fixed weights.
        tokens: function from prepared images, (B, channels, H, W), to tokens, (B, N, D).
        patch_size: side (px) of its patches.
        width: D.
        prepare: function from images in [0, 1], (B, 3, H, W), to inputs of the network.
    """

    def __init__(
        self,
        network: nn.Module,
        tokens: Callable[[torch.Tensor], torch.Tensor],
        patch_size: int,
        width: int,
        prepare: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.tokens, self.patch_size, self.width, self.prepare = tokens, patch_size, width, prepare

    @torch.no_grad()
    def forward(self, image_B3HW: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """Tokens of the patches of a rows x columns grid, (B, N, D).

        Args:
            image_B3HW: optical images in [0, 1].
            rows, columns: size of the grid.
        """
        size = (rows * self.patch_size, columns * self.patch_size)
        if image_B3HW.shape[2:] != size:
            image_B3HW = interpolate(image_B3HW, size, mode="bicubic", antialias=True).clamp(0, 1)
        return self.tokens(self.prepare(image_B3HW))

    @cached_property
    def sha256(self) -> str:
        """A content hash of the weights, by which a resumed run recognises its anchor."""
        digest = hashlib.sha256()
        for key, value in sorted(self.network.state_dict().items()):
            digest.update(key.encode() + value.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()


def load_anchor(address: str) -> Anchor:
    """The anchor of an address: timm:NAME, timm:NAME@FILE, released, released@FILE, or a path of an encoder.

    Raises:
        InputError: there is no such network, it has no patch tokens, or its weights cannot be fetched or read.

    Example:
        >>> anchor = load_anchor("runs/toy")
        >>> anchor(torch.rand(1, 3, 50, 70), rows=3, columns=4).shape  # a token for each patch of the grid
        torch.Size([1, 12, 16])
    """
    name, _, file = address.partition("@")
    if name == RELEASED:
        return _of_timm(PAPER_NETWORK, file, address, patches_only=True)
    if name.startswith(TIMM):
        return _of_timm(name.removeprefix(TIMM), file, address)
    encoder = load_encoder(address)
    num_prefix = int(encoder.shape.class_token)

    def tokens(image_B1HW: torch.Tensor) -> torch.Tensor:
        return encoder.forward_features(image_B1HW)[:, num_prefix:]

    def grey(image_B3HW: torch.Tensor) -> torch.Tensor:
        return (image_B3HW * image_B3HW.new_tensor(_LUMINANCE)[:, None, None]).sum(dim=1, keepdim=True)

    return Anchor(encoder, tokens, encoder.patch_size, encoder.width, grey)


def _of_timm(name: str, file: str, address: str, patches_only: bool = False) -> Anchor:
    import timm  # slow to import

    hint = "timm.list_models('vit*', pretrained=True) lists names; NAME@FILE reads weights that lie on this machine"

    def fault(words: str) -> InputError:
        return InputError("no anchor of timm", where=f"anchor {address}", got=words, hint=hint)

    with decoder_errors(fault):  # a hub that does not answer, names that do not exist, weights that do not fit
        overlay = {"file": file} if file else None
        network: Any = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0, dynamic_img_size=True
        )
        patch_size, width = network.patch_embed.patch_size[0], network.num_features
        mean, std = network.pretrained_cfg["mean"], network.pretrained_cfg["std"]

    def normalised(image_B3HW: torch.Tensor) -> torch.Tensor:
        mean_311, std_311 = (image_B3HW.new_tensor(values)[:, None, None] for values in (mean, std))
        return (image_B3HW - mean_311) / std_311

    def tokens(image_B3HW: torch.Tensor) -> torch.Tensor:
        if patches_only:
            return network.norm(network.patch_embed(image_B3HW).reshape(len(image_B3HW), -1, width))
        return network.forward_features(image_B3HW)[:, network.num_prefix_tokens :]

    return Anchor(network, tokens, patch_size, width, normalised)
