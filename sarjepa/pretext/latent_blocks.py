"""Predicting a teacher's tokens of hidden blocks: i-jepa and latent-gradient.

The encoder sees part of a chip; a predictor predicts a teacher's tokens of four blocks that the encoder has not seen.
The teacher is a slow average of the encoder itself (teacher <- t teacher + (1 - t) encoder, t from 0.996 to 1). It sees
the whole chip and gets no gradient: that asymmetry keeps both from agreeing on a constant.

    i-jepa           the teacher sees the chip; its tokens are layer-normalised; smooth L1
                     Assran et al., CVPR 2023
    latent-gradient  the teacher sees the chip's gradient by ratio, so the gradient is the teacher's input and not the
                     embedding itself; squared distance to its tokens without normalisation

A target of C scales is an image of C channels, and the teacher sees each through a kernel of its own. The teacher is an
average of the encoder's weights, so the published encoder has C input channels too, each of them the chip. Its output
then depends only on the sum K of its kernels, so here an encoder of one channel stores K alone. Equal inputs give equal
gradients, so the kernels keep their initial differences (but for weight decay, which is left out here):

    the teacher's kernel of scale c = (its average of K) / C + D_c,     D_1 + ... + D_C = 0, D as drawn at the start.

There is no class token: the feature of a chip is the mean of its patch tokens. A teacher that sees chips is kept after
training, as published. One that sees gradients could not read a chip, so the encoder is kept instead.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from sarjepa.errors import InputError
from sarjepa.models.encoder import Encoder
from sarjepa.models.predictor import QueryPredictor
from sarjepa.pretext.masking import ImageKeys, TargetBlocks, take, target_blocks
from sarjepa.pretext.method import MASKED, UNSEEN, VISIBLE, Method, Preview
from sarjepa.pretext.targets import Target
from sarjepa.pretext.teacher import follow, teacher_of

Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def smooth_l1_to_normalised(prediction: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
    """I-JEPA's loss: smooth L1 to tokens that are normalised over their values.

    Example:
        >>> smooth_l1_to_normalised(torch.tensor([[1.0, -1.0]]), torch.tensor([[30.0, 10.0]])).item() < 1e-6
        True
    """
    return functional.smooth_l1_loss(prediction, functional.layer_norm(embedding, embedding.shape[-1:]))


def squared(prediction: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
    """Squared distance, mean over values, patches and blocks.

    Example:
        >>> squared(torch.zeros(2, 2), torch.full((2, 2), 3.0))
        tensor(9.)
    """
    return functional.mse_loss(prediction, embedding)


def scale_kernels(kernel_D1PP: torch.Tensor, num_scales: int) -> torch.Tensor:
    """The initial deviation of C channels' kernels from their mean, (D, C, p, p), if their sum starts as the kernel.

    Example:
        >>> deviation = scale_kernels(torch.zeros(16, 1, 8, 8), num_scales=4)
        >>> deviation.shape, deviation.sum(dim=1).abs().max().item() < 1e-6  # the scales' deviations cancel
        (torch.Size([16, 4, 8, 8]), True)
    """
    bound = (6 / (kernel_D1PP.shape[0] + kernel_D1PP[0].numel()) / num_scales) ** 0.5
    drawn = torch.empty_like(kernel_D1PP).expand(-1, num_scales, -1, -1).clone().uniform_(-bound, bound)
    return (drawn - drawn.mean(dim=1, keepdim=True)).detach()


class LatentBlocks(Method):
    """Encoder, predictor and teacher around target blocks.

    Args:
        encoder: encoder whose positions are added to the patches.
        predictor: network from the encoder's width to the encoder's width.
        target: feature of the chip that the teacher sees; `pixel` is the chip itself.
        distance: function of predicted tokens and the teacher's, (..., D) float32 each, to a scalar.

    Raises:
        InputError: the target is not an image.
    """

    target: Target
    scales_DCPP: torch.Tensor

    def __init__(self, encoder: Encoder, predictor: QueryPredictor, target: Target, distance: Distance) -> None:
        super().__init__()
        if target.cell != 1:
            raise InputError(
                "a teacher cannot look at this target",
                where=f"target {target.name}",
                expected="an image: pixel, low-pass, ratio, ratio-gaussian or ratio-disjoint",
            )
        self.encoder, self.predictor, self.target, self.distance = encoder, predictor, target, distance
        self.teacher = teacher_of(encoder)
        kernel, num_scales = encoder.patch_embed.proj.weight, len(target.channel_names)
        self.register_buffer("scales_DCPP", scale_kernels(kernel, num_scales))
        self.exported = "teacher" if target.name == "pixel" else "encoder"

    def start_from(self, encoder: Encoder) -> None:
        """Encoder and teacher both begin as `encoder`."""
        super().start_from(encoder)
        self.teacher.load_state_dict(encoder.state_dict())

    def draw(self, image_B1HW: torch.Tensor, keys: ImageKeys) -> TargetBlocks:
        """The blocks of a batch, on the batch's device."""
        return target_blocks(keys, *self.encoder.grid(image_B1HW)).to(image_B1HW.device)

    def predict(self, image_B1HW: torch.Tensor, blocks: TargetBlocks) -> torch.Tensor:
        """Predicted tokens of every block, (B, T, m, D), each block independent of the others."""
        num_blocks = blocks.target_BTm.shape[1]
        patches = take(self.encoder.embed_patches(image_B1HW), blocks.context_Bn)
        tokens = self.encoder.encode(patches, filler_BN=blocks.filler_Bn)
        predicted = self.predictor(
            tokens.repeat_interleave(num_blocks, dim=0),
            blocks.context_Bn.repeat_interleave(num_blocks, dim=0),
            blocks.target_BTm.flatten(0, 1),
            self.encoder.grid(image_B1HW),
            blocks.filler_Bn.repeat_interleave(num_blocks, dim=0),
        )
        return predicted.unflatten(0, (-1, num_blocks))

    def view(self, image_B1HW: torch.Tensor) -> torch.Tensor:
        """The teacher's input, (B, C, H, W) float32, a channel for each scale of the target."""
        return self.target.image(image_B1HW)

    @torch.no_grad()
    def embeddings(self, image_B1HW: torch.Tensor, blocks: TargetBlocks) -> torch.Tensor:
        """The teacher's tokens of every block, (B, T, m, D)."""
        view_BCHW = self.view(image_B1HW)
        patches = self.teacher.embed_patches(view_BCHW.mean(dim=1, keepdim=True))
        if view_BCHW.shape[1] > 1:
            own = functional.conv2d(view_BCHW, self.scales_DCPP, stride=self.encoder.patch_size)
            patches = patches + own.flatten(2).transpose(1, 2)
        tokens = self.teacher.encode(patches)
        return take(tokens, blocks.target_BTm.flatten(1)).unflatten(1, blocks.target_BTm.shape[1:])

    def forward(self, image_B1HW: torch.Tensor, keys: ImageKeys) -> torch.Tensor:
        """The distance between predicted and teacher's tokens."""
        blocks = self.draw(image_B1HW, keys)
        return self.distance(self.predict(image_B1HW, blocks).float(), self.embeddings(image_B1HW, blocks).float())

    def preview(self, image_B1HW: torch.Tensor, keys: ImageKeys) -> Preview:
        """Context, target blocks and the teacher's input; predicted tokens are not a picture."""
        view, (rows, columns) = self.view(image_B1HW).cpu(), self.encoder.grid(image_B1HW)
        blocks = self.draw(image_B1HW, keys).to(torch.device("cpu"))
        state_BN = torch.full((len(view), rows * columns), UNSEEN)
        state_BN = state_BN.scatter(1, blocks.context_Bn, torch.where(blocks.filler_Bn, UNSEEN, VISIBLE))
        state_BN = state_BN.scatter(1, blocks.target_BTm.flatten(1), MASKED)
        names = tuple(f"the teacher sees {name}" for name in self.target.channel_names)
        return Preview(image_B1HW.cpu(), state_BN, view, torch.full_like(view, float("nan")), names)

    def after_step(self, share_done: float) -> None:
        """Move the teacher towards the encoder."""
        follow(self.teacher, self.encoder, share_done)
