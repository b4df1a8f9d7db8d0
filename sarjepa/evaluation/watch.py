"""Measures of a representation while it trains: a kNN probe on a labelled set, and signs of collapse.

They need a few hundred chips, no gradient and no random state, so they change nothing in the training. The accuracy is
for watching a run, not for reporting, as it is of few chips and one draw.
"""

from __future__ import annotations

import numpy as np
import torch

from sarjepa.evaluation.benchmark import open_benchmark
from sarjepa.evaluation.collapse import deviation, effective_rank, patch_deviation
from sarjepa.evaluation.fewshot import draw
from sarjepa.evaluation.knn import fit_neighbours
from sarjepa.models.encoder import Encoder
from sarjepa.progress import Progress
from sarjepa.training.runtime import autocast

SHOTS, TESTS = 40, 20  # training and test chips per class
# Untrained encoders have ranks above 15, and their class tokens and patches deviate by 0.08 to 0.2. In the first epochs
# of a sound run of `views` they deviate by 0.05 and 0.035; in a collapsed one, by less than 0.015.
_LOW_RANK, _LOW_DEVIATION, _LOW_PATCH_DEVIATION = 2.0, 0.03, 0.02


class Watch:
    """A fixed choice of chips of a built data set, and measures of an encoder on them.

    Args:
        data_root, dataset: folder of the built sources, and name of one of them.
        crop: the crop setting, as for the evaluation.
        precision: number format of the encoder: "bf16" or "fp32".
        device: device of the encoder.
    """

    def __init__(self, data_root: str, dataset: str, crop: str, precision: str, device: torch.device) -> None:
        self._benchmark = open_benchmark(data_root, dataset, crop=crop)
        self._precision, self._device = precision, device
        drawn = draw(self._benchmark.candidates, "published", SHOTS, seed=0)
        labels = self._benchmark.candidates.labels
        test = [drawn.test[labels[drawn.test] == label][:TESTS] for label in range(len(self._benchmark.classes))]
        self._indices = np.concatenate([drawn.train, *test])
        self._num_train = len(drawn.train)

    @torch.no_grad()
    def __call__(self, encoder: Encoder, progress: Progress) -> dict[str, float]:
        """Measure kNN accuracy (%), effective rank and deviation of the class tokens, deviation of patches.

        Warns if one of the last three is so low that the representation may be collapsing.
        """
        load = self._benchmark.loader(encoder.image_size, self._device)
        class_tokens, deviations = [], []
        for part in np.array_split(self._indices, max(1, len(self._indices) // 64)):
            with autocast(self._precision, self._device):
                tokens = encoder.forward_features(load(part)).float()
            class_tokens.append(tokens[:, 0])
            deviations.append(patch_deviation(tokens))
        features = torch.cat(class_tokens)
        rank, spread, of_patches = effective_rank(features), deviation(features), float(np.mean(deviations))
        if rank < _LOW_RANK or spread < _LOW_DEVIATION or of_patches < _LOW_PATCH_DEVIATION:
            progress.warn(
                f"the representation may be collapsing: class tokens of effective rank {rank:.1f} that deviate by "
                f"{spread:.3f} of their size, a chip's patches by {of_patches:.3f}"
            )
        return {
            "knn": self._knn_accuracy(features),
            "rank": round(rank, 3),
            "deviation": round(spread, 4),
            "patch_deviation": round(of_patches, 4),
        }

    def _knn_accuracy(self, feature_ND: torch.Tensor) -> float:
        labels = torch.from_numpy(self._benchmark.candidates.labels[self._indices]).to(feature_ND.device)
        train = np.arange(self._num_train)[None]
        neighbours = fit_neighbours(feature_ND, labels, train, len(self._benchmark.classes))
        predicted = neighbours.logits(0, feature_ND[self._num_train :]).argmax(dim=1)
        return round(100 * float((predicted == labels[self._num_train :]).float().mean()), 2)
