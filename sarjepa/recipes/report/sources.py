"""The data sets of a run, with their cards."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from sarjepa.data.built import shards_folder
from sarjepa.data.index import chips_sha256
from sarjepa.data.manifest_parser import load_manifest, source_names, typed_source
from sarjepa.documents import read_record
from sarjepa.errors import InputError
from sarjepa.recipes.report.run_content import RunContent, root_option
from sarjepa.reports.cards import BuiltIndex, Provenance, card_elements, provenance_of
from sarjepa.reports.elements import element, notice, picture_or_notice
from sarjepa.reports.page import Gap, Section


def data_root_of(run: RunContent, root: str) -> str:
    """The folder of the run's data: `root` if it holds any of them, else the one in the run's settings.

    Example:
        >>> from pathlib import Path
        >>> from sarjepa.recipes.report.run_content import read_run
        >>> run = read_run(Path("runs/toy"))  # trained on the source `toy`, which lies under data/
        >>> run.settings["data-root"] = "/mnt/sar"
        >>> data_root_of(run, "data"), data_root_of(run, "elsewhere")
        ('data', '/mnt/sar')
    """
    own = run.settings.get("data-root")
    is_there = any(shards_folder(root, source).is_dir() for source in run.sources)
    return str(own) if own and not is_there else root


def built_index(source: str, root: str) -> BuiltIndex | None:
    """The index of a source; None where it is not built.

    Raises:
        InputError: index.json is damaged.

    Example:
        >>> from sarjepa.recipes import build_dataset
        >>> config = build_dataset.BuildDatasetConfig(data_root="indexed", chips_per_class=1, workers=1)
        >>> result = build_dataset.run(config)
        >>> built_index("synthetic", "indexed").num_chips, built_index("mstar", "indexed")
        (10, None)
    """
    path = shards_folder(root, source) / "index.json"
    return read_record(path, BuiltIndex) if path.is_file() else None


def data_section(run: RunContent, sources: Sequence[str], root: str, chips: bool) -> Section:
    """The card of every source, with a notice where its chips are not those of the training.

    Args:
        run: content of the run.
        sources: names of the sources of the training, then of the evaluations.
        root: data folder, which holds shards/SOURCE.
        chips: whether contact sheets are shown.

    Example:
        >>> from pathlib import Path
        >>> from sarjepa.recipes.report.run_content import read_run
        >>> data_section(read_run(Path("runs/toy")), ["mstar"], "data", chips=False).gaps[0].command
        'sarjepa build-dataset --sources mstar'
    """
    content: list[Element] = []
    gaps = []
    for source in sources:
        line = f"sarjepa build-dataset --sources {shlex.quote(typed_source(source))}{root_option(root)}"
        try:
            built = built_index(source, root)
        except InputError as error:
            gaps.append(Gap(f"no data card of {source}: {error}", f"{line} --force"))
            continue
        if built is None:
            gaps.append(Gap(f"no data card of {source}: {shards_folder(root, source)} is not built", line))
            continue
        is_public = source in source_names()
        provenance = built.card or (provenance_of(load_manifest(source)) if is_public else Provenance(title=source))
        sheet = element("p", "The contact sheet is left out, as asked.")
        if chips:
            path = shards_folder(root, source) / "contact-sheet.png"
            sheet = picture_or_notice(path, f"contact sheet of {source}", f"Chips of {source}.")
        content += [*_of_training(run, source, built), *card_elements(built, provenance, sheet)]
    return Section("data", "Data", content, tuple(gaps))


def _of_training(run: RunContent, source: str, built: BuiltIndex) -> list[Element]:
    """A note on whether the chips that are built now are those of the training; empty if the run stored no checksum."""
    stored = (run.describe.get("data") or {}).get(source)
    if stored is None:
        return []
    if stored != chips_sha256(shard.sha256 for shard in built.shards):
        return [notice(f"{source} was built anew since: these are not the chips that the run was trained on.")]
    words = f"{source}: the run was trained on these chips, their checksum is the stored one."
    return [element("p", words, class_="note")]
