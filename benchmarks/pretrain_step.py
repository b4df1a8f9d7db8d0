"""Speed of a pre-training step against the plain way of taking it, and the memory it wants.

The plain way: float32, the target by direct convolution, the relative-position bias gathered pair by pair. Ours: bf16
autocast, box sums, the bias as matrix products. Both are the same method on the same chips with the same draws, in
turns in one process; what is quoted is the ratio of the medians. Peak memory is that of one process per setting.

    python benchmarks/pretrain_step.py [--model vit-base] [--batch 8] [--memory-batch 75]
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from unittest import mock

import numpy as np
import torch

from sarjepa.models.blocks import Block
from sarjepa.models.relative_position import ContextualBias
from sarjepa.ops.ratio import gradient_by_ratio
from sarjepa.pretext import targets
from sarjepa.pretext.masking import ImageKeys
from sarjepa.pretext.method import Method
from sarjepa.pretext.methods import build_method
from sarjepa.training.optim import adamw
from sarjepa.training.runtime import autocast

SEED = 0


def step(method: Method, optimizer: torch.optim.Optimizer, image: torch.Tensor, precision: str) -> float:
    """One step; its seconds."""
    began = time.perf_counter()
    with autocast(precision, image.device):
        loss = method(image, ImageKeys(SEED, 0, np.arange(len(image))))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    if image.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def prepared(model: str, batch: int, device: str) -> tuple[Method, torch.optim.Optimizer, torch.Tensor]:
    """A method, its optimiser and a batch of gamma speckle."""
    torch.manual_seed(SEED)
    method = build_method("sar-jepa", model=model).to(device)
    speckle = np.random.default_rng(SEED).gamma(4.0, 0.05, (batch, 1, 224, 224)).clip(0, 1)
    return method, adamw(method, 0.05), torch.as_tensor(speckle, dtype=torch.float32, device=device)


def plain_step(method: Method, optimizer: torch.optim.Optimizer, image: torch.Tensor) -> float:
    """A step the plain way."""
    convolved = functools.partial(gradient_by_ratio, impl="conv")
    with (
        mock.patch.object(ContextualBias, "forward", ContextualBias.by_lookup),
        mock.patch.object(targets, "gradient_by_ratio", convolved),
    ):
        return step(method, optimizer, image, "fp32")


def compare_speed(model: str, batch: int, rounds: int, device: str) -> dict[str, float]:
    """Medians of both ways in turns, as images a second."""
    method, optimizer, image = prepared(model, batch, device)
    ours, plain = [], []
    for number in range(rounds + 1):
        pair = step(method, optimizer, image, "bf16"), plain_step(method, optimizer, image)
        if number:  # the first round warms up
            ours.append(pair[0])
            plain.append(pair[1])
    fast, slow = statistics.median(ours), statistics.median(plain)
    return {"ours images/s": batch / fast, "plain images/s": batch / slow, "ratio": slow / fast}


def peak_memory(model: str, batch: int, recompute: bool) -> float:
    """GiB that a process of its own reached in two bf16 steps on the CPU."""
    words = [sys.executable, __file__, "--model", model, "--batch", str(batch), "--only-memory"]
    result = subprocess.run(words + ["--recompute"] * recompute, capture_output=True, text=True, check=True)
    return float(json.loads(result.stdout)["peak GiB"])


def measure_own_memory(model: str, batch: int, recompute: bool) -> None:
    """Two steps, then this process's peak."""
    method, optimizer, image = prepared(model, batch, "cpu")
    for module in method.modules():
        if isinstance(module, Block):
            module.recompute = recompute
    for _ in range(2):
        step(method, optimizer, image, "bf16")
    print(json.dumps({"peak GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}))


def main() -> None:
    """Print the figures as Markdown rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="vit-base")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-batch", type=int, default=75)
    parser.add_argument("--only-memory", action="store_true")
    parser.add_argument("--recompute", action="store_true")
    options = parser.parse_args()
    if options.only_memory:
        measure_own_memory(options.model, options.batch, options.recompute)
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {device}, {os.cpu_count()} cores")
    print(f"{options.model}, 224 px, sar-jepa, batch {options.batch}, median of {options.rounds} rounds in turns")
    speed = compare_speed(options.model, options.batch, options.rounds, device)
    print("".join(f"| {name} | {value:.2f} |\n" for name, value in speed.items()))
    if options.memory_batch:
        for recompute in (False, True):
            gib = peak_memory(options.model, options.memory_batch, recompute)
            print(f"| peak GiB, batch {options.memory_batch}, recompute {recompute} | {gib:.1f} |")
    if device == "cpu":
        print("GPU figures: not measured, no CUDA device here")


if __name__ == "__main__":
    main()
