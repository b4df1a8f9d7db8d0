"""Encoders judged on training chips that no shot comes from, as they are and disturbed: what a recipe is chosen by.

    python benchmarks/held_out.py --data-root data --crop mstar=64 --checkpoint RUN OTHER --disturb none ramp=4
    python benchmarks/held_out.py --data-root data --crop mstar=64 --checkpoint RUN ratio --solver label-spreading

The protocol holds a fifth of each class's training chips out of the pool of shots, so that no test chip has a part in
a choice. Reading: class token and 4 x 4 grid, shots and their mirror images (the recipe `augmented`), shrinkage LDA or
label spreading over the chips that are not held out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from sarjepa.evaluation.benchmark import open_benchmark
from sarjepa.evaluation.features import extract
from sarjepa.evaluation.fewshot import chip_keys, draw, split
from sarjepa.evaluation.lda import fit_lda
from sarjepa.evaluation.opened import Copy, open_checkpoint, open_features
from sarjepa.evaluation.spreading import Spreading
from sarjepa.models.heads import Feature
from sarjepa.progress import Progress
from sarjepa.reports.seed_tables import entry
from sarjepa.results.statistics import summarise
from sarjepa.training.runtime import pick_precision

FEATURE = Feature.read("cls+grid4")


def held_out_parser(about: str, shots: list[int], runs: int) -> argparse.ArgumentParser:
    """The options of whatever is judged on held-out chips, with the default shot counts and number of draws."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--dataset", default="mstar")
    parser.add_argument("--crop", default="published")
    parser.add_argument("--checkpoint", nargs="+", required=True)
    parser.add_argument("--shots", type=int, nargs="+", default=shots)
    parser.add_argument("--runs", type=int, default=runs)
    return parser


def main() -> None:
    parser = held_out_parser(__doc__, [10, 20, 40], 10)
    parser.add_argument("--disturb", nargs="+", default=["none"])
    parser.add_argument("--solver", choices=["lda", "label-spreading"], default="lda")
    parser.add_argument("--unlabelled", type=float, default=1, help="share of the unlabelled chips that is read")
    options = parser.parse_args()
    device = torch.device("cpu")
    precision, cache = pick_precision("auto", device), Path(options.data_root) / "features"
    benchmark = open_benchmark(options.data_root, options.dataset, None, options.crop)
    candidates, num_classes = benchmark.candidates, len(benchmark.classes)
    train_M = np.flatnonzero((candidates.splits == "train") & (candidates.labels >= 0))
    label_N = torch.from_numpy(np.tile(candidates.labels, 2))
    columns = [f"{disturbance}, {shots} shots" for disturbance in options.disturb for shots in options.shots]
    print("| encoder | " + " | ".join(columns) + " |\n| --- |" + " ---: |" * len(columns), flush=True)
    for checkpoint in options.checkpoint:
        opened, entries, num_train = open_checkpoint(checkpoint, 0, device), [], len(train_M)
        shots_2ND = [
            open_features(opened, benchmark, FEATURE, precision, cache, device, Progress(), copy)
            for copy in (None, Copy(("mirror",), 1))
        ]
        feature_ND = torch.from_numpy(np.concatenate(shots_2ND, dtype=np.float32))
        for disturbance in options.disturb:
            load = benchmark.loader(opened.image_size, device, disturbance)
            tokens = extract(
                opened.encoder, lambda rows, load=load: load(train_M[rows]), num_train, precision=precision
            )
            tested_ND = torch.full((len(benchmark.shards), feature_ND.shape[1]), torch.nan)
            own_pools = [pool for pool in FEATURE.pools if pool in tokens]  # a baseline has one
            tested_ND[train_M] = torch.from_numpy(np.concatenate([tokens[pool] for pool in own_pools], axis=1))
            spreading = Spreading(feature_ND, label_N, num_classes, tested_ND)
            for shots in options.shots:
                draws = [draw(candidates, "published", shots, seed).train for seed in range(options.runs)]
                train_RS = np.stack([np.stack([shot_S, shot_S + len(benchmark.shards)], 1).ravel() for shot_S in draws])
                held_RT, accuracies = [split(candidates, "published", seed).held for seed in range(options.runs)], []
                lda = fit_lda(feature_ND, label_N, train_RS, num_classes, 2) if options.solver == "lda" else None
                for run, held_T in enumerate(held_RT):
                    held = torch.from_numpy(held_T)
                    if lda is not None:
                        logits_TC = lda.logits(run, tested_ND[held])
                    else:
                        seen_M = np.setdiff1d(train_M, held_T)
                        key_M = chip_keys([candidates.paths[chip] for chip in seen_M], run, "unlabelled")
                        seen_M = np.union1d(seen_M[key_M < options.unlabelled], draws[run])
                        node_M = np.append(seen_M, seen_M + len(benchmark.shards))
                        logits_TC = spreading.logits(train_RS[run], node_M, held_T)
                    hit_T = logits_TC.argmax(dim=1) == label_N[held]
                    accuracies.append(100 * float(hit_T.float().mean()))
                entries.append(entry(summarise(accuracies)))
        print("| " + " | ".join([checkpoint, *entries]) + " |", flush=True)


if __name__ == "__main__":
    main()
