"""Targets: what is predicted of a masked patch.

A target is a fixed function of the (augmented) image, computed without gradient, cut into the encoder's patches. The
paper's is the gradient by ratio at several scales; it is compared with pixels, a low-passed image and histograms of
gradients.

Order of a patch's values: channel (scale) first, then row by row inside the patch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from sarjepa.errors import InputError, nearest
from sarjepa.ops.histograms import hog, sar_hog
from sarjepa.ops.lowpass import LOW_PASS_RADIUS, low_pass
from sarjepa.ops.ratio import gradient_by_ratio

RADII = (5, 9, 13, 17)  # of the released weights; the paper's text says (5, 7, 13, 17)
_BINS, _CELL = 9, 8  # of histograms: directions over half a turn, and the side of a cell (px); MaskFeat, 2022
_HOG_WINDOW = 16  # side (px) of FG-MAE's Gaussian windows


def patchify(features_BCHW: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Cut features into a grid: (B, C, H, W) to (B, rows * columns, C * H/rows * W/columns), channel-major.

    Example:
        >>> patchify(torch.arange(16.0).reshape(1, 1, 4, 4), rows=2, columns=2)[0, 0]
        tensor([0., 1., 4., 5.])
    """
    batch, channels, height, width = features_BCHW.shape
    cells = features_BCHW.reshape(batch, channels, rows, height // rows, columns, width // columns)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, -1)


def unpatchify(patches_BNV: torch.Tensor, rows: int, columns: int, channels: int) -> torch.Tensor:
    """The inverse of `patchify` for square patches: (B, channels, H, W).

    Example:
        >>> image = torch.rand(1, 3, 16, 24)
        >>> unpatchify(patchify(image, 2, 3), 2, 3, channels=3).equal(image)
        True
    """
    batch, _, num_values = patches_BNV.shape
    side = round((num_values / channels) ** 0.5)
    cells = patches_BNV.reshape(batch, rows, columns, channels, side, side)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, rows * side, columns * side)


@dataclass(frozen=True)
class Target:
    """A feature of the image, and how many pixels each of its values covers.

    Attributes:
        name: name on the command line.
        features: function from (B, 1, H, W) to (B, C, H / cell, W / cell), float32.
        channel_names: a name for each of the C channels.
        cell: side (px) of the square that one position of the feature covers; 1 for dense features.
    """

    name: str
    features: Callable[[torch.Tensor], torch.Tensor]
    channel_names: tuple[str, ...]
    cell: int = 1

    def values_per_patch(self, patch_size: int) -> int:
        """How many numbers describe one patch."""
        return len(self.channel_names) * (patch_size // self.cell) ** 2

    def image(self, image_B1HW: torch.Tensor) -> torch.Tensor:
        """The features as an image, (B, C, H / cell, W / cell): float32 even under autocast, without gradient."""
        with torch.autocast(image_B1HW.device.type, enabled=False):
            return self.features(image_B1HW.detach().float())

    def __call__(self, image_B1HW: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """The target of every patch, (B, rows * columns, values_per_patch), without gradient."""
        return patchify(self.image(image_B1HW), rows, columns)


def _ratio(
    name: str = "ratio", kernel: str = "linear", centre: bool | None = None, *, radii: tuple[int, ...] = RADII
) -> Target:
    names = tuple(f"ratio, r = {radius}" for radius in radii)
    return Target(name, lambda image: gradient_by_ratio(image, radii, kernel=kernel, centre=centre), names)


def _low_pass(*, low_pass_radius: float = LOW_PASS_RADIUS) -> Target:
    return Target("low-pass", partial(low_pass, radius=low_pass_radius), ("low-pass",))


def _hog(window: int | None = None) -> Target:
    name = "hog-gaussian" if window else "hog"
    return Target(name, partial(hog, bins=_BINS, cell=_CELL, window=window), _bin_names("HOG"), _CELL)


def _sar_hog(*, radii: tuple[int, ...] = RADII) -> Target:
    names = tuple(name for radius in radii for name in _bin_names(f"SAR-HOG, r = {radius}"))
    return Target("sar-hog", partial(sar_hog, radii=radii, bins=_BINS, cell=_CELL), names, _CELL)


def _bin_names(histogram: str) -> tuple[str, ...]:
    return tuple(f"{histogram}, bin {number + 1}" for number in range(_BINS))


TARGETS: dict[str, Callable[..., Target]] = {
    "ratio": _ratio,
    "ratio-gaussian": partial(_ratio, "ratio-gaussian", "gaussian"),
    "ratio-disjoint": partial(_ratio, "ratio-disjoint", centre=False),  # halves without a shared line: SARATR-X
    "pixel": lambda: Target("pixel", lambda image: image, ("pixel",)),
    "low-pass": _low_pass,
    "hog": _hog,
    "hog-gaussian": partial(_hog, window=_HOG_WINDOW),
    "sar-hog": _sar_hog,
}


def keywords_of(build: Callable[..., object]) -> frozenset[str]:
    """The settings that a builder of a target or a method reads: its keywords that are not bound yet.

    Example:
        >>> keywords_of(TARGETS["low-pass"])
        frozenset({'low_pass_radius'})
    """
    bound = build.keywords if isinstance(build, partial) else {}
    parameters = inspect.signature(build).parameters.values()
    return frozenset(item.name for item in parameters if item.kind is item.KEYWORD_ONLY and item.name not in bound)


def read_by(build: Callable[..., object], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some settings that a builder reads.

    Example:
        >>> read_by(TARGETS["sar-hog"], {"radii": (5, 9), "low_pass_radius": 60.0})
        {'radii': (5, 9)}
    """
    return {key: settings[key] for key in keywords_of(build) & settings.keys()}


def build_target(name: str, **settings: Any) -> Target:
    """The target of a name.

    Args:
        name: name on the command line.
        settings: settings of a method and its target, of which a target reads its own: `radii`, half-widths (px) of the
            ratio's windows, and `low_pass_radius`, in cycles over 224 px.

    Raises:
        InputError: no such target.

    Example:
        >>> build_target("ratio", radii=(5, 9)).channel_names
        ('ratio, r = 5', 'ratio, r = 9')
    """
    if name not in TARGETS:
        raise InputError("no such target", where=repr(name), hint=nearest(name, TARGETS))
    return TARGETS[name](**read_by(TARGETS[name], settings))
