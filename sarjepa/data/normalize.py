"""Magnitude normalisation: from what a sensor or an archive stores to magnitude in [0, 1], recorded with the data.

Radar amplitude spans some four orders of magnitude; screens and networks do not. The settings by which it was mapped
are stored with the chips, in index.json. The methods, for magnitude x:

    as-stored      x itself, 8-bit stays 8-bit: what public mirrors already scaled
    linear         x / reference
    decibel        (20 log10 x - floor_db) / (ceiling_db - floor_db), decibels relative to the reference
    quarter-power  sqrt(x / reference): magnitude to the 1/2 is intensity to the 1/4
    log1p          log(1 + gain x / reference) / log(1 + gain)
    percentile     (x - p_low) / (p_high - p_low), percentiles `low` and `high`

each clipped to [0, 1] (a build refuses floats above 1 that are to stay as stored, as they would be clipped).
`per: chip` takes the reference (the maximum) or the percentiles from each chip: contrast is always good, and absolute
level is lost. `per: set` takes them once, over the whole set, and keeps levels comparable.

Precision stays native: uint8 and uint16 are stored as such (values times 255 or 65535), floats in their own width.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

FULL_SCALE = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0, "float32": 1.0}
SAMPLES_PER_CHIP = 4096  # pixels of each chip that a set's percentiles are taken from


@dataclass(frozen=True)
class Normalisation:
    """A method and its numbers; `low_value` and `high_value` are the percentiles measured over a set."""

    method: str = "as-stored"
    per: str = "chip"
    low: float = 1.0  # percentile
    high: float = 99.8  # percentile
    floor_db: float = -60.0
    ceiling_db: float = 0.0
    gain: float = 100.0
    reference: float | None = None
    low_value: float | None = None
    high_value: float | None = None

    @property
    def needs_measuring(self) -> bool:
        """Whether a pass over the whole set must come first."""
        if self.per != "set" or self.method == "as-stored":
            return False
        return self.low_value is None if self.method == "percentile" else self.reference is None

    def describe(self, dtype: np.dtype | str) -> dict[str, Any]:
        """As index.json keeps it: the method, the numbers that it used, the stored type and its scale.

        Example:
            >>> Normalisation("linear", reference=2.0).describe("uint8")
            {'method': 'linear', 'per': 'chip', 'reference': 2.0, 'dtype': 'uint8', 'scale': 255.0}
        """
        used = {
            "linear": ("reference",),
            "decibel": ("reference", "floor_db", "ceiling_db"),
            "quarter-power": ("reference",),
            "log1p": ("reference", "gain"),
            "percentile": ("low", "high", "low_value", "high_value"),
        }.get(self.method, ())
        values = asdict(self)
        kept = {key: values[key] for key in used if values[key] is not None}
        per = {"per": self.per} if used else {}
        return {"method": self.method, **per, **kept, "dtype": str(dtype), "scale": FULL_SCALE[str(dtype)]}


def normalise(image: np.ndarray, settings: Normalisation) -> np.ndarray:
    """Map one chip.

    Args:
        image: (H, W) magnitude, uint8, uint16, float16 or float32.
        settings: the method, with the set's numbers where they are taken `per: set`.

    Returns:
        (H, W) of the same type; divided by the type's full scale it is in [0, 1].

    Example:
        >>> normalise(np.array([[0, 5, 10]], np.uint8), Normalisation("linear"))
        array([[  0, 128, 255]], dtype=uint8)
    """
    full_scale = FULL_SCALE[image.dtype.name]
    if settings.method == "as-stored":
        return image if image.dtype.kind == "u" else np.clip(image, 0, 1)
    mapped = np.clip(_map(image.astype(np.float32), settings), 0, 1)
    return np.rint(mapped * full_scale).astype(image.dtype) if image.dtype.kind == "u" else mapped.astype(image.dtype)


def _map(values: np.ndarray, settings: Normalisation) -> np.ndarray:
    if settings.method == "percentile":
        low, high = settings.low_value, settings.high_value
        if low is None or high is None:
            low, high = np.percentile(values, [settings.low, settings.high])
        return (values - low) / max(float(high) - float(low), 1e-12)
    reference = settings.reference if settings.reference is not None else float(values.max(initial=0))
    relative = values / max(reference, 1e-12)
    if settings.method == "linear":
        return relative
    if settings.method == "quarter-power":
        return np.sqrt(relative)
    if settings.method == "log1p":
        return np.log1p(settings.gain * relative) / np.log1p(settings.gain)
    assert settings.method == "decibel", settings.method
    decibel = 20 * np.log10(np.maximum(relative, 1e-12))
    return (decibel - settings.floor_db) / (settings.ceiling_db - settings.floor_db)


def samples(image: np.ndarray) -> np.ndarray:
    """Pixels of a chip for a set's statistics: evenly spaced ones and its maximum, float32, the same on every run.

    Example:
        >>> samples(np.array([[1, 4], [2, 3]], np.uint8))
        array([1., 4., 2., 3., 4.], dtype=float32)
    """
    flat = image.ravel()
    return np.append(flat[:: max(1, len(flat) // SAMPLES_PER_CHIP)], flat.max(initial=0)).astype(np.float32)


def measured(settings: Normalisation, pixels: Iterable[np.ndarray]) -> Normalisation:
    """The settings with the set's own numbers, from the samples of all its chips.

    The reference is the 99.9th percentile and not the maximum, so that one bright reflector does not darken a set.

    Example:
        >>> measured(Normalisation("linear", per="set"), [np.full(9, 2.0), np.full(9, 2.0)]).reference
        2.0
    """
    pooled = np.concatenate([np.zeros(0, np.float32), *pixels])
    if not pooled.size:  # no file can be used; the build reports it
        pooled = np.ones(1, np.float32)
    if settings.method == "percentile":
        low, high = np.percentile(pooled, [settings.low, settings.high])
        return replace(settings, low_value=float(low), high_value=float(high))
    return replace(settings, reference=float(np.percentile(pooled, 99.9)))
