"""Gradient by ratio: an edge strength that speckle does not fool, at several scales.

`ratio_conv` defines the number and says where it comes from. Here an image of any usual shape is cut into planes, one
of three paths computes their gradients, and the result gets the image's shape back:

    conv     the definition, four direct convolutions per scale; any device
    box      sums that share their terms; CPU
    triton   one fused kernel, the image read once and the result written once; CUDA

A path that is named runs, or an error says what it needs; only "auto" chooses.
"""

from __future__ import annotations

import importlib.util
import operator
import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from sarjepa.errors import InputError, nearest
from sarjepa.ops.ratio_box import ratio_box
from sarjepa.ops.ratio_conv import KERNELS, ratio_conv

Image = TypeVar("Image", Tensor, np.ndarray)

IMPLS = ("auto", "conv", "box", "triton")
# px; a longer radius must fit into the image: beyond that it only adds mirror images of it, which take memory
LONGEST_REFLECTION = 256


def choose_impl(device: torch.device, impl: str = "auto") -> str:
    """The path that runs on `device` (cpu, cuda, ...): the choice of "auto", or `impl` itself if it can run.

    Raises:
        InputError: no such path, or not on this device, or triton is not installed.

    Example:
        >>> choose_impl(torch.device("cpu"))
        'box'
    """
    has_triton = importlib.util.find_spec("triton") is not None
    if impl == "auto":
        if device.type == "cpu":
            return "box"
        return "triton" if device.type == "cuda" and has_triton else "conv"
    if impl not in IMPLS:
        raise InputError("no such impl of gradient by ratio", where=repr(impl), hint=nearest(impl, IMPLS))
    if impl == "box" and device.type != "cpu":
        raise InputError("impl 'box' runs on the CPU", got=f"an image on {device}", hint="take 'triton' or 'conv'")
    if impl == "triton" and not has_triton:
        raise InputError("impl 'triton' needs the package triton", hint="pip install triton, or take another impl")
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"  # triton's kernels run on the CPU, as in the tests
    if impl == "triton" and device.type != "cuda" and not interpreted:
        raise InputError("impl 'triton' needs a CUDA device", got=f"an image on {device}", hint="take 'box' or 'conv'")
    return impl


def _tensor(image: Tensor | np.ndarray) -> Tensor:
    """The image as a tensor; an array that torch cannot share (read-only, strided backwards, big-endian) is copied."""
    if isinstance(image, Tensor):
        return image.detach()
    if not isinstance(image, np.ndarray):
        got = type(image).__name__
        raise InputError("image is neither a tensor nor an array", got=got, hint="pass numpy.asarray(image)")
    try:
        return torch.from_numpy(np.require(image, image.dtype.newbyteorder("="), ["C", "W"]))
    except TypeError as error:
        raise InputError("image is of a dtype that torch lacks", got=image.dtype) from error


def _whole(radii: Iterable[int]) -> tuple[int, ...]:
    """The radii as a tuple of int, from a list, an array, a tensor or a generator."""
    try:
        whole = tuple(operator.index(radius) for radius in radii)
    except TypeError:
        whole = ()
    if not whole or min(whole) < 1:
        raise InputError("value out of range", where="radii", expected="whole numbers from 1 up", got=radii)
    return whole


def _check(image: Tensor, radii: Sequence[int], kernel: str) -> None:
    """Refuse arguments that no path accepts."""
    if not image.is_floating_point():
        divide = "divide by the largest value of its type (255 for 8 bits): eps is meant for [0, 1]"
        raise InputError(
            "image is not of a floating dtype",
            got=str(image.dtype).removeprefix("torch."),
            hint="take its magnitude first, abs(image)" if image.is_complex() else divide,
        )
    if image.ndim not in (2, 3, 4) or 0 in image.shape[-2:]:
        raise InputError("no such image", expected="(H, W), (C, H, W) or (B, C, H, W)", got=tuple(image.shape))
    if image.ndim > 2 and (image.shape[-3] == 3 or (image.shape[-1] == 3 and image.shape[-3] > 4)):
        hint = "take one channel, image[:1] or image[..., 0]; a stack of three chips is (3, 1, H, W)"
        raise InputError("an image of three channels", expected="magnitude", got=tuple(image.shape), hint=hint)
    # Only on the CPU: to look at the pixels of another device is to wait for it.
    if image.device.type == "cpu" and bool(((image < 0) & (image > -torch.inf)).any()):
        hint = "turn decibels back into magnitude, 10 ** (image_db / 20)"
        raise InputError("negative values", expected="magnitude", got=f"{float(image.min()):g}", hint=hint)
    if max(radii) > (longest := max(LONGEST_REFLECTION, min(image.shape[-2:]))):
        height, width = image.shape[-2:]
        expected = f"at most {longest} px for an image of {height} x {width} px"
        raise InputError("value out of range", where="radii", expected=expected, got=max(radii))
    if kernel not in KERNELS:
        raise InputError("no such kernel of gradient by ratio", where=repr(kernel), hint=nearest(kernel, KERNELS))


@torch.no_grad()
def gradient_by_ratio(
    image: Image,
    radii: Iterable[int] = (5, 9, 13, 17),
    kernel: str = "linear",
    eps: float = 1e-2,
    impl: str = "auto",
    centre: bool | None = None,
) -> Image:
    """Edge strength by the ratio of the local means on either side of each pixel, at several scales.

    sqrt(ln(left / right)^2 + ln(up / down)^2): 0 on a constant field, ln 10 where it rises tenfold (less, the more a
    shared centre line blurs the step), and the same whatever the image is multiplied by, but for eps.

    Args:
        image: magnitude in [0, 1], tensor or array of a floating dtype: (B, C, H, W), (C, H, W) or (H, W). Any size
            from 1 x 1; the border is reflected, more than once where a radius is longer than the image.
        radii: half the windows' sides (px): a window has 2r+1 rows and columns; up to 256, or the image's shorter side
            where that is longer.
        kernel: "linear" (all pixels of a window alike) or "gaussian" (exp(-d^2 / (2 s^2)), s = 0.3 (r - 1) + 0.8).
        eps: added to every pixel, so that zeros have a ratio; in the image's unit.
        impl: "auto", "conv", "box" (CPU) or "triton" (CUDA).
        centre: whether both halves of a window hold the line through the pixel; None: as published, shared by the
            linear kernel and left out by the Gaussian one.

    Returns:
        A tensor or array as the image is, of its dtype and device, (B, C * R, H, W), (C * R, H, W) or (R, H, W) for R
        radii; channel c at scale k is at c * R + k. No gradient flows through it. bfloat16 and float16 are summed in
        float32. A pixel that is not finite makes all pixels within r rows and r columns of it NaN, and changes no
        other. Where a mean is not positive (eps = 0 on zeros), the strength is infinite or NaN. Negative pixels are
        refused on the CPU; elsewhere, where looking for them would take longer than the rest, they may give NaN too.

    Raises:
        InputError: an argument is not as above, or the named impl cannot run here.

    Examples:
        >>> import numpy as np
        >>> step = np.full((32, 32), 0.1)
        >>> step[:, 16:] = 1.0  # tenfold in the middle
        >>> strength = gradient_by_ratio(step, radii=(2, 4), eps=0)
        >>> strength.shape
        (2, 32, 32)
        >>> bool(strength[0, 16, 4] < 1e-6 and strength[0, 16, 16] > 0.9)
        True
        >>> bool(np.allclose(gradient_by_ratio(5 * step, radii=(2, 4), eps=0), strength, atol=1e-5))
        True
    """
    tensor, radii = _tensor(image), _whole(radii)
    _check(tensor, radii, kernel)
    impl = choose_impl(tensor.device, impl)
    if impl == "triton":
        from sarjepa.ops.ratio_triton import ratio_triton  # slow to import, and absent on many machines

        compute, working = ratio_triton, tensor  # widens 16-bit pixels as it reads them, which halves what it reads
    else:
        compute = ratio_box if impl == "box" else ratio_conv
        working = tensor.to(torch.promote_types(tensor.dtype, torch.float32))
    shared = kernel == "linear" if centre is None else centre
    scales_NRHW = compute(working.reshape(-1, *tensor.shape[-2:]), radii, kernel, float(eps), shared)
    channels = tensor.shape[-3] if tensor.ndim > 2 else 1
    strength = scales_NRHW.reshape(*tensor.shape[:-3], channels * len(radii), *tensor.shape[-2:]).to(tensor.dtype)
    return strength.numpy() if isinstance(image, np.ndarray) else strength
