"""What a build costs beside the decoding that it cannot avoid.

Builds MSTAR from its zip, the duplicate search left out, and compares with reading and decoding the same members with
Pillow in as many processes. Wanted: at most 3 times.

    python benchmarks/build_dataset.py --archives DIR [--workers 2] [--rounds 5]
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import statistics
import tempfile
import time
import zipfile
from pathlib import Path

from PIL import Image
from record import record

from sarjepa.config import BuildDatasetConfig
from sarjepa.recipes import build_dataset

NAME = "SAR-ATR-HDANet-main.zip"


def decode(task: tuple[Path, list[str]]) -> int:
    """Read and decode some members; the sum of their pixels, so that nothing is left out."""
    path, names = task
    with zipfile.ZipFile(path) as archive:
        return sum(len(Image.open(io.BytesIO(archive.read(name))).tobytes()) for name in names)


def pillow(path: Path, workers: int) -> float:
    """Seconds to decode every member."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpeg"))
    began = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        sum(pool.map(decode, [(path, names[i::workers]) for i in range(workers)]))
    return time.perf_counter() - began


def build(archives: Path, workers: int) -> float:
    """Seconds of a whole build, from the zip to the folder in its place."""
    with tempfile.TemporaryDirectory() as root:
        config = BuildDatasetConfig(
            sources=("mstar",), archives=(str(archives),), data_root=root, workers=workers, near_duplicates=False
        )
        began = time.perf_counter()
        build_dataset.run(config)
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archives", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    pairs = [
        (pillow(options.archives / NAME, options.workers), build(options.archives, options.workers))
        for _ in range(options.rounds)
    ]
    decoding, building = (statistics.median(times) for times in zip(*pairs, strict=True))
    record(
        "build_dataset",
        f"Building MSTAR (6,874 chips) from its zip, {options.workers} processes, median of {options.rounds}",
        ("what", "seconds"),
        [
            ("read and decode with Pillow", f"{decoding:.2f}"),
            ("build-dataset without the duplicate search", f"{building:.2f}"),
            ("ratio (wanted: at most 3)", f"{building / decoding:.2f}"),
        ],
    )


if __name__ == "__main__":
    main()
