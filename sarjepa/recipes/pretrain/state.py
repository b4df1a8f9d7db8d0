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
from sarjepa.recipes.pretrain.method import bare_method
from sarjepa.training.checkpoint import Checkpoint
from sarjepa.training.optim import adamw
from sarjepa.training.runtime import Ranks

if TYPE_CHECKING:
    from sarjepa.training.sharding import Sharding


@dataclass
class TrainingState:
    """Weights, moments and step.

    Attributes:
        method: the method with its weights, or with this process's part of them if they are sharded.
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


def new_state(config: PretrainConfig, method: Method, device: torch.device, ranks: Ranks) -> TrainingState:
    """The state before the first step.

    Args:
        config: settings of the run.
        method: method on `device`, as `ready_method` returns it.
        device, ranks: device and ranks of this process.

    Raises:
        InputError: the settings do not allow sharding.

    Example:
        >>> config = PretrainConfig(method="mae", model="vit-demo", image_size=32, predictor_depth=1)
        >>> state = new_state(config, bare_method(config), torch.device("cpu"), Ranks())
        >>> [group["weight_decay"] for group in state.optimizer.param_groups]  # none on biases and norms
        [0.05, 0.0]
    """
    sharding = _sharding(config, method, device, ranks)
    optimizer = adamw(method, config.weight_decay)
    average = AveragedModel(method.encoder, multi_avg_fn=get_ema_multi_avg_fn(config.ema)) if config.ema else None
    return TrainingState(method, optimizer, average, sharding)


def restore(state: TrainingState, stored: Checkpoint, where: object) -> None:
    """Fill a state from a checkpoint, as `checkpoint_of` made it.

    Args:
        state: state to fill.
        stored: the checkpoint.
        where: folder of the run, for errors.

    Raises:
        InputError: the checkpoint does not fit the method, or a key holds a value of the wrong type.

    Example:
        >>> from pathlib import Path
        >>> config = PretrainConfig(method="mae", model="vit-demo", image_size=32, predictor_depth=1)
        >>> old, new = (new_state(config, bare_method(config), torch.device("cpu"), Ranks()) for _ in range(2))
        >>> restore(new, Checkpoint(Path("checkpoint-last.pt"), checkpoint_of(old, {}, Ranks())), "runs/mine")
        >>> all(map(torch.equal, new.method.parameters(), old.method.parameters()))
        True
    """
    weights, moments = _tensors(stored, "method", state.method.state_dict()), _moments(stored, state.optimizer)
    if state.sharding:
        weights, moments = state.sharding.weights(weights), state.sharding.moments(state.optimizer, moments)
    take_weights(state.method, weights, where)
    state.optimizer.load_state_dict(moments)
    if state.average is not None:
        take_weights(state.average, _tensors(stored, "average", state.average.state_dict()), where)
    state.step = stored.content["step"]


def described(stored: Checkpoint) -> dict[str, Any]:
    """The description of a checkpoint.

    Raises:
        InputError: there is none, or its number of steps is not that of the checkpoint.

    Example:
        >>> from pathlib import Path
        >>> described(Checkpoint(Path("checkpoint-last.pt"), {"step": 3, "describe": {"steps": 3, "method": "mae"}}))
        {'steps': 3, 'method': 'mae'}
    """
    describe: dict[str, Any] = _mapping(stored, "describe", stored.content.get("describe"))
    _mapping(stored, "describe.data", describe.get("data", {}))
    step = stored.content.get("step")
    if type(step) is not int or step < 0 or step != describe.get("steps", step):
        raise _fault(stored, "step", f"the number of steps, as described: {describe.get('steps')}", step)
    return describe


def _fault(stored: Checkpoint, key: str, expected: object, got: object) -> InputError:
    got = f"{got.dtype}, {tuple(got.shape)}" if isinstance(got, torch.Tensor) else repr(got)[:60]
    hint = "start another run, with --init an encoder that was exported"
    return InputError("not as a checkpoint has it", where=f"{key} in {stored.path}", expected=expected, got=got,
                      hint=hint)  # fmt: skip


def _mapping(stored: Checkpoint, key: str, value: object) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise _fault(stored, key, "a mapping", value)
    return value


def _tensors(stored: Checkpoint, key: str, own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict of a checkpoint, checked to hold tensors of the dtypes of `own`; torch checks the shapes."""
    tensors = _mapping(stored, key, stored.content.get(key))
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor) or (name in own and value.dtype != own[name].dtype):
            expected = own[name].dtype if name in own else "a tensor"
            raise _fault(stored, f"{key}.{name}", expected, value)
    return tensors


def _moments(stored: Checkpoint, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The moments of a checkpoint, with the optimiser's own rates and decays, which are the same.

    Raises:
        InputError: the moments do not fit the weights, or another version grouped the weights differently.
    """
    held = _mapping(stored, "optimizer", stored.content.get("optimizer"))
    own_groups = optimizer.state_dict()["param_groups"]
    stored_params = [
        group.get("params") if isinstance(group, dict) else None for group in held.get("param_groups") or ()
    ]
    if stored_params != [group["params"] for group in own_groups]:
        where = stored.path.parent
        raise InputError(
            "the run was started by a version with other weight decay",
            where=where,
            hint=f"start another run with --init {where}",
        )
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    moments = _mapping(stored, "optimizer.state", held.get("state"))
    for number, entries in moments.items():
        key = f"optimizer.state.{number}"
        if number not in range(len(weights)):
            raise _fault(stored, key, f"0 to {len(weights) - 1}", number)
        like = {"step": torch.zeros(()), "exp_avg": weights[number], "exp_avg_sq": weights[number]}
        if _mapping(stored, key, entries).keys() != like.keys():
            raise _fault(stored, key, ", ".join(like), sorted(map(str, entries)))
        for name, tensor in like.items():
            value = entries[name]
            if not isinstance(value, torch.Tensor) or (value.dtype, value.shape) != (tensor.dtype, tensor.shape):
                raise _fault(stored, f"{key}.{name}", f"{tensor.dtype}, {tuple(tensor.shape)}", value)
    return {"state": moments, "param_groups": own_groups}


def checkpoint_of(state: TrainingState, describe: Mapping[str, Any], ranks: Ranks) -> dict[str, Any] | None:
    """The content of a checkpoint on rank 0, None on other ranks; every rank calls it, since shards are gathered.

    Example:
        >>> config = PretrainConfig(method="mae", model="vit-demo", image_size=32, predictor_depth=1)
        >>> state = new_state(config, bare_method(config), torch.device("cpu"), Ranks())
        >>> list(checkpoint_of(state, {"method": "mae"}, Ranks()))
        ['encoder_shape', 'describe', 'exported', 'method', 'optimizer', 'step']
        >>> print(checkpoint_of(state, {"method": "mae"}, Ranks(rank=1, world_size=2)))
        None
    """
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
    """The state with whole weights on rank 0, to be exported and drawn; the same state where nothing is sharded."""
    if not state.sharding:
        return state
    weights = state.sharding.gathered(state.method.state_dict(), ranks.is_first)
    if not ranks.is_first:
        return replace(state, sharding=None)
    method = bare_method(config).to(device)
    method.load_state_dict(weights)
    return replace(state, method=method, sharding=None)


def _sharding(config: PretrainConfig, method: Method, device: torch.device, ranks: Ranks) -> Sharding | None:
    """Divide the method's weights among the processes, if that is asked for and there are several.

    Raises:
        InputError: a setting needs whole weights between steps, or this torch has no FSDP2.
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
