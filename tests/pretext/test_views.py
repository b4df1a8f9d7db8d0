"""Two views of a chip agree, and nothing that is the same chip is pushed away."""

from __future__ import annotations

import math
from pathlib import Path

import forked
import numpy as np
import pytest
import torch

from sarjepa.pretext.masking import ImageKeys
from sarjepa.pretext.methods import build_method
from sarjepa.pretext.views import LocalMaskedViews, nt_xent


def embeddings(num: int = 12, width: int = 5) -> torch.Tensor:
    return torch.randn(num, width, generator=torch.Generator().manual_seed(0))


def by_double_loop(embedding: torch.Tensor, groups: list[int], temperature: float) -> float:
    """The formula read aloud, in plain Python."""
    points = [[float(x) / math.hypot(*map(float, row)) for x in row] for row in embedding.double()]

    def similar(i: int, j: int) -> float:
        return math.exp(sum(a * b for a, b in zip(points[i], points[j], strict=True)) / temperature)

    losses = []
    for i in range(len(points)):
        negatives = sum(similar(i, n) for n in range(len(points)) if groups[n] != groups[i])
        positives = [p for p in range(len(points)) if p != i and groups[p] == groups[i]]
        losses.append(sum(-math.log(similar(i, p) / (similar(i, p) + negatives)) for p in positives) / len(positives))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("groups", [[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5], [0, 0, 1, 1, 0, 0, 3, 3, 1, 1, 0, 0]])
@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_nt_xent_is_the_formula(groups: list[int], temperature: float) -> None:
    ours = nt_xent(embeddings(), torch.tensor(groups), temperature).item()
    assert ours == pytest.approx(by_double_loop(embeddings(), groups, temperature), rel=1e-5)


def test_without_copies_it_is_the_cross_entropy_of_simclr() -> None:
    point = torch.nn.functional.normalize(embeddings(), dim=1)
    logits = (point @ point.T / 0.2).fill_diagonal_(-math.inf)
    partner = torch.arange(12) ^ 1
    simclr = torch.nn.functional.cross_entropy(logits, partner)
    torch.testing.assert_close(nt_xent(embeddings(), torch.arange(12) // 2, 0.2), simclr)


def test_copies_of_a_chip_attract_and_other_chips_repel() -> None:
    """Two points in the plane, two at some angle to them, and a third chip at right angles to all."""

    def loss(groups: list[int], angle_deg: float) -> float:
        angle = math.radians(angle_deg)
        one, other, third = [1.0, 0.0, 0.0], [math.cos(angle), math.sin(angle), 0.0], [0.0, 0.0, 1.0]
        return nt_xent(torch.tensor([one, one, other, other, third, third]), torch.tensor(groups), 0.2).item()

    copies, strangers = [0, 0, 0, 0, 1, 1], [0, 0, 2, 2, 1, 1]
    assert loss(copies, 30) < loss(copies, 60) < loss(copies, 90)
    assert loss(strangers, 30) > loss(strangers, 60) > loss(strangers, 90)


def test_a_batch_of_copies_alone_gives_a_finite_gradient() -> None:
    point = embeddings(4).requires_grad_()
    loss = nt_xent(point, torch.zeros(4, dtype=torch.long), 0.2)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert point.grad is not None and point.grad.isfinite().all()


def test_both_at_once_is_the_masked_loss_of_the_first_view_plus_the_weighted_loss_of_the_views() -> None:
    local_settings = {"model": "vit-demo", "image_size": 32, "window_size": 3, "num_windows": 2, "radii": (2, 4),
                      "predictor_width": 48, "predictor_depth": 1, "predictor_heads": 2}  # fmt: skip
    keys, view = ImageKeys(0, 0, np.arange(4)), torch.rand(4, 2, 1, 32, 32)
    torch.manual_seed(0)
    both = build_method("sar-jepa-views", **local_settings, view_weight=0.7)
    local = build_method("sar-jepa", **local_settings)
    views = build_method("views", model="vit-demo", image_size=32)
    assert isinstance(both, LocalMaskedViews)
    weights = both.state_dict()
    local.load_state_dict({key: value for key, value in weights.items() if not key.startswith("agreement")})
    views.load_state_dict({key: value for key, value in weights.items() if key.startswith(("agreement", "encoder"))})
    torch.testing.assert_close(both(view, keys), local(view[:, 0], keys) + 0.7 * views(view, keys))


TWO_RANKS = """
import sys
import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from sarjepa.pretext.masking import ImageKeys
from sarjepa.pretext.methods import build_method
from sarjepa.training.runtime import process_group

torch.Tensor.float = torch.Tensor.double  # all in double precision, where rounding is far below any wrong gradient

def gradients(module, method, rows):
    keys = ImageKeys(0, 0, np.arange(8)[rows], np.array([0, 1, 2, 0, 4, 5, 1, 7])[rows])
    loss = module(views[rows], keys)
    loss.backward()
    found = {name: value.grad.clone() for name, value in method.named_parameters() if value.grad is not None}
    method.zero_grad()
    return loss.detach(), found

settings = dict(model="vit-demo", image_size=32, window_size=3, num_windows=2, radii=(2, 4),
                predictor_width=48, predictor_depth=1, predictor_heads=2)
both = {}
with process_group(torch.device("cpu")) as ranks:
    for name in ("views", "sar-jepa-views", "safe"):
        torch.manual_seed(0)
        method = build_method(name, **settings).double()
        views = torch.rand(8, len(method.views), 1, 32, 32, dtype=torch.float64)
        loss, found = gradients(DistributedDataParallel(method), method, slice(ranks.rank, None, 2))
        dist.all_reduce(loss)
        both[name] = (loss / 2, found, method, views)
if ranks.is_first:  # the group is closed: what follows is one process
    found = {}
    for name, (loss, gradients_of_two, method, views) in both.items():
        found[name] = (gradients(method, method, slice(None)), (loss, gradients_of_two))
    torch.save(found, sys.argv[1])
"""


def test_two_ranks_have_the_loss_and_the_gradients_of_one(tmp_path: Path) -> None:
    """Copies of one chip lie on different ranks, too."""
    script, out = tmp_path / "two.py", tmp_path / "out.pt"
    script.write_text(TWO_RANKS)
    forked.run_ranks(2, script, out)
    found = torch.load(out)
    assert len(found) == 3
    for (one_loss, one), (two_loss, two) in found.values():
        torch.testing.assert_close(two_loss, one_loss)
        largest = max(value.abs().max() for value in one.values())
        assert largest > 1e-3 and one.keys() == two.keys()
        for name in one:
            torch.testing.assert_close(two[name], one[name], rtol=1e-9, atol=1e-10 * float(largest), msg=name)
