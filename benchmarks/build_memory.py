"""What memory a build of 100,000 chips takes, and how the duplicate search grows.

Builds the synthetic source at that size, duplicate search included, and reads the peak resident memory of the main
process and of the largest worker. Wanted: under 1 GB. Then the duplicate search alone on its parts: growth from 12,500
to 100,000 chips (slower than the square), and on the 9,906 chips of MSTAR and SAR-ACD (wanted: under a minute).

    python benchmarks/build_memory.py --archives DIR [--chips 100000]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from record import record

from sarjepa.config import BuildDatasetConfig
from sarjepa.data import duplicates
from sarjepa.data.shards import Shards, open_shards
from sarjepa.recipes import build_dataset


def search(shards: list[Shards]) -> tuple[float, int]:
    """Seconds to describe and group all chips of some sources, and the groups."""
    began = time.perf_counter()
    chips = [chip.image for source in shards for chip in source]
    descriptors = np.stack([duplicates.descriptor(image) for image in chips])
    grouping = duplicates.find_groups(descriptors, [duplicates.digest(image) for image in chips])
    return time.perf_counter() - began, int(grouping.groups.max()) + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archives", type=Path, required=True)
    parser.add_argument("--chips", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        began = time.perf_counter()
        build_dataset.run(BuildDatasetConfig(data_root=root, chips_per_class=options.chips // 10))
        building = time.perf_counter() - began
        peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        rows = [
            (f"build {options.chips:,} simulated chips, s", f"{building:.0f}"),
            ("peak memory of the main process, MB", f"{peaks[0]:.0f}"),
            ("peak memory of the largest worker, MB", f"{peaks[1]:.0f}"),
        ]
        synthetic = open_shards(Path(root) / "shards" / "synthetic")
        described = np.stack([duplicates.descriptor(chip.image) for chip in synthetic])
        digests = [i.to_bytes(4, "little") for i in range(len(described))]
        for num in (len(described) // 8, len(described) // 4, len(described) // 2, len(described)):
            began = time.perf_counter()
            duplicates.find_groups(described[:num], digests[:num])
            rows.append((f"group {num:,} described chips, s", f"{time.perf_counter() - began:.1f}"))
        config = BuildDatasetConfig(
            sources=("mstar", "saracd"), archives=(str(options.archives),), data_root=root, near_duplicates=False
        )
        build_dataset.run(config)
        seconds, groups = search([open_shards(Path(root) / "shards" / name) for name in ("mstar", "saracd")])
        rows.append((f"describe and group MSTAR and SAR-ACD (9,906 chips, {groups:,} groups), s", f"{seconds:.1f}"))
    record("build_memory", "Memory and duplicate search at size", ("what", "figure"), rows)


if __name__ == "__main__":
    main()
