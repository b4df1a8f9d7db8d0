"""Where a run runs."""

from __future__ import annotations

import pytest
import torch

from sarjepa.training import runtime
from sarjepa.training.runtime import pick_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"avx2", "fma"}, "fp32"), ({"avx512_bf16"}, "bf16"), ({"asimd", "bf16"}, "bf16"), (set(), "fp32")],
)
def test_auto_is_bf16_only_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], expected: str
) -> None:
    monkeypatch.setattr(runtime, "_cpu_flags", lambda: flags)
    assert pick_precision("auto", CPU) == expected
    assert [pick_precision(name, CPU) for name in ("bf16", "fp32")] == ["bf16", "fp32"]
