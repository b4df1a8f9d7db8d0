"""The training loop: one optimiser step after another, with a safe stop after any of them.

It knows nothing of SAR: it takes a module whose call returns a loss, batches, and a rate for every step, so it can be
tested on two parameters. Its callbacks do all that happens between steps (logging, saving).
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sarjepa.errors import InputError, Stopped
from sarjepa.training.runtime import Ranks, autocast


class LossNotFiniteError(InputError):
    """The loss of a step is not a finite number; the weights are those before the step."""


@dataclass(frozen=True)
class StepRecord:
    """A finished step: its number (from 1), loss, rate, seconds of work and of waiting for data, and images."""

    step: int
    loss: float
    lr: float
    seconds: float
    wait_seconds: float
    num_images: int


class StopRequest:
    """Set by SIGTERM, Ctrl-C or a closed terminal, and read between steps: the run then saves and ends."""

    def __init__(self) -> None:
        self.number = 0  # number of the signal; 0: there was none

    @property
    def reason(self) -> str:
        """The name of the signal; empty: there was none."""
        return signal.Signals(self.number).name if self.number else ""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; a second one ends the program at once."""
        if self.number:
            raise Stopped(number)
        self.number = number


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """While open, SIGINT, SIGTERM and SIGHUP set a request instead of ending the program.

    A SIGHUP that is ignored stays ignored: programs under nohup have to outlive their terminal.

    Example:
        >>> with stop_on_signals() as request:
        ...     signal.raise_signal(signal.SIGTERM)
        >>> request.reason
        'SIGTERM'
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may set handlers
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, request) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def fit(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Sequence[tuple[Any, ...]]],
    *,
    first_step: int,
    lr_at: Callable[[int], float],
    precision: str,
    device: torch.device,
    ranks: Ranks,
    clip_grad: float | None,
    after_step: Callable[[StepRecord], bool],
) -> None:
    """Train until the batches end or `after_step` says stop.

    Args:
        module: module that maps a part's items to a scalar loss, a mean over images.
        optimizer: optimiser; the loop sets its rate to `lr_at`, times the `scale` of a group that has one.
        batches: lists of equal parts, over which the gradient is accumulated; a part is the arguments of `module`, the
            first of which is a tensor with the images along its first axis.
        first_step: number of steps done before.
        lr_at: function from a step, counted from 0, to its rate.
        precision: "bf16" or "fp32".
        device, ranks: device and ranks of this process.
        clip_grad: largest gradient norm, or None.
        after_step: function of the step's record; it returns True to end the training.

    Raises:
        LossNotFiniteError: the loss of some rank is not finite; nothing of that step is kept.

    Example:
        >>> module = nn.Linear(1, 1, bias=False)  # its output is taken for the loss, so the gradient is its input
        >>> _ = nn.init.zeros_(module.weight)
        >>> fit(module, torch.optim.SGD(module.parameters()), [[(torch.ones(1, 1),)]] * 9, first_step=0,
        ...     lr_at=lambda step: 0.1 * (step + 1), precision="fp32", device=torch.device("cpu"), ranks=Ranks(),
        ...     clip_grad=None, after_step=lambda record: record.step == 2)
        >>> round(module.weight.item(), 2)  # after two steps, at rates 0.1 and 0.2
        -0.3
    """
    step, ready = first_step, time.perf_counter()
    for parts in batches:
        began = time.perf_counter()
        lr = lr_at(step)
        for group in optimizer.param_groups:
            group["lr"] = lr * group.get("scale", 1.0)
        optimizer.zero_grad(set_to_none=True)
        loss = 0.0
        for part in parts:
            # Ranks exchange gradients once a step, at the last part.
            with contextlib.nullcontext() if part is parts[-1] else _without_exchange(module):
                with autocast(precision, device):
                    part_loss = module(*part) / len(parts)
                loss += float(part_loss.detach())
                # All ranks stop if one has no finite loss; else they would wait for its gradients.
                if ranks.gather_max(0.0 if math.isfinite(loss) else 1.0, device):
                    raise LossNotFiniteError("the loss is not a number", where=f"step {step + 1}", got=loss)
                part_loss.backward()
        if clip_grad is not None:
            nn.utils.clip_grad_norm_(module.parameters(), clip_grad)
        optimizer.step()
        step += 1
        done = time.perf_counter()
        record = StepRecord(
            step,
            ranks.mean(loss, device),
            lr,
            done - began,
            began - ready,
            sum(len(part[0]) for part in parts) * ranks.world_size,
        )
        if after_step(record):
            return
        ready = time.perf_counter()


@contextlib.contextmanager
def _without_exchange(module: nn.Module) -> Iterator[None]:
    """While open, ranks do not exchange the gradients of a wrapped module."""
    if isinstance(module, DistributedDataParallel):
        with module.no_sync():
            yield
    elif hasattr(module, "set_requires_gradient_sync"):  # an FSDPModule, whose class not every build of torch has
        module.set_requires_gradient_sync(False)  # type: ignore[operator]
        yield
        module.set_requires_gradient_sync(True)  # type: ignore[operator]
    else:
        yield
