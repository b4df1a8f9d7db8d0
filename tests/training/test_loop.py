"""The loop on two parameters: it learns, it stops when told, and a NaN changes nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from sarjepa.training.loop import LossNotFiniteError, StepRecord, fit, stop_on_signals
from sarjepa.training.optim import adamw
from sarjepa.training.runtime import Ranks

CPU = torch.device("cpu")


class Line(nn.Module):
    """Least squares of y = 3 x + 1."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(1))
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.slope * x + self.offset - 3 * x - 1).square().mean()


def train(module: nn.Module, batches: list, parts: list | None = None, **changes: object) -> list[StepRecord]:
    records: list[StepRecord] = []

    def after_step(record: StepRecord) -> bool:
        records.append(record)
        return False

    arguments = {
        "first_step": 0, "lr_at": lambda step: 0.05, "precision": "fp32", "device": CPU, "ranks": Ranks(),
        "clip_grad": None, "after_step": after_step,
    }  # fmt: skip
    fit(module, adamw(module, 0.0), parts or [[batch] for batch in batches], **{**arguments, **changes})  # type: ignore[arg-type]
    return records


def test_the_loss_falls_and_the_line_is_found() -> None:
    torch.manual_seed(0)
    line = Line()
    records = train(line, [(torch.randn(32),) for _ in range(400)])
    assert records[-1].loss < 1e-3 * records[0].loss
    assert float(line.slope.detach()) == pytest.approx(3, abs=0.05)
    assert [record.step for record in records] == list(range(1, 401))


def test_a_loss_that_is_not_a_number_stops_before_the_weights_change() -> None:
    line = Line()
    with pytest.raises(LossNotFiniteError, match=r"step 2; got nan$"):  # the loop knows nothing of options
        train(line, [(torch.ones(4),), (torch.full((4,), float("nan")),)])
    assert torch.isfinite(line.slope).all()


def test_the_callback_can_end_the_training() -> None:
    seen: list[int] = []

    def stop_at_three(record: StepRecord) -> bool:
        seen.append(record.step)
        return record.step == 3

    train(Line(), [(torch.ones(4),)] * 10, after_step=stop_at_three)
    assert seen == [1, 2, 3]


def test_clipping_bounds_the_step_of_a_large_gradient() -> None:
    line = Line()
    seen: list[float] = []

    def watch(record: StepRecord) -> bool:
        seen.append(float(torch.stack([p.grad.norm() for p in line.parameters()]).norm()))  # type: ignore[union-attr]
        return False

    train(line, [(torch.full((4,), 100.0),)], clip_grad=1.0, after_step=watch)
    assert seen[0] == pytest.approx(1.0, rel=1e-3)


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_asks_for_a_stop_and_a_second_one_ends_at_once(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    with stop_on_signals() as request:
        assert not request.reason
        os.kill(os.getpid(), number)
        assert request.reason == signal.Signals(number).name
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is signal.SIG_DFL


@pytest.mark.usefixtures("handlers")
def test_a_program_under_nohup_outlives_its_terminal() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_on_signals() as request:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not request.reason


def test_weight_decay_leaves_biases_and_norms_alone_and_nothing_else() -> None:
    module = nn.ModuleDict({"linear": nn.Linear(3, 3), "norm": nn.LayerNorm(3), "frozen": nn.Linear(3, 3)})
    module["frozen"].requires_grad_(False)
    module.cls_token = nn.Parameter(torch.zeros(1, 1, 3))
    decayed, free = adamw(module, 0.05).param_groups
    assert {id(p) for p in decayed["params"]} == {id(module["linear"].weight), id(module.cls_token)}
    assert {id(p) for p in free["params"]} == {id(module["linear"].bias), *map(id, module["norm"].parameters())}
    assert decayed["weight_decay"] == 0.05
    assert free["weight_decay"] == 0.0


def test_a_batch_in_parts_gives_the_step_of_the_whole_batch() -> None:
    x = torch.linspace(-1, 2, 12)
    whole, split = Line(), Line()
    whole_records = train(whole, [(x,)] * 5)
    split_records = train(split, [], parts=[[(x[:4],), (x[4:8],), (x[8:],)]] * 5)
    torch.testing.assert_close(whole.slope, split.slope)
    torch.testing.assert_close(whole.offset, split.offset)
    assert [r.loss for r in whole_records] == pytest.approx([r.loss for r in split_records])
    assert split_records[-1].num_images == 12
