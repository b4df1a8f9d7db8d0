"""The cost of the few-shot grid, beside one pass of the encoder and beside the published way.

The grid is 10, 20 and 40 shots x 10 runs of the linear probe. Ours: every chip through the encoder once, then all heads
on cached features. The published way: for each run, 40 epochs of frozen forward passes over its shots and a pass over
the test set; measured on one 10-shot run and extrapolated by the number of images that the encoder sees.

    python benchmarks/fewshot.py --data-root data --model vit-laptop --image-size 64 --crop 64
    python benchmarks/fewshot.py --data-root data --model vit-base --sample 32

With --sample N the encoder is timed on N chips and its passes are extrapolated (a ViT-B on two cores would take an
hour); the heads then run on random features of the same shape. CPU seconds stand beside wall seconds, because the
machine may be shared; one thread, because waiting threads count as busy ones.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import time
from pathlib import Path

import numpy as np
import torch

from sarjepa.evaluation.benchmark import Benchmark, open_benchmark
from sarjepa.evaluation.features import extract
from sarjepa.evaluation.fewshot import Draw, draw
from sarjepa.evaluation.linear import batches, epoch_rate, initial_weight, train_probes
from sarjepa.evaluation.training import Training
from sarjepa.models.encoder import Encoder, encoder_shape
from sarjepa.models.heads import Classifier, Head
from sarjepa.results.tables import Table

SHOTS, RUNS, EPOCHS = (10, 20, 40), 10, 40
Seconds = tuple[float, float]  # wall, CPU


class Clock:
    """A context that measures itself."""

    def __enter__(self) -> Clock:
        self.start = (time.perf_counter(), time.process_time())
        return self

    def __exit__(self, *rest: object) -> None:
        self.seconds: Seconds = (time.perf_counter() - self.start[0], time.process_time() - self.start[1])


def grid_accuracies(benchmark: Benchmark, features: np.ndarray, draws: dict[int, list[Draw]]) -> dict[int, list[float]]:
    """The whole grid on cached features: accuracy of every run."""
    feature_ND, label_N = torch.from_numpy(features), torch.from_numpy(benchmark.candidates.labels)
    accuracies = {}
    for shots, drawn in draws.items():
        train_RS = np.stack([d.train for d in drawn])
        heads = train_probes(feature_ND, label_N, train_RS, len(benchmark.classes), range(RUNS), Training())
        hits = [heads.logits(run, feature_ND[d.test]).argmax(1) == label_N[d.test] for run, d in enumerate(drawn)]
        accuracies[shots] = [100 * float(hit.float().mean()) for hit in hits]
    return accuracies


def published_run(benchmark: Benchmark, encoder: Encoder, load, drawn: Draw) -> float:
    """One run as published: the frozen encoder runs in every epoch, and once more over the test set."""
    classifier = Classifier(encoder, Head(encoder.width, len(benchmark.classes)))
    with torch.no_grad():
        classifier.head.linear.weight.copy_(initial_weight(len(benchmark.classes), encoder.width, drawn.seed))
    encoder.requires_grad_(False)
    labels = torch.from_numpy(benchmark.candidates.labels)
    optimiser = torch.optim.AdamW(classifier.head.parameters(), lr=1e-3, weight_decay=5e-4)
    for epoch in range(EPOCHS):
        optimiser.param_groups[0]["lr"] = epoch_rate(epoch, EPOCHS, 1e-3)
        for batch in batches(len(drawn.train), 50, drawn.seed, epoch):
            index = drawn.train[batch]
            loss = torch.nn.functional.cross_entropy(classifier(load(index)), labels[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    classifier.eval()
    hits = []
    with torch.no_grad():
        for start in range(0, len(drawn.test), 64):
            index = drawn.test[start : start + 64]
            hits.append(classifier(load(index)).argmax(1) == labels[index])
    return 100 * float(torch.cat(hits).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--dataset", default="mstar")
    parser.add_argument("--model", default="vit-laptop")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--crop", default="published")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    benchmark = open_benchmark(options.data_root, options.dataset, None, options.crop)
    encoder = Encoder(encoder_shape(options.model, options.image_size)).eval()
    load = benchmark.loader(options.image_size, "cpu")
    num = options.sample or len(benchmark.shards)
    load(np.arange(8)), encoder.forward_features(load(np.arange(2)))  # warm up
    with Clock() as clock:
        features = extract(encoder, load, num)["cls"]
    share = len(benchmark.shards) / num
    one_pass: Seconds = (clock.seconds[0] * share, clock.seconds[1] * share)
    if options.sample:
        features = np.random.default_rng(0).normal(size=(len(benchmark.shards), encoder.width)).astype(np.float32)
    with Clock() as draw_clock:
        draws = {s: [draw(benchmark.candidates, "published", s, seed) for seed in range(RUNS)] for s in SHOTS}
    with Clock() as grid_clock:
        accuracies = grid_accuracies(benchmark, features, draws)
    grid: Seconds = (draw_clock.seconds[0] + grid_clock.seconds[0], draw_clock.seconds[1] + grid_clock.seconds[1])
    seen = sum(EPOCHS * (len(d.train) // 50 * 50) + len(d.test) for drawn in draws.values() for d in drawn)
    if options.sample:
        per_image: Seconds = (one_pass[0] / len(benchmark.shards), one_pass[1] / len(benchmark.shards))
        agreement = "not measured on a sample"
    else:
        first = draws[SHOTS[0]][0]
        with Clock() as run_clock:
            accuracy = published_run(benchmark, encoder, load, first)
        own = EPOCHS * (len(first.train) // 50 * 50) + len(first.test)
        per_image = (run_clock.seconds[0] / own, run_clock.seconds[1] / own)
        agreement = f"{accuracies[SHOTS[0]][0]:.2f}% against {accuracy:.2f}%"
    published: Seconds = (per_image[0] * seen, per_image[1] * seen)
    rows = [
        ("one pass of the encoder over every chip", *one_pass),
        ("the grid of 30 probes on cached features", *grid),
        ("ours: both", one_pass[0] + grid[0], one_pass[1] + grid[1]),
        (f"the published way: {seen:,} forward passes, extrapolated", *published),
    ]
    lines = tuple((name, f"{wall:.1f}", f"{cpu:.1f}") for name, wall, cpu in rows)
    note = (
        f"Grid / pass: {100 * grid[1] / one_pass[1]:.2f}% (CPU). Published / ours: {published[1] / rows[2][2]:.0f} "
        f"times (CPU). Accuracy of the first 10-shot run, ours against the published way: {agreement}. "
        f"{'Encoder timed on ' + str(num) + ' chips. ' if options.sample else ''}"
        f"{options.threads} thread(s), torch {torch.__version__}, {platform.machine()}."
    )
    title = f"Few-shot grid, {options.dataset}, {options.model} at {options.image_size} px"
    text = Table(title, ("what", "wall (s)", "CPU (s)"), lines, note).markdown()
    print(text)
    name = f"{datetime.date.today():%Y-%m-%d}-fewshot-{options.dataset}-{options.model}.md"
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
