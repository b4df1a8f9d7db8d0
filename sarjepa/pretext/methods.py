"""All methods by name: which encoder, mask, target and predictor make which published method.

Every method is a composition of shared parts, listed in `METHODS` below. The mask is the method's own, while any target
can replace the method's; i-jepa and latent-gradient then show it to their teacher.

The settings of a method are the keywords of its parts, with the method's own values as their defaults, so the list of
settings that it reads (`reads`) is not written a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from sarjepa.errors import InputError, nearest
from sarjepa.models.anchors import load_anchor
from sarjepa.models.encoder import SIZES, Encoder, encoder_shape
from sarjepa.models.predictor import Predictor, QueryPredictor
from sarjepa.pretext.anchored import Anchored
from sarjepa.pretext.global_masked import GlobalMasked
from sarjepa.pretext.latent_blocks import LatentBlocks, smooth_l1_to_normalised, squared
from sarjepa.pretext.local_masked import LocalMasked
from sarjepa.pretext.method import Method
from sarjepa.pretext.pgca import PatchGradient
from sarjepa.pretext.siamese import MaskedSiamese
from sarjepa.pretext.speckle import add_speckle
from sarjepa.pretext.targets import TARGETS, Target, build_target, keywords_of, read_by
from sarjepa.pretext.views import LocalMaskedViews, Views

OF_ENCODER = frozenset({"model", "image_size", "patch_size"})  # settings that every method reads


def _values_predictor(
    network: type[Predictor] | type[QueryPredictor],
    encoder: Encoder,
    target: Target,
    *,
    predictor_width: int = 512,
    predictor_depth: int = 8,
    predictor_heads: int = 16,
) -> Predictor | QueryPredictor:
    num_outputs = target.values_per_patch(encoder.patch_size)
    return network(encoder.width, num_outputs, width=predictor_width, depth=predictor_depth, num_heads=predictor_heads)


_windows_predictor = partial(_values_predictor, Predictor)
_pixel_predictor = partial(_values_predictor, QueryPredictor)


def _linear_predictor(encoder: Encoder, target: Target) -> Predictor:
    return Predictor(encoder.width, target.values_per_patch(encoder.patch_size), depth=0)


def _token_predictor(
    encoder: Encoder,
    target: Target,
    *,
    predictor_width: int = 384,
    predictor_depth: int | None = None,
    predictor_heads: int = 12,
) -> QueryPredictor:
    depth = predictor_depth or (6 if encoder.width <= SIZES["vit-base"][0] else 12)  # as published
    return QueryPredictor(encoder.width, encoder.width, width=predictor_width, depth=depth, num_heads=predictor_heads)


def _feature_guided(
    encoder: Encoder,
    predictor: QueryPredictor,
    target: Target,
    *,
    mask_ratio: float = 0.7,
    normalise_patches: bool = True,
) -> GlobalMasked:
    return GlobalMasked(encoder, predictor, target, mask_ratio=mask_ratio, normalise_patches=normalise_patches)


def _speckled(
    encoder: Encoder,
    predictor: QueryPredictor,
    target: Target,
    *,
    mask_ratio: float = 0.75,
    normalise_patches: bool = False,
    anchor: str | None = None,
    anchor_weight: float = 0.8,
) -> GlobalMasked:
    build = (
        GlobalMasked if anchor is None else partial(Anchored, anchor=load_anchor(anchor), anchor_weight=anchor_weight)
    )
    return build(encoder, predictor, target, add_speckle, mask_ratio=mask_ratio, normalise_patches=normalise_patches)


@dataclass(frozen=True)
class Composition:
    """The parts of a method; the keywords of its builders are the settings it reads.

    Attributes:
        method: builder of the method, from the encoder and, if there is a target, the predictor and the target.
        target: name of the default target; None: nothing is predicted, and no target can be chosen.
        predictor: builder of the predictor, from the encoder and the target.
        positions, class_token: kind of the encoder's positions, and whether it has a class token.
        revision: number that is raised when the same settings come to mean another training; a run of another revision
            can be evaluated but not resumed.
    """

    method: Callable[..., Method]
    target: str | None = None
    predictor: Callable[..., nn.Module] = _windows_predictor
    positions: str = "relative"
    class_token: bool = True
    revision: int = 2


METHODS: dict[str, Composition] = {
    "sar-jepa": Composition(LocalMasked, "ratio"),
    "lomar-sar": Composition(LocalMasked, "pixel"),
    "lomar": Composition(LocalMasked, "pixel", _linear_predictor),
    "mae": Composition(GlobalMasked, "pixel", _pixel_predictor, "sincos"),
    "fg-mae": Composition(_feature_guided, "hog-gaussian", _pixel_predictor, "sincos"),
    "sarmae": Composition(_speckled, "pixel", _pixel_predictor, "sincos", revision=3),
    "i-jepa": Composition(
        partial(LatentBlocks, distance=smooth_l1_to_normalised), "pixel", _token_predictor, "sincos", False
    ),
    "latent-gradient": Composition(partial(LatentBlocks, distance=squared), "ratio", _token_predictor, "sincos", False),
    "pgca": Composition(PatchGradient, "ratio", _linear_predictor),
    "pgca-deep": Composition(PatchGradient, "ratio"),
    "views": Composition(Views, revision=1),
    "sar-jepa-views": Composition(LocalMaskedViews, "ratio"),
    "safe": Composition(MaskedSiamese, revision=1),
}


def reads(name: str, target: str | None = None) -> frozenset[str]:
    """The settings that a method reads, with its own or another target.

    Example:
        >>> sorted(reads("pgca") - OF_ENCODER)
        ['radii', 'target']
    """
    parts = METHODS[name]
    own = OF_ENCODER | keywords_of(parts.method)
    if parts.target is None:
        return own
    return own | {"target"} | keywords_of(parts.predictor) | keywords_of(TARGETS[target or parts.target])


# Every setting that some method or target reads.
SETTINGS = frozenset().union(*(reads(name) for name in METHODS), *(keywords_of(build) for build in TARGETS.values()))


def build_method(name: str, *, model: str = "vit-base", image_size: int = 224, patch_size: int | None = None,
                 target: str | None = None, **settings: Any) -> Method:  # fmt: skip
    """The method of a name, freshly initialised (from torch's current random state).

    Args:
        name: one of `METHODS`.
        model, image_size, patch_size: size of the encoder and of its input.
        target: name of a target in place of the method's own.
        settings: further ones of `SETTINGS`. None means the method's own value; settings of other methods or targets
            are ignored.

    Raises:
        InputError: no such method, or settings that do not fit it.

    Example:
        >>> method = build_method("lomar", model="vit-demo", image_size=64, mask_ratio=0.5)
        >>> method.encoder.width, method.mask_ratio
        (96, 0.5)
    """
    if name not in METHODS:
        raise InputError("no such method", where=repr(name), hint=nearest(name, METHODS))
    if unknown := settings.keys() - SETTINGS:
        raise TypeError(f"no method has such settings: {', '.join(sorted(unknown))}")
    parts, chosen = METHODS[name], {key: value for key, value in settings.items() if value is not None}
    encoder = Encoder(encoder_shape(model, image_size, patch_size, parts.positions, parts.class_token))
    if parts.target is None:
        return parts.method(encoder, **read_by(parts.method, chosen))
    predicted = build_target(target or parts.target, **chosen)
    if encoder.patch_size % predicted.cell:
        raise InputError(
            "the target's cells do not fit into a patch",
            where=f"target {predicted.name}",
            expected=f"a patch size that is a multiple of {predicted.cell}",
            got=encoder.patch_size,
        )
    predictor = parts.predictor(encoder, predicted, **read_by(parts.predictor, chosen))
    return parts.method(encoder, predictor, predicted, **read_by(parts.method, chosen))


def method_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `build_method` among a run's settings; missing ones have their defaults.

    Args:
        settings: stored settings, by their names on the command line.

    Example:
        >>> method_settings({"mask-ratio": 0.8, "radii": [5, 9], "epochs": 200})
        {'mask_ratio': 0.8, 'radii': (5, 9)}
    """
    by_key = {key.replace("-", "_"): value for key, value in settings.items()}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in by_key.items() if key in SETTINGS}


def check_revision(name: str, described: Mapping[str, Any], where: object) -> None:
    """Refuse to resume a run of another revision of its method.

    Args:
        name: one of `METHODS`.
        described: facts stored in the run's checkpoint; without a revision, it is 1.
        where: file of the weights, for the message.

    Raises:
        InputError: the method has changed since.

    Example:
        >>> check_revision("sarmae", {"revision": 3}, "last.pt")
        >>> check_revision("sarmae", {"revision": 2}, "last.pt")  # doctest: +NORMALIZE_WHITESPACE
        Traceback (most recent call last):
        sarjepa.errors.InputError: the run was started by a version with another sarmae: last.pt; expected revision 3 of
            the method; got revision 2; it can still be evaluated; move it away, and start another run
    """
    if (started := described.get("revision", 1)) != (now := METHODS[name].revision):
        raise InputError(
            f"the run was started by a version with another {name}",
            where=where,
            expected=f"revision {now} of the method",
            got=f"revision {started}",
            hint="it can still be evaluated; move it away, and start another run",
        )


def check_facts(method: Method, described: Mapping[str, Any], where: object) -> None:
    """Refuse to resume a run with another anchor.

    Raises:
        InputError: a fact of the method differs from the one in the checkpoint.

    Example:
        >>> method = build_method("sarmae", model="vit-demo", image_size=32, anchor="runs/toy", predictor_depth=1)
        >>> check_facts(method, method.facts(), "a.pt")  # the same anchor
        >>> check_facts(method, {"anchor_sha256": "0894"}, "a.pt")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        sarjepa.errors.InputError: the run was started with other weights: anchor_sha256 of a.pt; expected 0894; got ...
    """
    for key, now in method.facts().items():
        if (started := described.get(key)) != now:
            raise InputError(
                "the run was started with other weights", where=f"{key} of {where}", expected=started, got=now
            )


def take_weights(method: nn.Module, weights: Mapping[str, torch.Tensor], where: object) -> None:
    """Load a checkpoint's weights into a method.

    Raises:
        InputError: the weights are those of another model.

    Example:
        >>> method = nn.Linear(2, 1)
        >>> take_weights(method, {"weight": torch.zeros(1, 2)}, "last.pt")  # doctest: +NORMALIZE_WHITESPACE
        Traceback (most recent call last):
        sarjepa.errors.InputError: the checkpoint is of another model than the settings describe: last.pt;
            got Missing key(s) in state_dict: "bias".; it may come from another version; start another run
    """
    try:
        method.load_state_dict(weights)
    except RuntimeError as error:  # torch's error for missing, unexpected and misshapen weights
        raise InputError(
            "the checkpoint is of another model than the settings describe",
            where=where,
            got="; ".join(line.strip() for line in str(error).splitlines()[1:3])[:200],
            hint="it may come from another version; start another run",
        ) from error
