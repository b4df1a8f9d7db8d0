"""Readers: bytes of a file to a two-dimensional magnitude image, chosen by content and never by the file's name.

A `.tif` that is really a PNG, an upper-case extension or none: it does not matter, the first bytes say what a file is.
Precision is kept: 8-bit stays 8-bit, 16-bit 16-bit, floats floats. Complex data becomes its magnitude.

Colour: many SAR images are stored as RGB with three equal channels. Such an image becomes one channel; an image whose
channels really differ is not radar magnitude (a colour map, a photograph, polarimetric false colour) and is refused.

Damage: whatever a decoder raises is a refusal of this file alone. The size that an image declares is compared with the
file's bytes before memory is taken for it: deflate, the densest packing among these formats, cannot exceed 1032:1.
"""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from sarjepa.boundary import decoder_errors
from sarjepa.errors import InputError
from sarjepa.files import not_data
from sarjepa.formats.archive_safety import LARGEST_RATIO, SMALL_MEMBER_BYTES
from sarjepa.formats.bands import COMPLEX, EACH, BandsError, Channel, Said, channels, polarisations_of, read_gdal
from sarjepa.formats.matlab import read_matlab
from sarjepa.formats.phoenix import PHOENIX_MAGIC, read_phoenix
from sarjepa.formats.tiff_pages import check_pages

LARGEST_IMAGE_PX = 2**28  # a larger declared size is a fault or a decompression bomb
GREY_TOLERANCE = 12  # grey levels; JPEG's chroma rounding leaves a few between channels that were equal
_BAND_ROWS = 1024  # rows of an image that are made grey at a time
_NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_MOST_SCANS = 100  # of a JPEG; honest progressive ones have about ten, and each costs a pass over the whole image


class UnreadableError(InputError):
    """A file cannot be used; its text goes to `rejected` of index.json, and the build goes on."""


class UnknownFormatError(UnreadableError):
    """No reader knows the file's format: more likely a stray file than a damaged image."""


class DamagedError(UnreadableError):
    """A decoder could not make an image of the file."""


@dataclass(frozen=True)
class Reading:
    """An image as its file has it.

    Attributes:
        image: (H, W) uint8, uint16, float16 or float32.
        header: the fields of the file's header, as text.
        columns: polarisation, calibration and units, as far as the file or its name gives them.
    """

    image: np.ndarray
    header: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Decoded:
    """What a decoder makes of a file: values of any shape and number type, header, and facts of the bands."""

    values: np.ndarray
    header: dict[str, str] = field(default_factory=dict)
    said: Said = field(default_factory=Said)


def identify(data: bytes) -> str | None:
    r"""What a file is, by its first bytes: a name from READERS, or None.

    Example:
        >>> identify(b"\x89PNG\r\n\x1a\n")
        'png'
    """
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if data[:6] == b"\x93NUMPY":
        return "npy"
    if data[:6] == b"MATLAB" or data[128:136] == b"\x89HDF\r\n\x1a\n":
        return "mat"
    if PHOENIX_MAGIC in data[:64]:
        return "phoenix"
    return None


def read_image(data: bytes, formats: tuple[str, ...] | None = None) -> Reading:
    """Decode one file that holds one image; see `read_images`.

    Example:
        >>> stream = io.BytesIO()
        >>> np.save(stream, np.array([[3 + 4j]]))
        >>> read_image(stream.getvalue()).image
        array([[5.]], dtype=float32)
    """
    return read_images(data, formats)[0]


def read_images(
    data: bytes, formats: tuple[str, ...] | None = None, name: str = "", bands: str | None = None
) -> list[Reading]:
    """Decode one file: one image, or one for each band where each is asked for.

    Args:
        data: whole content of the file.
        formats: accepted formats; None: every format that has a reader.
        name: name of the file, which may state the polarisation.
        bands: choice among several bands, see `sarjepa.formats.bands.channels`.

    Raises:
        UnreadableError: the file cannot be read, with the reason; UnknownFormatError if no reader knows it.

    Example:
        >>> file = io.BytesIO()
        >>> np.save(file, np.arange(8, dtype=np.uint8).reshape(2, 2, 2))
        >>> readings = read_images(file.getvalue(), name="ship_VH_VV.npy", bands="each")
        >>> [(reading.image.tolist(), reading.columns) for reading in readings]
        [([[0, 2], [4, 6]], {'polarisation': 'VH'}), ([[1, 3], [5, 7]], {'polarisation': 'VV'})]
    """
    format_name = identify(data)
    if format_name is None:
        raise _what_it_is_instead(data)
    if formats is not None and format_name not in formats:
        raise UnreadableError(f"is {format_name}, expected {' or '.join(formats)}")
    with decoder_errors(_damaged), _silence():
        decoded = READERS[format_name](data)
        images = [(magnitude(channel.image), channel.polarisation) for channel in _channels(decoded, name, bands)]
    columns = {key: text for key in ("calibration", "units") if (text := getattr(decoded.said, key))}
    return [
        Reading(image, decoded.header, columns | ({"polarisation": polarisation} if polarisation else {}))
        for image, polarisation in images
    ]


def _channels(decoded: _Decoded, name: str, asked: str | None) -> list[Channel]:
    """The images asked for of a file; most files have one."""
    values = decoded.values
    if values.ndim > 2 and 0 not in values.shape:
        values = np.squeeze(values)
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise UnreadableError(f"not a two-dimensional image: shape {values.shape}")
    file_name = name.rsplit("/", 1)[-1]
    if values.ndim == 2:
        polarisations = polarisations_of(" ".join(decoded.said.bands)) or polarisations_of(file_name)
        polarisation = polarisations[0] if len(polarisations) == 1 else ""
        if asked not in (None, COMPLEX, EACH, "1", polarisation):
            raise UnreadableError(f"no band {asked}; its only band: {polarisation or 'without a name'}")
        return [Channel(values, polarisation)]
    bands_last = values if values.shape[-1] <= 4 else np.moveaxis(values, 0, -1)
    num = bands_last.shape[-1]
    if num > 4 or bands_last.dtype.kind not in "uifc":
        raise UnreadableError(f"{num} bands of {bands_last.dtype}: neither magnitude nor real and imaginary parts")
    if asked is None and (num == 3 or (num == 4 and bands_last.dtype == np.uint8)):
        return [Channel(one_channel(bands_last[..., :3]))]
    try:
        return channels(bands_last, decoded.said, file_name, asked)
    except BandsError as error:
        raise UnreadableError(str(error)) from error


def _damaged(words: str) -> DamagedError:
    return DamagedError(f"damaged: {words}")


@contextmanager
def _silence() -> Iterator[None]:
    """Suppress what libraries print about a damaged file; the error tells it."""
    logger = logging.getLogger("tifffile")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


def _check_claim(shape: tuple[int, ...], itemsize: int, data: bytes) -> None:
    """Refuse an image that would be larger than its bytes can hold, or than any image is."""
    size = math.prod(shape)
    too_dense = size * itemsize > max(SMALL_MEMBER_BYTES, LARGEST_RATIO * len(data))
    if min(shape, default=0) < 0 or size > 4 * LARGEST_IMAGE_PX or too_dense:
        raise UnreadableError(f"declares {' x '.join(map(str, shape))} values in {len(data)} bytes")


def _what_it_is_instead(data: bytes) -> UnreadableError:
    if not data.strip(b"\0"):
        return UnreadableError("holds nothing but zeros" if data else "empty file")
    if instead := not_data(data[:256]):
        return UnreadableError(instead)
    if data[:4] == b"PK\x03\x04":
        return UnknownFormatError("a zip: unpack it, or give it by --archives if it is of a public set")
    return UnknownFormatError(f"no known format (begins with {data[:8]!r})")


def _read_pillow(data: bytes) -> _Decoded:
    """JPEG, PNG and some TIFF: one channel of 8 or 16 bits or of floats, or three equal ones of 8 bits."""
    with _opened(data) as image:
        return _Decoded(_grey(image))


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """An image loaded by Pillow, after its declared size was compared with its bytes."""
    if data.count(b"\xff\xda") > _MOST_SCANS and identify(data) == "jpeg":
        raise UnreadableError("a JPEG of more scans than any honest one")
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # Pillow's own limit is lower than ours
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "TIFF")) as image:
            if image.width * image.height > LARGEST_IMAGE_PX:
                raise UnreadableError(f"declares {image.width} x {image.height} px")
            _check_claim((image.height, image.width), 1, data)
            image.load()
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def read_colour(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """An optical image at the size of its radar image.

    Args:
        data: content of a JPEG, PNG or TIFF that Pillow reads, of 8 bits a channel; a fourth channel is dropped.
        shape: height and width (px) that come out.

    Returns:
        (3, H, W) uint8; red, green, blue.

    Raises:
        UnreadableError: the file is no such image, or damaged.

    Example:
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (64, 64), (200, 100, 50)).save(file, "PNG")
        >>> colour_3HW = read_colour(file.getvalue(), shape=(32, 48))
        >>> colour_3HW.shape, colour_3HW[:, 0, 0].tolist()
        ((3, 32, 48), [200, 100, 50])
    """
    with _silence(), decoder_errors(_damaged), _opened(data) as image:
        if image.mode not in ("L", "P", "RGB", "RGBA", "RGBX"):
            raise UnreadableError(f"an optical image of mode {image.mode}; expected 8 bits a channel")
        colour = image.convert("RGB").resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
        return np.ascontiguousarray(np.moveaxis(np.asarray(colour), -1, 0))


def _grey(image: Image.Image) -> np.ndarray:
    """One channel of a Pillow image, its bit depth kept."""
    if image.mode in ("L", "F"):
        return np.asarray(image)
    if image.mode in ("I;16", "I;16L", "I;16B", "I"):
        values = np.asarray(image)
        if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise UnreadableError("values beyond 16 bits")
        return values.astype(np.uint16)
    if image.mode in ("1", "P", "LA", "PA", "RGB", "RGBA", "RGBX", "YCbCr"):
        # A few rows at a time: three channels of a large image, and their spread, are many times its size.
        tops = range(0, image.height, _BAND_ROWS)
        boxes = [(0, top, image.width, min(top + _BAND_ROWS, image.height)) for top in tops]
        return np.concatenate([one_channel(np.asarray(image.crop(box).convert("RGB"))) for box in boxes])
    raise UnreadableError(f"colour mode {image.mode}")


def one_channel(image_HWC: np.ndarray) -> np.ndarray:
    """(H, W, C) with equal channels to (H, W).

    Raises:
        UnreadableError: the channels differ by more than rounding.

    Example:
        >>> one_channel(np.array([[[7, 7, 7], [9, 9, 9]]], np.uint8))
        array([[7, 9]], dtype=uint8)
    """
    full_scale = np.iinfo(image_HWC.dtype).max / 255 if image_HWC.dtype.kind == "u" else 0.0
    grey_HW = np.empty(image_HWC.shape[:2], image_HWC.dtype)
    for top in range(0, len(image_HWC), _BAND_ROWS):
        rows_HWC = image_HWC[top : top + _BAND_ROWS]
        largest_spread = np.ptp(rows_HWC.astype(np.float32), axis=-1).max(initial=0)
        if largest_spread > GREY_TOLERANCE * full_scale:
            raise UnreadableError("true colour: the channels differ, so it is not a magnitude image")
        equal = largest_spread == 0
        grey_HW[top : top + _BAND_ROWS] = rows_HWC[..., 0] if equal else np.rint(rows_HWC.mean(axis=-1))
    return grey_HW


def magnitude(values: np.ndarray) -> np.ndarray:
    """The magnitude of an array of any real or complex type, in a type that is stored.

    Returns:
        uint8, uint16, float16 or float32 of the same shape, never negative.

    Raises:
        UnreadableError: it holds values that magnitude cannot have (negative, not finite).

    Example:
        >>> magnitude(np.array([[3 + 4j]])), magnitude(np.array([[300]]))
        (array([[5.]], dtype=float32), array([[300]], dtype=uint16))
    """
    if values.dtype.kind == "c":
        values = np.abs(values)
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * 255
    if values.dtype.kind not in "uif":
        raise UnreadableError(f"holds {values.dtype}, not numbers")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise UnreadableError("holds values that are not finite")
    if values.min(initial=0) < 0:
        raise UnreadableError("holds negative values, so it is not magnitude")
    if values.dtype in (np.uint8, np.uint16, np.float16):
        return values
    if values.dtype.kind in "ui" and values.max(initial=0) <= 65535:
        return values.astype(np.uint16)
    stored = values.astype(np.float32)
    if not np.isfinite(stored).all():
        raise UnreadableError(f"values reach {values.max():.4g}, beyond 32-bit floats")
    return stored


def _read_tiff(data: bytes) -> _Decoded:
    """TIFF by tifffile, or by Pillow, which knows compressions that tifffile leaves to a codec package."""
    try:
        with decoder_errors(_damaged):
            return _by_tifffile(data)
    except DamagedError as error:
        refusal = error
    with decoder_errors(lambda _: refusal):
        return _read_pillow(data)


def _by_tifffile(data: bytes) -> _Decoded:
    """8/16-bit, float and complex TIFF of any number of bands, with GDAL's metadata of them."""
    import tifffile

    try:
        check_pages(data)
    except InputError as error:
        raise UnreadableError(f"damaged: {error}") from error
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        series = file.series[0]
        page = series.keyframe
        _check_claim(series.shape, series.dtype.itemsize, data)
        _check_claim(page.chunks, series.dtype.itemsize, data)
        if page.compression == tifffile.COMPRESSION.LZMA:  # unpacks without end; libtiff stops at what is declared
            raise DamagedError("LZMA")
        if page.compression != tifffile.COMPRESSION.NONE:
            packed = sum(sum(frame.databytecounts) for frame in series.pages if frame is not None)
            if packed > len(data):
                raise UnreadableError(f"declares {packed} bytes of pixels in {len(data)}")
        gdal = page.tags.get("GDAL_METADATA") if isinstance(page, tifffile.TiffPage) else None
        said = read_gdal(gdal.value) if gdal is not None and isinstance(gdal.value, str) else Said()
        return _Decoded(series.asarray(), said=said)


def _read_npy(data: bytes) -> _Decoded:
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in _NPY_HEADERS:
        raise UnreadableError(f"npy of version {version}")
    shape, is_fortran, dtype = _NPY_HEADERS[version](stream)
    num_bytes = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or num_bytes > len(data) - stream.tell():
        raise DamagedError(f"damaged: declares {shape} {dtype} in {len(data)} bytes")
    values = np.frombuffer(data, dtype, math.prod(shape), stream.tell()) if num_bytes else np.empty(shape, dtype)
    values = values.reshape(shape[::-1]).T if is_fortran else values.reshape(shape)
    return _Decoded(values)


def _read_mat(data: bytes) -> _Decoded:
    """MATLAB v5: `complex_img` where there is one (SAMPLE), else the only two-dimensional array."""
    if b"MATLAB 7.3" in data[:128] or data[128:136] == b"\x89HDF\r\n\x1a\n":
        raise UnreadableError("a MATLAB 7.3 file; save it with -v7")
    try:
        content = read_matlab(data)
    except InputError as error:
        raise DamagedError(f"damaged: {error.got}") from error
    images = {name: value for name, value in content.arrays.items() if value.ndim == 2 and min(value.shape) > 1}
    if "complex_img" not in images and len(images) != 1:
        raise UnreadableError(f"holds no complex_img and {len(images)} images ({', '.join(sorted(images)) or 'none'})")
    return _Decoded(images.get("complex_img", next(iter(images.values()))), content.texts)


def _read_phoenix(data: bytes) -> _Decoded:
    try:
        image, header = read_phoenix(data)
    except InputError as error:
        raise UnreadableError(str(error)) from error
    return _Decoded(image, header)


READERS: dict[str, Callable[[bytes], _Decoded]] = {
    "jpeg": _read_pillow,
    "png": _read_pillow,
    "tiff": _read_tiff,
    "npy": _read_npy,
    "mat": _read_mat,
    "phoenix": _read_phoenix,
}
