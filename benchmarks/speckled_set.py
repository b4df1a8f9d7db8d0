"""A built set once more with speckle of L looks on every chip: what is trained on it knows no cleaner chips.

    python benchmarks/speckled_set.py --data-root data --source mstar --looks 1 --out data-1-look
    sarjepa reproduce --experiment ratio-pixel --seeds 5 --datasets mstar --data-root data-1-look \
      --run-root runs/1-look --out results/ratio-pixel-1-look

The speckle multiplies that which the radar left, pixel by pixel (`sarjepa.data.disturbances`); chips, splits, groups
and names are those of the set. `sarjepa fewshot-bench --disturb` asks the other question: speckle on the test chips
alone.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import h5py
import numpy as np
import torch

from sarjepa.data.disturbances import disturbed
from sarjepa.data.shards import open_shards
from sarjepa.files import sha256_of, write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--source", default="mstar")
    parser.add_argument("--looks", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="data root to write")
    options = parser.parse_args()
    folder = options.out / "shards" / options.source
    shutil.copytree(options.data_root / "shards" / options.source, folder)
    shards, number = open_shards(folder), 0
    for stated in shards.index["shards"]:
        with h5py.File(folder / stated["file"], "r+") as file:
            for start, shape in zip(file["offsets"][:], file["shapes"][:], strict=True):
                own = slice(start, start + shape.prod())
                magnitude_HW = file["pixels"][own].reshape(shape) / np.float32(shards.scale)
                image_11HW = disturbed(
                    torch.from_numpy(magnitude_HW[None, None]), f"speckle={options.looks}", np.array([number])
                )
                file["pixels"][own] = (image_11HW.flatten().numpy() * shards.scale).round()
                number += 1
        stated["sha256"] = sha256_of(folder / stated["file"])
    write_json(folder / "index.json", {**shards.index, "speckle_added_looks": options.looks})
    print(f"{len(shards)} chips of {options.source} with speckle of {options.looks} looks on top: {folder}")


if __name__ == "__main__":
    main()
