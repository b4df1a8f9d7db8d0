r"""Views: what else the radar could have seen of a chip.

Two views of a chip show one target with different shifts, gains and speckle. A contrastive method asks an encoder to
ignore the difference; an evaluation adds views of its few labelled chips to them. Each augmentation is a statement
about the physics of the image, with a range in which it roughly holds; beyond it, it makes chips that no radar
delivers. `AUGMENTATIONS` lists all of them, with their ranges, their reasons and where they are wrong.

Shift, mirror, rotation and scale are one affine map from the view's pixels into the chip, which is read there once, by
the bicubic kernel, so that speckle is not smoothed by one resampling after another:

    x_chip = centre + shift + rotation (mirror x_view) / scale

A view shows a window of the chip. Beyond the window's border it shows the chip's own pixels, and beyond the chip's
border the chip's mirror image, since a black corner would tell how a view was turned. A window larger than
the view is first reduced (antialiased) to the view's resolution, and then read: two resamplings, of which the first
averages the speckle anyway. With neither rotation nor scale on, a view is the plain window, shifted by whole pixels,
mirrored and resized as everywhere else (`sarjepa.resampling.resample`).

Then gain, ramp, contrast and speckle follow, in this order, and magnitude is clipped to [0, 1].

Every parameter is a pure function of (seed, stream, epoch, image index, view), and so is the speckle of every pixel. An
augmentation that is switched off leaves the draws of the others as they are.

Shapes: B chips, S the side that comes out, h x w the window in the chip's pixels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from sarjepa.draws import uniforms
from sarjepa.resampling import pad, resample
from sarjepa.speckle import speckled


@dataclass(frozen=True)
class Augmentation:
    """One physical augmentation, in words and numbers.

    Attributes:
        parameter: quantity that is drawn.
        low, high: range of the uniform draw.
        share: share of the views that get it.
        physics: why the view is one that a radar could deliver.
        wrong: cases in which a radar could not deliver it.
    """

    parameter: str
    low: float
    high: float
    share: float
    physics: str
    wrong: str


AUGMENTATIONS: dict[str, Augmentation] = {
    "shift": Augmentation(
        "offset of the window along rows and columns, in sides of the window, whole pixels",
        -0.125,
        0.125,
        1.0,
        "A detector cuts chips out of a scene about where the target is; it does not centre them to the pixel.",
        "A window close about a large target loses part of it, and a neighbour may come into view.",
    ),
    "mirror": Augmentation(
        "left and right exchanged, which are the directions of cross-range where range runs down the rows",
        1.0,
        1.0,
        0.5,
        "A target that is symmetric about its long axis, seen from the azimuth a, looks in the mirror as it does from "
        "the azimuth -a: shadow and layover stay on their sides, since range is not touched.",
        "Targets that are not symmetric (a turret that is turned, a gun, a crane) become targets that do not exist. "
        "Where range runs along the columns the shadow changes sides.",
    ),
    "rotate": Augmentation(
        "angle in degrees about the window's centre",
        -15.0,
        15.0,
        1.0,
        "The target stands at a slightly other azimuth; over a few degrees its outline turns and its scattering "
        "centres change little.",
        "Shadow and layover turn too, though they point along range whatever the azimuth; scattering centres that "
        "are seen from a few degrees only (flat plates, corners) are kept where they would have gone.",
    ),
    "scale": Augmentation(
        "magnification",
        0.85,
        1.15,
        1.0,
        "Ground-range spacing changes with the depression angle, and spacing differs between sensors.",
        "A target's size in metres is a feature: wide ranges mix classes that differ by little else. Range and "
        "cross-range are scaled together, which a change of depression does not do. Speckle grows with the pixels.",
    ),
    "gain": Augmentation(
        "factor on the magnitude",
        0.5,
        1.6,
        1.0,
        "Receiver gain, distance and calibration differ between passes, and public chips are scaled one by one.",
        "In calibrated images brightness is the radar cross-section, which tells classes apart. Bright scatterers "
        "are cut off at 1.",
    ),
    "ramp": Augmentation(
        "rise of the gain from border to border in decibels, along rows and along columns, none at the centre",
        -6.0,
        6.0,
        1.0,
        "Targets lie at the edge of the antenna's pattern too, where its gain changes over the image.",
        "Over one chip a pattern changes by far less: this stands for all slow changes of brightness, and clutter "
        "that truly changes from one side of the target to the other loses a part of that.",
    ),
    "contrast": Augmentation(
        "factor on the distance from the chip's mean magnitude",
        0.5,
        1.5,
        1.0,
        "Public chips went through unknown mappings from magnitude to grey; this is a crude model of their spread.",
        "It is no radar's doing: an offset is added to the magnitude, so clutter is no longer Rayleigh distributed.",
    ),
    "speckle": Augmentation(
        "whole number of looks of the amplitude speckle",
        2,
        8,
        0.5,
        "Another pass sees the same target with other speckle, and fewer looks make more of it.",
        "It comes on top of the speckle that is there and is not correlated between pixels as the point-spread "
        "function would make it. Stable bright scatterers do not speckle, and here they do.",
    ),
}

_TAPS = 2  # pixels that the bicubic kernel reaches to each side


@dataclass(frozen=True)
class ViewKey:
    """What the draws of a batch of views belong to.

    Attributes:
        seed, stream, epoch: seed, stream and epoch of the draws.
        indices: (B,) of the chips in their data set.
        view: number of the view, from 0.
    """

    seed: int
    stream: str
    epoch: int
    indices: np.ndarray
    view: int = 0


@dataclass(frozen=True)
class ViewParameters:
    """What was drawn for each of B views, each (B,); an augmentation that is off or missed has its neutral value.

    Attributes:
        down_px, right_px: shift of the window, int64, in the chip's pixels.
        mirror: bool.
        angle_deg: rotation.
        scale: magnification.
        gain, contrast: factors.
        down_db, right_db: rise of the gain from the first row to the last, and from the first column to the last.
        looks: number of looks of the speckle, int64, 0 for none.
        noise_seed: seed of the speckle, int64.
    """

    down_px: np.ndarray
    right_px: np.ndarray
    mirror: np.ndarray
    angle_deg: np.ndarray
    scale: np.ndarray
    gain: np.ndarray
    down_db: np.ndarray
    right_db: np.ndarray
    contrast: np.ndarray
    looks: np.ndarray
    noise_seed: np.ndarray

    def words(self, row: int) -> tuple[str, ...]:
        """What was drawn for one view, in lines short enough for a picture; neutral values are left out."""
        move = f"{self.down_px[row]:+d} {self.right_px[row]:+d} px" if self.down_px[row] or self.right_px[row] else ""
        turn = f"{round(float(self.angle_deg[row])):+d}°" if self.angle_deg[row] else ""
        zoom = f"scale {self.scale[row]:.2f}" if self.scale[row] != 1 else ""
        gain = f"gain {self.gain[row]:.2f}" if self.gain[row] != 1 else ""
        down_db, right_db = self.down_db[row], self.right_db[row]
        ramp = f"ramp {down_db:+.0f} {right_db:+.0f} dB" if down_db or right_db else ""
        contrast = f"contrast {self.contrast[row]:.2f}" if self.contrast[row] != 1 else ""
        looks = f"{self.looks[row]} looks" if self.looks[row] else ""
        lines = ((move, "mirror" if self.mirror[row] else ""), (turn, zoom), (gain, looks), (ramp,), (contrast,))
        return tuple(", ".join(filter(None, line)) for line in lines if any(line))


def draw_views(windows_B2: np.ndarray, names: Collection[str], key: ViewKey) -> ViewParameters:
    """The parameters of a view of each chip.

    Args:
        windows_B2: heights and widths (px) of the windows.
        names: names of the augmentations that are on.
        key: seed, epoch and images of the draws.

    Example:
        >>> draw_views(np.array([[96, 96]]), ["shift", "gain"], ViewKey(0, "views", 1, np.array([7]))).words(0)
        ('-2 +8 px', 'gain 1.56')
    """
    draws = uniforms(key.seed, f"{key.stream}/view-{key.view}", key.epoch, key.indices, 12)
    down, right, mirrored, angle, scale, gain, contrast, has_speckle, looks, noise, down_rise, right_rise = draws.T

    def drawn(name: str, share_B: np.ndarray, neutral: float) -> np.ndarray:
        low, high = AUGMENTATIONS[name].low, AUGMENTATIONS[name].high
        return low + (high - low) * share_B if name in names else np.full(len(draws), neutral)

    reach_B2 = np.floor(AUGMENTATIONS["shift"].high * windows_B2) * ("shift" in names)
    offset_B2 = np.floor(np.stack([down, right], axis=1) * (2 * reach_B2 + 1)) - reach_B2
    low, high = AUGMENTATIONS["speckle"].low, AUGMENTATIONS["speckle"].high
    speckled_B = (has_speckle < AUGMENTATIONS["speckle"].share) & ("speckle" in names)
    return ViewParameters(
        down_px=offset_B2[:, 0].astype(np.int64),
        right_px=offset_B2[:, 1].astype(np.int64),
        mirror=(mirrored < AUGMENTATIONS["mirror"].share) & ("mirror" in names),
        angle_deg=drawn("rotate", angle, 0.0),
        scale=drawn("scale", scale, 1.0),
        gain=drawn("gain", gain, 1.0),
        down_db=drawn("ramp", down_rise, 0.0),
        right_db=drawn("ramp", right_rise, 0.0),
        contrast=drawn("contrast", contrast, 1.0),
        looks=np.where(speckled_B, np.floor(low + (high - low + 1) * looks), 0).astype(np.int64),
        noise_seed=(noise * 2.0**53).astype(np.int64),
    )


def make_views(
    images: Sequence[np.ndarray],
    scales: Sequence[float],
    windows_B2: np.ndarray,
    names: Collection[str],
    key: ViewKey,
    size: int,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """A view of each chip.

    Args:
        images: 2-D arrays of any size and dtype.
        scales: divisor of each image that gives magnitude in [0, 1].
        windows_B2: height and width (px) of the window about each chip's centre that a view shows; a chip that is
            smaller is padded with zeros to it, as the evaluation's centre crop does.
        names: names of the augmentations that are on; none gives the plain resized window.
        key: seed, epoch and images of the draws.
        size: the side (px) that comes out.
        device: device of the computation.

    Returns:
        (B, 1, size, size) float32 in [0, 1].

    Example:
        >>> key = ViewKey(0, "views", 1, np.array([7]))
        >>> make_views([np.zeros((64, 96), np.uint8)], [255.0], np.array([[64, 64]]), ["shift", "gain"], key, 32).shape
        torch.Size([1, 1, 32, 32])
    """
    return render_views(images, scales, windows_B2, draw_views(windows_B2, names, key), size, device)


def render_views(
    images: Sequence[np.ndarray],
    scales: Sequence[float],
    windows_B2: np.ndarray,
    drawn: ViewParameters,
    size: int,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """The views that drawn parameters give; see `make_views`.

    Example:
        >>> from dataclasses import replace
        >>> windows_B2 = np.array([[2, 2]])
        >>> drawn = draw_views(windows_B2, [], ViewKey(0, "views", 1, np.array([7])))  # every value neutral
        >>> drawn = replace(drawn, mirror=np.array([True]), gain=np.array([2.0]))
        >>> view_B1SS = render_views([np.array([[10, 20], [30, 40]], np.uint8)], [255.0], windows_B2, drawn, size=2)
        >>> (255 * view_B1SS).round().flatten().tolist()
        [40.0, 20.0, 80.0, 60.0]
    """
    view_B1SS = _moved(images, scales, windows_B2, drawn, size, device)
    view_B1SS = with_ramp(view_B1SS * _per_chip(drawn.gain, device), drawn.down_db, drawn.right_db)
    factor = _per_chip(drawn.contrast, device)
    view_B1SS = factor * view_B1SS + (1 - factor) * view_B1SS.mean(dim=(1, 2, 3), keepdim=True)
    return speckled(view_B1SS, drawn.noise_seed, drawn.looks).clamp(0, 1)


def with_ramp(image_B1HW: torch.Tensor, down_db_B: np.ndarray, right_db_B: np.ndarray) -> torch.Tensor:
    """Magnitude times a gain that rises evenly in decibels over the image and is 1 at its centre.

    Args:
        image_B1HW: magnitude; it is not clipped here.
        down_db_B, right_db_B: rise from the first row to the last, and from the first column to the last; 20 decibels
            are a factor of 10 on the magnitude.

    Example:
        >>> image_B1HW = with_ramp(torch.ones(1, 1, 1, 3), np.zeros(1), np.array([40.0]))
        >>> [round(value, 3) for value in image_B1HW.flatten().tolist()]
        [0.1, 1.0, 10.0]
    """
    if not (np.any(down_db_B) or np.any(right_db_B)):
        return image_B1HW
    height, width = image_B1HW.shape[2:]
    row_H1 = torch.linspace(-0.5, 0.5, height, device=image_B1HW.device)[:, None]
    column_W = torch.linspace(-0.5, 0.5, width, device=image_B1HW.device)
    rise_B1HW = _per_chip(down_db_B, image_B1HW.device) * row_H1 + _per_chip(right_db_B, image_B1HW.device) * column_W
    return image_B1HW * 10 ** (rise_B1HW / 20)


def _per_chip(value_B: np.ndarray, device: torch.device | str) -> torch.Tensor:
    return torch.as_tensor(value_B, dtype=torch.float32, device=device)[:, None, None, None]


def _moved(
    images: Sequence[np.ndarray],
    scales: Sequence[float],
    windows_B2: np.ndarray,
    drawn: ViewParameters,
    size: int,
    device: torch.device | str,
) -> torch.Tensor:
    """Shift, mirror, rotation and scale."""
    images = [_at_least(image, window) for image, window in zip(images, windows_B2, strict=True)]
    shape_B2 = np.array([image.shape for image in images])
    corner_B2 = (shape_B2 - windows_B2) // 2 + np.stack([drawn.down_px, drawn.right_px], axis=1)
    if not np.any(drawn.angle_deg) and np.all(drawn.scale == 1):
        ends = zip(images, corner_B2, corner_B2 + windows_B2, strict=True)
        cut = [_part(image, *first, *last) for image, first, last in ends]
        return resample(cut, scales, size, flip=drawn.mirror, device=device)

    # Cut out what the turned window covers, with room for the kernel, and reduce it where it has more pixels than S.
    cos, sin = np.cos(np.deg2rad(drawn.angle_deg)), np.sin(np.deg2rad(drawn.angle_deg))
    centre_B2 = corner_B2 + windows_B2 / 2
    turned_B2 = windows_B2 * np.abs(cos)[:, None] + windows_B2[:, ::-1] * np.abs(sin)[:, None]
    room_B2 = np.ceil(_TAPS * np.maximum(1, windows_B2 / size))
    first_B2 = np.floor(centre_B2 - turned_B2 / 2 / drawn.scale[:, None] - room_B2).astype(np.int64)
    last_B2 = np.ceil(centre_B2 + turned_B2 / 2 / drawn.scale[:, None] + room_B2).astype(np.int64)
    cut = [_part(image, *first, *last) for image, first, last in zip(images, first_B2, last_B2, strict=True)]
    reduced_B2 = np.round((last_B2 - first_B2) * np.minimum(1, size / windows_B2)).astype(np.int64)
    scales = list(scales)
    for number in np.flatnonzero((reduced_B2 < last_B2 - first_B2).any(axis=1)):
        cut[number] = _reduced(cut[number], scales[number], reduced_B2[number])
        scales[number] = 1.0
    canvas_BHW = pad(cut, scales, device)

    # x_chip = centre + rotation (mirror x_view) / scale, in torch's coordinates: -1 .. 1 over the canvas.
    unit_B2 = 2 * reduced_B2 / (last_B2 - first_B2) / np.array(canvas_BHW.shape[1:])
    half_B2 = windows_B2 / 2 / drawn.scale[:, None]
    side_B = np.where(drawn.mirror, -1.0, 1.0)
    (y_unit, x_unit), (y_half, x_half) = unit_B2.T, half_B2.T
    y_centre, x_centre = (unit_B2 * (centre_B2 - first_B2) - 1).T
    x_row = np.stack([x_unit * cos * side_B * x_half, -x_unit * sin * y_half, x_centre], axis=1)
    y_row = np.stack([y_unit * sin * side_B * x_half, y_unit * cos * y_half, y_centre], axis=1)
    map_B23 = torch.from_numpy(np.stack([x_row, y_row], axis=1)).float().to(device)
    grid = functional.affine_grid(map_B23, [len(cut), 1, size, size], align_corners=False)
    return functional.grid_sample(canvas_BHW[:, None], grid, mode="bicubic", align_corners=False).clamp(0, 1)


def _at_least(image: np.ndarray, window: np.ndarray) -> np.ndarray:
    """A chip, padded with zeros around it along an axis that is shorter than the window."""
    lacking = np.maximum(0, window - np.array(image.shape))
    return np.pad(image, [(n // 2, n - n // 2) for n in lacking]) if lacking.any() else image


def _part(image: np.ndarray, top: int, left: int, bottom: int, right: int) -> np.ndarray:
    """Rows top .. bottom - 1 and columns left .. right - 1; beyond the border, the chip's mirror image."""
    height, width = image.shape
    if top >= 0 and left >= 0 and bottom <= height and right <= width:
        return image[top:bottom, left:right]
    rows, columns = np.arange(top, bottom) % (2 * height), np.arange(left, right) % (2 * width)
    return image[np.minimum(rows, 2 * height - 1 - rows)][:, np.minimum(columns, 2 * width - 1 - columns)]


def _reduced(image: np.ndarray, scale: float, shape: np.ndarray) -> np.ndarray:
    """A chip at fewer pixels, antialiased, float32 magnitude."""
    magnitude = torch.from_numpy(image.astype(np.float32))[None, None] / scale
    size = (int(shape[0]), int(shape[1]))
    return functional.interpolate(magnitude, size, mode="bicubic", antialias=True).clamp(0, 1)[0, 0].numpy()
