"""The method of a run, built from its settings, with every setting refused that it would not read."""

from __future__ import annotations

from dataclasses import asdict

import torch

from sarjepa.config import PretrainConfig, as_dict
from sarjepa.errors import InputError
from sarjepa.models.blocks import Block
from sarjepa.models.checkpoints import describe_line, load_encoder
from sarjepa.overlay import overlay, preset_names, read_preset
from sarjepa.pretext.method import Method
from sarjepa.pretext.methods import SETTINGS, build_method, method_settings, reads
from sarjepa.progress import Progress
from sarjepa.training.runtime import check_compiler


def bare_method(config: PretrainConfig) -> Method:
    """The method of the settings, freshly initialised.

    Example:
        >>> method = bare_method(PretrainConfig(method="mae", model="vit-demo", image_size=32, predictor_depth=1))
        >>> method.target.name, method.encoder.shape.width, method.encoder.image_size
        ('pixel', 96, 32)
    """
    return build_method(config.method, **method_settings(as_dict(config)))


def ready_method(config: PretrainConfig, device: torch.device, progress: Progress) -> Method:
    """The method before training: with the weights of `--init` if given, its blocks compiled or recomputed as asked.

    Raises:
        InputError: the method cannot take or does not read a setting, weights are of another shape, or there is no
            compiler.

    Example:
        >>> config = PretrainConfig(method="mae", model="vit-demo", image_size=32, predictor_depth=1, num_windows=8)
        >>> ready_method(config, torch.device("cpu"), Progress())  # local windows are of other methods
        Traceback (most recent call last):
        sarjepa.errors.InputError: neither mae nor its target pixel reads this setting: num-windows; got 8; leave it out
    """
    if config.compile:
        check_compiler(device)
    method = bare_method(config)
    _refuse_unread(config, method)
    if method.views and config.accumulate > 1:
        raise InputError(
            f"{config.method} compares all chips of a batch, which cannot be taken in parts",
            where="accumulate",
            got=config.accumulate,
            hint="leave it out; --recompute needs less memory too",
        )
    if config.init:
        encoder = load_encoder(config.init)
        if asdict(encoder.shape) != asdict(method.encoder.shape):
            raise InputError(
                "the checkpoint's encoder is of another shape",
                where=config.init,
                expected=method.encoder.shape,
                got=encoder.shape,
            )
        method.start_from(encoder)
        progress.note(describe_line(encoder))
    for module in method.modules():
        if isinstance(module, Block):
            module.recompute = config.recompute
            if config.compile:
                module.compile()
    return method.to(device)


def _refuse_unread(config: PretrainConfig, method: Method) -> None:
    """Refuse a setting without effect, unless a preset gave it: presets serve all methods.

    Raises:
        InputError: neither the method nor its target reads a setting that was typed, or whose value is neither the
            default nor a preset's.
    """
    presets = [overlay(PretrainConfig, [(name, read_preset(name, "pretrain"))]) for name in preset_names()]
    target = method.target.name if method.target else None
    reader = f"neither {config.method} nor its target {target} reads" if target else f"{config.method} does not read"
    of_batches = ["contrast", "crop_scale", "flip"] if method.views else ["view_augment"]
    of_batches += [] if method.optical else ["anchor_weight", "paired_share"]
    for key in sorted(SETTINGS - reads(config.method, target)) + of_batches:
        value = getattr(config, key)
        if config.is_typed(key) or value not in [getattr(usual, key) for usual in (PretrainConfig(), *presets)]:
            raise InputError(f"{reader} this setting", where=key.replace("_", "-"), got=value, hint="leave it out")
