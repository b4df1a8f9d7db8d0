"""An ideal low-pass: the image without its fine detail, as a target to predict.

PixMIM (Y. Liu et al., arXiv 2303.02416) takes the high frequencies out of the pixels to be reconstructed, since a model
that has to reconstruct texture spends its capacity on texture; in SAR images, texture is speckle. The centred Fourier
transform of the image is multiplied by a disc of radius rho and transformed back:

    LPF(I) = IFFT( FFT(I) * [u^2 + v^2 <= rho^2] )

u and v count cycles over the image. The radius is given for a 224 px image and grows with the size, so that it means
the same cut-off in cycles per pixel (60 / 224 = 0.27) for any image; for a 224 px image the highest frequency along an
axis is 112. The hard edge of the disc makes rings around bright points, and values may leave [0, 1] a little: both are
part of the published target and are kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sarjepa.errors import InputError

REFERENCE_SIZE = 224  # px: the image size that the radius is stated for
LOW_PASS_RADIUS = 60.0  # cycles over 224 px


def passband(height: int, width: int, radius: float, device: torch.device | None = None) -> Tensor:
    """Which frequencies of `torch.fft.rfft2` pass: (H, W // 2 + 1) bool.

    Example:
        >>> passband(1, 8, radius=60)  # 0, 1/8, 1/4, 3/8 and 1/2 cycles per pixel; 60 / 224 is 0.27
        tensor([[ True,  True,  True, False, False]])
    """
    row = torch.fft.fftfreq(height, device=device, dtype=torch.float64)[:, None]
    column = torch.fft.rfftfreq(width, device=device, dtype=torch.float64)[None, :]
    # Frequencies in cycles per pixel against radius / 224, compared in whole cycles over 224 px to keep 60 exactly 60.
    return (row * REFERENCE_SIZE) ** 2 + (column * REFERENCE_SIZE) ** 2 <= radius**2 * (1 + 1e-12)


@torch.no_grad()
def low_pass(image: Tensor, radius: float = LOW_PASS_RADIUS) -> Tensor:
    """The image's low frequencies.

    Args:
        image: (B, C, H, W) (or any (..., H, W)) of a floating dtype.
        radius: radius of the disc of frequencies that pass, in cycles over 224 px; its edge passes.

    Returns:
        (B, C, H, W) of the image's dtype (transformed in float32 or float64); no gradient. One pixel that is not finite
        makes its whole plane NaN: a Fourier transform has no locality.

    Raises:
        InputError: the radius is not positive.

    Example:
        >>> low_pass(torch.tensor([[0.0, 1.0] * 2] * 4))[0]  # stripes of one pixel become their mean
        tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    if not radius > 0:
        raise InputError("value out of range", where="radius", expected="> 0", got=radius)
    height, width = image.shape[-2:]
    working = image.to(torch.promote_types(image.dtype, torch.float32))
    spectrum = torch.fft.rfft2(working) * passband(height, width, radius, image.device)
    return torch.fft.irfft2(spectrum, s=(height, width)).to(image.dtype)
