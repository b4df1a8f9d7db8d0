"""visualize-attention: how far and where each head looks, what a run predicts, which chips its features put together.

    attention-distance.csv   block, head, distance_px, averaged over chips
    attention-distance.png   the same, with the mean of each block
    maps.png                 where the class token looks in the last block, one column per head
    patch-maps.png           where one patch looks
    rollout.png              which patches may have reached the class token after some blocks
    targets.png              targets and predictions of masked patches, where the run has its predictor
    feature-map.png          chips in the plane of most variance, by class and by source
    neighbours.png           the nearest chips of a few

Each of several checkpoints gets such a folder; above them stand one attention-distance.csv with a column for the
checkpoint and one attention-distance.png with a panel each. All checkpoints are shown the same chips.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from matplotlib.figure import Figure

from sarjepa.config import VisualizeAttentionConfig, as_dict
from sarjepa.data.built import built_datasets
from sarjepa.data.crops import check_crop
from sarjepa.data.subjects import Subject, open_chips, open_images, spread
from sarjepa.errors import InputError
from sarjepa.evaluation.attention import mean_distances, uniform_distance
from sarjepa.evaluation.viewers import Viewer, open_viewers
from sarjepa.files import write_atomically
from sarjepa.models.addresses import newest_run
from sarjepa.progress import Progress
from sarjepa.recipes.evaluating.class_report import report_folder
from sarjepa.recipes.visualize_attention.pictures import feature_figures, map_figures, target_figure
from sarjepa.reports.attention_figures import HeadDistances, attention_distance
from sarjepa.reports.figures import figure_bytes
from sarjepa.results.result import Result, writable_folder
from sarjepa.results.tables import Table, counted, csv_text
from sarjepa.training.runtime import pick_device

NUM_SHOWN = 6  # chips in a picture
# Pictures that not every call draws; a later call removes those that it does not draw.
_DISTANCES = "attention-distance.csv"
_PICTURES = ("maps", "patch-maps", "rollout", "targets", "feature-map", "neighbours")
_COLUMNS = ("block", "head", "distance_px")


def run(config: VisualizeAttentionConfig, progress: Progress) -> Result:
    """Measure and draw; the module's docstring lists the files.

    Raises:
        InputError: a checkpoint cannot be read or has no attention, there are no chips to look at, they do not fit
            into memory, or the folder cannot be written.
    """
    device = pick_device(config.device)
    names = config.checkpoint or (newest_run(),)
    viewers = open_viewers(names, config.image_size, config.seed, device, progress)
    sources = _sources(config, viewers, progress)
    subjects, gallery = _subjects(config, sources)
    _check(viewers, subjects, gallery, config.patch)
    note = f"{counted(len(subjects), 'image' if config.images else 'chip')}, class token left out of both sides, " + (
        "each patch's attention renormalised" if config.renormalise else "not renormalised"
    )
    if config.out or len(viewers) == 1:
        folder = report_folder(config.out, viewers[0].name, "attention", None)
    else:
        folder = Path("results") / "-".join(["attention", *(viewer.label for viewer in viewers)])[:100]
    writable_folder(folder)
    distances = {}
    for viewer in viewers:
        distances[viewer.label] = _distances(viewer, subjects, config.renormalise, progress)
        own_folder = folder if len(viewers) == 1 else folder / viewer.label
        own_folder.mkdir(exist_ok=True)
        _remove_old(own_folder, config.format)
        _write_distances(own_folder, {viewer.label: distances[viewer.label]}, note, config.format)
        _write(own_folder, _pictures(viewer, subjects, gallery, config, progress), config.format)
    if len(viewers) > 1:
        _remove_old(folder, config.format)
        _write_distances(folder, distances, note, config.format)
    write_atomically(folder / "settings.yaml", yaml.safe_dump(as_dict(config), sort_keys=False))
    tables = tuple(_summary(label, heads, note) for label, heads in distances.items())
    return Result(_message(distances, folder), folder, tables)


def _sources(config: VisualizeAttentionConfig, viewers: Sequence[Viewer], progress: Progress) -> list[str]:
    """The sources of the chips: those of the settings, else those of the runs, else the first that is built."""
    if config.dataset:
        return list(dict.fromkeys(config.dataset))
    built = built_datasets(config.data_root)
    named = list(dict.fromkeys(name for viewer in viewers for name in viewer.sources))
    if missing := [name for name in named if name not in built]:
        progress.note(f"trained on, but not built here and left out: {', '.join(missing)}")
    return [name for name in named if name in built] or ([] if config.images else built[:1])


def _subjects(config: VisualizeAttentionConfig, sources: Sequence[str]) -> tuple[list[Subject], list[Subject]]:
    """The images to look at, and the chips of the feature map."""
    check_crop(config.data_root, config.crop)

    def chips(num: int) -> list[Subject]:
        return open_chips(config.data_root, sources, config.crop, config.seed, num) if sources else []

    subjects = open_images(config.images, config.crop) if config.images else chips(config.num_images)
    if not subjects:
        raise InputError("no chips to look at", where=Path(config.data_root) / "shards",
                         hint="give --images, or run sarjepa build-dataset --sources synthetic")  # fmt: skip
    return subjects, chips(config.num_points)


def _check(
    viewers: Sequence[Viewer], subjects: Sequence[Subject], gallery: Sequence[Subject], patch: tuple[int, ...]
) -> None:
    """Refuse, before anything is written, inputs that are too large and a patch outside of an image."""
    for viewer in viewers:
        for subject in (*subjects, *gallery):
            viewer.check_memory(subject)
        for subject in subjects:
            rows, columns = viewer.rule.grid(subject)
            if patch and (patch[0] >= rows or patch[1] >= columns):
                raise InputError(
                    "no such patch",
                    where="patch",
                    expected=f"row 0 to {rows - 1}, column 0 to {columns - 1} for {viewer.label}",
                    got=f"{patch[0]},{patch[1]}",
                )


def _distances(viewer: Viewer, subjects: Sequence[Subject], renormalise: bool, progress: Progress) -> HeadDistances:
    """(blocks, heads) attention distance (px of the input), averaged over all subjects."""
    total: np.ndarray | float = 0.0
    uniform_px, patch, size = 0.0, viewer.rule.patch, viewer.batch_size(subjects)
    with progress.task(f"attention of {viewer.label}", total=len(subjects), unit="chips") as task:
        for start in range(0, len(subjects), size):
            batch = subjects[start : start + size]
            grid = viewer.rule.grid(batch[0])
            attentions = viewer.encoder.attention(viewer.inputs(batch))
            total = total + mean_distances(attentions, grid, patch, renormalise) * len(batch)
            uniform_px += uniform_distance(grid, patch, renormalise) * len(batch)
            task.advance(len(batch))
    if not np.isfinite(total).all():
        raise InputError("attention is not finite", where=viewer.name, expected="finite weights and pixels")
    return HeadDistances(np.asarray(total) / len(subjects), uniform_px / len(subjects))


def _pictures(
    viewer: Viewer,
    subjects: Sequence[Subject],
    gallery: Sequence[Subject],
    config: VisualizeAttentionConfig,
    progress: Progress,
) -> dict[str, Figure]:
    """The other pictures that can be drawn, by the stem of their file."""
    shown = spread(subjects, NUM_SHOWN)
    if config.images and len(shown) < len(subjects):
        progress.note(f"{len(shown)} of {len(subjects)} images are shown; distances are averaged over all")
    patch = (config.patch[0], config.patch[1]) if config.patch else None
    pictures = map_figures(viewer, shown, patch)
    if (targets := target_figure(viewer, shown, config.seed, progress)) is not None:
        pictures["targets"] = targets
    if gallery:
        pictures |= feature_figures(viewer, gallery, shown, config.pool, progress)
    else:
        progress.note("no pictures of features: no built data set to compare with; name one with --dataset")
    return pictures


def _remove_old(folder: Path, file_format: str) -> None:
    """Remove the pictures of an earlier call in the same format.

    A folder without distances is not of an earlier call, so files of these names in it are kept.
    """
    if not (folder / _DISTANCES).is_file():
        return
    for stem in _PICTURES:
        (folder / f"{stem}.{file_format}").unlink(missing_ok=True)


def _write(folder: Path, pictures: dict[str, Figure], file_format: str) -> None:
    for stem, figure in pictures.items():
        write_atomically(folder / f"{stem}.{file_format}", figure_bytes(figure, file_format))


def _write_distances(folder: Path, distances: dict[str, HeadDistances], note: str, file_format: str) -> None:
    """Write attention-distance.csv, with a column for the checkpoint if there are several, and its picture."""
    rows = [
        (label, str(block), str(head), f"{distance:.4f}")
        for label, heads in distances.items()
        for block, distance_H in enumerate(heads.distance_LH, start=1)
        for head, distance in enumerate(distance_H, start=1)
    ]
    if len(distances) == 1:
        text = csv_text(_COLUMNS, [row[1:] for row in rows])
    else:
        text = csv_text(("checkpoint", *_COLUMNS), rows)
    write_atomically(folder / _DISTANCES, text)
    _write(folder, {"attention-distance": attention_distance(distances, note)}, file_format)


def _summary(label: str, heads: HeadDistances, note: str) -> Table:
    return Table(
        f"Attention distance of {label} (px)",
        ("block", "mean", "smallest head", "largest head"),
        tuple((str(number), f"{row.mean():.1f}", f"{row.min():.1f}", f"{row.max():.1f}")
              for number, row in enumerate(heads.distance_LH, start=1)),
        f"{note}; uniform attention: {heads.uniform_px:.1f}",
    )  # fmt: skip


def _message(distances: dict[str, HeadDistances], folder: Path) -> str:
    lines = []
    for label, heads in distances.items():
        first, last = heads.distance_LH.mean(axis=1)[[0, -1]]
        prefix = f"{label}: " if len(distances) > 1 else ""
        lines.append(f"{prefix}mean attention distance {first:.1f} px in the first block, {last:.1f} in the last")
    return "\n".join([*lines, str(folder)])
