"""Which settings fine-tune an encoder best, judged on training chips that no shot comes from.

    python benchmarks/finetune_settings.py --data-root data --dataset mstar --crop mstar=64 --checkpoint RUN \
      --lr 1e-4 5e-4 --steps 400 1200

The protocol holds a fifth of each class's training chips out of the pool of shots; they are what the settings are
judged on, so that no test chip has a part in the choice. What is not given is the recipe `augmented`.
"""

from __future__ import annotations

import itertools
import time

import numpy as np
import torch
from held_out import held_out_parser

from sarjepa.config import FinetuneConfig
from sarjepa.evaluation.benchmark import open_benchmark
from sarjepa.evaluation.fewshot import draw, split
from sarjepa.evaluation.opened import open_checkpoint
from sarjepa.evaluation.runs import classify, finetune_run
from sarjepa.models.heads import Feature
from sarjepa.progress import Progress
from sarjepa.recipes.evaluating.recipe import RECIPES, settled, training_of
from sarjepa.reports.seed_tables import entry
from sarjepa.results.statistics import summarise
from sarjepa.training.runtime import pick_precision

KINDS = {"augment": str, "lr": float, "head_lr": float, "layer_decay": float, "steps": int}


def main() -> None:
    parser = held_out_parser(__doc__, [10, 40], 2)
    for key, kind in KINDS.items():
        default = RECIPES["augmented"]["fine-tune"][key]
        parser.add_argument(f"--{key.replace('_', '-')}", type=kind, nargs="+", default=[default])
    options = parser.parse_args()
    device = torch.device("cpu")
    precision = pick_precision("auto", device)
    benchmark = open_benchmark(options.data_root, options.dataset, None, options.crop)
    label_N = benchmark.candidates.labels
    print("| encoder | " + " | ".join([*KINDS, *(f"{shots} shots" for shots in options.shots), "s a run"]) + " |")
    print("| --- " * (1 + len(KINDS)) + "| ---: " * (1 + len(options.shots)) + "|", flush=True)
    for checkpoint, *values in itertools.product(options.checkpoint, *(getattr(options, key) for key in KINDS)):
        given = dict(zip(KINDS, values, strict=True))
        config = settled(FinetuneConfig(dataset=options.dataset, recipe="augmented", **given), "fine-tune")
        feature, training = Feature.read(config.feature(config.pool)), training_of(config, "fine-tune", config.augment)
        opened, start, entries = open_checkpoint(checkpoint, 0, device), time.monotonic(), []
        for shots in options.shots:
            accuracies = []
            for seed in range(options.runs):
                train = draw(benchmark.candidates, "published", shots, seed).train
                held = split(benchmark.candidates, "published", seed).held
                classifier, _ = finetune_run(
                    opened, benchmark, train, seed, feature, training, precision, device, Progress()
                )
                hit_T = classify(classifier, opened, benchmark, held, precision).argmax(dim=1).numpy() == label_N[held]
                accuracies.append(100 * float(np.mean(hit_T)))
            entries.append(entry(summarise(accuracies)))
        seconds = (time.monotonic() - start) / options.runs / len(options.shots)
        print("| " + " | ".join([checkpoint, *map(str, values), *entries, f"{seconds:.0f}"]) + " |", flush=True)


if __name__ == "__main__":
    main()
