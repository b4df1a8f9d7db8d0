"""report: a run and all that is known of it as one HTML file.

Its readers may have neither the run nor a network: a colleague, a reviewer, the author two years later. So the file
contains everything, and names what is missing, with the command that makes it. The page is a function of the files: the
same run gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sarjepa.config import ReportConfig
from sarjepa.errors import InputError
from sarjepa.evaluation.benchmark import sources_of
from sarjepa.files import write_atomically
from sarjepa.models.addresses import newest_run
from sarjepa.progress import Progress
from sarjepa.recipes.report.commands import commands_section
from sarjepa.recipes.report.results import (
    Reports,
    Tables,
    attention_section,
    class_section,
    fewshot_lines,
    fewshot_section,
    find_results,
    find_tables,
    report_line,
)
from sarjepa.recipes.report.run_content import RunContent, overview_facts, read_run
from sarjepa.recipes.report.sources import data_root_of, data_section
from sarjepa.recipes.report.training import curves_section, files_section, settings_section, targets_section
from sarjepa.reports.elements import bullets, element, facts
from sarjepa.reports.page import Section, gap_list, html_page
from sarjepa.results.records import REPORT, Report
from sarjepa.results.result import Result
from sarjepa.results.tables import counted
from sarjepa.version import __version__


def run(config: ReportConfig, progress: Progress) -> Result:
    """Gather a run into one page, with a note on each missing part.

    Raises:
        InputError: there is no such run, or a folder or file of the settings cannot be read.

    Example:
        >>> run(ReportConfig(run="runs/toy", out="toy.html"), Progress()).message  # no evaluation, log or settings yet
        'toy.html: 10 sections, 8 things missing, 0.0 MB'
    """
    if config.is_typed("data_root") and not Path(config.data_root).is_dir():
        raise InputError("no such folder", where=f"--data-root {config.data_root}")
    try:
        folder = Path(config.run or newest_run())
    except InputError as error:
        hint = "give --run, or run sarjepa pretrain first"
        raise InputError("no run to report on", where=error.where, hint=hint) from error
    content = read_run(folder)
    out = Path(config.out) if config.out else content.folder / "report.html"
    if out.is_dir():
        raise InputError("a folder stands where the page would go", where=out, hint="give --out a file name")
    sections = _sections(content, config, out)
    title = f"{content.folder.resolve().name}: {content.known('method') or 'run'}"
    method = content.known("method") or "a method that is not stored"
    sources = ", ".join(content.sources) or "sources that are not stored"
    lead = f"Self-supervised pre-training with {method} on {sources}."
    page = html_page(title, lead, sections, f"Written by sarjepa {__version__}.")
    out.parent.mkdir(parents=True, exist_ok=True)
    # Bytes of file names that are not text are shown as question marks.
    write_atomically(out, page.encode("utf-8", errors="replace"))
    gaps = [gap for section in sections for gap in section.gaps]
    for gap in gaps:
        progress.note(f"not in the report: {gap.what}" + (f"; {gap.command}" if gap.command else ""))
    size = len(page) / 1e6
    return Result(
        f"{out}: {counted(len(sections), 'section')}, {counted(len(gaps), 'thing')} missing, {size:.1f} MB", out.parent
    )


def _sections(content: RunContent, config: ReportConfig, out: Path) -> list[Section]:
    reports, bad_reports = find_results(REPORT, Report, [content.folder])
    tables, bad_tables = find_tables(content, config.results)
    root = data_root_of(content, config.data_root)
    evaluated = [report.content.dataset for report in reports]
    evaluated += [cell.dataset for table in tables for cell in table.content.cells]
    underlying = [source for name in evaluated for source in sources_of(name)]
    sources = list(dict.fromkeys([*content.sources, *underlying]))
    sections = [
        fewshot_section(content, tables, bad_tables, root),
        class_section(content, reports, bad_reports, root, config.chips),
        attention_section(content, root, config.chips),
        curves_section(content),
        targets_section(content, config.chips),
        data_section(content, sources, root, config.chips),
        settings_section(content),
        files_section(content, out),
        commands_section(content, reports, tables, root, config),
    ]
    return [_overview(content, reports, tables, sections), *sections]


def _overview(content: RunContent, reports: Reports, tables: Tables, sections: Sequence[Section]) -> Section:
    """Results in one line each, facts, and what is missing."""
    parts = []
    if lines := [*fewshot_lines(content, tables), *map(report_line, reports)]:
        parts += [element("h3", "Results in a line each"), bullets(lines)]
    parts.append(facts(overview_facts(content)))
    if missing := gap_list(sections):
        parts += [element("h3", "Not in this report"), *missing]
    return Section("overview", "Overview", parts)
