"""The commands that made everything on the page, rebuilt from the settings that each kept."""

from __future__ import annotations

from pathlib import Path

from sarjepa.config import (
    BuildDatasetConfig,
    FewshotBenchConfig,
    FinetuneConfig,
    PretrainConfig,
    ProbeConfig,
    ReportConfig,
    VisualizeAttentionConfig,
)
from sarjepa.errors import InputError
from sarjepa.overlay import command_line
from sarjepa.recipes.report.results import Reports, Tables, attention_folders
from sarjepa.recipes.report.run_content import RunContent, root_option
from sarjepa.recipes.report.sources import built_index, typed_source
from sarjepa.reports.elements import code_block, element
from sarjepa.reports.page import Section
from sarjepa.results.records import Report
from sarjepa.results.stored import SETTINGS, read_settings


def commands_section(
    run: RunContent,
    reports: Reports,
    tables: Tables,
    root: str,
    page: ReportConfig,
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
    steps += [(str(report.path.parent), _evaluated_with(report.content)) for report in reports]
    steps += [(str(table.path.parent), command_line(FewshotBenchConfig, table.content.settings)) for table in tables]
    steps += [_looked_with(run, folder, root) for folder in attention_folders(run)]
    steps.append(("this page", command_line(ReportConfig, vars(page) | {"run": str(run.folder)})))
    content = [element("p", said, class_="note")]
    for name, line in steps:
        content += [element("h3", name), code_block(line)]
    return Section("commands", "Commands that made it", content)


def _built_with(source: str, root: str) -> str:
    try:
        built = built_index(source, root)
    except InputError:  # the section of the data says so
        built = None
    settings = {**(built.settings if built else {}), "sources": [typed_source(source)], "data_root": root}
    return command_line(BuildDatasetConfig, settings, always=("sources",))


def _looked_with(run: RunContent, folder: Path, root: str) -> tuple[str, str]:
    """The command of a folder of attention pictures; the settings of several checkpoints stand above their folders."""
    for place in (folder, folder.parent):
        if place.name.startswith("attention") and (place / SETTINGS).is_file():
            return str(folder), command_line(VisualizeAttentionConfig, read_settings(place), always=("checkpoint",))
    named = f"sarjepa visualize-attention --checkpoint {run.typed}{root_option(root)}"
    return f"{folder} (no settings were kept; these are the defaults)", named


def _evaluated_with(report: Report) -> str:
    config_class = FinetuneConfig if report.protocol == "fine-tune" else ProbeConfig
    return command_line(config_class, report.settings, always=("checkpoint", "dataset"))
