"""The images to look at: chips of built sources, or the user's own images.

Either becomes magnitude in [0, 1], cropped as the evaluation crops it, with the facts known of it. Of near-duplicates
(the brightness copies of SAR-ACD) one is drawn: they would be counted and found as if they were different chips.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sarjepa.data.built import open_source
from sarjepa.data.crops import crop_side, parse_crop
from sarjepa.draws import permutation
from sarjepa.errors import InputError
from sarjepa.formats.readers import UnreadableError, identify, read_image
from sarjepa.resampling import centre_crop

_LONGEST_NAME = 14  # characters of a line


@dataclass(frozen=True)
class Subject:
    """One image to look at.

    Attributes:
        image_HW: float32 magnitude in [0, 1], cropped.
        class_name: "" for an image without a class.
        source: "" for the user's own file.
        group: near-duplicate group within the source; -1 for a file.
        resolution_m: metres per pixel, None if unknown.
        file: name of the user's file; "" for a chip.
    """

    image_HW: np.ndarray
    class_name: str = ""
    source: str = ""
    group: int = -1
    resolution_m: float | None = None
    file: str = ""

    @property
    def title(self) -> str:
        """The text beside the image, at most two lines."""
        if len(self.file) > _LONGEST_NAME:
            return f"{self.file[: _LONGEST_NAME - 3]}...\n{self.file[-_LONGEST_NAME:]}"
        return self.file or "\n".join(filter(None, (self.class_name, self.source)))


def open_images(paths: Sequence[str], crop: str) -> list[Subject]:
    """The images that the user names.

    Args:
        paths: files of any format that has a reader, and folders, which stand for the images in them.
        crop: the crop setting; only a plain number crops files.

    Raises:
        InputError: a file is missing or cannot be read as an image, or a folder holds no images.

    Example:
        >>> from PIL import Image
        >>> Image.fromarray(np.full((40, 60), 51, np.uint8)).save("one-ship.png")
        >>> [subject] = open_images(["one-ship.png"], crop="32")
        >>> subject.title, subject.image_HW.shape, round(subject.image_HW.max().item(), 3)
        ('one-ship.png', (32, 32), 0.2)
    """
    side = parse_crop(crop, "")
    subjects = []
    for path in [file for name in paths for file in _image_files(Path(name))]:
        try:
            image = _unit_magnitude(read_image(path.read_bytes()).image)
        except UnreadableError as error:
            raise InputError("not a readable image", where=path, got=error) from error
        image = centre_crop(image, side) if isinstance(side, int) else image
        subjects.append(Subject(image, file=path.name))
    return subjects


def _image_files(path: Path) -> list[Path]:
    """A file itself, or the files in a folder that look like images, by name."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError("no such image", where=path)
    files = sorted(file for file in path.iterdir() if file.is_file() and identify(file.read_bytes()) is not None)
    if not files:
        raise InputError("no images in the folder", where=path, hint="name image files, or the folder that holds them")
    return files


def _unit_magnitude(image: np.ndarray) -> np.ndarray:
    """An image as read to float32 magnitude in [0, 1]: integers by their type's range, floats by their maximum."""
    if np.issubdtype(image.dtype, np.integer):
        return (image / np.iinfo(image.dtype).max).astype(np.float32)
    return (np.abs(image) / max(float(np.abs(image).max()), 1e-12)).astype(np.float32)


def open_chips(data_root: str, sources: Sequence[str], crop: str, seed: int, num: int) -> list[Subject]:
    """Chips of built sources, an equal share of each, no two of one near-duplicate group.

    The first chips of a larger number are those of a smaller one. They stand in the order of the sources and, within a
    source, of its shards (that is by class, where the archive is).

    Args:
        data_root: folder that holds shards/SOURCE.
        sources: names of the sources.
        crop: the crop setting.
        seed: seed of the draw.
        num: number of chips in all; a source with fewer groups gives all it has.

    Raises:
        InputError: a source is not built.

    Example:
        >>> subjects = open_chips("data", ["toy", "copies"], crop="none", seed=0, num=3)
        >>> [(subject.source, subject.class_name, subject.group) for subject in subjects]
        [('toy', 'blob', 56), ('toy', 'blob', 58), ('copies', 'along', 14)]
    """
    subjects: list[Subject] = []
    for number, name in enumerate(sources):
        shards = open_source(data_root, name)
        share = num // len(sources) + (number < num % len(sources))
        side = crop_side(crop, name, shards)
        chosen = np.sort(_distinct(shards.groups, seed)[:share])
        for index, image in zip(chosen.tolist(), shards.images(chosen), strict=True):
            image = image if side is None else centre_crop(image, side)
            label = int(shards.labels[index])
            subjects.append(
                Subject(
                    np.clip(image.astype(np.float32) / shards.scale, 0, 1),
                    shards.classes[label] if label >= 0 else "",
                    name,
                    int(shards.groups[index]),
                    shards.index.get("resolution_m"),
                )
            )
    return subjects


def _distinct(groups: np.ndarray, seed: int) -> np.ndarray:
    """One chip of every near-duplicate group, in a drawn order."""
    order = permutation(seed, "attention/chips", 0, len(groups))
    _, first = np.unique(groups[order], return_index=True)
    return order[np.sort(first)]


def spread(subjects: Sequence[Subject], num: int) -> list[Subject]:
    """At most `num` of many, evenly spaced, from as many classes and sources as fit; a class twice only after all once.

    Example:
        >>> subjects = [Subject(np.zeros((1, 1)), name) for name in ("tank", "tank", "truck", "tank")]
        >>> [subject.class_name for subject in spread(subjects, 2)]
        ['tank', 'truck']
    """
    seen: Counter[tuple[str, str, str]] = Counter()
    turns = []
    for position, subject in enumerate(subjects):
        key = (subject.source, subject.class_name, subject.file)
        turns.append((seen[key], position))
        seen[key] += 1
    first = sorted(turns)[: max(num, len(seen))]
    spaced = np.unique(np.linspace(0, len(first) - 1, num).astype(int))
    return [subjects[position] for position in sorted(first[number][1] for number in spaced)]
