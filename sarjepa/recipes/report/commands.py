"""The commands that made the content of the page, rebuilt from the settings that each command stored."""

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
from sarjepa.recipes.build_settings import build_settings
from sarjepa.recipes.report.results import Reports, Tables, attention_folders
from sarjepa.recipes.report.run_content import RunContent, root_option
from sarjepa.recipes.report.sources import built_index
from sarjepa.reports.elements import code_block, element
from sarjepa.reports.page import Section
from sarjepa.results.stored import SETTINGS, read_settings


def commands_section(run: RunContent, reports: Reports, tables: Tables, root: str, page: ReportConfig) -> Section:
    """The commands of the data, the training, the evaluations and the page itself.

    Example:
        >>> from sarjepa.recipes.report.run_content import read_run
        >>> section = commands_section(read_run(Path("runs/toy")), [], [], "data", ReportConfig())
        >>> ["".join(part.itertext()) for part in section.content[1:]]
        ['data: toy', 'sarjepa build-dataset --sources folder:PATH/toy', 'this page', 'sarjepa report --run runs/toy']
    """
    note = (
        "Rebuilt from the settings that each command kept: what differs from the defaults is spelt out, whether it was "
        "typed or came from a preset or a file."
    )
    steps: list[tuple[str, str]] = [(f"data: {source}", _built_with(source, root)) for source in run.sources]
    if run.settings:
        steps.append(
            ("pre-training", command_line(PretrainConfig, run.settings, always=("sources",), never=("resume",)))
        )
    for report in reports:
        config_class = FinetuneConfig if report.content.protocol == "fine-tune" else ProbeConfig
        line = command_line(config_class, report.content.settings, always=("checkpoint", "dataset"))
        steps.append((str(report.path.parent), line))
    steps += [(str(table.path.parent), command_line(FewshotBenchConfig, table.content.settings)) for table in tables]
    steps += [_looked_with(run, folder, root) for folder in attention_folders(run)]
    steps.append(("this page", command_line(ReportConfig, vars(page) | {"run": str(run.folder)})))
    content = [element("p", note, class_="note")]
    for name, line in steps:
        content += [element("h3", name), code_block(line)]
    return Section("commands", "Commands that made it", content)


def _built_with(source: str, root: str) -> str:
    try:
        built = built_index(source, root)
    except InputError:  # the section on data reports it
        built = None
    settings = build_settings(source, root, built.settings if built else {}, built.card if built else None)
    return command_line(BuildDatasetConfig, settings, always=("sources",))


def _looked_with(run: RunContent, folder: Path, root: str) -> tuple[str, str]:
    """Heading and command of a folder of attention pictures; several checkpoints share the settings above theirs."""
    for path in (folder, folder.parent):
        if path.name.startswith("attention") and (path / SETTINGS).is_file():
            return str(folder), command_line(VisualizeAttentionConfig, read_settings(path), always=("checkpoint",))
    line = f"sarjepa visualize-attention --checkpoint {run.typed}{root_option(root)}"
    return f"{folder} (no settings were kept; these are the defaults)", line
