"""A model too large to be copied: weights and optimiser cut into shards, one per process (FSDP2).

Copying (DDP) keeps every weight, its gradient and its two moments on every process, with AdamW in fp32 16 bytes per
weight: 10 GB for a ViT-huge. Sharding (Rajbhandari et al., ZeRO, SC 2020; Zhao et al., PyTorch FSDP, VLDB 2023) keeps
1/K of all that on each of K processes and gathers a layer's weights when they are needed, for half as much traffic
again. The arithmetic is that of copies, up to the order of sums.

A checkpoint holds whole tensors, so a sharded run can resume with copies, and the other way round. Gathering and
distributing are collective: every process has to call them.
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
        module: module with the same weights on every process, on its device. Only calls of the whole module gather the
            weights that are in none of its layers.
        layer: class of its parts that are gathered one after the other.
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
        """A state dict with whole tensors on the CPU in place of shards, or None in their place without `keep`."""

        def whole(value: Any) -> Any:
            if not isinstance(value, DTensor):
                return value
            tensor = value.full_tensor()
            return tensor.cpu() if keep else None

        return tree_map(whole, state)

    def weights(self, whole: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state dict of whole weights, cut as the module needs it."""
        own = self._module.state_dict()
        return {key: _like(value, own[key]) if key in own else value for key, value in whole.items()}

    def moments(self, optimizer: torch.optim.Optimizer, whole: dict[str, Any]) -> dict[str, Any]:
        """A state dict of an optimiser of whole weights, cut as an optimiser of this module's weights needs it."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        state = {
            number: {name: _like(value, parameters[number]) for name, value in entries.items()}
            for number, entries in whole["state"].items()
        }
        return {**whole, "state": state}


def _like(value: Tensor, own: Tensor) -> Tensor:
    """A whole tensor, cut as `own` is; unchanged if its shape differs (a step count, weights of another model)."""
    if not isinstance(own, DTensor) or value.shape != own.shape:
        return value
    return distribute_tensor(value.to(own.device), own.device_mesh, own.placements)
