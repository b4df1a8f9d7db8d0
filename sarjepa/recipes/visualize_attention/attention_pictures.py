"""What one encoder makes of a few subjects, as figures: attention maps, rollout, targets and predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from sarjepa.errors import InputError
from sarjepa.evaluation.attention import brightest_patch, relative_to_uniform, rollout, token_maps
from sarjepa.pretext.masking import ImageKeys
from sarjepa.progress import Progress
from sarjepa.recipes.visualize_attention.run_method import open_method
from sarjepa.recipes.visualize_attention.subjects import Subject
from sarjepa.recipes.visualize_attention.viewers import Viewer
from sarjepa.reports.attention_figures import map_grid
from sarjepa.reports.pretraining import TargetRow, target_rows, targets_figure

NUM_DEPTHS = 4  # blocks after which the rollout is shown


def map_figures(viewer: Viewer, subjects: Sequence[Subject], patch: tuple[int, int] | None) -> dict[str, Figure]:
    """Where the class token and one patch look in the last block, one column per head, and the rollout.

    Args:
        viewer: who looks.
        subjects: at what, one per row.
        patch: row and column (from 0) of the patch; None: the brightest of each subject.

    Returns:
        Figures by the stem of their file.
    """
    chips = [viewer.rule.shown(subject) for subject in subjects]
    of_class, of_patch, reach, chosen = [], [], [], []
    for subject, chip in zip(subjects, chips, strict=True):
        grid, attentions = viewer.rule.grid(subject), viewer.encoder.attention(viewer.rule(subject))
        row, column = patch or brightest_patch(torch.from_numpy(chip.image_HW), viewer.rule.patch)
        after = np.unique(np.linspace(0, len(attentions) - 1, NUM_DEPTHS).round().astype(int))
        chosen.append((row, column))
        of_class.append(_map(token_maps(attentions[-1], grid)))
        of_patch.append(_map(token_maps(attentions[-1], grid, 1 + row * grid[1] + column)))
        reach.append(_map(rollout(attentions, grid)[:, after.tolist()]))
    heads = [f"head {head + 1}" for head in range(of_class[0].shape[0])]
    depths = [f"after block {block + 1}" for block in after]
    which = "the brightest patch" if patch is None else f"the patch of row {patch[0]}, column {patch[1]} (from 0)"
    last = f"last block of {viewer.label}"
    return {
        "maps": map_grid(chips, of_class, heads, f"Where the class token looks, {last}"),
        "patch-maps": map_grid(chips, of_patch, heads, f"Where {which} looks (outlined), {last}", chosen),
        "rollout": map_grid(chips, reach, depths, f"Attention rollout of the class token, {viewer.label}"),
    }


def _map(maps_1KRC: torch.Tensor) -> np.ndarray:
    """(K, rows, columns) in multiples of uniform attention."""
    return relative_to_uniform(maps_1KRC[0].float()).cpu().numpy()


def target_figure(viewer: Viewer, subjects: Sequence[Subject], seed: int, progress: Progress) -> Figure | None:
    """What the run was asked to predict of each subject, and what it predicts; None, with a note, where it cannot be.

    Args:
        viewer: whose checkpoint may hold a predictor.
        subjects: one per row.
        seed: of the masks.
        progress: is told why a picture is missing.
    """
    rows: list[TargetRow] = []
    names: tuple[str, ...] = ()
    try:
        method = open_method(viewer.name, viewer.rule.device, progress)
        for number, subject in enumerate(subjects):
            keys = ImageKeys(seed, 0, np.array([number]))
            image = viewer.rule(subject)
            shown = method.preview(image, keys)
            if shown is None:
                progress.note(f"no picture of targets: {viewer.label} predicts none")
                return None
            state_BRC = shown.state_BN.unflatten(1, method.encoder.grid(image))
            rows += target_rows(shown.image, state_BRC, shown.target, shown.prediction, [viewer.rule.shown(subject)])
            names = shown.channel_names
    except InputError as error:
        progress.note(f"no picture of targets: {error}")
        return None
    heading = f"What {viewer.label} is asked to predict, and what it predicts (a pair shares one scale)"
    return targets_figure(rows, names, heading)
