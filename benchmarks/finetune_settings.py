"""Which settings fine-tune an encoder best, judged on training chips that no shot comes from.

    python benchmarks/finetune_settings.py --data-root data --dataset mstar --crop mstar=64 --checkpoint RUN \
      --lr 1e-4 5e-4 --layer-decay 0.75 1 --steps 400 1200

The protocol holds a fifth of each class's training chips out of the pool of shots; they are what the settings are
judged on, so that no test chip has a part in the choice. All else is the recipe `augmented`. Where there are many
held-out chips, --held takes the first so many of each draw, to save time.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np
import torch

from sarjepa.config import FinetuneConfig
from sarjepa.evaluation.benchmark import open_benchmark
from sarjepa.evaluation.fewshot import draw, split
from sarjepa.evaluation.opened import open_checkpoint
from sarjepa.evaluation.runs import classify, finetune_run
from sarjepa.models.heads import Feature
from sarjepa.progress import Progress
from sarjepa.recipes.evaluating.recipe import settled, training_of
from sarjepa.training.runtime import pick_precision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--dataset", default="mstar")
    parser.add_argument("--crop", default="published")
    parser.add_argument("--checkpoint", nargs="+", required=True)
    parser.add_argument("--augment", nargs="+", default=["shift,mirror,contrast"])
    parser.add_argument("--lr", type=float, nargs="+", default=[5e-4])
    parser.add_argument("--head-lr", type=float, nargs="+", default=[2e-3])
    parser.add_argument("--layer-decay", type=float, nargs="+", default=[1.0])
    parser.add_argument("--steps", type=int, nargs="+", default=[400])
    parser.add_argument("--shots", type=int, nargs="+", default=[10, 40])
    parser.add_argument("--runs", type=int, default=2)
    options = parser.parse_args()
    device = torch.device("cpu")
    precision = pick_precision("auto", device)
    benchmark = open_benchmark(options.data_root, options.dataset, None, options.crop)
    label_N = benchmark.candidates.labels
    print("| encoder | augment | lr | head lr | layer decay | steps | " + " | ".join(map("{} shots".format, options.shots)))
    print("| --- " * 6 + "| ---: " * len(options.shots) + "|", flush=True)
    grid = itertools.product(options.checkpoint, options.augment, options.lr, options.head_lr, options.layer_decay, options.steps)  # fmt: skip
    for checkpoint, augment, lr, head_lr, layer_decay, steps in grid:
        given = FinetuneConfig(checkpoint=checkpoint, dataset=options.dataset, recipe="augmented", augment=augment,
                               lr=lr, head_lr=head_lr, layer_decay=layer_decay, steps=steps)  # fmt: skip
        config, entries, start = settled(given, "fine-tune"), [], time.monotonic()
        opened = open_checkpoint(checkpoint, 0, device)
        for shots in options.shots:
            accuracies = []
            for seed in range(options.runs):
                train = draw(benchmark.candidates, "published", shots, seed).train
                held = split(benchmark.candidates, "published", seed).held
                classifier, _ = finetune_run(
                    opened, benchmark, train, seed, Feature.read(config.feature(config.pool)),
                    training_of(config, "fine-tune", augment), precision, device, Progress(),
                )  # fmt: skip
                hit_T = classify(classifier, opened, benchmark, held, precision).argmax(dim=1).numpy() == label_N[held]
                accuracies.append(100 * float(np.mean(hit_T)))
            entries.append(f"{np.mean(accuracies):.1f} ± {np.std(accuracies, ddof=1):.1f}")
        seconds = (time.monotonic() - start) / options.runs / len(options.shots)
        row = (checkpoint, augment, f"{lr:g}", f"{head_lr:g}", f"{layer_decay:g}", str(steps), *entries)
        print("| " + " | ".join(row) + f" | {seconds:.0f} s a run", flush=True)


if __name__ == "__main__":
    main()
