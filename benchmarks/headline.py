"""Draw the README's first picture, docs/headline.png, from two committed tables.

Accuracy over shots of the trained encoder, of the same network untrained, of the best that needs no network, and of the
published ViT-B, whose numbers come with another recipe and other pre-training sets: left from the shots alone, right
by label spreading, which reads the unlabelled training chips too.

    python benchmarks/headline.py [--out docs/headline.png]
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
PANELS = {"views": "MSTAR, from the shots alone", "label-spreading": "and from the unlabelled chips"}
ROWS = {
    "sar-jepa, then views": "sar-jepa, then views: 1.2 M weights, frozen",
    "sar-jepa": "sar-jepa alone, frozen",
    "untrained": "the same network, not trained",
    "log-pixels": "without a network: 16 x 16 log-pixels",
}
PUBLISHED = {
    "fine-tune": "published ViT-B, all weights fine-tuned",
    "linear-probe": "published ViT-B, linear probe",
}


def measured(experiment: str) -> list[Line]:
    """The lines of a committed table: means over pre-trainings and their intervals; a baseline has one value."""
    means: dict[str, dict[int, list[float]]] = {}
    with (ROOT / "results" / experiment / "table.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["dataset"] == DATASET:
                means.setdefault(row["row"], {}).setdefault(int(row["shots"]), []).append(float(row["mean"]))
    lines = []
    for name, label in ROWS.items():
        found = {shots: summarise(values) for shots, values in sorted(means[name].items())}
        points = tuple(
            (float(shots), one.mean, *(one.ci95 if one.num > 1 else (one.mean, one.mean)))
            for shots, one in found.items()
        )
        lines.append(Line(label, points))
    return lines


def of_the_paper() -> list[Line]:
    """The published rows of SAR-JEPA."""
    lines = []
    for protocol, label in PUBLISHED.items():
        by_shots: Mapping[tuple[str, int], float] = published("table6", protocol)["sar-jepa"]
        points = [(shots, y, y, y) for (dataset, shots), y in by_shots.items() if dataset == DATASET]
        lines.append(Line(label, tuple(points), published=True))
    return lines


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "headline.png")
    arguments = parser.parse_args()
    panels = {title: measured(experiment) for experiment, title in PANELS.items()}
    panels[PANELS["views"]] += of_the_paper()
    figure = accuracy_against_shots(panels, dict.fromkeys(panels, 10.0))
    for axes in figure.axes:
        axes.set_ylim(0, 100)
    write_atomically(arguments.out, figure_bytes(figure))


if __name__ == "__main__":
    main()
