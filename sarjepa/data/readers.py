"""Readers: bytes of a file to a two-dimensional magnitude image, chosen by content and never by the file's name.

A `.tif` that is really a PNG, an upper-case extension, a chip without one: none of it matters, the first bytes say what
a file is. Precision is kept: 8-bit stays 8-bit, 16-bit 16-bit, floats floats. Complex data becomes its magnitude.

Colour: many SAR images are stored as RGB with three equal channels. Such an image becomes one channel; an image whose
channels really differ is not radar magnitude (a colour map, a photograph, polarimetric false colour) and is refused.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from sarjepa.data.phoenix import PHOENIX_MAGIC, read_phoenix
from sarjepa.errors import InputError
from sarjepa.files import not_data

LARGEST_IMAGE_PX = 2**28  # a larger declared size is a fault or a decompression bomb
GREY_TOLERANCE = 12  # grey levels; JPEG's chroma rounding leaves a few between channels that were equal


class UnreadableError(Exception):
    """A file cannot be used, and why: goes to index.json's `rejected`, the build goes on."""


class UnknownFormatError(UnreadableError):
    """A file that no reader knows: more likely a stray one than a damaged image."""


@dataclass(frozen=True)
class Reading:
    """An image as its file has it: image (H, W) uint8, uint16, float16 or float32, and the header's fields as text."""

    image: np.ndarray
    header: dict[str, str] = field(default_factory=dict)


def identify(data: bytes) -> str | None:
    """What a file is, by its first bytes: a name from READERS, or None."""
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
    """Decode one file.

    Args:
        data: its whole content.
        formats: what is accepted; None for every format there is a reader for.

    Raises:
        UnreadableError: with the reason, in words for index.json; UnknownFormatError where no reader knows the file.
    """
    name = identify(data)
    if name is None:
        raise _what_it_is_instead(data)
    if formats is not None and name not in formats:
        raise UnreadableError(f"is {name}, expected {' or '.join(formats)}")
    reading = READERS[name](data)
    if reading.image.ndim != 2 or 0 in reading.image.shape:
        raise UnreadableError(f"not a two-dimensional image: shape {reading.image.shape}")
    return reading


def _what_it_is_instead(data: bytes) -> UnreadableError:
    if not data.strip(b"\0"):
        return UnreadableError("holds nothing but zeros" if data else "empty file")
    if instead := not_data(data[:256]):
        return UnreadableError(instead)
    return UnknownFormatError(f"no known format (begins with {data[:8]!r})")


def _read_pillow(data: bytes) -> Reading:
    """JPEG, PNG and some TIFF: one channel of 8 or 16 bits or of floats, or three equal ones of 8 bits."""
    try:
        with _open_by_pillow(data) as image:
            if image.width * image.height > LARGEST_IMAGE_PX:
                raise UnreadableError(f"declares {image.width} x {image.height} px")
            image.load()
            return Reading(magnitude(_grey(image)))
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableError(f"damaged: {error}") from error


def _open_by_pillow(data: bytes) -> Image.Image:
    """The image, its header read; Pillow's own limit, lower than ours, is set aside meanwhile."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        return Image.open(io.BytesIO(data))
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _grey(image: Image.Image) -> np.ndarray:
    """One channel of a Pillow image, its bit depth kept."""
    if image.mode == "L":
        return np.asarray(image)
    if image.mode in ("I;16", "I;16L", "I;16B", "I"):
        values = np.asarray(image)
        if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise UnreadableError("values beyond 16 bits")
        return values.astype(np.uint16)
    if image.mode == "F":
        return np.asarray(image)
    if image.mode in ("1", "P", "LA", "PA", "RGB", "RGBA", "RGBX", "YCbCr"):
        return one_channel(np.asarray(image.convert("RGB")))
    raise UnreadableError(f"colour mode {image.mode}")


def one_channel(image_HWC: np.ndarray) -> np.ndarray:
    """(H, W, C) with equal channels to (H, W).

    Raises:
        UnreadableError: the channels differ by more than rounding.
    """
    spread = np.ptp(image_HWC.astype(np.float32), axis=-1)
    full_scale = np.iinfo(image_HWC.dtype).max / 255 if image_HWC.dtype.kind == "u" else 0.0
    if spread.max(initial=0) > GREY_TOLERANCE * full_scale:
        raise UnreadableError("true colour: the channels differ, so it is not a magnitude image")
    if spread.max(initial=0) == 0:
        return np.ascontiguousarray(image_HWC[..., 0])
    return np.rint(image_HWC.mean(axis=-1)).astype(image_HWC.dtype)


def magnitude(values: np.ndarray) -> np.ndarray:
    """An array of any real or complex type as stored types: uint8, uint16, float16 or float32, never negative.

    Raises:
        UnreadableError: it holds values that magnitude cannot have (negative, not finite).
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
    if values.dtype.kind in "ui" and values.dtype not in (np.uint8, np.uint16):
        fits = values.max(initial=0) <= 65535
        return values.astype(np.uint16 if fits else np.float32)
    return values if values.dtype in (np.uint8, np.uint16, np.float16) else values.astype(np.float32)


def _read_tiff(data: bytes) -> Reading:
    """8/16-bit and float TIFF. 1 band: magnitude; 2 bands: real and imaginary part; 4: two such pairs, added in power.

    Products of one look complex (SLC) data are delivered as int16 or float pairs; with four bands they are the two
    channels of a dual-polarised product, and the root of the summed power keeps what either of them saw.
    """
    import tifffile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with tifffile.TiffFile(io.BytesIO(data)) as file:
                series = file.series[0]
                if np.prod(series.shape) > 4 * LARGEST_IMAGE_PX:
                    raise UnreadableError(f"declares shape {series.shape}")
                values = series.asarray()
    except (tifffile.TiffFileError, ValueError, OSError, KeyError, IndexError, TypeError, MemoryError) as error:
        return _tiff_by_pillow(data, error)
    return Reading(magnitude(bands_to_one(values)))


def _tiff_by_pillow(data: bytes, error: BaseException) -> Reading:
    """TIFF compressions that tifffile leaves to a codec package; Pillow knows the common ones."""
    try:
        return _read_pillow(data)
    except UnreadableError as refusal:
        if refusal.__cause__ is None:  # Pillow could decode it and its content was refused
            raise
        raise UnreadableError(f"damaged: {error}") from error


def bands_to_one(values: np.ndarray) -> np.ndarray:
    """(H, W), (B, H, W) or (H, W, B) to (H, W): see `_read_tiff` for what the bands mean."""
    if values.ndim > 2:
        values = np.squeeze(values)
    if values.ndim == 2:
        return values
    if values.ndim != 3:
        raise UnreadableError(f"not an image: shape {values.shape}")
    bands_last = values if values.shape[-1] <= 4 else np.moveaxis(values, 0, -1)
    num_bands = bands_last.shape[-1]
    if bands_last.dtype == np.uint8 and num_bands in (3, 4):
        return one_channel(bands_last[..., :3])
    if num_bands in (2, 4) and bands_last.dtype.kind in "if":
        return np.sqrt((bands_last.astype(np.float32) ** 2).sum(axis=-1))
    if num_bands in (2, 4) and bands_last.dtype.kind == "c":
        return np.sqrt((np.abs(bands_last) ** 2).sum(axis=-1))
    if num_bands == 3:
        return one_channel(bands_last)
    raise UnreadableError(f"{num_bands} bands of {bands_last.dtype}: neither magnitude nor real and imaginary parts")


def _read_npy(data: bytes) -> Reading:
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UnreadableError(f"damaged: {error}") from error
    return Reading(magnitude(bands_to_one(values)))


def _read_mat(data: bytes) -> Reading:
    """MATLAB v5: `complex_img` where there is one (SAMPLE), else the only two-dimensional array there is."""
    import scipy.io

    if b"MATLAB 7.3" in data[:128] or data[128:136] == b"\x89HDF\r\n\x1a\n":
        raise UnreadableError("a MATLAB 7.3 file; save it with -v7")
    try:
        content = scipy.io.loadmat(io.BytesIO(data))
    # What scipy raises on damaged bytes; NotImplementedError is its word for an unknown version.
    except (ValueError, TypeError, OSError, NotImplementedError, KeyError, IndexError, EOFError) as error:
        raise UnreadableError(f"damaged: {error}") from error
    images = {
        name: value
        for name, value in content.items()
        if not name.startswith("__") and isinstance(value, np.ndarray) and value.ndim == 2 and min(value.shape) > 1
    }
    if "complex_img" not in images and len(images) != 1:
        raise UnreadableError(f"holds no complex_img and {len(images)} images ({', '.join(sorted(images)) or 'none'})")
    image = images.get("complex_img", next(iter(images.values())))
    header = {
        name: str(value.item() if value.size == 1 else value.ravel()[0]).strip()
        for name, value in content.items()
        if not name.startswith("__") and isinstance(value, np.ndarray) and value.size and value.dtype.kind in "US"
    }
    return Reading(magnitude(image), header)


def _read_phoenix_bytes(data: bytes) -> Reading:
    try:
        image, header = read_phoenix(data)
    except InputError as error:
        raise UnreadableError(str(error)) from error
    return Reading(magnitude(image), header)


READERS: dict[str, Callable[[bytes], Reading]] = {
    "jpeg": _read_pillow,
    "png": _read_pillow,
    "tiff": _read_tiff,
    "npy": _read_npy,
    "mat": _read_mat,
    "phoenix": _read_phoenix_bytes,
}
