"""Where the time of a pre-training step goes on a CPU, by kind of operation.

    python benchmarks/step_profile.py --preset laptop [--precision auto|bf16|fp32] [--threads 1] [--steps 10]

Steps of the preset's method on gamma speckle (forward, backward, AdamW) under torch's profiler. Beside them stands the
rate of their matrix products and that of a 1024 x 1024 product in the same process. The profiler lengthens a step, and
most so where new memory is written first (GELU, copies); the images/s are without it.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from record import record
from torch.profiler import ProfilerActivity, profile

from sarjepa.config import PretrainConfig
from sarjepa.overlay import overlay, read_preset
from sarjepa.pretext.masking import ImageKeys
from sarjepa.pretext.method import Method
from sarjepa.recipes.pretrain.method import bare_method
from sarjepa.training.optim import adamw
from sarjepa.training.runtime import pick_precision

KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm", "convolution_backward", "mkldnn_convolution"),
    "GELU": ("gelu", "gelu_backward"),
    "softmax and norms": ("_softmax", "_softmax_backward_data", "native_layer_norm", "native_layer_norm_backward"),
    "copies": ("copy_", "cat", "index", "index_select", "gather", "clone"),
    "sums and products": ("add", "add_", "mul", "sum", "where", "sub", "div"),
    "AdamW": ("_fused_adamw_",),
}


def step(method: Method, optimizer: torch.optim.Optimizer, image: torch.Tensor, number: int, precision: str) -> float:
    """One step; its seconds."""
    began = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        loss = method(image, ImageKeys(0, number, np.arange(len(image))))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return time.perf_counter() - began


def peak_gflops(precision: str) -> float:
    """GFLOP/s of the fastest of twenty products of 1024 x 1024 matrices."""
    first, second = torch.randn(2, 1024, 1024, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    seconds = []
    for _ in range(20):
        began = time.perf_counter()
        first @ second
        seconds.append(time.perf_counter() - began)
    return 2 * 1024**3 / min(seconds) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    precision = pick_precision(options.precision, torch.device("cpu"))
    config = overlay(PretrainConfig, [(options.preset, read_preset(options.preset, "pretrain"))])
    method = bare_method(config)
    shape = (config.batch_size, *([2] if method.views else []), 1, config.image_size, config.image_size)
    image = torch.as_tensor(np.random.default_rng(0).gamma(4.0, 0.05, shape).clip(0, 1), dtype=torch.float32)
    optimizer = adamw(method, 0.05)
    seconds = [step(method, optimizer, image, number, precision) for number in range(options.steps + 2)][2:]
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as found:
        for number in range(options.steps):
            step(method, optimizer, image, number, precision)
    events = found.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    rows, named = [], 0.0
    for kind, names in KINDS.items():
        spent = sum(event.self_cpu_time_total for event in events if event.key.removeprefix("aten::") in names)
        rows.append((kind, f"{100 * spent / total:.1f}"))
        named += spent
    rows.append(("all else", f"{100 * (1 - named / total):.1f}"))
    products = [event for event in events if event.key.removeprefix("aten::") in KINDS["matrix products"]]
    rate = sum(event.flops for event in products) / sum(event.self_cpu_time_total for event in products) / 1e3
    title = f"A step of {config.method}, preset {options.preset}, batch {config.batch_size}, {precision}"
    speed = config.batch_size / statistics.median(seconds)
    note = (
        f"Without the profiler {speed:.1f} images/s on {options.threads} threads (median). Matrix products run at "
        f"{rate:.0f} GFLOP/s, a 1024 x 1024 product at {peak_gflops(precision):.0f}. torch {torch.__version__}."
    )
    record(f"step-profile-{options.preset}-{precision}", title, ("operations", "% of the step"), rows, note)


if __name__ == "__main__":
    main()
