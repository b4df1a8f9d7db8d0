"""The benchmark of a command that trains a classifier, once it is sure that there are classes to tell apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sarjepa.config import Evaluation
from sarjepa.data.summary import one_sided
from sarjepa.errors import InputError
from sarjepa.evaluation.benchmark import Benchmark, open_benchmark
from sarjepa.evaluation.fewshot import split
from sarjepa.progress import Progress


def open_to_classify(config: Evaluation, name: str, policies: Sequence[str], progress: Progress) -> Benchmark:
    """The benchmark of a data set; warns of classes that only one side of the source's own split has.

    Args:
        config: settings of the command.
        name: name of the data set.
        policies: split policies that the command asks for; the grouped one may leave a class without training chips.

    Raises:
        InputError: the training chips have fewer than two classes, no class is on both sides, or see `open_benchmark`.

    Example:
        >>> from sarjepa.config import ProbeConfig
        >>> open_to_classify(ProbeConfig(label_set="bars"), "toy", ["published"], Progress()).classes
        ('along', 'across')
    """
    benchmark = open_benchmark(config.data_root, name, config.label_set, config.crop, config.test_dataset)
    candidates = benchmark.candidates
    for policy in policies:
        sides = split(candidates, policy, seed=0)
        train, test = (
            [benchmark.classes[label] for label in np.unique(candidates.labels[chips])]
            for chips in (np.append(sides.pool, sides.held), sides.test)
        )
        of_policy = f"{benchmark.name}, grouped" if policy == "grouped" else benchmark.name
        where = f"{of_policy}, label set {benchmark.label_set!r}"
        hint = "check the labels and groups of the source, or choose another --label-set or --split-policy"
        if len(train) < 2:
            what, expected = "one class alone" if train else "no training chips", "at least 2 classes to learn from"
            raise InputError(what, where=where, expected=expected, got=", ".join(train) or "none", hint=hint)
        told = one_sided(train, test)
        if not set(train) & set(test):
            raise InputError("no class is both learnt and tested", where=where, got=told, hint=hint)
        if told and candidates.pool_kind == "fraction-of-train" and not benchmark.is_foreign:
            progress.warn(f"{of_policy}: {told}")
    return benchmark
