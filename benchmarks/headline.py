"""Draw the README's first picture, docs/headline.png, from the committed table of views.

Accuracy over shots of the trained encoder, of the same network untrained, of the best that needs no network, and of the
published ViT-B, whose numbers come with another recipe and other pre-training sets.

    python benchmarks/headline.py [--results results/views/table.csv] [--out docs/headline.png]
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path

from sarjepa.files import write_atomically
from sarjepa.reports.accuracy_figures import Line, accuracy_against_shots
from sarjepa.reports.figures import figure_bytes
from sarjepa.reports.paper import published
from sarjepa.results.statistics import summarise

ROOT = Path(__file__).parents[1]
DATASET = "mstar"
ROWS = {
    "sar-jepa, then views": "sar-jepa, then views: 1.2 M weights, frozen",
    "views alone": "views alone, frozen",
    "sar-jepa": "sar-jepa alone, frozen",
    "log-pixels": "best without a network (log-pixels)",
    "untrained": "the same network, not trained",
}
PUBLISHED = {
    "fine-tune": "published ViT-B, all weights fine-tuned",
    "linear-probe": "published ViT-B, linear probe",
}


def measured(path: Path) -> dict[str, Line]:
    """{row: its line} of a table.csv: the mean over pre-trainings and its interval; a baseline has one value."""
    means: dict[str, dict[int, list[float]]] = {}
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["dataset"] == DATASET:
                means.setdefault(row["row"], {}).setdefault(int(row["shots"]), []).append(float(row["mean"]))
    lines = {}
    for name, by_shots in means.items():
        found = {shots: summarise(values) for shots, values in sorted(by_shots.items())}
        points = tuple(
            (float(shots), one.mean, *(one.ci95 if one.num > 1 else (one.mean, one.mean)))
            for shots, one in found.items()
        )
        lines[name] = Line(ROWS.get(name, name), points)
    return lines


def of_the_paper() -> list[Line]:
    """The published rows of SAR-JEPA."""
    lines = []
    for protocol, label in PUBLISHED.items():
        by_shots: Mapping[tuple[str, int], float] = published("table6", protocol)["sar-jepa"]
        points = [(shots, y, y, y) for (dataset, shots), y in by_shots.items() if dataset == DATASET]
        lines.append(Line(label, tuple(points), dashed=True))
    return lines


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "views" / "table.csv")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "headline.png")
    arguments = parser.parse_args()
    found = measured(arguments.results)
    lines = [found[name] for name in ROWS] + of_the_paper()
    title = "MSTAR, 10 classes: train 17°, test 15°"
    write_atomically(arguments.out, figure_bytes(accuracy_against_shots({title: lines}, {title: 10.0})))


if __name__ == "__main__":
    main()
