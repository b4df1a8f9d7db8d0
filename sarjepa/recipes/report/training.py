"""The sections of a report on the training itself: settings, curves, targets, files.

The curves are drawn again from the log, as SVG, which is sharp at every width.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from sarjepa.config import PretrainConfig
from sarjepa.files import sha256_of
from sarjepa.models.addresses import RUN_FILES
from sarjepa.overlay import plain, shown
from sarjepa.recipes.report.run_content import RunContent
from sarjepa.reports.elements import element, picture, picture_or_notice, table_element
from sarjepa.reports.figures import figure_bytes
from sarjepa.reports.page import Gap, Section
from sarjepa.reports.pictures import shown_picture
from sarjepa.reports.pretraining import curve_figure, curves_of
from sarjepa.results.stored import SETTINGS
from sarjepa.results.tables import Table, counted
from sarjepa.setting import settings_of
from sarjepa.training.log import LOG


def settings_section(run: RunContent) -> Section:
    """Every setting, those that differ from the defaults first.

    Example:
        >>> from sarjepa.recipes.report.run_content import read_run
        >>> run = read_run(Path("runs/toy"))
        >>> run.settings.update({"method": "mae", "epochs": 200})
        >>> settings_section(run).folded
        '1 of 2 settings differ from the defaults'
    """
    if not run.settings:
        return Section("settings", "Settings", gaps=(Gap(f"{SETTINGS} is not in the run folder; a new run stores it"),))
    known = {setting.name: setting for setting in settings_of(PretrainConfig)}
    changed, same = [], []
    for name, value in run.settings.items():
        if name not in known:
            changed.append((name, shown(value), "-", "not a setting of this version"))
        elif value != plain(known[name].default):
            changed.append((name, shown(value), shown(plain(known[name].default)), known[name].help))
        else:
            same.append((name, shown(value), known[name].help))
    absent = [name for name in known if name not in run.settings]
    note = f"Not stored in the run: {', '.join(absent)}." if absent else ""
    return Section(
        "settings",
        "Settings",
        [
            table_element(
                Table("Different from the defaults", ("setting", "value", "default", "what it is"), tuple(changed))
            ),
            table_element(Table("As the defaults", ("setting", "value", "what it is"), tuple(same), note)),
        ],
        folded=f"{len(changed)} of {len(run.settings)} settings differ from the defaults",
    )


def curves_section(run: RunContent) -> Section:
    """A chart for every number of the log.

    Example:
        >>> from sarjepa.recipes.report.run_content import read_run
        >>> run = read_run(Path("runs/toy"))
        >>> run.records.extend([{"step": 1, "loss": 0.9}, {"step": 2, "loss": 0.7}])
        >>> "".join(curves_section(run).content[0].itertext())
        'First 0.9 at step 1, last 0.7 at step 2; lowest 0.7 at step 2, highest 0.9 at step 1.'
    """
    curves = curves_of(run.records)
    if not curves:
        drawn = run.folder / "curves.png"
        alt = "loss, learning rate and images a second against steps"
        content = [picture_or_notice(drawn, alt, "As drawn while it ran.")] if drawn.is_file() else []
        return Section("curves", "Curves", content, (Gap(f"{LOG} holds no step", run.resume),))
    charts = [
        picture(figure_bytes(curve_figure(curve), "svg"), f"{curve.name} against steps", curve.in_words())
        for curve in curves
    ]
    note = "Line: mean of neighbouring steps. Band: their smallest to largest value."
    if not any(curve.key == "knn" for curve in curves):
        note += " No online probe is in the log (pretrain --probe-every N)."
    cut = (Gap(f"lines of {LOG} that cannot be read: {run.num_cut_lines}"),) if run.num_cut_lines else ()
    content = [element("div", *charts, class_="charts"), element("p", note, class_="note")]
    return Section("curves", "Curves", content, cut)


def targets_section(run: RunContent, chips: bool) -> Section:
    """Targets and predictions of the run, and its views and pairs.

    Example:
        >>> from sarjepa.recipes.report.run_content import read_run
        >>> run = read_run(Path("runs/toy"))
        >>> targets_section(run, chips=True).gaps[0].what, targets_section(run, chips=False).gaps
        ('targets.png is not there', ())
    """
    path = run.folder / "targets.png"
    if not chips:
        return Section("targets", "Targets", [element("p", "Left out, as asked: the picture shows chips of the data.")])
    others = [run.folder / name for name in ("views.png", "pairs.png")]
    content = [shown_picture(other) for other in others if other.is_file()]
    if not path.is_file():
        if content and run.describe and not run.describe.get("target"):  # the method compares views, without a target
            return Section("targets", "Views", content)
        return Section("targets", "Targets", content, (Gap("targets.png is not there", run.resume),))
    caption = (
        "Input, what is masked, then each channel of the target with the prediction of its masked patches beside it; "
        "without, where tokens are predicted and not pictures."
    )
    alt = f"chips, masked patches, {run.known('target') or 'the'} targets and predictions"
    return Section("targets", "Targets", [*content, picture_or_notice(path, alt, caption)])


def files_section(run: RunContent, out: Path) -> Section:
    """The files of the run folder, and checksums of exported weights.

    Example:
        >>> from sarjepa.recipes.report.run_content import read_run
        >>> sums, _ = files_section(read_run(Path("runs/toy")), Path("report.html")).content
        >>> [row[0].text for row in sums.iter("tr")][1:3]
        ['encoder.safetensors', 'finetune-toy/classifier.safetensors']
    """
    files = sorted(path for path in run.folder.iterdir() if path.is_file() and path.suffix not in (".html", ".partial"))
    exports = sorted(path for path in run.folder.rglob("*.safetensors") if path.is_file())
    sizes = tuple((path.name, f"{path.stat().st_size:,}") for path in files if path.resolve() != out.resolve())
    sums = tuple((path.relative_to(run.folder).as_posix(), sha256_of(path)) for path in exports)
    if run.weights_sha256:
        sums += (("the encoder's weights alone, as results carry them", run.weights_sha256),)
    content: list[Element] = []
    if sums:
        content.append(table_element(Table("Checksums of what is passed on", ("file", "sha256"), sums)))
    content.append(table_element(Table("In the run folder", ("file", "bytes"), sizes)))
    gaps = []
    if not (run.folder / RUN_FILES[0]).is_file():
        gaps.append(Gap(f"{RUN_FILES[0]} is not there: the run did not end", run.resume))
    if run.encoder_fault:
        gaps.append(Gap(f"the encoder cannot be read: {run.encoder_fault}"))
    return Section("files", "Files and checksums", content, tuple(gaps), folded=f"{counted(len(sizes), 'file')}")
