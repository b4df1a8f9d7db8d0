"""The data behind a run, as their cards tell it, and the commands that made everything on the page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import yaml

from sarjepa.config import (
    BuildDatasetConfig,
    FewshotBenchConfig,
    FinetuneConfig,
    PretrainConfig,
    ProbeConfig,
    ReportConfig,
    VisualizeAttentionConfig,
)
from sarjepa.data.manifest_parser import source_names
from sarjepa.errors import InputError
from sarjepa.recipes.built import shards_folder
from sarjepa.recipes.reporting.command_lines import command_line
from sarjepa.recipes.reporting.pictures import attention_folders
from sarjepa.recipes.reporting.results import Found
from sarjepa.recipes.reporting.run import RunContent, root_option
from sarjepa.reports.elements import code_block, element, notice, picture_or_notice
from sarjepa.reports.markdown import card_elements
from sarjepa.reports.page import Gap, Section
from sarjepa.reports.tables import Table


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
    rows = tuple((one["file"], str(one["num_chips"]), one["sha256"]) for one in _index(folder).get("shards") or ())
    if not rows:
        return [notice(f"The checksums of the shards are not known: {folder / 'index.json'} is not there.")]
    return [Table(f"Shards of {folder.name}", ("file", "chips", "sha256"), rows).tree()]


def _index(folder: Path) -> dict[str, Any]:
    """index.json; empty where it is not there.

    Raises:
        InputError: it is no JSON.
    """
    path = folder / "index.json"
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise InputError("not readable as JSON", where=path, got=error, hint="build the data set again") from error


def commands_section(
    run: RunContent, reports: Sequence[Found], tables: Sequence[Found], root: str, page: ReportConfig
) -> Section:
    """The commands, from the settings that each kept."""
    said = (
        "Rebuilt from the settings that each command kept: what differs from the defaults is spelt out, whether it was "
        "typed or came from a preset or a file."
    )
    steps: list[tuple[str, str]] = [(f"data: {source}", _built_with(source, root)) for source in run.sources]
    if run.settings:
        steps.append(
            ("pre-training", command_line(PretrainConfig, run.settings, always=("sources",), never=("resume",)))
        )
    steps += [(str(one.path.parent), _evaluated_with(one.content)) for one in reports]
    steps += [(str(one.path.parent), command_line(FewshotBenchConfig, one.content["settings"])) for one in tables]
    steps += [_looked_with(run, folder, root) for folder in attention_folders(run)]
    steps.append(("this page", command_line(ReportConfig, vars(page) | {"run": str(run.folder)})))
    content = [element("p", said, class_="note")]
    for name, line in steps:
        content += [element("h3", name), code_block(line)]
    return Section("commands", "Commands that made it", content)


def _built_with(source: str, root: str) -> str:
    kept = _index(shards_folder(root, source)).get("settings") or {}
    named = source if source in source_names() else f"folder:PATH/{source}"
    settings = {**kept, "sources": [named], "data_root": root}
    return command_line(BuildDatasetConfig, settings, always=("sources",))


def _looked_with(run: RunContent, folder: Path, root: str) -> tuple[str, str]:
    """The command of a folder of attention pictures; the settings of several checkpoints stand above their folders."""
    for place in (folder, folder.parent):
        path = place / "settings.yaml"
        if place.name.startswith("attention") and path.is_file():
            settings = yaml.safe_load(path.read_text(encoding="utf-8"))
            return str(folder), command_line(VisualizeAttentionConfig, settings, always=("checkpoint",))
    named = f"sarjepa visualize-attention --checkpoint {run.typed}{root_option(root)}"
    return f"{folder} (no settings were kept; these are the defaults)", named


def _evaluated_with(content: dict[str, Any]) -> str:
    config_class = FinetuneConfig if content.get("protocol") == "fine-tune" else ProbeConfig
    return command_line(config_class, content.get("settings") or {}, always=("checkpoint", "dataset"))
