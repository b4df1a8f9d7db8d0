"""Bands: which of a file's bands are real and imaginary part, which are polarisations, and which of them become chips.

Two bands of an image are either the parts of one complex number, whose magnitude is the root of the sum of squares, or
two polarisations, of which that root would be a mixture that no radar measured. These decide, in this order:

1. the type of the values, if it is complex;
2. GDAL's metadata: descriptions such as i_VV and q_VV, or Sigma0_VH and Sigma0_VV;
3. the file's name, where it has a polarisation for every band (ship_VH_VV.tif);
4. signs: real and imaginary part are negative for about half of the pixels, as decibels and magnitudes are not.

Where none of these decides, nothing is guessed: the file is refused until the user says what the bands are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

COMPLEX, EACH = "complex", "each"
SIGNED = (0.25, 0.75)  # share of negative values in a band that is one part of a complex number
_POLARISATION = re.compile(r"(?<![A-Za-z])(HH|HV|VH|VV)(?![A-Za-z])", re.I)
_PART = re.compile(r"(?<![A-Za-z])(i|q|re|im|real|imag|imaginary)(?![A-Za-z])", re.I)
_CALIBRATION = re.compile(r"(?<![A-Za-z])(sigma|gamma|beta)[ _-]?(?:0|nought|naught|zero)", re.I)
_ITEM = re.compile(r"<Item\s+([^>]*)>([^<]*)</Item>")


@dataclass(frozen=True)
class Said:
    """What a file says of its bands.

    Attributes:
        bands: the descriptions, band by band; may be fewer than there are bands.
        calibration: sigma0, gamma0 or beta0; empty where nothing is said.
        units: units as the file names them; empty if it does not.
    """

    bands: tuple[str, ...] = ()
    calibration: str = ""
    units: str = ""


@dataclass(frozen=True)
class Channel:
    """One image of a file: (H, W), real or complex, with its polarisation, empty where it is not said."""

    image: np.ndarray
    polarisation: str = ""


class BandsError(ValueError):
    """The bands of a file do not say what they are, or are not those that were asked for."""


def read_gdal(metadata: str) -> Said:
    """What GDAL's metadata (tag 42112 of a TIFF, XML) say of the bands.

    Example:
        >>> read_gdal('<Item name="DESCRIPTION" sample="0" role="description">Sigma0_VV</Item>')
        Said(bands=('Sigma0_VV',), calibration='sigma0', units='')
    """
    texts: dict[int, list[str]] = {}
    units = ""
    for marks, text in _ITEM.findall(metadata):
        sample = re.search(r'sample="(\d{1,4})"', marks)
        if "unit" in marks.lower():
            units = units or text.strip()
        elif sample:
            texts.setdefault(int(sample[1]), []).append(text.strip())
    calibration = _CALIBRATION.search(metadata)
    bands = tuple(" ".join(texts.get(number, ())) for number in range(max(texts, default=-1) + 1))
    return Said(bands, f"{calibration[1].lower()}0" if calibration else "", units)


def polarisations_of(text: str) -> tuple[str, ...]:
    """The polarisations that a name or a description has, in order, each once.

    Example:
        >>> polarisations_of("S1A_IW_GRDH_VV.tif")
        ('VV',)
    """
    return tuple(dict.fromkeys(name.upper() for name in _POLARISATION.findall(text)))


def channels(values: np.ndarray, said: Said, name: str = "", asked: str | None = None) -> list[Channel]:
    """The images asked for of a file with several bands.

    Args:
        values: (H, W, B), B from 2 to 4, real or complex.
        said: facts that the file states.
        name: name of the file.
        asked: complex, the number of a band from 1 on, a polarisation, or each; None: the only one there is.

    Raises:
        BandsError: nothing says what the bands are, or no band is the one asked for.

    Example:
        >>> channels(np.array([[[3.0, 4.0]]]), Said(bands=("i_VV", "q_VV")))
        [Channel(image=array([[5.]], dtype=float32), polarisation='VV')]
    """
    num = values.shape[-1]
    is_complex = values.dtype.kind == "c"
    names = [polarisations_of(text)[0] if polarisations_of(text) else "" for text in said.bands[:num]]
    names += [""] * (num - len(names))
    is_paired = not is_complex and num in (2, 4) and (asked == COMPLEX or _is_paired(values, said, names))
    if is_paired:
        parts_HWBP = values.astype(np.float32).reshape(*values.shape[:2], num // 2, 2)
        values, names = np.sqrt((parts_HWBP**2).sum(axis=-1)), names[::2]
    in_name = polarisations_of(name)
    if not any(names) and len(in_name) == len(names):
        names = list(in_name)
    images = [Channel(values[..., band], polarisation) for band, polarisation in enumerate(names)]
    return _chosen(images, asked, is_complex or is_paired, values.dtype)


def _is_paired(values: np.ndarray, said: Said, names: Sequence[str]) -> bool:
    """Whether bands are real and imaginary part by turns, by their descriptions or their signs."""
    if said.bands and all(_PART.search(text) for text in said.bands):
        return True
    if len(set(names)) == len(names):  # a polarisation each
        return False
    shares = (values < 0).mean(axis=(0, 1))
    return bool(((shares > SIGNED[0]) & (shares < SIGNED[1])).all())


def _chosen(images: list[Channel], asked: str | None, is_complex: bool, dtype: np.dtype) -> list[Channel]:
    """Those of a file's images that are asked for."""
    num = len(images)
    if asked == EACH or (num == 1 and asked in (None, COMPLEX)):
        return images
    names = [channel.polarisation for channel in images]
    if asked == COMPLEX:
        if not is_complex:
            raise BandsError(f"{num} bands of {dtype} are not real and imaginary part")
        power = sum(np.abs(channel.image).astype(np.float32) ** 2 for channel in images)
        return [Channel(np.sqrt(power), "+".join(filter(None, names)))]
    if asked is not None:
        index = int(asked) - 1 if asked.isdecimal() else names.index(asked) if asked in names else -1
        if not 0 <= index < num:
            held = ", ".join(filter(None, names)) or f"{num}, without a name"
            raise BandsError(f"no band {asked}; its bands: {held}")
        return [images[index]]
    if all(names):
        raise BandsError(f"holds the polarisations {', '.join(names)}: --bands {names[-1]} takes one, --bands each all")
    ways = "--bands 1 takes one, --bands each all"
    if not is_complex:
        ways += ", --bands complex takes them for real and imaginary part"
    bands = "complex bands" if is_complex else f"bands of {dtype}"
    raise BandsError(f"{num} {bands}, and nothing says what they are: {ways}")
