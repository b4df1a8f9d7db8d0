"""The family, by name: which encoder, mask, target and predictor make which published method.

Every method is a composition of parts that exist once; what a name stands for is read off `METHODS` below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sarjepa.errors import InputError, nearest
from sarjepa.models.encoder import Encoder, encoder_shape
from sarjepa.models.predictor import Predictor
from sarjepa.pretext.local_masked import LocalMasked
from sarjepa.pretext.method import Method
from sarjepa.pretext.targets import build_target


@dataclass(frozen=True)
class MethodSettings:
    """What can be chosen within a method; `target` and `mask_ratio` are None for the method's own."""

    model: str = "vit-base"
    image_size: int = 224
    patch_size: int | None = None
    target: str | None = None
    radii: tuple[int, ...] = (5, 9, 13, 17)
    mask_ratio: float | None = None
    num_windows: int = 4
    window_size: int = 7
    predictor_width: int = 512
    predictor_depth: int = 8
    predictor_heads: int = 16


def _encoder(settings: MethodSettings, relative: bool) -> Encoder:
    return Encoder(encoder_shape(settings.model, settings.image_size, settings.patch_size, relative))


def _local(default_target: str, predictor_depth: int | None = None) -> Callable[[MethodSettings], Method]:
    def build(settings: MethodSettings) -> Method:
        encoder = _encoder(settings, relative=True)
        target = build_target(settings.target or default_target, settings.radii)
        predictor = Predictor(
            encoder.width,
            target.values_per_patch(encoder.patch_size),
            width=settings.predictor_width,
            depth=settings.predictor_depth if predictor_depth is None else predictor_depth,
            num_heads=settings.predictor_heads,
        )
        return LocalMasked(
            encoder,
            predictor,
            target,
            num_windows=settings.num_windows,
            window_size=settings.window_size,
            mask_ratio=settings.mask_ratio or 0.8,
        )

    return build


METHODS: dict[str, Callable[[MethodSettings], Method]] = {
    "sar-jepa": _local("ratio"),
    "lomar-sar": _local("pixel"),
    "lomar": _local("pixel", predictor_depth=0),
}


def build_method(name: str, settings: MethodSettings) -> Method:
    """The method of a name, freshly initialised (from torch's current random state).

    Raises:
        InputError: no such method, or settings that do not fit it.
    """
    if name not in METHODS:
        raise InputError("no such method", where=repr(name), hint=nearest(name, METHODS))
    return METHODS[name](settings)
