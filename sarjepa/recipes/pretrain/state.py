"""What every step of a training changes, and a checkpoint of it: weights, moments, their average, the step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sarjepa.config import PretrainConfig
from sarjepa.errors import InputError
from sarjepa.models.blocks import Block
from sarjepa.pretext.method import Method
from sarjepa.pretext.methods import take_weights
from sarjepa.progress import Progress
from sarjepa.recipes.pretrain.method import bare_method, ready_method
from sarjepa.training.optim import adamw
from sarjepa.training.runtime import Ranks

if TYPE_CHECKING:
    from sarjepa.training.sharding import Sharding


@dataclass
class TrainingState:
    """Weights, moments and step.

    Attributes:
        method: the method, with its weights; if they are sharded, with this process's part of them.
        optimizer: the optimiser, with its moments.
        average: exponential moving average of the encoder's weights, where it is asked for.
        sharding: division of the weights among processes, if they are divided.
        step: steps done.
    """

    method: Method
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    sharding: Sharding | None
    step: int = 0


def new_state(config: PretrainConfig, device: torch.device, ranks: Ranks, progress: Progress) -> TrainingState:
    """The state before the first step.

    Raises:
        InputError: the method or its shards cannot be had with these settings.
    """
    method = ready_method(config, device, progress)
    sharding = _shards_of(config, method, device, ranks)
    optimizer = adamw(method, config.weight_decay)
    average = AveragedModel(method.encoder, multi_avg_fn=get_ema_multi_avg_fn(config.ema)) if config.ema else None
    return TrainingState(method, optimizer, average, sharding)


def restore(state: TrainingState, stored: Mapping[str, Any], where: object) -> None:
    """Fill a state from a checkpoint, as `checkpoint_of` made it.

    Raises:
        InputError: the checkpoint does not fit the method.
    """
    weights, moments = stored["method"], stored["optimizer"]
    if state.sharding:
        weights, moments = state.sharding.weights(weights), state.sharding.moments(state.optimizer, moments)
    take_weights(state.method, weights, where)
    _take_moments(state.optimizer, moments, where)
    state.step = stored["step"]
    if state.average is not None:
        state.average.load_state_dict(stored["average"])


def checkpoint_of(state: TrainingState, describe: Mapping[str, Any], ranks: Ranks) -> dict[str, Any] | None:
    """What a checkpoint holds, on rank 0; every process calls it, since shards are gathered here."""
    weights, moments = state.method.state_dict(), state.optimizer.state_dict()
    if state.sharding:
        weights, moments = state.sharding.gathered((weights, moments), ranks.is_first)
    if not ranks.is_first:
        return None
    content: dict[str, Any] = {
        "encoder_shape": asdict(state.method.encoder.shape),
        "describe": dict(describe),
        "exported": state.method.exported,
        "method": weights,
        "optimizer": moments,
        "step": state.step,
    }
    return content if state.average is None else {**content, "average": state.average.state_dict()}


def with_whole_weights(
    state: TrainingState, config: PretrainConfig, device: torch.device, ranks: Ranks
) -> TrainingState:
    """The state with whole weights on rank 0, to be exported and drawn; as it is where none are cut."""
    if not state.sharding:
        return state
    weights = state.sharding.gathered(state.method.state_dict(), ranks.is_first)
    if not ranks.is_first:
        return replace(state, sharding=None)
    method = bare_method(config).to(device)
    method.load_state_dict(weights)
    return replace(state, method=method, sharding=None)


def _shards_of(config: PretrainConfig, method: Method, device: torch.device, ranks: Ranks) -> Sharding | None:
    """Divide the method's weights among the processes, if that is asked for and there are several.

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


def _take_moments(optimizer: torch.optim.Optimizer, moments: dict[str, Any], where: object) -> None:
    """Fill an optimiser from a checkpoint.

    Raises:
        InputError: another version, which grouped the weights otherwise, wrote the checkpoint.
    """
    try:
        optimizer.load_state_dict(moments)
    except ValueError as error:  # torch's word for groups of other sizes
        raise InputError(
            "the run was started by a version with other weight decay",
            where=where,
            hint=f"start another run with --init {where}",
        ) from error
