"""The main job on real chips, at a size that ends in minutes; run as a script by `make smoke`.

Builds MSTAR and SAR-ACD from archives at hand, pre-trains for a few steps, makes a small few-shot table and the
attention pictures, all through the command line, and checks what the commands promise: files, counts, finite numbers.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MSTAR = {
    "train": {"2S1": 299, "BMP2": 698, "BRDM2": 298, "BTR60": 256, "BTR70": 233, "D7": 299, "T62": 299, "T72": 691,
              "ZIL131": 299, "ZSU234": 299},
    "test": {"2S1": 274, "BMP2": 587, "BRDM2": 274, "BTR60": 195, "BTR70": 196, "D7": 274, "T62": 273, "T72": 582,
             "ZIL131": 274, "ZSU234": 274},
}  # fmt: skip
SARACD = {"A220": 464, "A320321": 510, "A330": 512, "ARJ21": 514, "Boeing737": 528, "Boeing787": 504}


def sarjepa(*arguments: object) -> None:
    """Run a command as a user would, with its time printed."""
    began = time.monotonic()
    words = [str(argument) for argument in arguments]
    print("$ sarjepa", *words, flush=True)
    subprocess.run([sys.executable, "-m", "sarjepa", *words], check=True)
    print(f"  {time.monotonic() - began:.0f} s", flush=True)


def need(folder: Path, *names: str) -> None:
    """Check that files are there and not empty."""
    for name in names:
        assert (folder / name).stat().st_size > 0, f"{folder / name} is missing or empty"


def check_sources(data: Path) -> None:
    """The counts of the two sets."""
    for source, num_chips in (("mstar", 6874), ("saracd", 3032)):
        folder = data / "shards" / source
        need(folder, f"{source}-00000.h5", "index.json", "contact-sheet.png", "CARD.md")
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        assert index["num_chips"] == num_chips, index["num_chips"]
        assert not index["rejected"], index["rejected"][:3]
        if source == "mstar":
            assert index["counts"] == MSTAR, index["counts"]
        else:
            (counts,) = index["counts"].values()
            assert counts == SARACD, counts
            assert "A320321" not in index["label_sets"][index["benchmark"]["label_set"]]["classes"]


def check_run(run: Path) -> None:
    """The files of a pre-training run, and a loss that is a number."""
    need(run, "settings.yaml", "log.jsonl", "checkpoint-last.pt", "encoder.safetensors", "curves.png", "targets.png")
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    assert all(math.isfinite(line["loss"]) for line in lines)


def check_table(out: Path, num_cells: int) -> None:
    """The files of a few-shot table, every cell there and every number finite."""
    need(out, "results.json", "results.csv", "table.md", "table.tex", "plot.png")
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert len(results["cells"]) == num_cells, len(results["cells"])
    for cell in results["cells"]:
        assert 0 <= cell["mean"] <= 100 and math.isfinite(cell["std"]), cell
    assert all(len(run["draw_sha256"]) == 64 for run in results["runs"])


def check_attention(out: Path) -> None:
    """The files of visualize-attention."""
    need(out, "attention-distance.png", "attention-distance.csv", "maps.png", "rollout.png")
    with (out / "attention-distance.csv").open(encoding="utf-8") as file:
        assert all(float(row["distance_px"]) > 0 for row in csv.DictReader(file))


def main() -> None:
    """Run the job in a temporary folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--archives", required=True, type=Path)
    archives = parser.parse_args().archives.resolve()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        data, run, table = root / "data", root / "run", root / "table"
        sarjepa("build-dataset", "--sources", "mstar,saracd", "--archives", archives, "--data-root", data)
        check_sources(data)
        settings = ("--preset", "laptop", "--data-root", data)
        sarjepa("pretrain", *settings, "--run-dir", run, "--epochs", 1, "--warmup-epochs", 0.2)
        check_run(run)
        rows = ("--checkpoint", run, "--checkpoint", f"random:{run}", "--checkpoint", "pixels")
        sarjepa("fewshot-bench", *settings, *rows, "--datasets", "mstar,saracd", "--shots", "10,20", "--runs", 2,
                "--out", table)  # fmt: skip
        check_table(table, num_cells=6 * 2 * 2)
        sarjepa("visualize-attention", *settings, "--checkpoint", run, "--out", root / "attention")
        check_attention(root / "attention")
    print("the job on real chips passed")


if __name__ == "__main__":
    main()
