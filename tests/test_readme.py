"""The numbers of the README's first table and of docs/results.md are those of the committed results; one version."""

from __future__ import annotations

import csv
import re
import statistics
from pathlib import Path

import pytest
import yaml

from sarjepa.reports.paper import published
from sarjepa.version import __version__

ROOT = Path(__file__).parents[1]
VIEWS = ROOT / "results" / "views" / "table.csv"
ROWS = {
    "sar-jepa, then views": "sar-jepa, then views",
    "nothing hidden (pgca-deep), then views": "pgca-deep, then views",
    "pixels, then views": "pixels (lomar-sar), then views",
    "views alone": "views alone",
    "sar-jepa alone": "sar-jepa",
    "pgca-deep alone": "pgca-deep",
    "the same network, not trained": "untrained",
    "best without a network": "log-pixels",
}
FIRST = {
    "sar-jepa, then views": "sar-jepa, then views",
    "the same, nothing hidden": "pgca-deep, then views",
    "sar-jepa alone": "sar-jepa",
    "the same network, not trained": "untrained",
    "without a network": "log-pixels",
}
SPREAD = ("pgca-deep, then views", "sar-jepa, then views", "sar-jepa", "untrained", "log-pixels", "ratio")


def table_rows(page: str, heading: str) -> dict[str, list[str]]:
    """{first column: the others} of the table whose head begins so."""
    text = (ROOT / page).read_text()
    table = text[text.index(heading) :].split("\n\n")[0]
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {row[0]: row[1:] for row in rows}


def row_of(page: str, heading: str, start: str) -> list[str]:
    """The cells of the row that begins so."""
    [cells] = [cells for name, cells in table_rows(page, heading).items() if name.startswith(start)]
    return cells


def over_seeds(path: Path, shots: tuple[int, ...], **wanted: str) -> list[str]:
    """Mean and deviation over pre-trainings of the lines of a table.csv that say so, by shots; a baseline has one."""
    with path.open(newline="") as stream:
        lines = [line for line in csv.DictReader(stream) if all(line[key] == value for key, value in wanted.items())]
    found = [[float(line["mean"]) for line in lines if int(line["shots"]) == num] for num in shots]
    spread = [f" ± {statistics.stdev(means):.1f}" if len(means) > 1 else "" for means in found]
    return [f"{statistics.mean(means):.1f}{added}" for means, added in zip(found, spread, strict=True)]


@pytest.mark.parametrize(("row", "name"), FIRST.items())
def test_a_row_of_the_first_table_is_the_one_that_was_measured(row: str, name: str) -> None:
    results = ROOT / "results"
    solvers = [results / experiment / "table.csv" for experiment in ("views", "label-spreading")]
    expected = [over_seeds(path, (1, 10, 40), dataset="mstar", row=name) for path in solvers]
    cells = row_of("README.md", "| MSTAR, 10 classes |", row)
    assert cells == [*expected[0], *expected[1]]


@pytest.mark.parametrize(("row", "name"), ROWS.items())
def test_a_row_of_views_is_the_one_that_was_measured(row: str, name: str) -> None:
    cells = row_of("docs/results.md", "| MSTAR, 10 classes |", row)
    assert cells == over_seeds(VIEWS, (1, 2, 5, 10, 20, 40), dataset="mstar", row=name)


@pytest.mark.parametrize("row", SPREAD)
def test_a_row_of_label_spreading_is_the_one_that_was_measured(row: str) -> None:
    path = ROOT / "results" / "label-spreading" / "table.csv"
    rows = table_rows("docs/results.md", "| MSTAR, label spreading |")
    assert rows[row] == over_seeds(path, (1, 2, 5, 10, 20, 40), dataset="mstar", row=row)


def test_the_row_of_an_encoder_that_saw_aircraft_alone_is_the_one_that_was_measured() -> None:
    path, name = ROOT / "results" / "transfer" / "table.csv", "SAR-ACD: sar-jepa, then views"
    expected = over_seeds(path, (1, 2, 5, 10, 20, 40), dataset="mstar", row=name)
    assert table_rows("docs/results.md", "| MSTAR, pre-trained on |")["SAR-ACD: sar-jepa, then views"] == expected


def test_the_demo_s_encoder_is_above_the_same_network_untrained_and_above_pixels_from_every_seed() -> None:
    with (ROOT / "results" / "demo-seeds" / "table.csv").open(newline="") as stream:
        mean = {(line["row"], line["seed"], line["shots"]): float(line["mean"]) for line in csv.DictReader(stream)}
    for seed in "01234":
        for shots in ("10", "20", "40"):
            views = mean["views", seed, shots]
            assert views > mean["untrained", seed, shots] + 10 and views > mean["pixels", "0", shots]


APART = {"all six": "sar-jepa, then views", "without gain": "without gain", "with a ramp besides": "with ramp"}


@pytest.mark.parametrize(("row", "name"), APART.items())
def test_a_row_of_the_views_apart_is_the_one_that_was_measured(row: str, name: str) -> None:
    path = ROOT / "results" / "views-apart" / "table.csv"
    disturbed = [f"mstar-under-{disturbance}" for disturbance in ("speckle=1", "gain=0.5", "ramp=4")]
    clean = over_seeds(path, (10, 20, 40), dataset="mstar", row=name)
    expected = clean + [over_seeds(path, (40,), dataset=dataset, row=name)[0] for dataset in disturbed]
    assert table_rows("docs/results.md", "| MSTAR | 10 shots |")[row] == expected


@pytest.mark.parametrize("row", ["sar-jepa, then views", "both at once", "safe"])
def test_a_row_of_the_other_ways_to_agree_is_the_one_that_was_measured(row: str) -> None:
    expected = over_seeds(
        ROOT / "results" / "views-at-once" / "table.csv", (1, 2, 5, 10, 20, 40), dataset="mstar", row=row
    )
    assert table_rows("docs/results.md", "| MSTAR, 12 epochs |")[row] == expected


@pytest.mark.parametrize(("shown", "augment"), [("none",) * 2, ("mirror",) * 2, ("contrast",) * 2,
                                              ("all five", "shift,mirror,rotate,contrast,speckle")])  # fmt: skip
def test_a_row_of_the_views_of_the_shots_is_the_one_that_was_measured(shown: str, augment: str) -> None:
    path = ROOT / "results" / "augmentations" / "table.csv"
    expected = []
    for row in ("sar-jepa, then views", "sar-jepa", "untrained", "log-pixels", "ratio"):
        cells = over_seeds(path, (10, 20, 40), row=row, augment=augment)
        expected.append(" / ".join(cell.split(" ")[0] for cell in cells))
    assert table_rows("docs/results.md", "| MSTAR, views of the shots |")[shown] == expected


@pytest.mark.parametrize("row", ["0 epochs", "3 epochs", "6 epochs", "12 epochs", "24 epochs", "a tenth of the chips"])
def test_a_row_of_longer_training_is_the_one_that_was_measured(row: str) -> None:
    path = ROOT / "results" / "views-scaling" / "table.csv"
    assert table_rows("docs/results.md", "| MSTAR, epochs of views |")[row] == over_seeds(
        path, (1, 2, 5, 10, 20, 40), row=row
    )


@pytest.mark.parametrize("row", ["sar-jepa, then views", "sar-jepa", "untrained"])
def test_a_row_of_fine_tuning_is_the_one_that_was_measured(row: str) -> None:
    frozen_name = row if row == "untrained" else f"MSTAR: {row}"
    results = ROOT / "results"
    frozen = over_seeds(results / "transfer" / "table.csv", (10, 40), dataset="mstar", row=frozen_name)
    tuned = over_seeds(results / "fine-tuned" / "table.csv", (10, 40), dataset="mstar", row=row)
    assert table_rows("docs/results.md", "| MSTAR, three pre-trainings |")[row] == frozen + tuned


@pytest.mark.parametrize("row", ["sar-jepa, then views", "sar-jepa", "untrained"])
def test_a_row_of_the_views_while_fine_tuning_is_the_one_that_was_measured(row: str) -> None:
    path = ROOT / "results" / "augmentations-tuned" / "table.csv"
    views = ("none", "mirror", "shift", "contrast", "speckle", "shift,mirror,rotate,contrast,speckle")
    expected = [over_seeds(path, (10,), row=row, augment=augment)[0] for augment in views]
    assert table_rows("docs/results.md", "| MSTAR, views while fine-tuning |")[row] == expected


@pytest.mark.parametrize("row", ["sar-jepa, then views", "sar-jepa", "untrained"])
def test_a_row_of_fewer_steps_is_the_one_that_was_measured(row: str) -> None:
    results = ROOT / "results"
    names = (f"{row}, 50 steps", f"{row}, 100 steps", row)
    expected = [over_seeds(results / "fine-tuning-steps" / "table.csv", (10,), row=name)[0] for name in names]
    expected += over_seeds(results / "fine-tuned" / "table.csv", (10,), dataset="mstar", row=row)
    assert table_rows("docs/results.md", "| MSTAR, steps of fine-tuning |")[row] == expected


@pytest.mark.parametrize("row", ["sar-jepa, then views", "sar-jepa", "untrained"])
def test_a_row_of_fine_tuning_as_published_is_the_one_that_was_measured(row: str) -> None:
    path = ROOT / "results" / "fine-tuned-published" / "table.csv"
    assert table_rows("docs/results.md", "| MSTAR, published recipe |")[row] == over_seeds(path, (10, 20, 40), row=row)


SUFFERED = ("", "-under-speckle=4", "-under-speckle=2", "-under-speckle=1", "-under-gain=0.5", "-under-gain=2",
            "-under-ramp=4")  # fmt: skip


@pytest.mark.parametrize(
    ("row", "name"),
    [("sar-jepa, then views",) * 2, ("pixels", "pixels (lomar-sar)"), ("sar-jepa",) * 2, ("log-pixels",) * 2],
)
def test_a_row_under_speckle_and_gain_is_the_one_that_was_measured(row: str, name: str) -> None:
    path = ROOT / "results" / "speckle" / "table.csv"
    expected = [over_seeds(path, (40,), dataset=f"mstar{suffix}", row=name)[0] for suffix in SUFFERED]
    assert table_rows("docs/results.md", "| MSTAR, 40 shots |")[row] == expected


@pytest.mark.parametrize("row", ["sar-jepa, then views", "sar-jepa", "untrained", "ratio, the best", "log-pixels"])
def test_a_row_of_sar_acds_splits_is_the_one_that_was_measured(row: str) -> None:
    path, name = ROOT / "results" / "saracd-splits" / "table.csv", row.partition(", the best")[0]
    expected = [over_seeds(path, (1, 5, 10), dataset=dataset, row=name, augment="none")
                for dataset in ("saracd", "saracd-grouped")]  # fmt: skip
    rows = table_rows("docs/results.md", "| SAR-ACD, 5 classes | published, 1")
    [cells] = [cells for shown, cells in rows.items() if shown.partition(" without")[0] == row]
    assert cells == expected[0] + expected[1]


@pytest.mark.parametrize(
    ("row", "folder"), [("as it is, ten pre-trainings", ""), ("speckle of 4 looks on top", "-4-look"),
                        ("speckle of 1 look on top", "-1-look")],
)  # fmt: skip
def test_a_row_of_ratio_and_pixel_under_speckle_is_the_one_that_was_measured(row: str, folder: str) -> None:
    path = ROOT / "results" / f"ratio-pixel{folder}" / "table.csv"
    expected = []
    for name in ("ratio", "pixel", "untrained", "log-pixels"):
        means = over_seeds(path, (10, 20, 40), dataset="mstar", row=name, augment="mirror")
        expected.append(" / ".join(mean.partition(" ")[0] for mean in means))
    assert table_rows("docs/results.md", "| MSTAR, 10 / 20 / 40 shots | ratio")[row] == expected


@pytest.mark.parametrize(
    ("row", "name"), [("sar-jepa, then views",) * 2, ("pgca-deep",) * 2, ("ratio, the best", "ratio")]
)
def test_a_row_of_sar_acd_is_the_one_that_was_measured(row: str, name: str) -> None:
    rows = table_rows("docs/results.md", "| SAR-ACD, 5 classes |")
    [cells] = [cells for start, cells in rows.items() if start.startswith(row)]
    assert cells == over_seeds(VIEWS, (1, 2, 5, 10, 20, 40), dataset="saracd", row=name)


@pytest.mark.parametrize(("page", "all_shots"), [("README.md", (10, 40)), ("docs/results.md", (10, 20, 40))])
def test_the_published_row_is_the_papers(page: str, all_shots: tuple[int, ...]) -> None:
    cells = row_of(page, "| MSTAR, 10 classes |", "ViT-B as published")
    probed, tuned = (published("table6", protocol)["sar-jepa"] for protocol in ("linear-probe", "fine-tune"))
    assert list(filter(None, cells)) == [f"{probed['mstar', num]}; {tuned['mstar', num]}" for num in all_shots]


READINGS = {"none": "cls", "mirror": "cls+grid4"}  # feature by augmentation: published recipe, augmented
RATIO = "gradient by ratio"
PREDICTED = {"pixel": "pixel", "low-pass": "low-pass", "HOG": "hog", "SAR-HOG": "sar-hog", RATIO: "ratio",
             f"{RATIO}, Gaussian": "ratio-gaussian", f"{RATIO}, disjoint halves": "ratio-disjoint",
             "nothing (untrained)": "untrained", "log-pixels, the best without a network": "log-pixels"}  # fmt: skip
MASKS = {
    "pgca: gradient, no mask, linear predictor": "pgca",
    "the same with the predictor of 8 blocks": "pgca, deep predictor",
    "then a mask: the whole chip is one window": "sar-jepa, whole chip masked",
    "then windows: sar-jepa": "sar-jepa",
    "pixels in place of the gradient: lomar-sar": "lomar-sar",
    "untrained": "untrained",
}
TABLES = {
    "table4": ("| predicted |", PREDICTED),
    "table5": ("| mask and gradient |", MASKS),
    "table6": ("| method |", dict.fromkeys(("sar-jepa", "lomar", "mae", "i-jepa", "fg-mae", "untrained"))),
    "ratio-pixel": ("| MSTAR, ten pre-trainings |", dict.fromkeys(("ratio", "pixel", "untrained", "log-pixels"))),
}


@pytest.mark.parametrize(("table", "row"), [(table, row) for table, (_, rows) in TABLES.items() for row in rows])
def test_a_row_of_the_papers_tables_is_the_one_that_was_measured(table: str, row: str) -> None:
    heading, names = TABLES[table]
    name = names[row] or row
    cells = []
    for augment, feature in READINGS.items():
        wanted = {"dataset": "mstar", "row": name, "augment": augment}
        wanted["feature"] = name if name == "log-pixels" else feature
        cells += over_seeds(ROOT / "results" / table / "table.csv", (10, 20, 40), **wanted)
    assert table_rows("docs/results.md", heading)[row] == cells


PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_lead_somewhere(page: str) -> None:
    places = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text())
    missing = [place for place in places if not (ROOT / page).parent.joinpath(place).exists()]
    assert not missing


def test_the_citation_is_of_this_version() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
