"""Normalisation: into [0, 1], in native precision, with the numbers that were used."""

from __future__ import annotations

import numpy as np
import pytest

from sarjepa.data.normalize import FULL_SCALE, Normalisation, measured, normalise, samples

METHODS = ("linear", "decibel", "quarter-power", "log1p", "percentile")


def _amplitude(dtype: str) -> np.ndarray:
    values = np.random.default_rng(1).gamma(1, 1, (40, 50))
    top = {"uint8": 60, "uint16": 9000, "float16": 3.0, "float32": 3.0}[dtype]
    return np.clip(values / values.max() * top, 0, None).astype(dtype)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_result_keeps_its_type_and_uses_the_range(method: str, dtype: str) -> None:
    image = normalise(_amplitude(dtype), Normalisation(method))
    assert image.dtype == dtype
    scaled = image / FULL_SCALE[dtype]
    assert scaled.min() >= 0
    assert 0.99 <= scaled.max() <= 1


@pytest.mark.parametrize("method", METHODS)
def test_order_of_magnitudes_is_kept(method: str) -> None:
    image = _amplitude("float32")
    mapped = normalise(image, Normalisation(method)).ravel()[np.argsort(image.ravel())]
    assert (np.diff(mapped) >= 0).all()


def test_8_bit_stays_as_it_is_stored() -> None:
    image = _amplitude("uint8")
    assert normalise(image, Normalisation()) is image


def test_definitions_by_hand() -> None:
    image = np.array([[0.0, 0.001, 0.25, 1.0, 4.0]], np.float32)
    reference = {"per": "set", "reference": 1.0}
    assert np.allclose(normalise(image, Normalisation("linear", **reference)), [[0, 0.001, 0.25, 1, 1]])
    assert np.allclose(normalise(image, Normalisation("quarter-power", **reference)), [[0, 0.0316228, 0.5, 1, 1]])
    decibel = normalise(image, Normalisation("decibel", floor_db=-60, **reference))
    assert np.allclose(decibel, [[0, 0, 1 + 20 * np.log10(0.25) / 60, 1, 1]], atol=1e-6)
    log = normalise(image, Normalisation("log1p", gain=100, **reference))
    assert np.allclose(log, [[0, np.log(1.1) / np.log(101), np.log(26) / np.log(101), 1, 1]], atol=1e-6)


def test_a_set_has_one_reference_and_a_chip_its_own() -> None:
    bright, dim = _amplitude("float32"), _amplitude("float32") / 10
    whole = measured(Normalisation("linear", per="set"), [samples(bright), samples(dim)])
    assert not whole.needs_measuring
    ratio = normalise(bright, whole).mean() / normalise(dim, whole).mean()
    assert 9 < ratio < 10.5
    own = Normalisation("linear", per="chip")
    assert normalise(bright, own).mean() == pytest.approx(normalise(dim, own).mean(), rel=1e-5)


def test_what_was_done_travels_with_the_data() -> None:
    settings = measured(Normalisation("percentile", per="set", low=2, high=98), [np.arange(101, dtype=np.float32)])
    described = settings.describe(np.dtype("uint16"))
    assert described == {
        "method": "percentile", "per": "set", "low": 2, "high": 98, "low_value": 2.0, "high_value": 98.0,
        "dtype": "uint16", "scale": 65535.0,
    }  # fmt: skip
    assert Normalisation().describe("uint8") == {"method": "as-stored", "dtype": "uint8", "scale": 255.0}


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_chip_is_no_accident(method: str) -> None:
    image = normalise(np.zeros((5, 5), np.float32), Normalisation(method))
    assert np.isfinite(image).all()
    assert (image == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_set_without_one_readable_chip_can_be_measured(method: str) -> None:
    nothing = np.zeros(0, np.float32)
    for pixels in ([], [nothing], [nothing, nothing]):
        settings = measured(Normalisation(method, per="set"), pixels)
        assert np.isfinite(normalise(np.zeros((2, 2), np.float32), settings)).all()
