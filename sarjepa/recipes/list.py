"""list: what is built, which runs there are and what they were trained on, and which public sets can be had."""

from __future__ import annotations

from pathlib import Path

from sarjepa.config import ListConfig
from sarjepa.data.built import built_datasets, shards_folder
from sarjepa.data.index import read_index
from sarjepa.data.manifest_parser import load_manifest, sets_by_hand, source_names
from sarjepa.errors import InputError
from sarjepa.models.addresses import CLASSIFIER_FILE, RUN_FILES
from sarjepa.progress import Progress
from sarjepa.results.result import Result
from sarjepa.results.stored import SETTINGS, read_settings
from sarjepa.results.tables import Table, counted
from sarjepa.training.log import LOG, read_log


def run(config: ListConfig, progress: Progress) -> Result:
    """List built sources, runs and public sets; what cannot be read is listed with the reason.

    Example:
        >>> result = run(ListConfig(data_root="data", run_root="runs"), Progress())
        >>> result.message
        '2 built sources under data, 1 run under runs'
        >>> result.tables[0].rows  # name, chips, classes
        (('copies', '120', '3'), ('toy', '72', '3'))
    """
    built, files = built_datasets(config.data_root), (SETTINGS, *RUN_FILES)
    runs = sorted({file.parent for name in files for file in Path(config.run_root).glob(f"*/{name}")})
    public = [
        (name, load_manifest(name).title, "build-dataset --sources " + name, "")
        for name in source_names()
        if name not in built
    ]
    by_hand = [(name, got.title, got.origin, got.said) for name, got in sets_by_hand().items() if name not in built]
    tables = (
        Table("Built", ("source", "chips", "classes"), tuple(_built_row(config.data_root, name) for name in built)),
        Table("Runs", ("run", "trained on", "method", "model", "epochs", "classifiers"), tuple(map(_run_row, runs))),
        Table("Public sets", ("name", "title", "how to get it", "what it holds"), (*public, *by_hand),
              "* not verified against its page."),
    )  # fmt: skip
    sources = f"{counted(len(built), 'built source')} under {config.data_root}"
    message = f"{sources}, {counted(len(runs), 'run')} under {config.run_root}"
    return Result(message, Path(config.data_root), tuple(table for table in tables if table.rows))


def _built_row(data_root: str, name: str) -> tuple[str, ...]:
    try:
        index = read_index(shards_folder(data_root, name))
    except InputError as error:
        return name, str(error), ""
    counts = {split: sum(classes.values()) for split, classes in (index.get("counts") or {}).items()}
    chips = ", ".join(f"{num} {split}".strip() for split, num in counts.items())
    return name, chips or str(index.get("num_chips", "")), str(len(index["classes"]))


def _run_row(folder: Path) -> tuple[str, ...]:
    classifiers = ", ".join(sorted(file.parent.name for file in folder.glob(f"*/{CLASSIFIER_FILE}")))
    try:
        settings = read_settings(folder)
    except InputError as error:
        return str(folder), error.what, "", "", "", classifiers
    sources = settings.get("sources")
    state = "" if any((folder / name).is_file() for name in RUN_FILES) else " (no checkpoint yet)"
    trained_on = ", ".join(map(str, sources)) if isinstance(sources, list) else str(sources)
    facts = (str(settings.get(key, "")) for key in ("method", "model"))
    epochs, (records, _) = settings.get("epochs", ""), read_log(folder / LOG)
    last = records[-1].get("epoch") if records else None
    done = ""
    if isinstance(last, int) and isinstance(epochs, int) and last + 1 < epochs:
        done = f"{last + 1} of "
    return str(folder), trained_on + state, *facts, f"{done}{epochs}", classifiers
