"""The crop setting: the published crop of each benchmark, and others in its place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sarjepa.config import DOWNSTREAM
from sarjepa.data.crops import crop_side
from sarjepa.errors import InputError


def built(benchmark: dict[str, Any] | None) -> Any:
    """What crops look at of a built source: its index and its largest chip, smaller than the published crop."""
    return SimpleNamespace(index={"benchmark": benchmark}, shapes=np.array([[40, 100]]))


@pytest.mark.parametrize("name", DOWNSTREAM)
def test_the_published_crop_of_every_benchmark_is_the_centre_128_also_where_an_older_index_knows_of_none(
    name: str,
) -> None:
    assert crop_side("published", name, built({"crop": None})) == 128


def test_saratr_x_crops_mstar_alone_and_the_laptop_takes_whole_aircraft() -> None:
    sides = [crop_side("fusarship=none,saracd=none", name, built(None)) for name in DOWNSTREAM]
    assert sides == [128, None, None]
    sides = [crop_side("mstar=64,saracd=none", name, built(None)) for name in ("mstar", "saracd", "own")]
    assert sides == [64, None, None]


def test_a_source_without_a_manifest_has_the_crop_of_its_index() -> None:
    assert crop_side("published", "own", built({"crop": 96})) == 96
    with pytest.raises(InputError, match="larger than every chip"):
        crop_side("128", "own", built(None))
