"""What a run is made of, built from its settings: the method, its shards, the averaged encoder, the online probe."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sarjepa.config import PretrainConfig, as_dict
from sarjepa.errors import InputError
from sarjepa.models.blocks import Block
from sarjepa.models.checkpoints import describe_line, load_encoder
from sarjepa.models.encoder import Encoder
from sarjepa.overlay import overlay, preset_names, read_preset
from sarjepa.pretext.method import Method
from sarjepa.pretext.methods import SETTINGS, build_method, method_settings, reads
from sarjepa.progress import Progress
from sarjepa.recipes.pretraining.watch import Watch
from sarjepa.training.runtime import Ranks, check_compiler

if TYPE_CHECKING:
    from sarjepa.training.sharding import Sharding


def bare_method(config: PretrainConfig) -> Method:
    """The method of the settings, freshly initialised."""
    return build_method(config.method, **method_settings(as_dict(config)))


def ready_method(config: PretrainConfig, device: torch.device, progress: Progress) -> Method:
    """The method as it starts: from `--init` where given, its blocks compiled or recomputed as asked.

    Raises:
        InputError: settings that the method cannot take or does not read, weights of another shape, or no compiler.
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
        start = load_encoder(config.init)
        if asdict(start.shape) != asdict(method.encoder.shape):
            raise InputError(
                "the checkpoint's encoder is of another shape",
                where=config.init,
                expected=method.encoder.shape,
                got=start.shape,
            )
        method.start_from(start)
        progress.note(describe_line(start))
    for module in method.modules():
        if isinstance(module, Block):
            module.recompute = config.recompute
            if config.compile:
                module.compile()
    return method.to(device)


def _refuse_unread(config: PretrainConfig, method: Method) -> None:
    """Refuse a setting that would change nothing, unless a preset gave it: that is for all methods.

    Raises:
        InputError: neither the method nor its target reads it, and it was typed, or is neither default nor a preset's.
    """
    presets = [overlay(PretrainConfig, [(name, read_preset(name, "pretrain"))]) for name in preset_names()]
    target = method.target.name if method.target else None
    reader = f"neither {config.method} nor its target {target} reads" if target else f"{config.method} does not read"
    of_batches = ["contrast", "crop_scale"] if method.views else ["view_augment"]
    for key in sorted(SETTINGS - reads(config.method, target)) + of_batches:
        value = getattr(config, key)
        if config.is_typed(key) or value not in [getattr(usual, key) for usual in (PretrainConfig(), *presets)]:
            raise InputError(f"{reader} this setting", where=key.replace("_", "-"), got=value, hint="leave it out")


def shards_of(config: PretrainConfig, method: Method, device: torch.device, ranks: Ranks) -> Sharding | None:
    """The method's weights cut into shards, where asked; one process has nobody to share them with.

    Raises:
        InputError: something needs whole weights between steps, or this torch has no FSDP2.
    """
    if not config.shard:
        return None
    faults = {"method": hasattr(method, "teacher"), "ema": bool(config.ema), "probe-every": bool(config.probe_every)}
    for key, fault in faults.items():
        if fault:
            value = getattr(config, key.replace("-", "_"))
            raise InputError("does not go with --shard", where=key, got=value, hint="leave one of the two out")
    if ranks.world_size == 1:
        return None
    try:
        from sarjepa.training.sharding import Sharding
    except ImportError as error:
        raise InputError("no FSDP2 in this torch", where="shard", expected="torch 2.6", got=error) from error
    return Sharding(method, Block, device, ranks.world_size)


def take_moments(optimizer: torch.optim.Optimizer, moments: dict[str, Any], where: object) -> None:
    """Fill an optimiser from a checkpoint.

    Raises:
        InputError: it is of a version that grouped the weights otherwise.
    """
    try:
        optimizer.load_state_dict(moments)
    except ValueError as error:  # torch's word for groups of other sizes
        raise InputError(
            "the run was started by a version with other weight decay",
            where=where,
            hint=f"start another run with --init {where}",
        ) from error


def average_of(encoder: Encoder, rate: float | None) -> AveragedModel | None:
    """An exponential moving average of the encoder's weights, where it is asked for."""
    return AveragedModel(encoder, multi_avg_fn=get_ema_multi_avg_fn(rate)) if rate else None


def watch_of(config: PretrainConfig, device: torch.device) -> Watch | None:
    """The online probe, where it is asked for."""
    if config.probe_every is None:
        return None
    dataset = config.probe_dataset or config.sources[0]
    return Watch(config.data_root, dataset, config.probe_crop, config.precision, device)
