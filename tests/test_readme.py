"""The numbers of the README's first table and of docs/results.md are those of the committed results; one version."""

from __future__ import annotations

import csv
import functools
import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from sarjepa.reports.paper import published
from sarjepa.version import __version__

ROOT = Path(__file__).parents[1]
SIX, THREE = (1, 2, 5, 10, 20, 40), (10, 20, 40)


@dataclass(frozen=True)
class Part:
    """Neighbouring columns of a table: accuracies of one experiment, by shots.

    Attributes:
        experiment: folder in results/; {} stands for the row's name.
        wanted: what the lines of its table.csv have to say; {} likewise, "A|B" for either.
        joined: the means stand in one cell, a / b / c, without their spread.
    """

    experiment: str
    shots: tuple[int, ...]
    wanted: Mapping[str, str]
    joined: bool = False

    def cells(self, name: str) -> list[str]:
        """Mean and deviation over pre-trainings; a row without a network has one."""
        wanted = {key: value.replace("{}", name).split("|") for key, value in self.wanted.items()}
        lines = [
            line
            for line in measured(self.experiment.replace("{}", name))
            if all(line[key] in values for key, values in wanted.items())
        ]
        found = [[float(line["mean"]) for line in lines if int(line["shots"]) == num] for num in self.shots]
        if self.joined:
            return [" / ".join(f"{statistics.mean(means):.1f}" for means in found)]
        spread = [f" ± {statistics.stdev(means):.1f}" if len(means) > 1 else "" for means in found]
        return [f"{statistics.mean(means):.1f}{added}" for means, added in zip(found, spread, strict=True)]


@dataclass(frozen=True)
class Table:
    """A table of a page: the beginning of its head, its columns, and the names of rows that go by another here."""

    page: str
    heading: str
    parts: tuple[Part, ...]
    names: Mapping[str, str] = field(default_factory=dict)


@functools.cache
def measured(experiment: str) -> list[dict[str, str]]:
    with (ROOT / "results" / experiment / "table.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def table_rows(page: str, heading: str) -> dict[str, list[str]]:
    """{first column: the others} of the table whose head begins so."""
    text = (ROOT / page).read_text()
    table = text[text.index(heading) :].split("\n\n")[0]
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {row[0]: row[1:] for row in rows}


RESULTS = "docs/results.md"
MSTAR, SARACD = {"row": "{}", "dataset": "mstar"}, {"row": "{}", "dataset": "saracd"}
UNTRAINED = dict.fromkeys(("the same network, not trained", "the same network, not trained (`random:`)", "not trained",
                           "nothing (untrained)"), "untrained")  # fmt: skip
LOG_PIXELS = dict.fromkeys(("best without a network (`log-pixels`)", "log-pixels, the best without a network",
                            "without a network: logarithm of 16 x 16 pixels (`log-pixels`)"), "log-pixels")  # fmt: skip
NAMES = UNTRAINED | LOG_PIXELS | {
    "sar-jepa alone": "sar-jepa",
    "pgca-deep alone": "pgca-deep",
    "nothing hidden (pgca-deep), then views": "pgca-deep, then views",
    "the same, nothing hidden (`pgca-deep`)": "pgca-deep, then views",
    "pixels, then views": "pixels (lomar-sar), then views",
    "views alone, twice the epochs": "views alone",
    "ratio, the best without a network": "ratio",
}  # fmt: skip
ALL_FIVE = "shift,mirror,rotate,contrast,speckle"
SUFFERED = ("", "-under-speckle=4", "-under-speckle=2", "-under-speckle=1", "-under-gain=0.5", "-under-gain=2",
            "-under-ramp=4")  # fmt: skip
OF_PAPER = ({"augment": "none", "feature": "cls|{}"}, {"augment": "mirror", "feature": "cls+grid4|{}"})  # both recipes
RATIO = "gradient by ratio"


def of_paper(experiment: str) -> tuple[Part, ...]:
    """The columns of the paper's tables: the class token by the published recipe, then the recipe augmented."""
    return tuple(Part(experiment, THREE, MSTAR | reading) for reading in OF_PAPER)


TABLES = (
    Table("README.md", "| MSTAR, 10 classes |",
          tuple(Part(name, (1, 10, 40), MSTAR) for name in ("views", "label-spreading")), NAMES),
    Table(RESULTS, "| MSTAR, label spreading | 1", (Part("label-spreading", SIX, MSTAR),)),
    Table(RESULTS, "| MSTAR, 10 classes |", (Part("views", SIX, MSTAR),), NAMES),
    Table(RESULTS, "| SAR-ACD, 5 classes | 1", (Part("views", SIX, SARACD),), NAMES),
    Table(RESULTS, "| SAR-ACD, 5 classes | published",
          tuple(Part("saracd-splits", (1, 5, 10), {"row": "{}", "dataset": name, "augment": "none"})
                for name in ("saracd", "saracd-grouped")), NAMES),
    Table(RESULTS, "| MSTAR, pre-trained on |", (Part("transfer", SIX, MSTAR),), NAMES),
    Table(RESULTS, "| MSTAR | 10 shots",
          (Part("views-apart", THREE, MSTAR),
           *(Part("views-apart", (40,), {"row": "{}", "dataset": f"mstar-under-{name}"})
             for name in ("speckle=1", "gain=0.5", "ramp=4"))),
          {"all six": "sar-jepa, then views", "with a ramp besides": "with ramp"}),
    Table(RESULTS, "| MSTAR, epochs of views |", (Part("views-scaling", SIX, MSTAR),)),
    Table(RESULTS, "| MSTAR, 12 epochs |", (Part("views-at-once", SIX, MSTAR),)),
    Table(RESULTS, "| MSTAR, views of the shots |",
          tuple(Part("augmentations", THREE, {"row": name, "augment": "{}"}, joined=True)
                for name in ("sar-jepa, then views", "sar-jepa", "untrained", "log-pixels", "ratio")),
          {"all five": ALL_FIVE}),
    Table(RESULTS, "| MSTAR, three pre-trainings |",
          (Part("transfer", (10, 40), {"row": "MSTAR: {}|{}", "dataset": "mstar"}),
           Part("fine-tuned", (10, 40), MSTAR))),
    Table(RESULTS, "| MSTAR, steps of fine-tuning |",
          (*(Part("fine-tuning-steps", (10,), {"row": name}) for name in ("{}, 50 steps", "{}, 100 steps", "{}")),
           Part("fine-tuned", (10,), MSTAR))),
    Table(RESULTS, "| MSTAR, views while fine-tuning |",
          tuple(Part("augmentations-tuned", (10,), {"row": "{}", "augment": name})
                for name in ("none", "mirror", "shift", "contrast", "speckle", ALL_FIVE))),
    Table(RESULTS, "| MSTAR, published recipe |", (Part("fine-tuned-published", THREE, MSTAR),)),
    Table(RESULTS, "| MSTAR, 40 shots |",
          tuple(Part("speckle", (40,), {"row": "{}", "dataset": f"mstar{suffix}"}) for suffix in SUFFERED),
          NAMES | {"pixels": "pixels (lomar-sar)"}),
    Table(RESULTS, "| MSTAR, ten pre-trainings |", of_paper("ratio-pixel")),
    Table(RESULTS, "| MSTAR, 10 / 20 / 40 shots |",
          tuple(Part("ratio-pixel{}", THREE, {"row": name, "dataset": "mstar", "augment": "mirror"}, joined=True)
                for name in ("ratio", "pixel", "untrained", "log-pixels")),
          {"as it is, ten pre-trainings": "", "speckle of 4 looks on top": "-4-look",
           "speckle of 1 look on top": "-1-look"}),
    Table(RESULTS, "| predicted |", of_paper("table4"),
          NAMES | {"HOG": "hog", "SAR-HOG": "sar-hog", RATIO: "ratio", f"{RATIO}, Gaussian": "ratio-gaussian",
                   f"{RATIO}, disjoint halves": "ratio-disjoint"}),
    Table(RESULTS, "| method |", of_paper("table6")),
    Table(RESULTS, "| mask and gradient |", of_paper("table5"),
          {"pgca: gradient, no mask, linear predictor": "pgca",
           "the same with the predictor of 8 blocks": "pgca, deep predictor",
           "then a mask: the whole chip is one window": "sar-jepa, whole chip masked",
           "then windows: sar-jepa": "sar-jepa",
           "pixels in place of the gradient: lomar-sar": "lomar-sar"}),
)  # fmt: skip
PUBLISHED = "ViT-B as published"


@pytest.mark.parametrize(
    ("table", "row"),
    [
        pytest.param(table, row, id=f"{table.page}-{table.heading.strip('| ')}-{row}")
        for table in TABLES
        for row in table_rows(table.page, table.heading)
        if not row.startswith(PUBLISHED)
    ],
)
def test_a_row_is_the_one_that_was_measured(table: Table, row: str) -> None:
    name = table.names.get(row, row)
    assert table_rows(table.page, table.heading)[row] == [cell for part in table.parts for cell in part.cells(name)]


@pytest.mark.parametrize("page", ["README.md", RESULTS])
def test_every_table_of_accuracies_is_checked(page: str) -> None:
    """But the two of serial numbers, whose numbers stand in a record, and what was tried, in several."""
    heads = re.findall(r"^(\| .*)\n\|---.*---:\|$", (ROOT / page).read_text(), re.MULTILINE)
    checked = [table.heading for table in TABLES if table.page == page]
    unchecked = [head for head in heads if not head.startswith(tuple(checked))]
    assert [head for head in unchecked if "one serial number" not in head and "| record |" not in head] == []


@pytest.mark.parametrize(("page", "all_shots"), [("README.md", (10, 40)), (RESULTS, THREE)])
def test_the_published_row_is_the_papers(page: str, all_shots: tuple[int, ...]) -> None:
    [cells] = [cells for row, cells in table_rows(page, "| MSTAR, 10 classes |").items() if row.startswith(PUBLISHED)]
    probed, tuned = (published("table6", protocol)["sar-jepa"] for protocol in ("linear-probe", "fine-tune"))
    assert list(filter(None, cells)) == [f"{probed['mstar', num]}; {tuned['mstar', num]}" for num in all_shots]


def test_the_demo_s_encoder_is_above_the_same_network_untrained_and_above_pixels_from_every_seed() -> None:
    mean = {(line["row"], line["seed"], line["shots"]): float(line["mean"]) for line in measured("demo-seeds")}
    for seed in "01234":
        for shots in ("10", "20", "40"):
            views = mean["views", seed, shots]
            assert views > mean["untrained", seed, shots] + 10 and views > mean["pixels", "0", shots]


PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_lead_somewhere(page: str) -> None:
    places = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text())
    missing = [place for place in places if not (ROOT / page).parent.joinpath(place).exists()]
    assert not missing


def test_the_citation_is_of_this_version() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
