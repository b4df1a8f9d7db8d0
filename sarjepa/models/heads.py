"""The layers on top of an encoder: a pooled feature, a head, and both on an encoder as a classifier.

The published head of a linear probe is a batch normalisation without affine parameters (as in MAE's linear probe, since
features of self-supervised encoders differ in scale by orders of magnitude, and one learning rate has to fit them all)
and one linear layer; that of fine-tuning is the linear layer alone. In a test the normalisation uses its running
statistics, so a prediction does not depend on the rest of its batch.

A feature of an image is its class token (published), the mean of its patch tokens, or the patch tokens averaged on a
coarse grid and concatenated: chips are centred, so a coarse grid keeps where the scattering is, which the mean loses.
Poolings may be joined ("cls+grid4"), and taken from several blocks ("cls@3,6"), each through the encoder's final norm:
early blocks hold textures that late ones drop for the pretext task.

Shapes: B images, N patches, D width, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

BATCH_NORM_EPS = 1e-6
PROBE_STD = 0.01  # MAE's linear probe
FINETUNE_STD = 2e-5  # MAE's fine-tuning
POOLS = {"cls": 1, "mean": 1, "grid2": 4, "grid4": 16}  # name: width of the feature in encoder widths


@dataclass(frozen=True)
class Feature:
    """Which poolings of which blocks make the feature of an image.

    Attributes:
        pools: names of `POOLS`, joined in this order.
        blocks: numbers of the blocks, from 1, each with all poolings before the next. Empty: the last block.
    """

    pools: tuple[str, ...]
    blocks: tuple[int, ...] = ()

    @classmethod
    def read(cls, name: str) -> Feature:
        """The feature of a name.

        Example:
            >>> Feature.read("cls+grid4@3,6")
            Feature(pools=('cls', 'grid4'), blocks=(3, 6))
        """
        pools, _, blocks = name.partition("@")
        return cls(tuple(pools.split("+")), tuple(int(block) for block in blocks.split(",") if block))

    @property
    def name(self) -> str:
        """The name that `read` reads."""
        return "+".join(self.pools) + (f"@{','.join(map(str, self.blocks))}" if self.blocks else "")

    @property
    def num_tokens(self) -> int:
        """Width of the feature in encoder widths."""
        return sum(POOLS[pool] for pool in self.pools) * max(len(self.blocks), 1)

    def __call__(self, encoder: nn.Module, image_B1HW: Tensor) -> Tensor:
        """(B, num_tokens * D) float32: each grid's cells row by row, each cell's D values together."""
        patch = int(encoder.patch_size)  # type: ignore[arg-type]
        grid = (image_B1HW.shape[-2] // patch, image_B1HW.shape[-1] // patch)
        if self.blocks:
            tokens = encoder.forward_blocks(image_B1HW, self.blocks)  # type: ignore[operator]
        else:
            tokens = [encoder.forward_features(image_B1HW)]  # type: ignore[operator]
        parts = [pool_tokens(tokens_BND.float(), pool, grid) for tokens_BND in tokens for pool in self.pools]
        return torch.cat(parts, dim=1)


def pool_tokens(tokens_BND: Tensor, pool: str, grid: tuple[int, int] | None = None) -> Tensor:
    """The feature of each image, pooled from its tokens.

    Args:
        tokens_BND: (B, 1 + N, D), class token first.
        pool: "cls", "mean", "grid2" or "grid4".
        grid: rows and columns of the patches; None: a square.

    Returns:
        (B, POOLS[pool] * D); a grid's cells row by row, each cell's D values together.

    Example:
        >>> tokens = torch.tensor([[[9.0], [1.0], [2.0], [3.0], [4.0]]])  # a class token and 2 x 2 patches
        >>> pool_tokens(tokens, "cls"), pool_tokens(tokens, "mean"), pool_tokens(tokens, "grid2")
        (tensor([[9.]]), tensor([[2.5000]]), tensor([[1., 2., 3., 4.]]))
    """
    if pool == "cls":
        return tokens_BND[:, 0]
    patches_BND = tokens_BND[:, 1:]
    if pool == "mean":
        return patches_BND.mean(dim=1)
    num_patches = patches_BND.shape[1]
    rows, columns = grid or (math.isqrt(num_patches),) * 2
    assert rows * columns == num_patches, f"{num_patches} patches are not a {rows} x {columns} grid"
    cells = {"grid2": 2, "grid4": 4}[pool]
    map_BDHW = patches_BND.transpose(1, 2).unflatten(2, (rows, columns))
    cells_BDHW = functional.adaptive_avg_pool2d(map_BDHW, cells)
    return cells_BDHW.flatten(2).transpose(1, 2).flatten(1)


class Head(nn.Module):
    """Batch normalisation without affine parameters, if `normalise`, then one linear layer.

    Args:
        width: width of the feature.
        num_classes: C.
        normalise: whether there is a normalisation.
        std: deviation of the initial linear weight, normal and cut off at -2 and 2; the bias starts at 0.
        generator: random generator of the initial weight; None: torch's own.
    """

    def __init__(
        self,
        width: int,
        num_classes: int,
        normalise: bool = True,
        std: float = PROBE_STD,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, eps=BATCH_NORM_EPS, momentum=0.1, affine=False) if normalise else None
        self.linear = nn.Linear(width, num_classes)
        nn.init.trunc_normal_(self.linear.weight, std=std, generator=generator)
        nn.init.zeros_(self.linear.bias)

    def forward(self, feature_BD: Tensor, keep_BD: Tensor | None = None) -> Tensor:
        """(B, D) features to (B, C) logits; `keep_BD` multiplies what the linear layer sees (dropout)."""
        feature_BD = feature_BD if self.norm is None else self.norm(feature_BD)
        return self.linear(feature_BD if keep_BD is None else feature_BD * keep_BD)


class Classifier(nn.Module):
    """An encoder, a feature and a head: images to logits.

    Args:
        encoder: module with `forward_features(image)`, `patch_size` and, if the feature names blocks, `forward_blocks`.
        head: module from features and `keep_BD` to logits.
        feature: feature of an image.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module, feature: Feature = Feature(("cls",))) -> None:
        super().__init__()
        self.encoder, self.head, self.feature = encoder, head, feature

    def forward(self, image_B1HW: Tensor, keep_BD: Tensor | None = None) -> Tensor:
        """(B, 1, H, W) magnitude in [0, 1] to (B, C) logits; `keep_BD` as of `Head`."""
        return self.head(self.feature(self.encoder, image_B1HW), keep_BD)
