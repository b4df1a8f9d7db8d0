"""Several processes: what one of them meets, all of them hear of."""

from __future__ import annotations

from pathlib import Path

import forked

SCRIPT = """
import sys
from pathlib import Path
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from sarjepa.errors import InputError
from sarjepa.training.loop import fit
from sarjepa.training.optim import adamw
from sarjepa.training.runtime import process_group

class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
    def forward(self, x):
        return (self.weight * x).mean()

def train(ranks, device):
    module = DistributedDataParallel(Mean())
    bad = torch.tensor([float("nan") if ranks.rank == 1 else 1.0])
    batches = [[(torch.ones(1),)], [(bad,)], [(torch.ones(1),)]]
    steps = []
    try:
        fit(module, adamw(module, 0.0), batches, first_step=0, lr_at=lambda step: 0.1, precision="fp32", device=device,
            ranks=ranks, clip_grad=None, after_step=lambda record: steps.append(record.step))
    except InputError as error:
        return f"after {steps}: {error.what}, {error.where}"

device = torch.device("cpu")
with process_group(device) as ranks:
    said = train(ranks, device)
    Path(sys.argv[1], str(ranks.rank)).write_text(said)
"""


def test_a_loss_that_is_not_a_number_on_one_rank_stops_all_of_them(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    forked.run_ranks(2, script, tmp_path)
    said = [(tmp_path / str(rank)).read_text() for rank in (0, 1)]
    assert said == 2 * ["after [1]: the loss is not a number, step 2"]
