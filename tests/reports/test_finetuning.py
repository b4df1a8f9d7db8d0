"""The curve of a fine-tuning."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from sarjepa.reports.finetuning import finetuning_curve


@pytest.mark.parametrize("num_epochs", [1, 40])
def test_same_numbers_same_bytes_and_something_to_see(num_epochs: int) -> None:
    loss, accuracy = list(np.linspace(2.3, 0.1, num_epochs)), list(np.linspace(20, 95, num_epochs))
    first, second = (finetuning_curve(loss, accuracy, "run on mstar") for _ in range(2))
    assert first == second
    pixels = np.asarray(Image.open(io.BytesIO(first)).convert("L"))
    assert min(pixels.shape) > 200 and len(np.unique(pixels)) > 20
