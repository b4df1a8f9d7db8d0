"""visualize-attention: attention distance per head and block, class-token maps and rollout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sarjepa.config import VisualizeAttentionConfig, parse_crop
from sarjepa.data.augment import centre_crop_and_resize
from sarjepa.data.readers import UnreadableError, read_image
from sarjepa.draws import permutation
from sarjepa.errors import InputError
from sarjepa.evaluation.attention import mean_distances, rollout, token_maps
from sarjepa.progress import Progress
from sarjepa.recipes.built import open_source
from sarjepa.recipes.class_report import report_folder
from sarjepa.recipes.downstream import Opened, built_datasets, newest_run, open_checkpoint
from sarjepa.recipes.result import Result
from sarjepa.reports.figures import attention_distance, map_grid
from sarjepa.reports.tables import Table
from sarjepa.training.checkpoint import write_atomically
from sarjepa.training.runtime import pick_device

NUM_SHOWN = 6  # chips in a picture
NUM_DEPTHS = 4  # blocks after which the rollout is shown
_BATCH = 8


@dataclass(frozen=True)
class Look:
    """Chips to look at: images as stored, what divides them, crop (px or None), names, and metres a pixel."""

    images: Sequence[np.ndarray]
    scale: float
    crop: int | None
    names: tuple[str, ...]
    resolution_m: float | None


def run(config: VisualizeAttentionConfig, progress: Progress) -> Result:
    """Measure and draw where each head looks.

    Args:
        config: the settings.
        progress: where to tell how far it is.

    Raises:
        InputError: the checkpoint is none, it has no attention, or there are no chips to look at.
    """
    device = pick_device(config.device)
    opened = open_checkpoint(config.checkpoint or newest_run(), config.seed, device, progress)
    encoder = opened.encoder
    if not hasattr(encoder, "attention"):
        raise InputError("no attention to look at", where=opened.name, hint="give a run folder or a checkpoint")
    look = _images(config) if config.images else _chips(config, opened)
    load = _loader(look, opened.image_size, device)
    distances = _distances(encoder, load, len(look.images), progress)
    folder = report_folder(config.out, opened.name, "attention", None)
    folder.mkdir(parents=True, exist_ok=True)
    table = _distance_csv(distances)
    write_atomically(folder / "attention-distance.csv", table.csv().encode())
    note = f"{len(look.images)} chips, class token left out of both sides, not renormalised"
    write_atomically(folder / "attention-distance.png", attention_distance({opened.name: distances}, note))
    _draw_maps(encoder, look, load, folder, opened.name)
    means = distances.mean(axis=1)
    summary = Table(
        f"Attention distance of {opened.name} (px)",
        ("block", "mean", "smallest head", "largest head"),
        tuple((str(number), f"{row.mean():.1f}", f"{row.min():.1f}", f"{row.max():.1f}")
              for number, row in enumerate(distances, start=1)),
        note,
    )  # fmt: skip
    message = f"mean attention distance {means[0]:.1f} px in the first block, {means[-1]:.1f} px in the last; {folder}"
    return Result(message, folder, (summary,))


def _images(config: VisualizeAttentionConfig) -> Look:
    """The image files that the user names."""
    images = []
    for name in config.images:
        if not Path(name).is_file():
            raise InputError("no such image", where=name)
        try:
            images.append(_unit_magnitude(read_image(Path(name).read_bytes()).image))
        except UnreadableError as error:
            raise InputError("not a readable image", where=name, got=error) from error
    setting = parse_crop(config.crop, "")
    crop = setting if isinstance(setting, int) else None
    return Look(images, 1.0, crop, tuple(Path(name).name for name in config.images), None)


def _unit_magnitude(image: np.ndarray) -> np.ndarray:
    """An image as read to float32 magnitude in [0, 1]: integers by their type's range, floats by their maximum."""
    if np.issubdtype(image.dtype, np.integer):
        return (image / np.iinfo(image.dtype).max).astype(np.float32)
    return (np.abs(image) / max(float(np.abs(image).max()), 1e-12)).astype(np.float32)


def _chips(config: VisualizeAttentionConfig, opened: Opened) -> Look:
    """Chips of a built data set: the one asked for, else the run's first source, else whatever is built."""
    sources = opened.describe.get("sources") or opened.describe.get("image_like") or ()
    built = built_datasets(config.data_root)
    named = [config.dataset] if config.dataset else [name for name in sources if name in built] or built[:1]  # type: ignore[attr-defined]
    if not named:
        raise InputError("no chips to look at", where=Path(config.data_root) / "shards",
                         hint="give --images, or run sarjepa build-dataset --sources synthetic")  # fmt: skip
    name = str(named[0])
    shards = open_source(config.data_root, name)
    chosen = np.sort(permutation(config.seed, "attention/chips", 0, len(shards))[: config.num_images])
    setting = parse_crop(config.crop, name)
    published = (shards.index.get("benchmark") or {}).get("crop")
    crop = published if setting == "published" else None if setting == "none" else int(setting)
    labels = [shards.classes[label] if label >= 0 else "" for label in shards.labels[chosen]]
    return Look(shards.images(chosen), shards.scale, crop, tuple(labels), shards.index.get("resolution_m"))


class _loader:  # noqa: N801 - a function with its arguments bound
    """Numbers of chips to inputs."""

    def __init__(self, look: Look, size: int, device: torch.device) -> None:
        self.look, self.size, self.device = look, size, device

    def __call__(self, numbers: Sequence[int]) -> Tensor:
        images = [self.look.images[number] for number in numbers]
        return centre_crop_and_resize(images, self.look.scale, self.look.crop, self.size, self.device)


def _distances(encoder: nn.Module, load: _loader, num: int, progress: Progress) -> np.ndarray:
    """(blocks, heads) attention distance (px of the input), averaged over all chips."""
    total: np.ndarray | float = 0.0
    patch = int(encoder.patch_size)  # type: ignore[arg-type]
    with progress.task("attention", total=num, unit="chips") as task:
        for start in range(0, num, _BATCH):
            image = load(range(start, min(start + _BATCH, num)))
            grid = (image.shape[-2] // patch, image.shape[-1] // patch)
            attentions = encoder.attention(image)  # type: ignore[operator]
            total = total + mean_distances(attentions, grid, patch) * len(image)
            task.advance(len(image))
    return np.asarray(total / num)


def _distance_csv(distances: np.ndarray) -> Table:
    rows = tuple(
        (str(block), str(head), f"{value:.4f}")
        for block, row in enumerate(distances, start=1)
        for head, value in enumerate(row, start=1)
    )
    return Table("Attention distance", ("block", "head", "distance_px"), rows)


def _draw_maps(encoder: nn.Module, look: Look, load: _loader, folder: Path, name: str) -> None:
    """maps.png: the class token's attention in the last block, a column a head; rollout.png: after some blocks."""
    shown = np.unique(np.linspace(0, len(look.images) - 1, NUM_SHOWN).astype(int))
    image = load(shown.tolist())
    grid = (image.shape[-2] // int(encoder.patch_size), image.shape[-1] // int(encoder.patch_size))  # type: ignore[arg-type]
    attentions = encoder.attention(image)  # type: ignore[operator]
    maps = token_maps(attentions[-1], grid).float().cpu().numpy()
    after = np.unique(np.linspace(0, len(attentions) - 1, NUM_DEPTHS).round().astype(int))
    reach = rollout(attentions, grid)[:, after].cpu().numpy()
    chips, labels = list(image[:, 0].cpu().numpy()), [look.names[number] for number in shown]
    metres = [_input_resolution(look, number, image.shape[-1]) for number in shown]
    heads = [f"head {head + 1}" for head in range(maps.shape[1])]
    heading = f"Where the class token looks, last block of {name}"
    write_atomically(folder / "maps.png", map_grid(chips, list(maps), heads, labels, heading, metres))
    heading, depths = f"Attention rollout of {name}", [f"after block {block + 1}" for block in after]
    write_atomically(folder / "rollout.png", map_grid(chips, list(reach), depths, labels, heading, metres))


def _input_resolution(look: Look, number: int, size: int) -> float | None:
    """Metres a pixel of the resized input."""
    if look.resolution_m is None:
        return None
    side = look.crop or look.images[number].shape[1]
    return look.resolution_m * side / size
