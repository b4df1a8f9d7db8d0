"""A small physical simulator of SAR target chips: data for tests and demonstrations, no download needed.

A chip is built as a radar builds it, in amplitude and phase, then detected:

1. **Target**: boxes (hull, turret, cab ...) and point scatterers on them. A scatterer's amplitude depends on the
   aspect: a lobe cos^n about the direction it faces, narrow for a flat side (a dihedral flashes at broadside only),
   wide for a corner. What faces away is dark. So a vehicle looks different every few degrees, as real ones do.
2. **Geometry**: the radar looks from below, range grows up the image. The echo of a scatterer at height z comes early:
   it is laid over towards the radar by z tan(depression). A box of height h throws a shadow of length
   h / tan(depression).
3. **Clutter**: K-distributed, a circular Gaussian field (speckle) times the root of a gamma-distributed texture that is
   correlated over a few pixels (Jakeman & Pusey 1976).
4. **Looks**: the intensity is the mean over L independent looks, so speckle on a flat patch is gamma distributed of
   order L (Goodman 1976).
5. **Impulse response**: each look is limited to the radar's band with a Taylor-like (Hamming) taper, which gives the
   resolution, the side lobes and the correlation of neighbouring pixels.
6. **Storage**: amplitude clipped to 8 bits at a gain that varies from chip to chip, as in the public 8-bit mirrors, so
   that brightness tells nothing.

A chip may have an optical image (`simulate_optical`): the same target at the same place from straight above, in colour,
without layover, its shadow thrown by a sun that stands somewhere else. Both pictures share outline and heading.

Every chip draws from its own generator, keyed by (seed, class, split, index): its bytes are the same in any order and
with any number of workers. As in MSTAR, train is seen at 17 degrees of depression and test at 15.

Shapes: R rows (range), C columns (cross-range), L looks, S scatterers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from sarjepa.draws import stream_key

SIZE = 72  # px
SPACING_M = 0.3  # pixel spacing, both ways
RESOLUTION_M = 0.42  # half-power width of the impulse response
NUM_LOOKS = 2
TEXTURE_ORDER = 4.0  # gamma order of the clutter's texture: grassland is about 2 to 10
DEPRESSION_DEG = {"train": 17.0, "test": 15.0}
CLUTTER_LEVEL = (14.0, 48.0)  # clutter amplitude in grey levels; chips of MSTAR's 8-bit renderings range so
SHIFT_PX = 6.0  # a detector's box is not centred on the target: up to 1.8 m off, a quarter of its length
POINT_GAIN = 5.0  # a target's points stand this far above the clutter
NUM_FACETS = 24  # small odd reflectors all over a vehicle: tools, hatches, rails
SUN_ELEVATION_DEG = (25.0, 65.0)
GROUND_RGB = ((0.42, 0.46, 0.28), (0.62, 0.54, 0.40))  # grass to dry soil
PAINT_RGB = ((0.27, 0.31, 0.20), (0.55, 0.48, 0.34))  # olive to sand


@dataclass(frozen=True)
class Box:
    """A cuboid standing on the ground: centre (x forward, y left), length, width, base and top height, all in m."""

    x: float
    y: float
    length: float
    width: float
    base: float
    top: float
    strength: float = 1.0  # of its side and end dihedrals


@dataclass(frozen=True)
class Point:
    """A small reflector: position in m, amplitude, facing direction (deg, 0 forward) and lobe exponent (0: any way)."""

    x: float
    y: float
    z: float
    amplitude: float
    facing_deg: float = 0.0
    exponent: float = 0.0


@dataclass(frozen=True)
class Target:
    """One class of vehicle."""

    boxes: tuple[Box, ...]
    points: tuple[Point, ...] = ()


def _wheels(xs: tuple[float, ...], half_width: float, amplitude: float) -> tuple[Point, ...]:
    return tuple(
        Point(x, side * half_width, 0.5, amplitude, 90.0 * side, exponent=1.5) for x in xs for side in (-1.0, 1.0)
    )


# Sizes of the usual kinds, not of particular types. They differ in outline, height and where they flash; none is
# given away by total brightness.
TARGETS: dict[str, Target] = {
    "bulldozer": Target(
        boxes=(Box(-0.4, 0, 4.0, 2.4, 0.4, 1.5), Box(-1.0, 0, 1.6, 1.6, 1.5, 2.9, 0.8), Box(2.5, 0, 0.4, 3.4, 0, 1.2)),
        points=(Point(2.3, 1.5, 0.3, 5, 0, 4), Point(2.3, -1.5, 0.3, 5, 0, 4), Point(-2.3, 0, 0.7, 4, 180, 2)),
    ),
    "carrier": Target(
        boxes=(Box(0, 0, 7.0, 2.8, 0.4, 2.0), Box(0.9, 0, 1.0, 1.0, 2.0, 2.4, 0.6)),
        points=(
            *_wheels((-2.6, -0.9, 0.9, 2.6), 1.4, 2.6),
            Point(3.1, 0.9, 1.3, 4, 0, 2),
            Point(3.1, -0.9, 1.3, 4, 0, 2),
        ),
    ),
    "launcher": Target(
        boxes=(Box(0.2, 0, 7.2, 2.5, 0.6, 1.3), Box(2.8, 0, 1.5, 2.4, 1.3, 2.6), Box(-1.6, 0, 3.4, 1.8, 1.8, 2.9, 1.2)),
        points=(
            *_wheels((-2.7, -1.5, 2.6), 1.25, 2.0),
            Point(-3.2, 0.5, 2.4, 6, 180, 3),
            Point(-3.2, -0.5, 2.4, 6, 180, 3),
        ),
    ),
    "tank": Target(
        boxes=(Box(0, 0, 6.6, 3.3, 0.4, 1.4), Box(0.2, 0, 2.6, 2.3, 1.4, 2.2, 0.9)),
        points=(
            *(Point(1.8 + 0.7 * step, 0, 1.8, 1.6, 90, 0.5) for step in range(6)),  # the barrel
            Point(-3.0, 1.2, 1.2, 4, 180, 2),
            Point(-3.0, -1.2, 1.2, 4, 180, 2),
            Point(-0.6, 0.7, 2.3, 3),
        ),
    ),
    "truck": Target(
        boxes=(Box(2.5, 0, 1.8, 2.4, 0.6, 2.5), Box(-1.1, 0, 4.8, 2.5, 1.1, 1.9)),
        points=(
            *_wheels((-2.7, -1.5, 2.4), 1.2, 2.4),
            Point(-3.4, 1.1, 1.9, 4, 180, 2),
            Point(1.5, 0.0, 1.3, 6, 180, 4),
        ),
    ),
}
CLASSES: tuple[str, ...] = tuple(TARGETS)


@dataclass(frozen=True)
class SimulatedChip:
    """A chip to be simulated: everything that its pixels depend on."""

    seed: int
    class_name: str
    split: str
    index: int
    is_paired: bool = False  # with its optical image

    @property
    def path(self) -> str:
        """Its name inside the source."""
        return f"{self.split}/{self.class_name}/{self.index:05d}"

    def generator(self) -> np.random.Generator:
        """Its own stream of random numbers (Philox, keyed by what the chip is)."""
        key = stream_key(self.seed, f"simulator/{self.split}/{self.class_name}", self.index)
        return np.random.Generator(np.random.Philox(key=key))


def simulate(chip: SimulatedChip) -> tuple[np.ndarray, dict[str, str]]:
    """Simulate one chip.

    Returns:
        image_RC (SIZE, SIZE) uint8, and its columns: "azimuth" and "depression" in degrees, as text.

    Example:
        >>> image_RC, columns = simulate(SimulatedChip(seed=0, class_name="tank", split="train", index=0))
        >>> image_RC.shape, columns
        ((72, 72), {'azimuth': '313.66', 'depression': '17'})
    """
    random = chip.generator()
    depression_deg = DEPRESSION_DEG[chip.split]
    azimuth_deg, shift_m = _pose(random)
    target = TARGETS[chip.class_name]

    scatterers = _scatterers(chip.class_name, azimuth_deg, depression_deg, random)
    scatterers[:, :2] += shift_m
    lit_RC = _lit(target, azimuth_deg, depression_deg, shift_m)
    looks_LRC = _clutter(lit_RC, random) + _place(scatterers, random)
    amplitude_RC = np.sqrt((np.abs(_band_limit(looks_LRC)) ** 2).mean(axis=0))
    level = np.exp(random.uniform(*np.log(CLUTTER_LEVEL)))
    image_RC = np.clip(np.rint(amplitude_RC * level), 0, 255).astype(np.uint8)
    return image_RC, {"azimuth": f"{azimuth_deg:.2f}", "depression": f"{depression_deg:g}"}


def simulate_optical(chip: SimulatedChip) -> np.ndarray:
    """The chip's target and ground from straight above in daylight: (3, SIZE, SIZE) uint8, red, green, blue.

    Example:
        >>> simulate_optical(SimulatedChip(seed=0, class_name="tank", split="train", index=0)).shape
        (3, 72, 72)
    """
    azimuth_deg, shift_m = _pose(chip.generator())
    key = stream_key(chip.seed, f"simulator/optical/{chip.split}/{chip.class_name}", chip.index)
    random = np.random.Generator(np.random.Philox(key=key))
    target = TARGETS[chip.class_name]
    sun_deg, elevation_deg = random.uniform(0, 360), random.uniform(*SUN_ELEVATION_DEG)
    ground_3, paint_3 = (
        np.array(dark) + random.uniform() * (np.array(bright) - dark) for dark, bright in (GROUND_RGB, PAINT_RGB)
    )
    texture_RC = 1 + 0.25 * (_smoothed(random.gamma(TEXTURE_ORDER, 1 / TEXTURE_ORDER, (SIZE, SIZE))) - 1)
    sunlit_RC = _lit(target, azimuth_deg, elevation_deg, shift_m, sun_deg)
    colour_3RC = ground_3[:, None, None] * texture_RC * (0.35 + 0.65 * sunlit_RC)
    x_RC, y_RC = _ground(azimuth_deg, shift_m)
    for box in sorted(target.boxes, key=lambda box: box.top):  # a roof hides what is lower
        roof_RC = (np.abs(x_RC - box.x) < box.length / 2) & (np.abs(y_RC - box.y) < box.width / 2)
        shade = 0.8 + 0.15 * box.top + random.normal(0, 0.02, (SIZE, SIZE))
        colour_3RC = np.where(roof_RC, paint_3[:, None, None] * shade, colour_3RC)
    return np.clip(np.rint(255 * colour_3RC), 0, 255).astype(np.uint8)


def _pose(random: np.random.Generator) -> tuple[float, np.ndarray]:
    """Heading (deg) and position (row, column; m from the middle) of a chip's target, the first of its draws."""
    return float(random.uniform(0, 360)), random.uniform(-SHIFT_PX, SHIFT_PX, 2) * SPACING_M


def _rotation(azimuth_deg: float) -> np.ndarray:
    """(2, 2): target coordinates (forward, left) to image coordinates (row: towards the radar, column)."""
    angle = np.deg2rad(azimuth_deg)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _scatterers(class_name: str, azimuth_deg: float, depression_deg: float, random: np.random.Generator) -> np.ndarray:
    """(S, 3): row and column in m from the centre, and amplitude in units of mean clutter amplitude."""
    points = _points_of(class_name)
    x, y, z, amplitude, facing_deg, exponent = np.array(
        [(p.x, p.y, p.z, p.amplitude, p.facing_deg, p.exponent) for p in points]
    ).T
    # The radar sits below the image, in direction (1, 0): a face looks at it when its facing does.
    to_radar = np.cos(np.deg2rad(facing_deg + azimuth_deg))
    lobe = np.where(exponent > 0, np.clip(to_radar, 0, 1) ** np.maximum(exponent, 1e-9), 1.0)
    position_S2 = np.stack([x, y], axis=1) @ _rotation(azimuth_deg).T
    position_S2[:, 0] += z * np.tan(np.deg2rad(depression_deg))  # layover
    # Vehicles of a kind are not copies of each other: loads, open hatches, mud.
    varied = amplitude * lobe * random.lognormal(0, 0.35, len(points))
    return np.column_stack([position_S2 + random.normal(0, 0.05, position_S2.shape), varied])


@cache
def _points_of(class_name: str) -> tuple[Point, ...]:
    """Every reflector of a class: its points, its boxes' and its facets, the same in every chip."""
    target = TARGETS[class_name]
    random = np.random.Generator(np.random.Philox(key=stream_key(0, f"simulator/facets/{class_name}")))
    facets = []
    for _ in range(NUM_FACETS):
        box = target.boxes[random.integers(len(target.boxes))]
        x, y = box.x + random.uniform(-0.5, 0.5) * box.length, box.y + random.uniform(-0.5, 0.5) * box.width
        z, amplitude = random.uniform(box.base, box.top), random.uniform(6, 20)
        facets.append(Point(x, y, z, amplitude, random.uniform(0, 360), random.uniform(1, 4)))
    own = tuple(replace(point, amplitude=POINT_GAIN * point.amplitude) for point in target.points)
    return (*own, *(point for box in target.boxes for point in _box_points(box)), *facets)


def _box_points(box: Box) -> list[Point]:
    """The four faces of a box as rows of narrow-lobed reflectors at its foot, and its four corners at its top."""
    points = []
    half_length, half_width = box.length / 2, box.width / 2
    faces = ((0, half_length, 0, box.width), (90, 0, half_width, box.length))
    for facing, dx, dy, extent in faces:
        for sign in (1.0, -1.0):
            num = max(2, round(extent / 0.6))
            # A dihedral's amplitude grows with its area and its lobe narrows with its length.
            amplitude = 14 * box.strength * np.sqrt(box.top - box.base)
            for offset in np.linspace(-extent / 2, extent / 2, num + 2)[1:-1]:
                x = box.x + sign * dx + (offset if dx == 0 else 0)
                y = box.y + sign * dy + (offset if dy == 0 else 0)
                points.append(Point(x, y, box.base, amplitude, facing + (0 if sign > 0 else 180), 6 + 4 * extent))
    for sx in (1.0, -1.0):
        for sy in (1.0, -1.0):
            facing = np.rad2deg(np.arctan2(sy, sx))
            points.append(
                Point(box.x + sx * half_length, box.y + sy * half_width, box.top, 9 * box.strength, facing, 1)
            )
    return points


def _ground(azimuth_deg: float, shift_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ground in the target's own coordinates (m): x forward and y left, (R, C) each."""
    axis = (np.arange(SIZE) - (SIZE - 1) / 2) * SPACING_M
    ground_RC2 = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1) - shift_m
    x_RC, y_RC = np.moveaxis(ground_RC2 @ _rotation(azimuth_deg), -1, 0)
    return x_RC, y_RC


def _lit(
    target: Target, azimuth_deg: float, elevation_deg: float, shift_m: np.ndarray, source_deg: float = 0.0
) -> np.ndarray:
    """(R, C) in {0, 1}: 0 where a box or its shadow hides the ground.

    The light comes from direction `source_deg` of the image, 0 below it, where the radar is.
    """
    x_RC, y_RC = _ground(azimuth_deg, shift_m)
    forward, left = np.array([np.cos(np.deg2rad(source_deg)), np.sin(np.deg2rad(source_deg))]) @ _rotation(azimuth_deg)
    lit_RC = np.ones((SIZE, SIZE))
    rise = np.tan(np.deg2rad(elevation_deg))
    for box in target.boxes:
        # A ground point is dark when the ray from it to the source meets the box: step along the ray.
        for step_m in np.arange(box.base / rise, box.top / rise, SPACING_M / 2):
            inside_length = np.abs(x_RC + step_m * forward - box.x) < box.length / 2
            inside_width = np.abs(y_RC + step_m * left - box.y) < box.width / 2
            lit_RC[inside_length & inside_width] = 0.0
    return lit_RC


def _clutter(lit_RC: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(L, R, C) complex: K-distributed ground of mean intensity 1 where it is lit, and a little receiver noise."""
    texture_RC = _smoothed(random.gamma(TEXTURE_ORDER, 1 / TEXTURE_ORDER, (SIZE, SIZE)))
    speckle_LRC = _gaussian(random, (NUM_LOOKS, SIZE, SIZE))
    noise_LRC = _gaussian(random, (NUM_LOOKS, SIZE, SIZE))
    return speckle_LRC * np.sqrt(texture_RC * lit_RC) + 0.15 * noise_LRC


def _smoothed(texture_RC: np.ndarray) -> np.ndarray:
    """A texture averaged with its neighbours, since neighbouring ground is alike."""
    for axis in (0, 1):
        texture_RC = (np.roll(texture_RC, 1, axis) + 2 * texture_RC + np.roll(texture_RC, -1, axis)) / 4
    return texture_RC


def _gaussian(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A circular complex Gaussian field of unit mean intensity."""
    return (random.standard_normal(shape) + 1j * random.standard_normal(shape)) / np.sqrt(2)


def _place(scatterers: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(L, R, C) complex: the scatterers on the pixel grid, each shared by its four neighbours, one phase per look."""
    image_LRC = np.zeros((NUM_LOOKS, SIZE, SIZE), dtype=complex)
    phase_LS = random.uniform(0, 2 * np.pi, (NUM_LOOKS, len(scatterers)))
    position_S2 = scatterers[:, :2] / SPACING_M + (SIZE - 1) / 2
    corner_S2 = np.floor(position_S2).astype(int)
    weight_S2 = position_S2 - corner_S2
    for row in (0, 1):
        for column in (0, 1):
            share_S = np.abs(1 - row - weight_S2[:, 0]) * np.abs(1 - column - weight_S2[:, 1])
            rows, columns = np.clip(corner_S2[:, 0] + row, 0, SIZE - 1), np.clip(corner_S2[:, 1] + column, 0, SIZE - 1)
            for look in range(NUM_LOOKS):
                values_S = scatterers[:, 2] * share_S * np.exp(1j * phase_LS[look])
                np.add.at(image_LRC[look], (rows, columns), values_S)
    return image_LRC


def _band_limit(looks_LRC: np.ndarray) -> np.ndarray:
    """Keep the radar's band, Hamming-tapered, at a gain that leaves the mean intensity of white clutter unchanged."""
    frequency = np.fft.fftfreq(SIZE)  # cycles per pixel
    edge = 0.65 * SPACING_M / RESOLUTION_M  # 1.3 / (2 x resolution): a Hamming taper widens the response 1.3 times
    taper = np.where(np.abs(frequency) <= edge, 0.54 + 0.46 * np.cos(np.pi * frequency / edge), 0.0)
    response_RC = taper[:, None] * taper[None, :]
    response_RC /= np.sqrt((response_RC**2).mean())
    return np.fft.ifft2(np.fft.fft2(looks_LRC) * response_RC)
