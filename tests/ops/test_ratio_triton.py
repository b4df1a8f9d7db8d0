"""The fused kernel: run by triton's interpreter everywhere, compiled without a device, run for real where there is one.

The interpreter is chosen by a variable that triton reads when it is imported, hence a process of its own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest
import torch

from sarjepa.errors import InputError
from sarjepa.ops.ratio import choose_impl, gradient_by_ratio

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

CASES = {
    "chip": ((1, 1, 40, 50), (5, 9, 13, 17), "linear", None, "float32"),
    "wider than a block": ((1, 1, 17, 110), (5, 17), "linear", None, "float32"),
    "batch and channels": ((2, 4, 9, 20), (2, 3), "linear", None, "float32"),
    "smaller than the window": ((1, 1, 7, 7), (5, 17), "linear", None, "float32"),
    "one row": ((1, 1, 1, 30), (4,), "linear", None, "float32"),
    "disjoint halves": ((1, 1, 20, 40), (1, 9), "linear", False, "float32"),
    "radii out of order": ((1, 1, 20, 40), (7, 2, 7), "linear", None, "float32"),
    "long radius": ((1, 1, 20, 40), (60,), "linear", None, "float32"),
    "gaussian": ((1, 1, 20, 40), (3, 9), "gaussian", None, "float32"),
    "gaussian, shared centre": ((1, 1, 20, 40), (5,), "gaussian", True, "float32"),
    "bfloat16": ((1, 1, 20, 40), (5,), "linear", None, "bfloat16"),
    "float16": ((1, 1, 20, 40), (5,), "linear", None, "float16"),
    "float64": ((1, 1, 20, 40), (5,), "linear", None, "float64"),
    "not finite": ((1, 1, 20, 40), (2, 5), "linear", None, "float32"),
    "not finite, disjoint halves": ((1, 1, 20, 40), (2, 5), "linear", False, "float32"),
}
# What rounding the output explains, a share of the value; the interpreter cuts to bfloat16 where the device rounds.
UNIT = {"float32": 0.0, "float64": 0.0, "bfloat16": 2.0**-7, "float16": 2.0**-11}
BOUND = {"float32": 1e-5, "float64": 1e-12, "bfloat16": 1e-5, "float16": 1e-5}


def compare(case: str, device: str) -> dict[str, object]:
    """The kernel beside the float64 definition: the largest error beyond rounding, and whether NaNs agree."""
    shape, radii, kernel, centre, dtype = CASES[case]
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    if case.startswith("not finite"):
        image[0, 0, 3, 7], image[0, 0, 15, 30], image[0, 0, 19, 0] = torch.nan, torch.inf, -torch.inf
    strength = gradient_by_ratio(image.to(device), radii, kernel, impl="triton", centre=centre)
    exact = gradient_by_ratio(image.double(), radii, kernel, impl="conv", centre=centre)
    error = (strength.cpu().double() - exact).abs() - UNIT[dtype] * exact
    return {
        "error": error[~exact.isnan()].max().item(),
        "nan_agree": torch.equal(strength.cpu().isnan(), exact.isnan()),
        "dtype": str(strength.dtype),
    }


@pytest.fixture(scope="module")
def interpreted() -> dict[str, dict[str, object]]:
    """Every case, run by the interpreter in one process."""
    run = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@needs_triton
@pytest.mark.parametrize("case", CASES)
def test_the_interpreted_kernel_agrees_with_the_definition(interpreted, case):
    result = interpreted[case]
    assert result["error"] < BOUND[CASES[case][-1]]
    assert result["nan_agree"]
    assert result["dtype"] == f"torch.{CASES[case][-1]}"


@pytest.mark.gpu
@needs_gpu
@needs_triton
@pytest.mark.parametrize("case", CASES)
def test_the_kernel_agrees_with_the_definition(case):
    result = compare(case, "cuda")
    assert result["error"] < BOUND[CASES[case][-1]]
    assert result["nan_agree"]


@pytest.mark.gpu
@needs_gpu
def test_auto_takes_the_kernel_on_a_cuda_device():
    assert choose_impl(torch.device("cuda")) == "triton"


@needs_triton
@pytest.mark.parametrize("kernel", ["linear", "gaussian"])
def test_the_kernel_compiles_for_a_gpu_that_is_not_there(kernel, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # said aloud, as its default is about to change
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from sarjepa.ops.ratio_triton import _ratio_kernel

    gaussian = kernel == "gaussian"
    choices = {"RADII": (5, 17), "PLACES": (0, 1), "GAUSSIAN": gaussian, "CENTRE": not gaussian}
    choices |= {"ROWS": 16, "COLUMNS": 128}
    signature = {"image": "*bf16", "strength": "*bf16", "constants": "*fp32", "height": "i32", "width": "i32"}
    source = ASTSource(_ratio_kernel, signature | dict.fromkeys(choices, "constexpr"), choices)
    binary = triton.compile(source, target=GPUTarget("cuda", 80, 32))
    assert binary.asm["cubin"]


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter runs on the CPU")
def test_the_kernel_is_refused_on_a_cpu():
    with pytest.raises(InputError, match="triton"):
        gradient_by_ratio(torch.rand(8, 8), impl="triton")


def test_triton_is_imported_only_when_it_is_chosen():
    code = "import sys, torch, sarjepa; before = 'triton' in sys.modules; sarjepa.gradient_by_ratio(torch.rand(9, 9)); "
    code += "sys.exit(('triton' in sys.modules) and not before)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


if __name__ == "__main__":
    print(json.dumps({name: compare(name, "cpu") for name in CASES}))
