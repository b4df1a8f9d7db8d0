"""fewshot-bench: checkpoints x data sets x variants x shots x runs, to one table with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from sarjepa.config import BASELINES, DOWNSTREAM, FewshotBenchConfig
from sarjepa.data.built import built_datasets
from sarjepa.documents import read_record
from sarjepa.errors import InputError
from sarjepa.evaluation.benchmark import Benchmark
from sarjepa.evaluation.draw_records import FORMAT, HINT, DatasetDraws, DrawsFile, from_record, to_record
from sarjepa.evaluation.fewshot import Draw, draw
from sarjepa.evaluation.opened import open_checkpoint
from sarjepa.files import json_text
from sarjepa.models.addresses import newest_run
from sarjepa.progress import Progress
from sarjepa.recipes.evaluating.opening import open_to_classify
from sarjepa.recipes.evaluating.recipe import RECIPES, refuse_unread
from sarjepa.recipes.fewshot_bench.grid import Grid, variants
from sarjepa.reports.fewshot_tables import accuracy_table, comparison_table, detail_table, failed_text, plot
from sarjepa.results.cells import cells_csv, comparisons, make_cells
from sarjepa.results.records import RESULTS, FewshotResults, Run
from sarjepa.results.result import Result
from sarjepa.results.store import RunStore
from sarjepa.results.tables import Table, counted
from sarjepa.training.runtime import pick_device, pick_precision

DEFAULT_OUT = "results/fewshot"
# Settings that folders from before there were recipes store, with the values of the published recipe.
_SPELT_OUT = ("precision", "epochs", "batch_size", "lr", "weight_decay", "layer_decay")
Draws = dict[tuple[str, str], list[Draw]]  # by data set and split policy


def run(config: FewshotBenchConfig, progress: Progress) -> Result:
    """Do the runs that are missing, and write the tables.

    Raises:
        InputError: a data set is not built, a checkpoint cannot be read, no run makes sense, or the folder cannot be
            written, is in use or holds results of other settings.

    Example:
        >>> import shutil
        >>> root = shutil.copytree("data", "bench-data")  # features are cached beside the shards
        >>> config = FewshotBenchConfig(data_root=root, checkpoint=("hog",), datasets=("toy",), shots=(5,), runs=2,
        ...                             solver=("lda",), baselines=("none",), out="bench")
        >>> run(config, Progress()).message
        '2 runs, 0 failed; bench/table.md'
    """
    device = pick_device(config.device)
    benchmarks = [open_to_classify(config, name, config.split_policy, progress) for name in _datasets(config)]
    benchmarks = [benchmark.under(disturbance) for benchmark in benchmarks for disturbance in config.disturb]
    draws = {(b.name, policy): _draws(config, b, policy) for b in benchmarks for policy in config.split_policy}
    checkpoints = config.checkpoint or (newest_run(),)
    baselines = tuple(name for name in config.baselines if name in BASELINES and name not in checkpoints)
    # Encoders are opened before the folder is made, so that a wrong input leaves no folder.
    encoders = [
        open_checkpoint(name, config.seed, device, progress, () if name in BASELINES else config.blocks)
        for name in (*checkpoints, *baselines)
    ]
    rows = [(opened, variants(config, opened)) for opened in encoders]
    if not any(its_variants for _, its_variants in rows[: len(checkpoints)]):
        raise InputError("nothing to fine-tune", where=", ".join(checkpoints), hint="use --protocols linear-probe")
    refuse_unread(config, {variant.solver for _, its_variants in rows for variant in its_variants})
    if "fine-tune" in config.protocols and (without := [name for name in config.checkpoint if name in BASELINES]):
        progress.note(f"{', '.join(without)}: no weights to fine-tune, so the table has no such row")
    folder = Path(config.out or DEFAULT_OUT)
    runs: list[Run] = []
    failures: list[str] = []
    with RunStore(folder, _spelt_out(config, device), _recipe_values(config.recipe)) as store:
        store.write("draws.json", json_text(_draws_file(benchmarks, draws)))
        for opened, its_variants in rows:
            for benchmark in benchmarks:
                for variant in its_variants:
                    grid = Grid(config, store, opened, benchmark, variant, device, progress)
                    runs += grid.fill(draws[benchmark.name, variant.split_policy], failures)
        tables = _write(config, store, runs, failures)
        num_others = store.num_others()
    if num_others:
        others = counted(num_others, "stored run")
        progress.warn(f"{folder / 'runs'}: not in the table, as this call did not ask for them: {others}")
    for failure in failures:
        progress.warn(f"failed, will be tried again by the next call: {failure}")
    return Result(f"{counted(len(runs), 'run')}, {len(failures)} failed; {folder / 'table.md'}", folder, tables)


def _spelt_out(config: FewshotBenchConfig, device: torch.device) -> FewshotBenchConfig:
    """The settings with the published recipe's values written out, as in folders from before there were recipes."""
    if config.recipe != "published":
        return config
    published = RECIPES["published"]["fine-tune"]
    own: dict[str, Any] = {
        key: published.get(key) if getattr(config, key) is None else getattr(config, key) for key in _SPELT_OUT
    }
    return replace(config, **{**own, "precision": pick_precision(str(own["precision"]), device)})


def _recipe_values(recipe: str) -> dict[str, Any]:
    """The values of a recipe by protocol and setting; none of the published one, which never changes."""
    protocols = RECIPES[recipe].items() if recipe != "published" else ()
    return {f"{protocol} {key}": value for protocol, values in protocols for key, value in values.items()}


def _datasets(config: FewshotBenchConfig) -> tuple[str, ...]:
    """The data sets of the settings, else the downstream ones that are built."""
    built = built_datasets(config.data_root)
    datasets = config.datasets or tuple(name for name in DOWNSTREAM if name in built)
    if not datasets:
        raise InputError(
            "no downstream data set is built",
            where=Path(config.data_root) / "shards",
            expected=f"one of {', '.join(DOWNSTREAM)}, or --datasets",
            got=", ".join(built) or "none",
            hint="run sarjepa build-dataset --sources mstar,saracd",
        )
    return datasets


def _draws(config: FewshotBenchConfig, benchmark: Benchmark, policy: str) -> list[Draw]:
    """The draws of every number of shots and seed: read from the file of the settings, or made.

    Raises:
        InputError: the file cannot be read, or lacks a draw.
    """
    seeds = range(config.seed, config.seed + config.runs)
    wanted = [(shots, seed) for shots in sorted(set(config.shots)) for seed in seeds]
    if config.draws is None:
        return [draw(benchmark.candidates, policy, shots, seed) for shots, seed in wanted]
    path = Path(config.draws)
    if not path.is_file():
        raise InputError("no such file of draws", where=path, hint=HINT)
    record = read_record(path, DrawsFile, HINT).datasets.get(benchmark.name, {}).get(policy)
    if record is None:
        expected = f"{benchmark.name}, {policy} split"
        raise InputError("no such draws in the file", where=path, expected=expected, hint=HINT)
    draws = from_record(benchmark.candidates, record, str(path))
    for shots, seed in wanted:
        if (shots, seed) not in draws:
            raise InputError("the file lacks draws", where=path, expected=f"{shots} shots of seed {seed}")
    return [draws[shots, seed] for shots, seed in wanted]


def _draws_file(benchmarks: Sequence[Benchmark], draws: Draws) -> DrawsFile:
    """The content of draws.json: draws by data set and split policy."""
    datasets: dict[str, dict[str, DatasetDraws]] = {}
    candidates = {benchmark.name: benchmark.candidates for benchmark in benchmarks}
    for (name, policy), drawn in draws.items():
        datasets.setdefault(name, {})[policy] = to_record(candidates[name], policy, drawn)
    return DrawsFile(format=FORMAT, datasets=datasets)


def _write(
    config: FewshotBenchConfig, store: RunStore, runs: Sequence[Run], failures: Sequence[str]
) -> tuple[Table, ...]:
    """Write results.json and the tables; return the tables to show."""
    cells, pairs = make_cells(runs, config.runs), comparisons(runs)
    results = FewshotResults(
        settings=asdict(config),
        runs=tuple(runs),
        cells=tuple(cells),
        comparisons=tuple(pairs),
        failed=tuple(failures),
    )
    store.write(RESULTS, json_text(results))
    return write_tables(store, results)


def write_tables(store: RunStore, results: FewshotResults) -> tuple[Table, ...]:
    """Write results.csv, table.md, table.tex and plot.png; return the table of each data set.

    Example:
        >>> results = FewshotResults(settings={"compare": None}, runs=(), cells=(), failed=("toy, 5 shots, seed 0",))
        >>> with RunStore(Path("failed"), FewshotBenchConfig()) as store:
        ...     tables = write_tables(store, results)
        >>> print(Path("failed/table.md").read_text().strip())
        **Failed, to be tried again by the next call**
        <BLANKLINE>
        - toy, 5 shots, seed 0
    """
    cells, paper = results.cells, results.settings["compare"] == "paper"
    if not cells:
        store.write("table.md", failed_text(results.failed))
        return ()
    main = tuple(accuracy_table(cells, dataset, paper) for dataset in dict.fromkeys(cell.dataset for cell in cells))
    pairs = (comparison_table(results.comparisons, cells),) if results.comparisons else ()
    tables = (*main, detail_table(cells), *pairs)
    store.write("results.csv", cells_csv(cells))
    store.write("table.md", "\n".join([*(table.markdown() for table in tables), failed_text(results.failed)]))
    store.write("table.tex", "\n".join(table.latex() for table in tables))
    store.write("plot.png", plot(cells, paper))
    return main
