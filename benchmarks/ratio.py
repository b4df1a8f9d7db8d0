"""Time the gradient by ratio on each of its paths, and measure what it needs beside its output.

Paths are timed in turn, so that whatever else the machine does falls on all of them alike; what is reported is the
median and the quickest of many calls, and ratios of both. "conv" stands in two forms: the definition as it is
shipped, one convolution a scale with the four halves as output channels, and the form in which the method was
published, four convolutions a scale.

    python benchmarks/ratio.py [--rounds 15] [--out benchmarks/results/ratio-DATE.md]
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from pretrain_step import prepared, step
from torch.nn import functional as F

from sarjepa.ops.ratio import gradient_by_ratio
from sarjepa.ops.ratio_conv import half_kernels, reflect_pad

RADII = (5, 9, 13, 17)
PUBLISHED = "conv, four a scale as published"
RESULTS = Path(__file__).parent / "results"


def published(image_B1HW: torch.Tensor) -> torch.Tensor:
    """The four scales by four convolutions each."""
    scales = []
    for radius in RADII:
        padded = reflect_pad(image_B1HW[:, 0], radius)[:, None] + 1e-2
        kernels = half_kernels(radius, "linear", centre=True).to(padded)
        left, right, up, down = (F.conv2d(padded, kernel[None]) for kernel in kernels)
        scales.append(torch.sqrt(torch.log(left / right) ** 2 + torch.log(up / down) ** 2))
    return torch.cat(scales, dim=1)


def in_turn(
    paths: Mapping[str, Callable[[], object]],
    rounds: int,
    calls: dict[str, int],
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every call, the paths taking turns; `calls` is how many a path makes a round."""
    seconds: dict[str, list[float]] = {name: [] for name in paths}
    for path in paths.values():
        path()
    for _ in range(rounds):
        for name, path in paths.items():
            for _ in range(calls[name]):
                start = clock()
                path()
                seconds[name].append(clock() - start)
    return seconds


def cpu_table(threads: int, rounds: int) -> list[str]:
    """8 x 1 x 224 x 224 at four scales on the CPU."""
    torch.set_num_threads(threads)
    image = torch.rand(8, 1, 224, 224)
    paths = {
        PUBLISHED: lambda: published(image),
        "conv": lambda: gradient_by_ratio(image, RADII, impl="conv"),
        "box": lambda: gradient_by_ratio(image, RADII, impl="box"),
        "conv, gaussian": lambda: gradient_by_ratio(image, RADII, "gaussian", impl="conv"),
        "box, gaussian": lambda: gradient_by_ratio(image, RADII, "gaussian", impl="box"),
    }
    # One thread is timed by its own clock, which stands still while another process has its core.
    clock, kind = (time.thread_time, "CPU time") if threads == 1 else (time.perf_counter, "wall time")
    seconds = in_turn(paths, rounds, {name: 10 if name.startswith("box") else 1 for name in paths}, clock)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    quickest = {name: min(values) for name, values in seconds.items()}
    lines = [
        f"### CPU, {threads} thread(s), 8 x 1 x 224 x 224, radii {RADII}, float32, {kind}",
        "",
        "| path | median, ms | quickest, ms | conv / path, medians | quickest | published / path, medians | quickest |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in paths:
        row = [name, f"{median[name] * 1e3:.2f}", f"{quickest[name] * 1e3:.2f}"]
        gaussian = "gaussian" in name
        for reference in ("conv, gaussian", None) if gaussian else ("conv", PUBLISHED):
            row += [f"{times[reference] / times[name]:.1f}" if reference else "" for times in (median, quickest)]
        lines.append(f"| {' | '.join(row)} |")
    return [*lines, ""]


_MEMORY = """
import sys, torch
from pathlib import Path
from sarjepa.ops.ratio import gradient_by_ratio
def status(key):
    lines = Path('/proc/self/status').read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024
shape, impl = eval(sys.argv[1]), sys.argv[2]
gradient_by_ratio(torch.rand(1, 1, 40, 40), impl=impl)
image = torch.rand(shape)
Path('/proc/self/clear_refs').write_text('5')
before = status('VmRSS')
strength = gradient_by_ratio(image, impl=impl)
output = strength.numel() * strength.element_size()
print((status('VmHWM') - before - output) / output)
"""


def memory_table() -> list[str]:
    """The most resident memory of a call, less the output, in multiples of the output; a fresh process each."""
    lines = ["### Peak extra memory, in multiples of the output", "", "| shape | conv | box |", "|---|---|---|"]
    if not Path("/proc/self/clear_refs").exists():
        return [*lines, "| not measured: needs Linux's /proc | | |", ""]
    for shape in ((8, 1, 224, 224), (64, 1, 224, 224), (1, 1, 4096, 4096)):
        extra = []
        for impl in ("conv", "box"):
            command = [sys.executable, "-c", _MEMORY, repr(shape), impl]
            extra.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        lines.append(f"| {' x '.join(map(str, shape))} | {extra[0]:.2f} | {extra[1]:.2f} |")
    return [*lines, ""]


def error_table() -> list[str]:
    """The largest absolute error against the float64 definition."""
    uniform = torch.rand(1, 1, 224, 224)
    clutter = torch.empty(1, 1, 224, 224).exponential_() * 1e-3
    clutter[..., 80, 120] = 1e6
    images = {
        "uniform in [0, 1]": uniform,
        "uniform up to 1e6": uniform * 1e6,
        "a pixel of 1e6 on 1e-3 clutter": clutter,
        "nine decades": 10 ** (9 * uniform - 3),
    }
    lines = ["### Largest error against float64, 224 x 224, float32", "", "| image | conv | box |", "|---|---|---|"]
    for name, image in images.items():
        exact = gradient_by_ratio(image.double(), RADII, impl="conv")
        errors = [(gradient_by_ratio(image, RADII, impl=impl) - exact).abs().max() for impl in ("conv", "box")]
        lines.append(f"| {name} | {errors[0]:.1e} | {errors[1]:.1e} |")
    return [*lines, ""]


def synchronised(call: Callable[[], object]) -> Callable[[], None]:
    """The call, over only when the GPU is through with it."""

    def run() -> None:
        call()
        torch.cuda.synchronize()

    return run


def gpu_table(rounds: int) -> list[str]:
    """256 x 1 x 224 x 224 on the GPU, beside a copy of as many bytes."""
    lines = ["### GPU, 256 x 1 x 224 x 224, four scales", ""]
    if not torch.cuda.is_available():
        wanted = "Wanted: triton 20 times faster than conv, at half the bandwidth of a device copy or more."
        return [*lines, f"Not measured: no CUDA device. {wanted}", ""]
    lines += ["| path | median, ms | conv / path | share of copy bandwidth |", "|---|---|---|---|"]
    for dtype in (torch.float32, torch.bfloat16):
        image = torch.rand(256, 1, 224, 224, device="cuda", dtype=dtype)
        # Read once and written four times: a copy moves 2.5 images each way for the same bytes.
        source = torch.rand(256 * 224 * 224 * 5 // 2, device="cuda").to(dtype)
        target = torch.empty_like(source)
        paths = {
            "conv": synchronised(lambda image=image: gradient_by_ratio(image, RADII, impl="conv")),
            "triton": synchronised(lambda image=image: gradient_by_ratio(image, RADII, impl="triton")),
            "copy": synchronised(lambda source=source, target=target: target.copy_(source)),
        }
        seconds = in_turn(paths, rounds, {"conv": 1, "triton": 10, "copy": 10})
        median = {name: statistics.median(values) for name, values in seconds.items()}
        for name, value in median.items():
            share = median["copy"] / value
            lines.append(f"| {name}, {dtype} | {value * 1e3:.3f} | {median['conv'] / value:.1f} | {share:.2f} |")
    return [*lines, ""]


def step_share(rounds: int, model: str = "vit-base", batch: int = 64) -> list[str]:
    """The target's share of a pre-training step in bf16 on the GPU, on the same batch."""
    lines = [f"### GPU, the target's share of a {model} pre-training step, bf16, {batch} images", ""]
    if not torch.cuda.is_available():
        return [*lines, "Not measured: no CUDA device. Wanted: under 1%.", ""]
    method, optimizer, image = prepared(model, batch, "cuda")
    paths = {
        "target": synchronised(lambda: gradient_by_ratio(image, RADII)),
        "step": synchronised(lambda: step(method, optimizer, image, "bf16")),
    }
    seconds = in_turn(paths, rounds, {"target": 10, "step": 3})
    target, whole = (statistics.median(seconds[name]) for name in paths)
    row = f"| {target * 1e3:.3f} | {whole * 1e3:.1f} | {target / whole:.2%} |"
    return [*lines, "| target, ms | step, ms | share |", "|---|---|---|", row, ""]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def heading() -> list[str]:
    """Where and with what this was measured."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "numpy"))
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    busy = " Other work had the cores: wall times below say little." if os.getloadavg()[0] > 1 else ""
    return [
        f"# Gradient by ratio, {datetime.date.today()}",
        "",
        f"{_processor()}, {os.cpu_count()} cores (AVX: {torch.backends.cpu.get_cpu_capability()}), GPU: {gpu}; "
        f"Python {platform.python_version()}, {versions}.",
        f"Load average when it began (1, 5, 15 minutes): {load}. By `python benchmarks/ratio.py`, paths in turn.{busy}",
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS / f"ratio-{datetime.date.today()}.md")
    arguments = parser.parse_args()
    lines = heading()
    for threads in sorted({1, torch.get_num_threads()}):
        lines += cpu_table(threads, arguments.rounds)
    lines += memory_table() + error_table() + gpu_table(arguments.rounds) + step_share(arguments.rounds)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
