"""Figures of one encoder on a few images: attention, targets and predictions, feature space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from sarjepa.data.subjects import Subject
from sarjepa.errors import InputError
from sarjepa.evaluation.attention import brightest_patch, relative_to_uniform, rollout, token_maps
from sarjepa.evaluation.features import extract
from sarjepa.evaluation.projection import Nearest, nearest, principal_plane
from sarjepa.evaluation.viewers import InputRule, Viewer
from sarjepa.pretext.masking import ImageKeys
from sarjepa.progress import Progress
from sarjepa.recipes.visualize_attention.run_method import open_method
from sarjepa.reports.attention_figures import map_grid
from sarjepa.reports.chips import ShownChip
from sarjepa.reports.feature_figures import Neighbour, feature_map, neighbour_grid
from sarjepa.reports.pretraining import TargetRow, target_rows, targets_figure

NUM_DEPTHS = 4  # blocks after which the rollout is shown
NUM_NEIGHBOURS = 6
_CHIP_NOTE = "number: cosine distance, 0 to 2; framed: of another class; near-duplicates of the query are left out"
_FILE_NOTE = "number: cosine distance, 0 to 2; a near-duplicate of the file, if there is one, is not left out"


def shown_chip(rule: InputRule, subject: Subject) -> ShownChip:
    """The input that a rule makes of an image, as a picture with the image's proportions and scale.

    Example:
        >>> from sarjepa.evaluation.viewers import input_rule
        >>> rule = input_rule("16", image_size=32, patch=8, device=torch.device("cpu"))
        >>> chip = shown_chip(rule, Subject(np.ones((64, 32), np.float32), "ship"))
        >>> chip.image_HW.shape, chip.size_px  # a square input, drawn with the proportions of the chip
        ((16, 16), (64, 32))
    """
    rows, columns = rule.cut(subject).shape
    return ShownChip(rule(subject)[0, 0].cpu().numpy(), subject.title, (rows, columns), subject.resolution_m)


def map_figures(viewer: Viewer, subjects: Sequence[Subject], patch: tuple[int, int] | None) -> dict[str, Figure]:
    """Where the class token and one patch look in the last block, one column per head, and the rollout.

    Args:
        viewer: encoder, with its rule for inputs.
        subjects: images, one per row.
        patch: row and column (from 0) of the patch; None: the brightest of each image.

    Returns:
        Figures by the stem of their file.

    Example:
        >>> from sarjepa.data.subjects import open_chips
        >>> from sarjepa.evaluation.viewers import open_viewers
        >>> [viewer] = open_viewers(["runs/toy"], None, 0, torch.device("cpu"), Progress())
        >>> figures = map_figures(viewer, open_chips("data", ["toy"], "none", seed=0, num=1), patch=None)
        >>> [axes.get_title() for axes in figures["rollout"].axes[:3]]
        ['input', 'after block 1', 'after block 2']
    """
    chips = [shown_chip(viewer.rule, subject) for subject in subjects]
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
    """Targets and predictions of each image; None, with a note, where the checkpoint cannot predict.

    Args:
        viewer: encoder, from a checkpoint that may hold a predictor.
        subjects: images, one per row.
        seed: seed of the masks.
        progress: receiver of a note if there is no picture.

    Example:
        >>> from sarjepa.data.subjects import open_chips
        >>> from sarjepa.evaluation.viewers import open_viewers
        >>> [viewer] = open_viewers(["runs/toy"], None, 0, torch.device("cpu"), Progress())
        >>> chips = open_chips("data", ["toy"], "none", seed=0, num=1)
        >>> print(target_figure(viewer, chips, 0, Progress()))  # the run holds an encoder without its predictor
        None
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
            rows += target_rows(
                shown.image, state_BRC, shown.target, shown.prediction, [shown_chip(viewer.rule, subject)]
            )
            names = shown.channel_names
    except InputError as error:
        progress.note(f"no picture of targets: {error}")
        return None
    heading = f"What {viewer.label} is asked to predict, and what it predicts (a pair shares one scale)"
    return targets_figure(rows, names, heading)


def feature_figures(
    viewer: Viewer, gallery: Sequence[Subject], queries: Sequence[Subject], pool: str, progress: Progress
) -> dict[str, Figure]:
    """The gallery in the plane of most variance, and the nearest chips of the queries in it.

    Args:
        viewer: encoder of the features.
        gallery: chips of built sources.
        queries: images, one per row; chips of their near-duplicate group are left out.
        pool: pooling of the tokens.
        progress: receiver of progress bars, and of a note if a picture is missing.

    Returns:
        Figures by the stem of their file.

    Raises:
        InputError: a feature is not a finite number.

    Example:
        >>> from sarjepa.evaluation.viewers import open_viewers
        >>> [viewer] = open_viewers(["runs/toy"], None, 0, torch.device("cpu"), Progress())
        >>> bars = [Subject(np.eye(32, k=shift, dtype=np.float32), "bar", "toy", group=7) for shift in range(3)]
        >>> list(feature_figures(viewer, bars, bars[:1], "cls", Progress()))  # one group, so no neighbours
        ['feature-map']
    """
    features_ND, queries_QD = (_features(viewer, chips, pool, progress) for chips in (gallery, queries))
    plane = principal_plane(features_ND)
    about = f"{viewer.label}, {len(gallery)} chips, feature {pool}"
    classes, sources = [chip.class_name for chip in gallery], [chip.source for chip in gallery]
    figures = {
        "feature-map": feature_map(plane.point_N2, plane.share_2, classes, sources, f"Principal components of {about}")
    }
    near_copy_QN = np.array(  # the chip is the query or a near-duplicate of it
        [[bool(query.source) and (query.source, query.group) == (chip.source, chip.group) for chip in gallery]
         for query in queries]
    )  # fmt: skip
    neighbours = nearest(queries_QD, features_ND, near_copy_QN, NUM_NEIGHBOURS)
    if not neighbours.index_QK.shape[1]:
        progress.note("no picture of neighbours: too few chips that are not near-duplicates of each other")
        return figures
    figures["neighbours"] = neighbour_grid(
        [shown_chip(viewer.rule, query) for query in queries],
        [_row(viewer, query, gallery, neighbours, number) for number, query in enumerate(queries)],
        f"Nearest chips by cosine distance of centred features: {about}",
        _CHIP_NOTE if queries[0].source else _FILE_NOTE,
    )
    return figures


def _features(viewer: Viewer, subjects: Sequence[Subject], pool: str, progress: Progress) -> np.ndarray:
    """(N, width) float32 features."""
    features_ND = extract(
        viewer.encoder,
        lambda indices: viewer.inputs([subjects[index] for index in indices]),
        len(subjects),
        batch_size=viewer.batch_size(subjects),
        progress=progress,
        description=f"features of {viewer.label}",
    )[pool]
    if not np.isfinite(features_ND).all():
        raise InputError("features are not finite", where=viewer.name, expected="finite weights and pixels")
    return features_ND


def _row(viewer: Viewer, query: Subject, gallery: Sequence[Subject], near: Nearest, number: int) -> list[Neighbour]:
    """The nearest chips of a query, which is row `number` of `near`."""
    chips = [gallery[index] for index in near.index_QK[number]]
    return [
        Neighbour(
            shown_chip(viewer.rule, chip),
            float(distance),
            bool(query.class_name and chip.class_name) and query.class_name != chip.class_name,
        )
        for chip, distance in zip(chips, near.distance_QK[number], strict=True)
    ]
