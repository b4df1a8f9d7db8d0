"""The family, by name: which encoder, mask, target and predictor make which published method.

Every method is a composition of parts that exist once; what a name stands for is read off `METHODS` below. The mask is
the method's own, while any target can be put in place of the method's: i-jepa and latent-gradient then show it to their
teacher.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from sarjepa.errors import InputError, nearest
from sarjepa.models.encoder import Encoder, encoder_shape
from sarjepa.models.predictor import Predictor, QueryPredictor
from sarjepa.ops.lowpass import LOW_PASS_RADIUS
from sarjepa.pretext.global_masked import GlobalMasked, as_it_is
from sarjepa.pretext.latent_blocks import Distance, LatentBlocks, smooth_l1_to_normalised, squared
from sarjepa.pretext.local_masked import LocalMasked
from sarjepa.pretext.method import Method
from sarjepa.pretext.pgca import PatchGradient
from sarjepa.pretext.siamese import MaskedSiamese
from sarjepa.pretext.speckle import add_speckle
from sarjepa.pretext.targets import READS as TARGET_READS
from sarjepa.pretext.targets import Target, build_target
from sarjepa.pretext.views import LocalMaskedViews, Views


@dataclass(frozen=True)
class MethodSettings:
    """What can be chosen within a method; None stands for the method's own."""

    model: str = "vit-base"
    image_size: int = 224
    patch_size: int | None = None
    target: str | None = None
    radii: tuple[int, ...] = (5, 9, 13, 17)
    low_pass_radius: float = LOW_PASS_RADIUS
    mask_ratio: float | None = None
    num_windows: int = 4
    window_size: int = 7
    predictor_width: int | None = None
    predictor_depth: int | None = None
    predictor_heads: int | None = None
    temperature: float | None = None
    view_weight: float = 0.1


# Width, depth and heads of the predictor: of SAR-JEPA and MAE, and of I-JEPA.
_RECONSTRUCTING, _LATENT = (512, 8, 16), (384, 12, 12)
_VIEW_TEMPERATURE = 0.2


def _encoder(settings: MethodSettings, positions: str) -> Encoder:
    return Encoder(encoder_shape(settings.model, settings.image_size, settings.patch_size, positions))


def _target(settings: MethodSettings, default: str, patch_size: int) -> Target:
    target = build_target(settings.target or default, settings.radii, settings.low_pass_radius)
    if patch_size % target.cell:
        raise InputError(
            "the target's cells do not fit into a patch",
            where=f"target {target.name}",
            expected=f"a patch size that is a multiple of {target.cell}",
            got=patch_size,
        )
    return target


def _query_predictor(
    settings: MethodSettings, encoder: Encoder, num_outputs: int, own: tuple[int, int, int]
) -> QueryPredictor:
    return QueryPredictor(
        encoder.width,
        num_outputs,
        width=settings.predictor_width or own[0],
        depth=settings.predictor_depth or own[1],
        num_heads=settings.predictor_heads or own[2],
    )


def _local(
    settings: MethodSettings,
    default_target: str,
    own_depth: int | None = None,
    compose: Callable[..., Method] = LocalMasked,
) -> Method:
    encoder = _encoder(settings, "relative")
    target = _target(settings, default_target, encoder.patch_size)
    width, depth, num_heads = _RECONSTRUCTING
    predictor = Predictor(
        encoder.width,
        target.values_per_patch(encoder.patch_size),
        width=settings.predictor_width or width,
        depth=own_depth if own_depth is not None else settings.predictor_depth or depth,
        num_heads=settings.predictor_heads or num_heads,
    )
    return compose(
        encoder,
        predictor,
        target,
        num_windows=settings.num_windows,
        window_size=settings.window_size,
        mask_ratio=settings.mask_ratio or 0.8,
    )


def _global(settings: MethodSettings, default_target: str, corrupt: Callable = as_it_is) -> Method:
    encoder = _encoder(settings, "sincos")
    target = _target(settings, default_target, encoder.patch_size)
    num_outputs = target.values_per_patch(encoder.patch_size)
    predictor = _query_predictor(settings, encoder, num_outputs, _RECONSTRUCTING)
    return GlobalMasked(encoder, predictor, target, mask_ratio=settings.mask_ratio or 0.75, corrupt=corrupt)


def _latent(settings: MethodSettings, default_target: str, distance: Distance) -> Method:
    encoder = _encoder(settings, "sincos")
    target = _target(settings, default_target, encoder.patch_size)
    predictor = _query_predictor(settings, encoder, encoder.width, _LATENT)
    return LatentBlocks(encoder, predictor, target, distance)


def _unmasked(settings: MethodSettings, default_target: str) -> Method:
    encoder = _encoder(settings, "relative")
    target = _target(settings, default_target, encoder.patch_size)
    predictor = Predictor(encoder.width, target.values_per_patch(encoder.patch_size), depth=0)
    return PatchGradient(encoder, predictor, target)


def _views(settings: MethodSettings) -> Method:
    return Views(_encoder(settings, "relative"), temperature=settings.temperature or _VIEW_TEMPERATURE)


def _local_views(settings: MethodSettings) -> Method:
    temperature = settings.temperature or _VIEW_TEMPERATURE
    compose = partial(LocalMaskedViews, temperature=temperature, view_weight=settings.view_weight)
    return _local(settings, "ratio", compose=compose)


def _siamese(settings: MethodSettings) -> Method:
    encoder = _encoder(settings, "relative")
    return MaskedSiamese(encoder, temperature=settings.temperature or 0.1, mask_ratio=settings.mask_ratio or 0.3)


METHODS: dict[str, Callable[[MethodSettings], Method]] = {
    "sar-jepa": partial(_local, default_target="ratio"),
    "lomar-sar": partial(_local, default_target="pixel"),
    "lomar": partial(_local, default_target="pixel", own_depth=0),
    "mae": partial(_global, default_target="pixel"),
    "fg-mae": partial(_global, default_target="hog"),
    "sarmae": partial(_global, default_target="pixel", corrupt=add_speckle),
    "i-jepa": partial(_latent, default_target="pixel", distance=smooth_l1_to_normalised),
    "latent-gradient": partial(_latent, default_target="ratio", distance=squared),
    "pgca": partial(_unmasked, default_target="ratio"),
    "views": _views,
    "sar-jepa-views": _local_views,
    "safe": _siamese,
}


_WINDOWS = frozenset({"num_windows", "window_size", "mask_ratio"})
_PREDICTOR = frozenset({"predictor_width", "predictor_depth", "predictor_heads"})

# The settings that each method reads beside those of its encoder and its target, by their names in `MethodSettings`.
READS: dict[str, frozenset[str]] = {
    "sar-jepa": _WINDOWS | _PREDICTOR,
    "lomar-sar": _WINDOWS | _PREDICTOR,
    "lomar": _WINDOWS,
    "mae": _PREDICTOR | {"mask_ratio"},
    "fg-mae": _PREDICTOR | {"mask_ratio"},
    "sarmae": _PREDICTOR | {"mask_ratio"},
    "i-jepa": _PREDICTOR,
    "latent-gradient": _PREDICTOR,
    "pgca": frozenset(),
    "views": frozenset({"temperature"}),
    "sar-jepa-views": _WINDOWS | _PREDICTOR | {"temperature", "view_weight"},
    "safe": frozenset({"temperature", "mask_ratio"}),
}


def unread_settings(name: str, target: str | None) -> list[str]:
    """The settings that other methods or targets read, and this method with this target, if any, does not; sorted."""
    known = frozenset({"target"}).union(*READS.values(), *TARGET_READS.values())
    read = TARGET_READS.get(target, frozenset()) | {"target"} if target else frozenset()
    return sorted(known - READS[name] - read)


def build_method(name: str, settings: MethodSettings) -> Method:
    """The method of a name, freshly initialised (from torch's current random state).

    Raises:
        InputError: no such method, or settings that do not fit it.
    """
    if name not in METHODS:
        raise InputError("no such method", where=repr(name), hint=nearest(name, METHODS))
    return METHODS[name](settings)


def method_settings(settings: Mapping[str, Any]) -> MethodSettings:
    """What of a run's settings belongs to its method.

    Args:
        settings: keys as on the command line; what is missing has its default.
    """
    names = {field.name: field.name.replace("_", "-") for field in dataclasses.fields(MethodSettings)}
    found: dict[str, Any] = {}
    for name, key in names.items():
        if key in settings:
            found[name] = tuple(settings[key]) if isinstance(settings[key], list) else settings[key]
    return MethodSettings(**found)


def take_weights(method: Method, weights: Mapping[str, torch.Tensor], where: object) -> None:
    """Fill a method from a checkpoint.

    Raises:
        InputError: the weights are those of another model.
    """
    try:
        method.load_state_dict(weights)
    except RuntimeError as error:  # torch's word for missing, unexpected and misshapen weights
        raise InputError(
            "the checkpoint is of another model than the settings describe",
            where=where,
            got="; ".join(line.strip() for line in str(error).splitlines()[1:3])[:200],
            hint="it may come from another version; start another run",
        ) from error
