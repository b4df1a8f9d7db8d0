"""A model too large to be copied: weights and optimiser cut into shards, one a process (FSDP2).

Copying (DDP) keeps every weight, its gradient and its two moments on every process, with AdamW in fp32 16 bytes a
weight: 10 GB for a ViT-huge. Sharding (Rajbhandari et al., ZeRO, SC 2020; Zhao et al., PyTorch FSDP, VLDB 2023) keeps
1/K of all that on each of K processes and gathers a layer's weights when its turn comes, for half as much traffic
again. The arithmetic stays that of copies, up to the order of sums.

What is in a checkpoint is whole: a run that was sharded goes on with copies, and the other way round. Gathering and
spreading are collective, so every process has to come to them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map


class Sharding:
    """A module whose weights are sharded, in place, over all processes.

    Args:
        module: with the same weights on every process, on its device. It is to be called as a whole, since its own
            weights are gathered when it is.
        layer: the class of its parts that are gathered one after the other.
        device: device of this process.
        num_processes: K.
    """

    def __init__(self, module: nn.Module, layer: type[nn.Module], device: torch.device, num_processes: int) -> None:
        mesh = init_device_mesh(device.type, (num_processes,))
        for part in module.modules():
            if isinstance(part, layer):
                fully_shard(part, mesh=mesh)
        fully_shard(module, mesh=mesh)
        self._module = module

    def gathered(self, state: Any, keep: bool) -> Any:
        """A state dict with whole tensors on the CPU in place of shards; None in their place unless `keep`."""

        def whole(value: Any) -> Any:
            if not isinstance(value, DTensor):
                return value
            tensor = value.full_tensor()
            return tensor.cpu() if keep else None

        return tree_map(whole, state)

    def weights(self, whole: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state dict of whole weights as the module takes it."""
        own = self._module.state_dict()
        return {key: _like(value, own[key]) if key in own else value for key, value in whole.items()}

    def moments(self, optimizer: torch.optim.Optimizer, whole: dict[str, Any]) -> dict[str, Any]:
        """A state dict of an optimiser over whole weights as one over this module's weights takes it."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        state = {
            number: {name: _like(value, parameters[number]) for name, value in entries.items()}
            for number, entries in whole["state"].items()
        }
        return {**whole, "state": state}


def _like(value: Tensor, own: Tensor) -> Tensor:
    """A whole tensor cut as `own` is; what is not of its shape (a step count, weights of another model) as it is."""
    if not isinstance(own, DTensor) or value.shape != own.shape:
        return value
    return distribute_tensor(value.to(own.device), own.device_mesh, own.placements)
