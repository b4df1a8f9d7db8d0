"""Bands: a polarisation is never mixed into another, a complex number is, and what nothing tells apart is refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile

from sarjepa.config import BuildDatasetConfig
from sarjepa.data.shards import open_shards
from sarjepa.errors import InputError
from sarjepa.formats.readers import UnreadableError, read_images
from sarjepa.recipes import build_dataset

RANDOM = np.random.default_rng(5)
VH, VV = (RANDOM.gamma(1, scale, (12, 14)).astype(np.float32) for scale in (0.02, 0.1))
REAL, IMAGINARY = RANDOM.normal(0, 0.1, (2, 12, 14)).astype(np.float32)


def described(*names: str, more: str = "") -> str:
    items = [
        f'  <Item name="DESCRIPTION" sample="{i}" role="description">{name}</Item>' for i, name in enumerate(names)
    ]
    return "\n".join(["<GDALMetadata>", *items, more, "</GDALMetadata>"])


def tiff(*bands: np.ndarray, gdal: str = "") -> bytes:
    """As GDAL writes it: band after band, its metadata in tag 42112."""
    stream = io.BytesIO()
    tags = [(42112, "s", 0, gdal, True)] if gdal else []
    values = bands[0] if len(bands) == 1 else np.stack(bands)
    more = {} if len(bands) == 1 else {"planarconfig": "separate"}
    tifffile.imwrite(stream, values, photometric="minisblack", metadata=None, extratags=tags, **more)
    return stream.getvalue()


def test_polarisations_named_by_gdal_are_not_mixed() -> None:
    units = '  <Item name="UNITTYPE" sample="0" role="unittype">linear</Item>'
    data = tiff(VH, VV, gdal=described("Sigma0_VH", "Sigma0_VV", more=units))
    with pytest.raises(UnreadableError, match="holds the polarisations VH, VV: --bands VV takes one, --bands each all"):
        read_images(data)
    (one,) = read_images(data, bands="VV")
    assert np.array_equal(one.image, VV)
    assert one.columns == {"polarisation": "VV", "calibration": "sigma0", "units": "linear"}
    first, second = read_images(data, bands="each")
    assert np.array_equal(first.image, VH) and np.array_equal(second.image, VV)
    assert (first.columns["polarisation"], second.columns["polarisation"]) == ("VH", "VV")
    with pytest.raises(UnreadableError, match="no band HH; its bands: VH, VV"):
        read_images(data, bands="HH")


def test_the_files_name_says_the_polarisations_of_its_bands() -> None:
    first, second = read_images(tiff(VH, VV), name="x/ship_vh_VV_3.tif", bands="each")
    assert (first.columns["polarisation"], second.columns["polarisation"]) == ("VH", "VV")
    assert read_images(tiff(VV), name="VH/Sen_ship_vv_1.tif")[0].columns == {"polarisation": "VV"}
    assert read_images(tiff(VV), name="Sen_vvh_1.tif")[0].columns == {}


@pytest.mark.parametrize(
    ("data", "pairs"),
    [
        (tiff(REAL, IMAGINARY), 1),
        (tiff(np.abs(REAL), np.abs(IMAGINARY), gdal=described("i_VV", "q_VV")), 1),
        (tiff(np.abs(REAL), np.abs(IMAGINARY), gdal=described("real", "imaginary")), 1),
        (tiff((REAL + 1j * IMAGINARY).astype(np.complex64)), 1),
        (tiff(REAL, IMAGINARY, IMAGINARY, REAL, gdal=described("i_VH", "q_VH", "i_VV", "q_VV")), 2),
    ],
)
def test_complex_numbers_become_their_magnitude(data: bytes, pairs: int) -> None:
    found = read_images(data, bands="each")
    assert len(found) == pairs
    for one in found:
        assert np.allclose(one.image, np.hypot(REAL, IMAGINARY), rtol=1e-5)
    assert pairs == 1 or [one.columns["polarisation"] for one in found] == ["VH", "VV"]


@pytest.mark.parametrize(
    ("bands", "words"),
    [
        ((VH, VV), "2 bands of float32, and nothing says what they are: --bands 1 .* --bands complex takes them"),
        ((-20 - VH, -9 - VV), "2 bands of float32, and nothing says"),  # decibels have one sign
        ((np.uint16([[1, 2]] * 9), np.uint16([[3, 4]] * 9)), "2 bands of uint16, and nothing says"),
    ],
)
def test_what_nothing_tells_apart_is_refused(bands: tuple[np.ndarray, ...], words: str) -> None:
    with pytest.raises(UnreadableError, match=words):
        read_images(tiff(*bands))


def test_the_user_says_what_the_bands_are() -> None:
    assert np.allclose(read_images(tiff(VH, VV), bands="complex")[0].image, np.hypot(VH, VV), rtol=1e-6)
    assert np.array_equal(read_images(tiff(VH, VV), bands="2")[0].image, VV)
    with pytest.raises(UnreadableError, match="no band 3; its bands: 2, without a name"):
        read_images(tiff(VH, VV), bands="3")
    with pytest.raises(UnreadableError, match="no band ²"):  # a digit, but no number
        read_images(tiff(VH, VV), bands="²")
    with pytest.raises(UnreadableError, match="no band VV; its only band: VH"):
        read_images(tiff(VH, gdal=described("VH")), bands="VV")
    with pytest.raises(UnreadableError, match="negative values, so it is not magnitude"):
        read_images(tiff(-20 - VH, -9 - VV, gdal=described("VH_db", "VV_db")), bands="VV")


def test_each_makes_chips_of_one_group_with_their_polarisation_on_the_card(tmp_path: Path) -> None:
    (tmp_path / "own" / "ship").mkdir(parents=True)
    for name in "ab":
        bands = RANDOM.gamma(1, 0.05, (2, 30, 30)).clip(0, 1).astype(np.float32)
        (tmp_path / "own" / "ship" / f"{name}.tif").write_bytes(tiff(*bands, gdal=described("Sigma0_VH", "Sigma0_VV")))
    asked = {"data_root": str(tmp_path / "data"), "sources": (f"folder:{tmp_path / 'own'}",), "workers": 1}
    with pytest.raises(InputError, match="holds the polarisations VH, VV"):
        build_dataset.run(BuildDatasetConfig(**asked))  # type: ignore[arg-type]
    build_dataset.run(BuildDatasetConfig(**asked, bands="each"))  # type: ignore[arg-type]
    shards = open_shards(tmp_path / "data" / "shards" / "own")
    assert shards.paths == ["ship/a.tif#VH", "ship/a.tif#VV", "ship/b.tif#VH", "ship/b.tif#VV"]
    assert shards.groups.tolist() == [0, 0, 1, 1]
    assert shards.meta("polarisation") == ["VH", "VV"] * 2
    card = (tmp_path / "data" / "shards" / "own" / "CARD.md").read_text()
    assert "**Polarisation**: VH, VV" in card and "calibration: sigma0" in card
