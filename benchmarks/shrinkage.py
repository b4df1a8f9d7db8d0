"""How `lda` should choose its shrinkage: several rules, judged on training chips that no shot comes from.

    python benchmarks/shrinkage.py --data-root data --dataset mstar --crop mstar=64 --checkpoint log-pixels

The protocol holds a fifth of each class's training chips out of the pool of shots; they are what the rules are judged
on, so that no test chip has a part in the choice. Rules: a fixed value, leave-one-out on the shots by log-likelihood or
by errors, and two formulas for the covariance of normal data, OAS (Chen et al. 2010) and Ledoit-Wolf (2004), which aim
at the covariance and not at the classes.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from sarjepa.evaluation.benchmark import open_benchmark
from sarjepa.evaluation.fewshot import draw, split
from sarjepa.evaluation.lda import SHRINKAGES, Scatter, discriminants, left_out_logits, scatter
from sarjepa.evaluation.opened import open_checkpoint, open_features
from sarjepa.models.heads import Feature
from sarjepa.progress import Progress


def rules(found: Scatter, label_S: torch.Tensor) -> dict[str, float]:
    """The shrinkage that each rule chooses from the shots."""
    left_out = [left_out_logits(found, label_S, shrinkage) for shrinkage in SHRINKAGES]
    likelihood = [float(functional.cross_entropy(logits, label_S)) for logits in left_out]
    errors = np.array([float((logits.argmax(1) != label_S).sum()) for logits in left_out])
    value, width, num = found.value_K.double() / found.freedom(), found.mean_CD.shape[1], found.freedom()
    first, second = float(value.sum()), float(value.square().sum())
    spread = second - first**2 / width
    oas = ((1 - 2 / width) * second + first**2) / ((num + 1 - 2 / width) * spread)
    fourth = float(found.within_SK.double().square().sum(dim=1).square().sum())
    ledoit_wolf = (fourth / len(label_S) ** 2 - second / len(label_S)) / spread
    return {
        **{f"fixed {shrinkage}": shrinkage for shrinkage in SHRINKAGES},
        "leave-one-out, log-likelihood": SHRINKAGES[int(np.argmin(likelihood))],
        "leave-one-out, errors": SHRINKAGES[int(np.median(np.flatnonzero(errors == errors.min())))],
        "OAS": float(np.clip(oas, 1e-3, 0.999)),
        "Ledoit-Wolf": float(np.clip(ledoit_wolf, 1e-3, 0.999)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--dataset", default="mstar")
    parser.add_argument("--crop", default="published")
    parser.add_argument("--checkpoint", default="log-pixels")
    parser.add_argument("--pool", default="cls")
    parser.add_argument("--shots", type=int, nargs="+", default=[10, 20, 40])
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    device = torch.device("cpu")
    benchmark = open_benchmark(options.data_root, options.dataset, None, options.crop)
    opened, cache = open_checkpoint(options.checkpoint, 0, device), Path(options.data_root) / "features"
    features = open_features(opened, benchmark, Feature.read(options.pool), "fp32", cache, device, Progress())
    feature_ND, label_N = torch.from_numpy(np.array(features)), torch.from_numpy(benchmark.candidates.labels)
    accuracy: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for shots in options.shots:
        for seed in range(options.runs):
            train = torch.from_numpy(draw(benchmark.candidates, "published", shots, seed).train)
            held = torch.from_numpy(split(benchmark.candidates, "published", seed).held)
            spread_D, mean_D = torch.std_mean(feature_ND[train], dim=0, correction=0)
            scale_D = torch.where(spread_D > 1e-6, 1 / spread_D.clamp_min(1e-6), 0)
            found = scatter((feature_ND[train] - mean_D) * scale_D, label_N[train], len(benchmark.classes))
            held_TD = (feature_ND[held] - mean_D) * scale_D
            for rule, shrinkage in rules(found, label_N[train]).items():
                weight_CD, bias_C = discriminants(found, shrinkage)
                hit_T = (held_TD @ weight_CD.T + bias_C).argmax(dim=1) == label_N[held]
                accuracy[rule][shots].append(100 * float(hit_T.float().mean()))
    print(f"| {options.checkpoint} | " + " | ".join(f"{shots} shots" for shots in options.shots) + " |")
    print("| --- |" + " ---: |" * len(options.shots))
    for rule, by_shots in accuracy.items():
        entries = [f"{np.mean(by_shots[shots]):.1f} ± {np.std(by_shots[shots], ddof=1):.1f}" for shots in options.shots]
        print(f"| {rule} | " + " | ".join(entries) + " |")


if __name__ == "__main__":
    main()
