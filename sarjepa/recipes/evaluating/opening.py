"""The benchmark of a command that trains a classifier, once it is sure that there are classes to tell apart."""

from __future__ import annotations

import numpy as np

from sarjepa.config import Evaluation
from sarjepa.data.summary import one_sided
from sarjepa.errors import InputError
from sarjepa.evaluation.benchmark import Benchmark, open_benchmark
from sarjepa.evaluation.fewshot import split
from sarjepa.progress import Progress


def open_to_classify(config: Evaluation, name: str, progress: Progress) -> Benchmark:
    """The benchmark of a data set; warns of classes that only one side of the source's own split has.

    Raises:
        InputError: the training chips have fewer than two classes, no class is on both sides, or see `open_benchmark`.

    Example:
        >>> from sarjepa.config import ProbeConfig
        >>> open_to_classify(ProbeConfig(label_set="bars"), "toy", Progress()).classes
        ('along', 'across')
    """
    benchmark = open_benchmark(config.data_root, name, config.label_set, config.crop, config.test_dataset)
    candidates, sides = benchmark.candidates, split(benchmark.candidates, "published", seed=0)
    train, test = (
        [benchmark.classes[label] for label in np.unique(candidates.labels[chips])]
        for chips in (np.append(sides.pool, sides.held), sides.test)
    )
    where = f"{benchmark.name}, label set {benchmark.label_set!r}"
    hint = "check the labels of the source (its CARD.md counts them), or choose another --label-set"
    if len(train) < 2:
        expected, got = "at least 2 classes among the training chips", ", ".join(train)
        raise InputError("one class alone", where=where, expected=expected, got=got, hint=hint)
    told = one_sided(train, test)
    if not set(train) & set(test):
        raise InputError("no class is both learnt and tested", where=where, got=told, hint=hint)
    if told and candidates.pool_kind == "fraction-of-train" and not benchmark.is_foreign:
        progress.warn(f"{benchmark.name}: {told}")
    return benchmark
