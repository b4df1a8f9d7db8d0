"""From measured runs to a table: means over pre-training seeds, their spread, and differences beyond it.

A few-shot cell is a mean over draws, whose spread describes other shots. A table of methods needs the spread of other
pre-trainings of the same method. So the unit here is the pre-training seed: the mean of its draws is one value, and the
stated spread is that of these values. Methods are compared seed by seed on the same draws by Student's t over the
seeds, and a difference is called clear only where the p value, adjusted by Holm for all comparisons of the table, is
below 0.05. With three seeds that is rare, as it should be: a table of thirty comparisons has one or two intervals that
leave out zero by chance alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sarjepa.experiments.experiment import Experiment
from sarjepa.reports.paper import SOURCE, published
from sarjepa.results.statistics import CONFIDENCE, Summary, holm, summarise, t_test
from sarjepa.results.tables import Table, counted, csv_text, mean_with_spread

FEATURES = {"cls": "class token", "mean": "mean of the patch tokens", "grid2": "2 x 2 grid of patch tokens",
            "grid4": "4 x 4 grid of patch tokens"}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A row's accuracy (%) with one seed: the mean over `num_draws` draws and their sample standard deviation."""

    row: str
    seed: int
    dataset: str
    protocol: str
    pool: str
    shots: int
    mean: float
    std_of_draws: float | None
    num_draws: int
    is_baseline: bool = False
    augment: str = "none"
    solver: str = "adamw"

    @property
    def panel(self) -> Panel:
        """What the values of one table share."""
        return Panel(self.dataset, self.protocol, self.solver, self.augment, self.pool)


class Panel(NamedTuple):
    """What the values of one table share: data set, protocol, solver, augmentation of the shots and feature."""

    dataset: str
    protocol: str
    solver: str
    augment: str
    pool: str

    @property
    def how(self) -> str:
        """The protocol, with the solver unless it is the published one.

        Example:
            >>> [Panel("mstar", "linear-probe", solver, "none", "cls").how for solver in ("adamw", "lda")]
            ['linear-probe', 'linear-probe by lda']
        """
        return self.protocol if self.solver in ("adamw", self.protocol) else f"{self.protocol} by {self.solver}"

    @property
    def words(self) -> str:
        """The feature ("cls+grid4@3,6") and the augmentation in words.

        Example:
            >>> Panel("mstar", "linear-probe", "adamw", "none", "cls+grid4@3,6").words
            'class token and 4 x 4 grid of patch tokens of blocks 3,6'
            >>> Panel("mstar", "linear-probe", "adamw", "mirror", "cls").words
            'class token, augmented by mirror'
        """
        pools, _, blocks = self.pool.partition("@")
        words = " and ".join(FEATURES.get(part, part) for part in pools.split("+"))
        words += f" of blocks {blocks}" if blocks else ""
        return words if self.augment == "none" else f"{words}, augmented by {self.augment}"


def panels(values: Sequence[Value]) -> dict[Panel, list[Value]]:
    """Values by panel, set by set; a baseline, which has one feature, is in the panels of every feature.

    Example:
        >>> values = [Value("mae", 0, "mstar", "linear-probe", pool, 10, 60.0, 1.2, 10) for pool in ("cls", "mean")]
        >>> values += [Value("image", 0, "mstar", "linear-probe", "pixels", 10, 50.0, 1.2, 10, is_baseline=True)]
        >>> {panel.pool: [value.row for value in own] for panel, own in panels(values).items()}
        {'cls': ['mae', 'image'], 'mean': ['mae', 'image']}
    """
    keys = list(dict.fromkeys(value.panel for value in values if not value.is_baseline))
    datasets = list(dict.fromkeys(key.dataset for key in keys))
    keys.sort(key=lambda key: datasets.index(key.dataset))
    return {
        key: [value for value in values if value.panel[:4] == key[:4] and (value.is_baseline or value.pool == key.pool)]
        for key in keys
    }


def over_seeds(values: Sequence[Value], row: str, shots: int) -> Summary | None:
    """Mean and spread over seeds of a row at a number of shots; None without values.

    Example:
        >>> values = [Value("mae", seed, "mstar", "linear-probe", "cls", 10, 60.0 + seed, 1.2, 10) for seed in range(3)]
        >>> entry(over_seeds(values, "mae", shots=10)), over_seeds(values, "mae", shots=40)
        ('61.0 ± 1.0', None)
    """
    means = [value.mean for value in values if (value.row, value.shots) == (row, shots)]
    return summarise(means) if means else None


def entry(summary: Summary | None) -> str:
    """Mean ± sample standard deviation; "-" without values.

    Example:
        >>> entry(summarise([60.0, 62.0]))
        '61.0 ± 1.4'
    """
    return "-" if summary is None else mean_with_spread(summary.mean, summary.std)


def accuracy_tables(experiment: Experiment, values: Sequence[Value], about: str) -> list[Table]:
    """One table per panel: rows as the experiment lists them, with the published numbers.

    Example:
        >>> from sarjepa.experiments.experiment import Row
        >>> methods = Experiment("table6", "Methods", "", "few-shot", (Row("MAE", paper="mae"),), published="table6")
        >>> values = [Value("MAE", seed, "mstar", "linear-probe", "cls", 10, 60.0 + seed, 1.2, 10) for seed in range(3)]
        >>> accuracy_tables(methods, values, about="")[0].rows  # the last number is the paper's
        (('MAE', '61.0 ± 1.0', '53.7'),)
    """
    tables = []
    for panel, own in panels(values).items():
        dataset, shots = panel.dataset, sorted({value.shots for value in own})
        paper = _paper(experiment, panel)
        rows = []
        for row in experiment.rows:
            theirs = paper.get(row.paper or "", {})
            beside = [f"{theirs[dataset, num]:.1f}" if (dataset, num) in theirs else "-" for num in shots]
            rows.append(
                (row.name, *(entry(over_seeds(own, row.name, num)) for num in shots), *(beside if paper else ()))
            )
        columns = ("", *(counted(num, "shot") for num in shots), *((f"paper {num}" for num in shots) if paper else ()))
        title = f"{experiment.title}. {dataset}, {panel.how}, {panel.words}: accuracy (%)"
        tables.append(Table(title, columns, tuple(rows), _note(own, about, bool(paper))))
    return tables


def _paper(experiment: Experiment, panel: Panel) -> dict[str, dict[tuple[str, int], float]]:
    """The published rows to show beside these numbers; they are of the class token by the published recipe only."""
    if experiment.published is None or (panel.pool, panel.augment) != ("cls", "none") or panel.how != panel.protocol:
        return {}
    methods = published(experiment.published, panel.protocol)
    return methods if any(name == panel.dataset for row in methods.values() for name, _ in row) else {}


def _note(values: Sequence[Value], about: str, has_paper: bool) -> str:
    seeds = sorted({value.seed for value in values})
    spread = [value.std_of_draws for value in values if value.std_of_draws is not None]
    if len(seeds) > 1:
        text = f"Mean ± sample standard deviation over {len(seeds)} pre-trainings, seeds {seeds[0]} to {seeds[-1]}"
    else:
        text = f"One pre-training, seed {seeds[0]}: its spread over seeds is not known"
    text += f"; each is the mean of {counted(values[0].num_draws, 'draw')}"
    if spread:
        text += f", which spread by {min(spread):.1f} to {max(spread):.1f} (standard deviation) themselves"
    return f"{text}. {about}" + (
        f" paper: {SOURCE}; centre crop 128 px; its draws are not published." if has_paper else ""
    )


def difference_table(experiment: Experiment, values: Sequence[Value]) -> Table:
    """The reference against every other row, seed by seed, averaged over shots.

    Example:
        >>> from sarjepa.experiments.experiment import Row
        >>> rows = (Row("JEPA"), Row("MAE", {"method": "mae"}))
        >>> values = [Value(row, seed, "mstar", "linear-probe", "cls", 10, mean, 1.2, num_draws=10) for row, means in
        ...           [("JEPA", (66, 68, 67)), ("MAE", (60, 61, 62))] for seed, mean in enumerate(means)]
        >>> difference_table(Experiment("own", "Methods", "", "few-shot", rows, reference="JEPA"), values).rows[0][4:]
        ('+6.0', '+6.0, +7.0, +5.0', '+3.5 to +8.5', '0.0091', 'above')
    """
    compared, reference = [], experiment.row(experiment.reference or "")
    for panel, own in panels(values).items():
        for row in experiment.rows:
            if not row.baseline and (row.pretrain, row.after) == (reference.pretrain, reference.after):
                continue  # the reference itself, or a row of the same settings
            if per_seed := _differences(own, experiment.reference or "", row.name):
                names = (f"{experiment.reference} - {row.name}", panel.dataset, panel.how, panel.words)
                compared.append((names, per_seed))
    adjusted = holm([t_test(per_seed) for _, per_seed in compared])
    rows = tuple(
        (*names, *_difference_entries(per_seed, p)) for (names, per_seed), p in zip(compared, adjusted, strict=True)
    )
    columns = ("rows", "data set", "protocol", "feature", "difference", "seed by seed", "95% interval", "p, Holm",
               "verdict")  # fmt: skip
    note = (
        "Points of accuracy, averaged over the shot counts. The interval is Student's t over pre-training seeds, of "
        f"this comparison alone; p is adjusted for all {len(rows)} comparisons of the table (Holm 1979); above or "
        "below: it is less than 0.05."
    )
    return Table("Differences", columns, rows, note)


def _difference_entries(per_seed: Sequence[float], p_value: float) -> tuple[str, ...]:
    summary = summarise(per_seed)
    differences = (f"{summary.mean:+.1f}", ", ".join(f"{value:+.1f}" for value in per_seed))
    if math.isnan(p_value):
        return (*differences, "-", "-", "one seed")
    low, high = summary.ci95
    verdict = "not clear" if p_value >= 1 - CONFIDENCE else "above" if summary.mean > 0 else "below"
    return (*differences, f"{low:+.1f} to {high:+.1f}", f"{p_value:.2g}", verdict)


def _differences(values: Sequence[Value], first: str, second: str) -> list[float]:
    """Differences of two rows, seed by seed; a baseline of one seed is compared with every seed."""
    by_row: dict[str, dict[int, list[float]]] = {first: {}, second: {}}
    for value in values:
        if value.row in by_row:
            by_row[value.row].setdefault(value.seed, []).append(value.mean)
    fixed = len(by_row[second]) == 1 and len(by_row[first]) > 1
    other = {seed: next(iter(by_row[second].values())) for seed in by_row[first]} if fixed else by_row[second]
    common = sorted(by_row[first].keys() & other.keys())
    return [float(np.mean(by_row[first][seed]) - np.mean(other[seed])) for seed in common]


def values_csv(values: Sequence[Value]) -> str:
    """One line per row, seed, data set, protocol, solver, feature, augmentation and number of shots.

    Example:
        >>> print(values_csv([Value("mae", 0, "mstar", "linear-probe", "cls", 10, 60.4, None, num_draws=1)]), end="")
        row,seed,dataset,protocol,solver,feature,augment,shots,num_draws,mean,std_of_draws
        mae,0,mstar,linear-probe,adamw,cls,none,10,1,60.4,
    """
    columns = ("row", "seed", "dataset", "protocol", "solver", "feature", "augment", "shots", "num_draws", "mean",
               "std_of_draws")  # fmt: skip
    rows = [
        (value.row, value.seed, value.dataset, value.protocol, value.solver, value.pool, value.augment, value.shots,
         value.num_draws, value.mean, value.std_of_draws)
        for value in values
    ]  # fmt: skip
    return csv_text(columns, rows)
