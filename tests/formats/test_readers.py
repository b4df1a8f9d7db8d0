"""Readers: by content, in native precision, with a reason for every file that is refused."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from sarjepa.formats import readers
from sarjepa.formats.matlab import read_matlab
from sarjepa.formats.readers import UnreadableError, identify, read_image, read_images

RANDOM = np.random.default_rng(5)
GREY = RANDOM.integers(0, 256, (21, 34), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (21, 34), dtype=np.uint16)


def _pillow(image: np.ndarray, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def _tiff(image: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, image, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def _npy(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, image)
    return stream.getvalue()


def _mat(**variables: object) -> bytes:
    stream = io.BytesIO()
    scipy.io.savemat(stream, variables, do_compression=bool(variables.pop("do_compression", False)))
    return stream.getvalue()


def phoenix(magnitude: np.ndarray, native: int = 0, length: int | None = None, **fields: object) -> bytes:
    """A target chip by the rules of the format: text header, big-endian magnitude, big-endian phase."""
    rows, columns = magnitude.shape
    extra = "".join(f"{key}= {value}\n" for key, value in fields.items())
    template = (
        "\n[PhoenixHeaderVer01.04]\nPhoenixHeaderLength= {length:05d}\nPhoenixSigSize= {size:09d}\n"
        f"PhoenixSigNum= 0001\nPhoenixHeaderCallingSequence= \nnative_header_length= {native}\n"
        f"NumberOfColumns= {columns}\nNumberOfRows= {rows}\na line without the sign\n{extra}[EndofPhoenixHeader]\n"
    )
    header_length = len(template.format(length=0, size=0))
    size = header_length + native + 8 * rows * columns if length is None else length
    payload = magnitude.astype(">f4").tobytes() + np.zeros_like(magnitude).astype(">f4").tobytes()
    return template.format(length=header_length, size=size).encode("latin-1") + b"\0" * native + payload


def test_lossless_formats_give_back_what_was_written() -> None:
    for data, image in [
        (_pillow(GREY, "PNG"), GREY),
        (_pillow(DEEP, "PNG"), DEEP),
        (_pillow(GREY, "TIFF"), GREY),
        (_tiff(GREY), GREY),
        (_tiff(DEEP), DEEP),
        (_tiff(DEEP, byteorder=">"), DEEP),
        (_tiff(GREY, compression="zlib"), GREY),
        (_tiff(DEEP.astype(np.float32)), DEEP.astype(np.float32)),
        (_npy(GREY), GREY),
        (_npy(DEEP), DEEP),
        (_npy(DEEP.astype(np.float64)), DEEP.astype(np.float32)),
        (_npy(GREY.astype(np.float16)), GREY.astype(np.float16)),
    ]:
        found = read_image(data).image
        assert found.dtype == image.dtype
        assert np.array_equal(found, image)


def test_jpeg_stays_8_bit_and_near() -> None:
    smooth = np.add.outer(np.arange(40), np.arange(30)).astype(np.uint8)
    found = read_image(_pillow(smooth, "JPEG", quality=95)).image
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - smooth).max() <= 4


def test_equal_channels_become_one() -> None:
    three = np.repeat(GREY[..., None], 3, axis=-1)
    assert np.array_equal(read_image(_pillow(three, "PNG")).image, GREY)
    assert np.array_equal(read_image(_tiff(three, photometric="rgb")).image, GREY)
    assert read_image(_pillow(three, "JPEG")).image.ndim == 2


def test_real_chips_stored_as_colour_are_grey(shared: Path) -> None:
    for path in sorted((shared / "data" / "chips").iterdir()):
        assert read_image(path.read_bytes()).image.ndim == 2


def test_true_colour_is_refused() -> None:
    colour = RANDOM.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    for data in (_pillow(colour, "PNG"), _pillow(colour, "JPEG"), _tiff(colour, photometric="rgb")):
        with pytest.raises(UnreadableError, match="colour"):
            read_image(data)


def test_pairs_of_bands_become_magnitude() -> None:
    real, imaginary = RANDOM.integers(-3000, 3000, (2, 16, 18)).astype(np.int16)
    expected = np.hypot(real.astype(float), imaginary)
    for stack in (np.stack([real, imaginary]), np.stack([real, imaginary], axis=-1)):
        found = read_image(_tiff(stack, photometric="minisblack")).image
        assert found.dtype == np.float32
        assert np.allclose(found, expected, rtol=1e-6)
    four = _tiff(np.stack([real, imaginary, imaginary, real]), photometric="minisblack")
    with pytest.raises(UnreadableError, match="2 complex bands, and nothing says what they are: --bands 1"):
        read_image(four)
    (found,) = read_images(four, bands="complex")
    assert np.allclose(found.image, expected * np.sqrt(2), rtol=1e-6)
    slc = (real + 1j * imaginary).astype(np.complex64)
    assert np.allclose(read_image(_npy(slc)).image, expected, rtol=1e-6)


def test_matlab_takes_the_complex_image() -> None:
    field = RANDOM.normal(size=(12, 13)) + 1j * RANDOM.normal(size=(12, 13))
    reading = read_image(_mat(complex_img=field, complex_img_unshifted=field * 2, target_name="2s1", elevation=15.0))
    assert np.allclose(reading.image, np.abs(field), rtol=1e-6)
    assert reading.header["target_name"] == "2s1"
    assert np.allclose(read_image(_mat(only=np.abs(field))).image, np.abs(field), rtol=1e-6)
    with pytest.raises(UnreadableError, match=r"2 images \(a, b\)"):
        read_image(_mat(a=field, b=field))


def test_phoenix_gives_magnitude_and_header() -> None:
    magnitude = RANDOM.random((17, 11)).astype(np.float32)
    reading = read_image(phoenix(magnitude, TargetSerNum="E-71", TargetAz="12.5", Note="a = b"))
    assert np.array_equal(reading.image, magnitude)
    assert reading.header["TargetSerNum"] == "E-71"
    assert reading.header["Note"] == "a = b"


def test_phoenix_faults_are_named() -> None:
    magnitude = np.ones((6, 5), np.float32)
    whole = phoenix(magnitude)
    for data, reason in [
        (phoenix(magnitude, native=512), "clutter"),
        (whole[:-4], "disagree"),
        (phoenix(magnitude, length=99), "disagree"),
        (whole.replace(b"NumberOfRows= 6", b"NumberOfRows= x"), "NumberOfRows"),
        (whole[:100], "no complete Phoenix header"),
    ]:
        with pytest.raises(UnreadableError, match=reason):
            read_image(data)


def test_content_decides_and_not_the_name() -> None:
    assert identify(_pillow(GREY, "PNG")) == "png"
    assert identify(phoenix(np.ones((2, 2), np.float32))) == "phoenix"
    with pytest.raises(UnreadableError, match="is png, expected jpeg"):
        read_image(_pillow(GREY, "PNG"), formats=("jpeg",))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:6a", "Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>", "HTML page"),
        (b"hello world", "no known format"),
        (_pillow(GREY, "PNG")[:200], "damaged"),
        (_pillow(GREY, "JPEG")[:300], "damaged"),
        (_tiff(GREY)[:60], "damaged"),
        (_npy(GREY)[:140], "damaged"),
        (_mat(complex_img=np.ones((9, 9)))[:150], "damaged"),
        (_npy(-DEEP.astype(np.float32)), "negative"),
        (_npy(np.full((3, 3), np.nan)), "not finite"),
        (_npy(np.zeros((2, 3, 4, 5))), "not a two-dimensional image: shape"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_file_that_cannot_be_used_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        read_image(data)


def test_a_tiff_that_only_pillow_can_decode_is_held_to_the_same_rules() -> None:
    floats = DEEP.astype(np.float32)
    assert np.array_equal(read_image(_pillow(floats, "TIFF", compression="tiff_lzw")).image, floats)
    holed = floats.copy()
    holed[3, 4] = np.nan
    colour = RANDOM.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    for image, reason in ((holed, "not finite"), (-floats, "negative"), (colour, "colour")):
        with pytest.raises(UnreadableError, match=reason):
            read_image(_pillow(image, "TIFF", compression="tiff_lzw"))


def test_the_largest_image_is_ours_and_not_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for kind, options in (("PNG", {}), ("JPEG", {}), ("TIFF", {"compression": "tiff_lzw"})):
        assert read_image(_pillow(GREY, kind, **options)).image.shape == GREY.shape
    assert Image.MAX_IMAGE_PIXELS == 100
    monkeypatch.setattr(readers, "LARGEST_IMAGE_PX", GREY.size - 1)
    with pytest.raises(UnreadableError, match="declares 34 x 21 px"):
        read_image(_pillow(GREY, "PNG"))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (1, 5, 7)])
def test_an_array_may_be_a_single_row_column_or_pixel(shape: tuple[int, ...]) -> None:
    assert read_image(_npy(np.ones(shape, np.float32))).image.shape == shape[-2:]


def test_pickled_arrays_are_not_loaded() -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(UnreadableError, match="damaged"):
        read_image(stream.getvalue())


def _with(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


def _damaged_files() -> dict[str, bytes]:
    """Files that ended in an exception of a decoder's own, or in none at all."""
    grey, deflated, pair = _tiff(GREY), _tiff(GREY, compression="zlib"), _tiff(np.stack([GREY, GREY]).astype("i2"))
    page = struct.unpack_from("<I", grey, 4)[0]
    next_page = page + 2 + 12 * struct.unpack_from("<H", grey, page)[0]
    npy, whole = _npy(GREY), phoenix(np.ones((6, 5), np.float32))
    mat = bytearray(_mat(complex_img=GREY * 1.0, do_compression=True))
    mat[200] ^= 255
    return {
        "tiff: half of a deflated strip": deflated[: len(deflated) // 2],
        "tiff: no width": deflated[:10] + b"\x80" + deflated[11:],
        "tiff: another bit depth": pair[:38] + b"A" + pair[39:],
        "tiff: second page unlike the first": pair[:89] + b"q" + pair[90:],
        "tiff: page that leads to itself": grey[:next_page] + struct.pack("<I", page) + grey[next_page + 4 :],
        "tiff: header alone": grey[:9],
        "npy: open bracket": _with(npy, b"}  ", b"} ("),
        "npy: 10^12 rows": _with(npy, b"(21, 34), }              ", b"(1000000000000, 34), }   "),
        "npy: objects": _with(npy, b"|u1", b"|O8"),
        "mat: deflated": bytes(mat),
        "phoenix: a digit that is none": _with(whole, b"NumberOfColumns= 5", b"NumberOfColumns= \xb2"),
        "phoenix: 5000 digits": _with(whole, b"NumberOfColumns= 5", b"NumberOfColumns= " + b"9" * 5000),
        "phoenix: no size": _with(whole, b"PhoenixSigSize", b"PhoenixSigNone")[:-1],
    }


@pytest.mark.parametrize("name", _damaged_files())
def test_whatever_a_decoder_raises_is_a_refusal_of_that_file(name: str) -> None:
    with pytest.raises(UnreadableError) as refusal:
        read_image(_damaged_files()[name])
    assert "\n" not in str(refusal.value) and "0x" not in str(refusal.value)


def test_what_claims_more_than_its_bytes_can_hold_is_refused_before_memory_is_taken() -> None:
    grey = bytearray(_tiff(GREY, compression="zlib"))
    for tag, side in ((256, 34), (257, 21)):  # width and height
        at = grey.index(struct.pack("<HHII", tag, 4, 1, side))
        grey[at : at + 12] = struct.pack("<HHII", tag, 4, 1, 16000)
    png = bytearray(_pillow(GREY, "PNG"))
    png[16:24] = struct.pack(">II", 16000, 16000)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    rows = b"(160000, 34), }          "
    tracemalloc.start()
    for data in (bytes(grey), bytes(png), _with(_npy(GREY), b"(21, 34), }              ", rows)):
        with pytest.raises(UnreadableError, match="declares"):
            read_image(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        st.sampled_from(["u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8", "c8", "c16"]),
        array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=6),
    ),
    st.booleans(),
    st.text(st.characters(min_codepoint=32, max_codepoint=1000), max_size=9),
)
def test_our_reader_of_matlab_files_agrees_with_scipys(values: np.ndarray, do_compression: bool, text: str) -> None:
    cells = np.array([[1, "a"]], dtype=object)
    data = _mat(values=values, text=text, cells=cells, last=np.eye(3), do_compression=do_compression)
    ours, theirs = read_matlab(data), scipy.io.loadmat(io.BytesIO(data))
    assert set(ours.arrays) == {"values", "last"}
    for name, array in ours.arrays.items():
        assert array.dtype == theirs[name].dtype
        np.testing.assert_array_equal(array, theirs[name])
    assert ours.texts == ({"text": text.strip()} if text.strip() else {})


def test_doubles_beyond_32_bits_are_refused_rather_than_stored_as_infinity() -> None:
    for values in (np.full((4, 4), 1e300), np.full((4, 4), 1e300 + 1j), np.full((9, 9), 1e39)):
        with pytest.raises(UnreadableError, match=r"beyond 32-bit floats|not finite"):
            read_image(_npy(values))
