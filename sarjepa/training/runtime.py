"""Device, number format and processes of a run.

torchrun starts one process per GPU and tells each its rank through the environment; without torchrun there is one rank.
Only rank 0 writes files and shows progress.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from sarjepa.errors import InputError

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # of the CPU: AVX-512, AMX, ARM


@dataclass(frozen=True)
class Ranks:
    """The number of this process, from 0, and the number of processes."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def gather_max(self, value: float, device: torch.device) -> float:
        """The largest of a number over all ranks, so that one rank's NaN or stop request reaches the others."""
        if self.world_size == 1:
            return value
        shared = torch.tensor([value], device=device)
        dist.all_reduce(shared, op=dist.ReduceOp.MAX)
        return float(shared)

    def mean(self, value: float, device: torch.device) -> float:
        """The mean of a number over all ranks."""
        if self.world_size == 1:
            return value
        shared = torch.tensor([value], device=device)
        dist.all_reduce(shared)
        return float(shared) / self.world_size


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[Ranks]:
    """The ranks of this run; joins the process group where torchrun started several, and leaves it at the end.

    Example:
        >>> with process_group(torch.device("cpu")) as ranks:  # without torchrun
        ...     ranks.is_first, ranks.world_size
        (True, 1)
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Ranks()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), world_size)
    finally:
        dist.destroy_process_group()
        # A thread of gloo releases the last exchange's tensor under Python's lock. If the interpreter ends before that,
        # the process aborts (PyTorch issue 190489); DistributedDataParallel keeps the thread alive past this line.
        time.sleep(0.2)


def pick_device(name: str) -> torch.device:
    """The device of a setting; under torchrun `cuda` becomes the GPU of the local rank.

    Raises:
        InputError: there is no CUDA device, or none of this number.

    Example:
        >>> pick_device("cpu")
        device(type='cpu')
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError("no CUDA device here", where="device", got=name, hint="use --device cpu or auto")
    index = int(name[5:]) if name.startswith("cuda:") else int(os.environ.get("LOCAL_RANK", "0"))
    if index >= torch.cuda.device_count():
        raise InputError("no such CUDA device", where=name, expected=f"0 to {torch.cuda.device_count() - 1}")
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device


def check_compiler(device: torch.device) -> None:
    """Compile a small function for a device, so that a missing compiler is an error before a run begins.

    Raises:
        InputError: torch.compile does not work here: no C++ compiler, or no Triton for the GPU.
    """
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(8, device=device))
    except RuntimeError as error:  # the base of all errors of torch.compile
        cause = next(line for line in str(error).splitlines() if line.strip())
        raise InputError(
            "torch.compile does not work on this machine",
            where="compile",
            got=cause,
            hint="install a C++ compiler (g++), or leave out --compile",
        ) from error


def pick_precision(name: str, device: torch.device) -> str:
    """The number format of a setting: "auto" is bf16 where the device multiplies it in hardware, else fp32.

    A CPU without bf16 instructions (most laptops) emulates it, which makes training more than ten times slower than
    float32; one that has them is up to five times faster with them.

    Args:
        name: "auto", "bf16" or "fp32".
        device: device of the computation.

    Returns:
        "bf16" or "fp32".

    Example:
        >>> pick_precision("bf16", torch.device("cpu"))  # as asked for, even where it is emulated
        'bf16'
    """
    if name != "auto":
        return name
    has_bf16 = torch.cuda.is_bf16_supported(False) if device.type == "cuda" else bool(_cpu_flags() & _BF16_FLAGS)
    return "bf16" if has_bf16 else "fp32"


def _cpu_flags() -> set[str]:
    """The instruction sets that Linux names for the processor: "flags" on x86, "Features" on ARM."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    return {flag for line in text.splitlines() if line.startswith(("flags", "Features")) for flag in line.split()}


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """The number format of matrix products: bf16 by autocast, or fp32 as it is.

    Example:
        >>> with autocast("bf16", torch.device("cpu")):
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.bfloat16
    """
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
