"""The encoder: a ViT on single-channel magnitude.

A chip in [0, 1] is cut into patches, a class token is put in front, and pre-norm blocks follow. The encoder is told the
positions of patches in one of three ways:

    relative   a bias on every pair's logit (the default, as the released SAR-JEPA weights). The weights do not depend
               on the grid: they serve windows of patches in pre-training and whole chips of any size afterwards.
    sincos     fixed sine-cosine positions added to the patches (MAE, I-JEPA), computed for any grid.
    learned    a table added to the patches (ViTs trained on photographs), interpolated to any grid.

I-JEPA's encoder has no class token. Its feature of a chip is the mean of the patch tokens, which then takes the class
token's place in all outputs of the encoder, so that callers need not tell the two cases apart.

Parameter names are those of the released state dict, so that reading one only means leaving keys out.

Shapes: B chips, N patches of the grid in row-major order, D width, H heads.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sarjepa.boundary import decoder_errors
from sarjepa.errors import InputError, nearest
from sarjepa.models.blocks import Block, initialise
from sarjepa.models.heads import POOLS, Feature
from sarjepa.models.relative_position import bucket_ids
from sarjepa.resampling import centre_crop_and_resize, magnitudes

POSITIONS = ("relative", "sincos", "learned")
AS_TRAINED = "as trained"


@dataclass(frozen=True)
class EncoderShape:
    """All that is needed to build an encoder again; stored beside its weights.

    `image_size` is the side (px) that it was pre-trained at and that evaluation resizes to; the network itself takes
    any. Without `class_token` the mean of the patch tokens takes its place.
    """

    width: int
    depth: int
    num_heads: int
    patch_size: int
    image_size: int = 224
    positions: str = "relative"
    class_token: bool = True

    def __post_init__(self) -> None:
        """Refuse a shape that would silently build an encoder without positions.

        Raises:
            InputError: no such kind of position, or relative positions, whose buckets count a class token, without one.
        """
        if self.positions not in POSITIONS:
            raise InputError("no such kind of position", where=repr(self.positions), expected=" or ".join(POSITIONS))
        if self.positions == "relative" and not self.class_token:
            raise InputError("relative positions need a class token", where="the encoder's shape")

    @property
    def grid_side(self) -> int:
        """Patches along a side of the image it was pre-trained at."""
        return self.image_size // self.patch_size


# width, depth, heads, patch. ViT-tiny to -huge as in the literature; the first two are small enough for two cores.
SIZES: dict[str, tuple[int, int, int, int]] = {
    "vit-demo": (96, 4, 3, 8),
    "vit-laptop": (128, 6, 4, 8),
    "vit-tiny": (192, 12, 3, 16),
    "vit-small": (384, 12, 6, 16),
    "vit-base": (768, 12, 12, 16),
    "vit-large": (1024, 24, 16, 16),
    "vit-huge": (1280, 32, 16, 14),
}


def encoder_shape(
    model: str,
    image_size: int = 224,
    patch_size: int | None = None,
    positions: str = "relative",
    class_token: bool = True,
) -> EncoderShape:
    """The shape of a named model.

    Raises:
        InputError: no such model, or the image is not a whole number of patches wide.

    Example:
        >>> encoder_shape("vit-tiny", image_size=64).grid_side
        4
    """
    if model not in SIZES:
        raise InputError("no such model", where=repr(model), hint=nearest(model, SIZES))
    width, depth, num_heads, patch = SIZES[model]
    patch = patch_size or patch
    if image_size % patch:
        raise InputError(
            "the image is not a whole number of patches wide",
            where="image-size",
            expected=f"a multiple of {patch}",
            got=image_size,
        )
    return EncoderShape(width, depth, num_heads, patch, image_size, positions, class_token)


@functools.lru_cache(maxsize=32)
def sincos_positions(rows: int, columns: int, width: int) -> torch.Tensor:
    """Fixed 2-D sine-cosine positions (He et al., MAE, 2022): half the width for the columns, half for the rows.

    Returns:
        (rows * columns, width) float32.

    Example:
        >>> sincos_positions(rows=1, columns=2, width=4)[0]  # sine and cosine of column 0, then of row 0
        tensor([0., 1., 0., 1.])
    """
    frequency = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))

    def encode(position_N: torch.Tensor) -> torch.Tensor:
        angle = position_N[:, None].double() * frequency[None, :]
        return torch.cat([angle.sin(), angle.cos()], dim=1)

    column_N = torch.arange(columns).repeat(rows)
    row_N = torch.arange(rows).repeat_interleave(columns)
    return torch.cat([encode(column_N), encode(row_N)], dim=1).float()


def interpolate_positions(table_1ND: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """A table learned on a square grid, resampled bicubically to another grid: (1, rows * columns, D).

    Example:
        >>> interpolate_positions(torch.zeros(1, 16, 8), rows=3, columns=5).shape
        torch.Size([1, 15, 8])
    """
    side = math.isqrt(table_1ND.shape[1])
    if (rows, columns) == (side, side):
        return table_1ND
    table_1DHW = table_1ND.transpose(1, 2).unflatten(2, (side, side))
    resized = functional.interpolate(table_1DHW, (rows, columns), mode="bicubic", antialias=True, align_corners=False)
    return resized.flatten(2).transpose(1, 2)


class PatchEmbed(nn.Module):
    """Patches side by side, each projected to a token: (B, 1, H, W) to (B, N, D), row by row.

    Named as in timm's ViT. Importing timm takes longer than importing torch, so it is left to where its networks are.

    Example:
        >>> PatchEmbed(width=8, patch_size=16)(torch.zeros(1, 1, 32, 48)).shape
        torch.Size([1, 6, 8])
    """

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, patch_size, patch_size)

    def forward(self, image_B1HW: torch.Tensor) -> torch.Tensor:
        """One token a patch."""
        return self.proj(image_B1HW).flatten(2).transpose(1, 2)


class Encoder(nn.Module):
    """A ViT for chips of one channel; `describe` holds the facts of its checkpoint (model, method, sources)."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.describe: dict[str, object] = {"shape": asdict(shape)}
        self.patch_embed = PatchEmbed(shape.width, shape.patch_size)
        if shape.class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.width))
        if shape.positions == "learned":
            self.pos_embed = nn.Parameter(torch.zeros(1, shape.grid_side**2, shape.width))
        relative = shape.positions == "relative"
        self.blocks = nn.ModuleList(Block(shape.width, shape.num_heads, relative) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width, eps=1e-6)
        self.apply(initialise)
        # The weight starts as of a linear layer; the bias keeps a convolution's start, uniform by fan-in (released).
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.view(shape.width, -1))
        if shape.class_token:
            nn.init.normal_(self.cls_token, std=0.02)

    @property
    def width(self) -> int:
        """D, the length of a token."""
        return self.shape.width

    @property
    def patch_size(self) -> int:
        """Side of a patch (px)."""
        return self.shape.patch_size

    @property
    def image_size(self) -> int:
        """Side (px) of the image it was pre-trained at."""
        return self.shape.image_size

    def grid(self, image_B1HW: torch.Tensor) -> tuple[int, int]:
        """Rows and columns of patches of an image.

        Raises:
            InputError: the image is not B x 1 x H x W with sides that are multiples of the patch.
        """
        patch = self.patch_size
        if (
            not (isinstance(image_B1HW, torch.Tensor) and image_B1HW.is_floating_point())
            or image_B1HW.dim() != 4
            or image_B1HW.shape[1] != 1
            or image_B1HW.shape[2] % patch
            or image_B1HW.shape[3] % patch
        ):
            raise InputError(
                "the encoder cannot read this image",
                expected=f"a float tensor (B, 1, H, W), H and W multiples of {patch}",
                got=f"{type(image_B1HW).__name__} of {image_B1HW.dtype}, {tuple(image_B1HW.shape)}",
                hint="encoder.embed takes images of any kind and size",
            )
        return image_B1HW.shape[2] // patch, image_B1HW.shape[3] // patch

    def embed_patches(self, image_B1HW: torch.Tensor) -> torch.Tensor:
        """Patch tokens (B, N, D), with positions added unless they are relative."""
        rows, columns = self.grid(image_B1HW)
        patches_BND = self.patch_embed(image_B1HW)
        if self.shape.positions == "sincos":
            patches_BND = patches_BND + sincos_positions(rows, columns, self.width).to(patches_BND)
        elif self.shape.positions == "learned":
            patches_BND = patches_BND + interpolate_positions(self.pos_embed, rows, columns).to(patches_BND.dtype)
        return patches_BND

    def encode(
        self,
        patches_BND: torch.Tensor,
        buckets_NN: torch.Tensor | None = None,
        filler_BN: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Put the class token in front, if there is one, run the blocks and the final norm: (B, 1 + N, D) or (B, N, D).

        Args:
            patches_BND: some or all patches of a grid, as `embed_patches` gives them.
            buckets_NN: buckets of these patches and the class token, if positions are relative.
            filler_BN: bool, patches that are padding; no token attends to them, and their tokens have no meaning.
        """
        if filler_BN is not None:
            filler_BN = functional.pad(filler_BN, (int(self.shape.class_token), 0))
        tokens = self._with_class_token(patches_BND)
        for block in self.blocks:
            tokens = block(tokens, buckets_NN, filler_BN)
        return self.norm(tokens)

    def forward_features(self, image_B1HW: torch.Tensor) -> torch.Tensor:
        """Tokens (B, 1 + N, D) of chips in [0, 1], class token first, after the final norm."""
        buckets_NN = bucket_ids(*self.grid(image_B1HW)).to(image_B1HW.device)
        return self.led(self.encode(self.embed_patches(image_B1HW), buckets_NN))

    forward = forward_features

    def check_blocks(self, numbers: Sequence[int]) -> None:
        """Refuse numbers, from 1, that no block has."""
        if not all(1 <= number <= len(self.blocks) for number in numbers):
            got = ", ".join(map(str, numbers))
            raise InputError("no such block", expected=f"1 to {len(self.blocks)}", got=got)

    def forward_blocks(self, image_B1HW: torch.Tensor, numbers: Sequence[int]) -> list[torch.Tensor]:
        """The tokens (B, 1 + N, D) after each of some blocks, numbered from 1, through the final norm.

        Raises:
            InputError: there is no such block.
        """
        self.check_blocks(numbers)
        buckets_NN = bucket_ids(*self.grid(image_B1HW)).to(image_B1HW.device)
        tokens, by_number = self._with_class_token(self.embed_patches(image_B1HW)), {}
        for number, block in enumerate(self.blocks[: max(numbers, default=0)], start=1):
            tokens = block(tokens, buckets_NN)
            if number in numbers:
                by_number[number] = self.led(self.norm(tokens))
        return [by_number[number] for number in numbers]

    @torch.no_grad()
    def embed(self, images: Any, pool: str = "cls", crop: int | str | None = AS_TRAINED, batch_size: int = 64) -> Any:
        """(N, D) float32 features of images of any size, cropped and resized as the images of the training.

        Args:
            images: one image or several, numpy or tensors, as `sarjepa.resampling.magnitudes` takes them.
            pool: cls, mean, grid2 or grid4, several joined by + ("cls+grid4"), of given blocks ("cls@3,6").
            crop: side (px) of the centre that is kept, None for the whole image; default: that of the training.
            batch_size: images per pass.

        Returns:
            A tensor on the CPU if `images` is or holds tensors, else an array.

        Raises:
            InputError: an image is not of magnitudes, there is no such pool, or the crop differed by training source.
        """
        chips = magnitudes(images)
        expected = f"of {', '.join(POOLS)}, joined by +"
        with decoder_errors(lambda words: InputError("no such pool", where=repr(pool), expected=expected)):
            feature = Feature.read(pool)
            width = feature.num_tokens * self.width
        side = self._trained_crop() if isinstance(crop, str) else crop
        device = next(self.parameters()).device
        parts = [torch.zeros(0, width)] + [
            feature(self, centre_crop_and_resize(chips[i : i + batch_size], 1.0, side, self.image_size, device)).cpu()
            for i in range(0, len(chips), batch_size)
        ]
        features = torch.cat(parts)
        is_tensor = isinstance(images, torch.Tensor) or any(isinstance(image, torch.Tensor) for image in images)
        return features if is_tensor else features.numpy()

    def _trained_crop(self) -> int | None:
        crops = self.describe.get("centre_crop")
        by_source = crops if isinstance(crops, dict) else {}
        if len(sides := set(by_source.values())) > 1:
            hint = "give embed(..., crop=N), or crop=None for the whole image"
            raise InputError("the sources of the training were cropped each its own way", got=by_source, hint=hint)
        return next(iter(sides), None)

    def led(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens with the mean of the patches in front if there is no class token."""
        return tokens if self.shape.class_token else torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)

    def _with_class_token(self, patches_BND: torch.Tensor) -> torch.Tensor:
        if not self.shape.class_token:
            return patches_BND
        return torch.cat(
            [self.cls_token.to(patches_BND.dtype).expand(patches_BND.shape[0], -1, -1), patches_BND], dim=1
        )

    @torch.no_grad()
    def attention(self, image_B1HW: torch.Tensor) -> list[torch.Tensor]:
        """The softmax of every block, each (B, H, 1 + N, 1 + N); row i is the attention of token i.

        Without a class token, row 0 is the mean over the patches' rows and column 0 is zero.
        """
        buckets_NN = bucket_ids(*self.grid(image_B1HW)).to(image_B1HW.device)
        tokens = self._with_class_token(self.embed_patches(image_B1HW))
        weights = []
        for block in self.blocks:
            assert isinstance(block, Block)
            attended = block.attn.weights_and_values(block.norm1(tokens), buckets_NN)[0]
            if not self.shape.class_token:
                attended = functional.pad(attended, (1, 0))
                attended = torch.cat([attended.mean(dim=2, keepdim=True), attended], dim=2)
            weights.append(attended)
            tokens = block(tokens, buckets_NN)
        return weights
