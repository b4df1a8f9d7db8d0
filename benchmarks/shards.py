"""How fast chips are read at random, and how fast a large source is opened.

Random access: eight processes read the same chips in random order, once from the shards of MSTAR, once by decoding the
loose JPEG files with Pillow. Every pixel is touched. Wanted: at least 10 times the chips a second.
Opening: a source of 100,000 chips, from open_shards to the first column and the first chip. Wanted: under 100 ms.

    python benchmarks/shards.py --archives DIR
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from record import record

from sarjepa.config import BuildDatasetConfig
from sarjepa.data.shards import ShardWriter, open_shards
from sarjepa.files import write_json
from sarjepa.recipes import build_dataset

WORKERS = 8
NUM_READ = 4000  # chips a worker
NUM_LARGE = 100_000


def read_shards(folder: str, start: object, seed: int, queue: object) -> None:
    """A worker: wait for the others, then read chips at random."""
    shards = open_shards(folder)
    order = np.random.default_rng(seed).integers(0, len(shards), NUM_READ)
    shards[0].image.max()
    start.wait()  # type: ignore[attr-defined]
    began = time.perf_counter()
    total = sum(int(image.max()) for image in (shards.images([i])[0] for i in order))
    queue.put((began, time.perf_counter(), total))  # type: ignore[attr-defined]


def read_files(folder: str, start: object, seed: int, queue: object) -> None:
    """A worker: the same with loose files."""
    paths = sorted(Path(folder).rglob("*.jpeg"))
    order = np.random.default_rng(seed).integers(0, len(paths), NUM_READ)
    np.asarray(Image.open(paths[0])).max()
    start.wait()  # type: ignore[attr-defined]
    began = time.perf_counter()
    total = sum(int(np.asarray(Image.open(paths[i])).max()) for i in order)
    queue.put((began, time.perf_counter(), total))  # type: ignore[attr-defined]


def rate(work: object, folder: Path) -> float:
    """Chips a second over all workers."""
    context = multiprocessing.get_context("spawn")
    start, queue = context.Barrier(WORKERS), context.Queue()
    workers = [context.Process(target=work, args=(str(folder), start, i, queue)) for i in range(WORKERS)]
    for worker in workers:
        worker.start()
    times = [queue.get() for _ in workers]
    for worker in workers:
        worker.join()
    return WORKERS * NUM_READ / (max(end for _, end, _ in times) - min(began for began, _, _ in times))


def large_source(folder: Path) -> None:
    """Shards of 100,000 chips of 64 x 64 px."""
    folder.mkdir(parents=True)
    writer = ShardWriter(folder, "large")
    image = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    for i in range(NUM_LARGE):
        writer.add(
            image, i % 5, ("train", "test")[i % 2], f"train/some-class/chip-{i:06d}.png", {"azimuth": str(i % 360)}
        )
    shards = writer.finish(np.arange(NUM_LARGE))
    index = {"source": "large", "num_chips": NUM_LARGE, "classes": list("abcde"), "shards": shards}
    write_json(folder / "index.json", index | {"normalisation": {"scale": 255.0}})


OPEN = """
import sys, time
from sarjepa.data.shards import open_shards
began = time.perf_counter()
shards = open_shards(sys.argv[1])
opened = time.perf_counter()
shards.labels, shards.splits, shards.groups
columns = time.perf_counter()
shards[len(shards) - 1].image.max()
print(opened - began, columns - opened, time.perf_counter() - columns)
"""


def opening(folder: Path) -> tuple[float, ...]:
    """Milliseconds to open, for the columns, for the first chip: medians over fresh processes."""
    command = [sys.executable, "-c", OPEN, str(folder)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(7)]
    return tuple(1000 * statistics.median(map(float, values)) for values in zip(*runs, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archives", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        config = BuildDatasetConfig(
            sources=("mstar",), archives=(str(options.archives),), data_root=root, near_duplicates=False
        )
        build_dataset.run(config)
        with zipfile.ZipFile(options.archives / "SAR-ATR-HDANet-main.zip") as archive:
            archive.extractall(Path(root) / "loose")
        pairs = [
            (rate(read_shards, Path(root) / "shards" / "mstar"), rate(read_files, Path(root) / "loose"))
            for _ in range(3)
        ]
        ours, theirs = (statistics.median(rates) for rates in zip(*pairs, strict=True))
        large_source(Path(root) / "large")
        opened, columns, first = opening(Path(root) / "large")
    rows = [
        ("MSTAR chips a second from shards", f"{ours:,.0f}"),
        ("MSTAR chips a second from loose JPEGs", f"{theirs:,.0f}"),
        ("ratio (wanted: at least 10)", f"{ours / theirs:.1f}"),
        ("open 100,000 chips, ms (wanted: under 100)", f"{opened:.1f}"),
        ("then labels, splits and groups of all, ms", f"{columns:.1f}"),
        ("then the first chip, ms", f"{first:.1f}"),
    ]
    record("shards", f"Reading at random, {WORKERS} processes", ("what", "figure"), rows)


if __name__ == "__main__":
    main()
