"""What lies where in an encoder's feature space, as figures: the plane of most variance, a few chips' neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from sarjepa.errors import InputError
from sarjepa.evaluation.features import extract
from sarjepa.evaluation.projection import Nearest, nearest, principal_plane
from sarjepa.progress import Progress
from sarjepa.recipes.visualize_attention.subjects import Subject
from sarjepa.recipes.visualize_attention.viewers import Viewer
from sarjepa.reports.feature_figures import Neighbour, feature_map, neighbour_grid

NUM_NEIGHBOURS = 6
_CHIP_NOTE = "number: cosine distance, 0 to 2; framed: of another class; near-duplicates of the query are left out"
_FILE_NOTE = "number: cosine distance, 0 to 2; a near-duplicate of the file, if there is one, is not left out"


def feature_figures(
    viewer: Viewer, gallery: Sequence[Subject], queries: Sequence[Subject], pool: str, progress: Progress
) -> dict[str, Figure]:
    """The gallery in the plane, and the neighbours that queries find in it.

    Args:
        viewer: whose features.
        gallery: chips of built sources.
        queries: one per row; what shares their near-duplicate group is not found.
        pool: how tokens become a feature.
        progress: where to tell how far it is, and what could not be drawn.

    Returns:
        Figures by the stem of their file.

    Raises:
        InputError: a feature is not a finite number.
    """
    features_ND, queries_QD = (_features(viewer, chips, pool, progress) for chips in (gallery, queries))
    plane = principal_plane(features_ND)
    about = f"{viewer.label}, {len(gallery)} chips, feature {pool}"
    classes, sources = [chip.class_name for chip in gallery], [chip.source for chip in gallery]
    figures = {
        "feature-map": feature_map(plane.point_N2, plane.share_2, classes, sources, f"Principal components of {about}")
    }
    found = nearest(queries_QD, features_ND, _near_copies(queries, gallery), NUM_NEIGHBOURS)
    if not found.index_QK.shape[1]:
        progress.note("no picture of neighbours: too few chips that are not near-duplicates of each other")
        return figures
    figures["neighbours"] = neighbour_grid(
        [viewer.rule.shown(query) for query in queries],
        [_row(viewer, query, gallery, found, number) for number, query in enumerate(queries)],
        f"Nearest chips by cosine distance of centred features: {about}",
        _CHIP_NOTE if queries[0].source else _FILE_NOTE,
    )
    return figures


def _features(viewer: Viewer, subjects: Sequence[Subject], pool: str, progress: Progress) -> np.ndarray:
    """(N, width) float32 features."""
    found = extract(
        viewer.encoder,
        lambda indices: viewer.inputs([subjects[index] for index in indices]),
        len(subjects),
        batch_size=viewer.batch_size(subjects),
        progress=progress,
        description=f"features of {viewer.label}",
    )[pool]
    if not np.isfinite(found).all():
        raise InputError("features are not finite", where=viewer.name, expected="finite weights and pixels")
    return found


def _near_copies(queries: Sequence[Subject], gallery: Sequence[Subject]) -> np.ndarray:
    """(Q, N) bool: the chip is the query or a near-duplicate of it."""
    return np.array(
        [[bool(query.source) and (query.source, query.group) == (chip.source, chip.group) for chip in gallery]
         for query in queries]
    )  # fmt: skip


def _row(viewer: Viewer, query: Subject, gallery: Sequence[Subject], found: Nearest, number: int) -> list[Neighbour]:
    chips = [gallery[index] for index in found.index_QK[number]]
    return [
        Neighbour(
            viewer.rule.shown(chip),
            float(distance),
            bool(query.class_name and chip.class_name) and query.class_name != chip.class_name,
        )
        for chip, distance in zip(chips, found.distance_QK[number], strict=True)
    ]
