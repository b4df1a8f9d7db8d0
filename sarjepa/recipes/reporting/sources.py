"""The data behind a run, as their cards tell it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from sarjepa.data.built import shards_folder
from sarjepa.data.manifest_parser import source_names
from sarjepa.errors import InputError
from sarjepa.recipes.reporting.run import RunContent, root_option
from sarjepa.reports.elements import element, notice, picture_or_notice, table_element
from sarjepa.reports.markdown import card_elements
from sarjepa.reports.page import Gap, Section
from sarjepa.results.tables import Table


def data_root_of(run: RunContent, root: str) -> str:
    """Where the run's data are: under the given root, or where the run found them."""
    own = run.settings.get("data-root")
    there = any(shards_folder(root, source).is_dir() for source in run.sources)
    return str(own) if own and not there else root


def build_command(source: str, root: str) -> str:
    """The command that builds a source."""
    named = source if source in source_names() else f"folder:PATH/{source}"
    return f"sarjepa build-dataset --sources {shlex.quote(named)}{root_option(root)}"


def data_section(sources: Sequence[str], root: str, chips: bool) -> Section:
    """The card of every source.

    Args:
        sources: by name: those of the training, then those of the evaluation.
        root: holds shards/SOURCE.
        chips: whether contact sheets are shown.
    """
    note = "As the data stand now; a run stores no checksum of the data it was trained on."
    content: list[Element] = [element("p", note, class_="note")]
    gaps = []
    for source in sources:
        folder = shards_folder(root, source)
        card = folder / "CARD.md"
        if not card.is_file():
            gaps.append(Gap(f"no data card of {source}: {card} is not there", build_command(source, root)))
            continue
        content += _card(folder, card, chips)
    return Section("data", "Data", content if len(content) > 1 else [], tuple(gaps))


def _card(folder: Path, card: Path, chips: bool) -> list[Element]:
    def shown(alt: str, name: str) -> Element | None:
        if not chips:
            return element("p", "The contact sheet is left out, as asked.")
        return picture_or_notice(folder / name, f"{alt} of {folder.name}", f"Chips of {folder.name}.")

    parts = card_elements(card.read_text(encoding="utf-8", errors="replace"), shown)
    return [*parts, *_checksums(folder)]


def _checksums(folder: Path) -> list[Element]:
    """The shards with their checksums, from index.json."""
    rows = tuple((one["file"], str(one["num_chips"]), one["sha256"]) for one in read_index(folder).get("shards") or ())
    if not rows:
        return [notice(f"The checksums of the shards are not known: {folder / 'index.json'} is not there.")]
    return [table_element(Table(f"Shards of {folder.name}", ("file", "chips", "sha256"), rows))]


def read_index(folder: Path) -> dict[str, Any]:
    """index.json; empty where it is not there.

    Raises:
        InputError: it is not JSON.
    """
    path = folder / "index.json"
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise InputError("not readable as JSON", where=path, got=error, hint="build the data set again") from error
