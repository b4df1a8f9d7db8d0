"""One run as one page: complete, self-contained, honest about what is missing, the same bytes again."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from demo_run import train
from sarjepa.cli.app import main

from sarjepa.config import (
    FewshotBenchConfig,
    FinetuneConfig,
    PretrainConfig,
    ProbeConfig,
    ReportConfig,
    VisualizeAttentionConfig,
    as_dict,
)
from sarjepa.documents import read_record
from sarjepa.errors import InputError
from sarjepa.files import write_json
from sarjepa.overlay import overlay
from sarjepa.progress import Progress
from sarjepa.recipes import fewshot_bench, finetune, probe, report, visualize_attention
from sarjepa.recipes.report.results import Found, fewshot_lines
from sarjepa.results.records import ClassScores, FewshotResults, Report

SECTIONS = [
    "overview",
    "few-shot",
    "classes",
    "attention",
    "curves",
    "targets",
    "data",
    "settings",
    "files",
    "commands",
]
GOLDEN = Path(__file__).parents[1] / "golden" / "results"
VOID = {"img", "meta", "link", "br"}


class PageReader(HTMLParser):
    """What a browser would find: sections, links, pictures, text; stumbles over tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if attributes.get("id") else []  # type: ignore[list-item]
        for key in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            self.links += [attributes[key]] if attributes.get(key) else []  # type: ignore[list-item]
        if tag == "img":
            self.images.append(attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def a_report(**changes: object) -> Report:
    """A stored report with other content in some fields."""
    return replace(read_record(GOLDEN / "probe" / "report.json", Report), **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def full_run(synthetic_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all that the commands leave in it."""
    run = tmp_path_factory.mktemp("runs") / "full"
    common = {"data_root": str(synthetic_root), "device": "cpu"}
    train(synthetic_root, run, epochs=2, batch_size=30, image_size=32, window_size=3, probe_every=1, max_steps=3)
    one = {**common, "checkpoint": str(run), "dataset": "synthetic"}
    probe.run(ProbeConfig(**one, epochs=2), Progress())  # type: ignore[arg-type]
    finetune.run(FinetuneConfig(**one, shots=2, epochs=1, batch_size=5), Progress())  # type: ignore[arg-type]
    fewshot_bench.run(
        FewshotBenchConfig(**common, checkpoint=(str(run), "pixels"), datasets=("synthetic",), shots=(2, 4), runs=2,  # type: ignore[arg-type]
                           baselines=("none",),
                           epochs=2, out=str(run / "fewshot")), Progress()
    )  # fmt: skip
    looked = {**common, "checkpoint": str(run), "dataset": "synthetic", "num_images": 4}
    visualize_attention.run(overlay(VisualizeAttentionConfig, [("test", looked)]), Progress())
    return run


def write_report(run: Path, root: Path | str = "nowhere", out: Path | None = None, **changes: object) -> str:
    out = out or run.parent / "page.html"
    report.run(ReportConfig(run=str(run), data_root=str(root), out=str(out), **changes), Progress())  # type: ignore[arg-type]
    return out.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def full_page(full_run: Path, synthetic_root: Path) -> str:
    return write_report(full_run, synthetic_root)


@pytest.fixture
def bare_run(tmp_path: Path) -> Path:
    """A run that was interrupted early: settings and a log of three steps, the last line cut off."""
    run = tmp_path / 'a<b>&"c'
    run.mkdir()
    settings = as_dict(PretrainConfig(data_root="nowhere", sources=("mstar", "har<b>our"), lr=2e-3))
    (run / "settings.yaml").write_text(yaml.safe_dump({**settings, "of-another-version": 7}))
    lines = [json.dumps({"step": step, "epoch": 0, "loss": 1 / step, "lr": 0.1, "images/s": 9.5}) for step in (1, 2, 3)]
    (run / "log.jsonl").write_text("\n".join([*lines, '{"step": 4, "lo']))
    return run


def test_a_complete_run_has_every_section_and_misses_nothing(full_page: str) -> None:
    read = PageReader(full_page)
    assert [name for name in read.ids if name in SECTIONS] == SECTIONS and len(set(read.ids)) == len(read.ids)
    assert "Not in this report" not in read.text and "(incomplete)" not in read.text


def test_nothing_is_referred_to_outside_of_the_page(full_page: str) -> None:
    read = PageReader(full_page)
    anchors = [link for link in read.links if link.startswith("#")]
    assert {anchor[1:] for anchor in anchors} <= set(read.ids) and len(anchors) >= len(SECTIONS)
    assert all(link.startswith("data:") for link in read.links if link not in anchors)
    assert "url(" not in full_page and "@import" not in full_page and "<script" not in full_page


def test_every_picture_is_inside_and_described(full_page: str) -> None:
    images = PageReader(full_page).images
    kinds = []
    for image in images:
        kind, _, data = str(image["src"]).partition(",")
        kinds.append(kind)
        start = {"data:image/png;base64": b"\x89PNG", "data:image/svg+xml;base64": b"<?xml"}[kind]
        assert base64.b64decode(data).startswith(start) and image["alt"]
    assert kinds.count("data:image/png;base64") >= 8, "targets, plot, two confusions, three of attention, contact sheet"
    assert kinds.count("data:image/svg+xml;base64") == 7, "loss, rate, speed and the four numbers of the online probe"


def test_facts_settings_tables_and_checksums_are_those_of_the_files(full_run: Path, full_page: str) -> None:
    read = PageReader(full_page)
    settings = yaml.safe_load((full_run / "settings.yaml").read_text())
    assert all(name in read.text for name in settings)
    cells = json.loads((full_run / "fewshot" / "results.json").read_text())["cells"]
    assert all(f"{cell['mean']:.1f} ± {cell['std']:.1f}" in read.text for cell in cells)
    found = json.loads((full_run / "probe-synthetic" / "report.json").read_text())
    assert f"linear-probe on synthetic, the whole training split: {found['accuracy']:.1f}%" in read.text
    from sarjepa.files import sha256_of

    assert sha256_of(full_run / "encoder.safetensors") in read.text
    assert "3 of 4: 1.5 of 2 epochs" in read.text and "Simulated vehicles" in read.text


def test_the_commands_are_those_that_made_it(full_run: Path, full_page: str) -> None:
    text = PageReader(full_page).text.replace("\\\n", "")
    for command in ("build-dataset --sources synthetic", "pretrain --sources synthetic", "visualize-attention",
                    "report --run"):  # fmt: skip
        assert f"sarjepa {command}" in text
    for command, option in (("probe", "--epochs 2"), ("finetune", "--epochs 1"), ("fewshot-bench", "--epochs 2")):
        assert re.search(rf"sarjepa {command} --checkpoint [^\n]*{option}\b", text), command
    assert text.count(f"--checkpoint {full_run}") >= 3


def test_the_same_run_gives_the_same_bytes(full_run: Path, synthetic_root: Path, tmp_path: Path) -> None:
    inside = ReportConfig(run=str(full_run), data_root=str(synthetic_root))
    report.run(inside, Progress())
    first = (full_run / "report.html").read_bytes()
    report.run(inside, Progress())
    assert (full_run / "report.html").read_bytes() == first


def test_what_is_missing_is_named_with_its_command(bare_run: Path) -> None:
    text = PageReader(write_report(bare_run)).text
    quoted = shlex.quote(str(bare_run))
    for gap, command in {
        "no few-shot table": f"fewshot-bench --checkpoint {quoted}",
        "no report of probe": f"probe --checkpoint {quoted}",
        "no report of finetune": "finetune",
        "no attention pictures": "visualize-attention",
        "targets.png is not there": "--resume",
        "encoder.safetensors is not there": "--resume",
        "no data card of mstar": "build-dataset --sources mstar --data-root nowhere",
        "no data card of har<b>our": "folder:PATH/har<b>our",
        "lines of log.jsonl that cannot be read: 1": "",
    }.items():
        assert text.count(gap) == 2, "in its section and in the overview"
        assert command in text


def test_names_with_special_characters_are_shown_as_they_are(bare_run: Path) -> None:
    names = ["<script>alert(1)</script>", 'a "b" & c', "</table>"]
    made = a_report(checkpoint="<run>", dataset="<set>", label_set="<all>", short={"<few>": 1},
                    per_class=dict.fromkeys(names, ClassScores(50.0, None, 2)))  # fmt: skip
    (bare_run / "probe-<x>").mkdir()
    write_json(bare_run / "probe-<x>" / "report.json", made)
    page = write_report(bare_run)
    read = PageReader(page)
    for name in (*names, "<run>", "<set>", "<few> has 1", bare_run.name, "har<b>our", "probe-<x>"):
        assert name in read.text
    assert "<script" not in page and "of-another-version" in read.text


def test_damaged_and_foreign_files_are_named(full_run: Path, synthetic_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(full_run, run, ignore=shutil.ignore_patterns("*.html"))
    (run / "targets.png").write_bytes((run / "targets.png").read_bytes()[:100])
    (run / "probe-synthetic" / "report.json").write_text("{")
    (run / "fewshot" / "results.json").write_text('{"cells": [{"mean": 1}], "runs": [], "settings": {}}')
    (run / "encoder.safetensors").write_bytes(b"no weights")
    text = PageReader(write_report(run, synthetic_root)).text
    for words in ("targets.png cannot be shown", f"not readable as JSON: {run / 'probe-synthetic' / 'report.json'}",
                  f"a key is missing: cells.0.protocol in {run / 'fewshot' / 'results.json'}",
                  "the encoder cannot be read", "no report of probe"):  # fmt: skip
        assert words in text


def test_tables_elsewhere_are_shown_when_named_or_when_the_weights_are_the_run_s(
    full_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, results = tmp_path / "run", tmp_path / "results" / "mine"
    shutil.copytree(full_run, run, ignore=shutil.ignore_patterns("fewshot", "*.html"))
    shutil.copytree(full_run / "fewshot", results)
    monkeypatch.chdir(tmp_path)
    assert "results/mine" in PageReader(write_report(run)).text
    strange = json.loads((results / "results.json").read_text())
    for row in strange["runs"]:
        row["weights_sha256"] = "of another run"
    (results / "results.json").write_text(json.dumps(strange))
    assert "no few-shot table" in PageReader(write_report(run)).text
    named = PageReader(write_report(run, results=("results/mine",))).text
    assert "synthetic: accuracy (%)" in named and "No row of these tables was measured with the weights" in named
    with pytest.raises(InputError, match=r"no results in the folder.*nowhere"):
        write_report(run, results=("nowhere",))


def test_attention_of_several_checkpoints_is_shown_a_folder_each_with_its_command(
    full_run: Path, synthetic_root: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(full_run, run, ignore=shutil.ignore_patterns("attention", "*.html"))
    both = run / "attention-of-two"
    for name in ("one", "<two>"):
        (both / name).mkdir(parents=True)
        shutil.copy(run / "targets.png", both / name / "maps.png")
    (both / "settings.yaml").write_text(yaml.safe_dump({"num-images": 9}))
    (both / "rollout.pdf").write_bytes(b"%PDF")
    text = PageReader(write_report(run, synthetic_root)).text
    for words in ("attention-of-two/one", "attention-of-two/<two>", "visualize-attention --checkpoint",
                  "--num-images 9", "cannot show the PDF pictures", "--format png"):  # fmt: skip
        assert words in text
    (both / "settings.yaml").write_text("a: [")
    with pytest.raises(InputError, match=r"not readable as YAML: .*attention-of-two"):
        write_report(run, synthetic_root)


def test_a_report_to_pass_on_holds_no_chip(full_run: Path, synthetic_root: Path) -> None:
    read = PageReader(write_report(full_run, synthetic_root, chips=False))
    shown = {str(image["alt"]) for image in read.images}
    assert {"accuracy against shots", "attention distance per head and block", "confusion matrix"} <= shown
    assert not [alt for alt in shown if alt.startswith(("contact", "chips,", "attention of", "nearest"))]
    assert "as asked" in read.text and "Not in this report" not in read.text


def test_the_newest_run_is_reported_where_none_is_named(
    full_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no run to report on.*give --run"):
        report.run(ReportConfig(), Progress())
    shutil.copytree(full_run, tmp_path / "runs" / "newest", ignore=shutil.ignore_patterns("*.html"))
    report.run(ReportConfig(), Progress())
    assert "<title>newest: sar-jepa</title>" in (tmp_path / "runs" / "newest" / "report.html").read_text()


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("nowhere", "no such run folder"),
        ("empty", "not a run folder"),
        ("file", "no such run folder"),
        ("damaged", "not readable as YAML"),
        ("list", "not a mapping"),
    ],
)
def test_a_bad_run_is_one_line_and_leaves_nothing(tmp_path: Path, run: str, words: str) -> None:
    for name, text in {"damaged": "a: [", "list": "[1]"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.yaml").write_text(text)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=words) as caught:
        report.run(ReportConfig(run=str(tmp_path / run)), Progress())
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("report.html*"))


def test_the_command_ends_with_exit_code_1_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["sarjepa", "report", "--run", "nowhere"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 1 and not told.out
    assert len(told.err.strip().splitlines()) == 1 and told.err.startswith("error: no such run folder: nowhere")


def test_an_export_alone_is_enough(toy_run: Path, tmp_path: Path) -> None:
    text = PageReader(write_report(toy_run, out=tmp_path / "deep" / "er" / "page.html")).text
    assert "settings.yaml is not in the run folder" in text and "16 wide, 2 blocks" in text
    assert "the method's own" in text, "the target of a file that does not say"
    assert "--resume" not in text, "there is nothing to go on with"


def test_a_folder_where_the_page_would_go_is_refused(bare_run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder stands where the page would go"):
        report.run(ReportConfig(run=str(bare_run), out=str(tmp_path)), Progress())


def test_a_set_that_was_built_before_is_told_by_its_manifest_and_a_damaged_index_is_a_gap(
    full_run: Path, synthetic_root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "shards" / "synthetic"
    shutil.copytree(synthetic_root / "shards" / "synthetic", folder)
    index = json.loads((folder / "index.json").read_text())
    assert index.pop("card")["title"] == "Simulated vehicles"
    (folder / "index.json").write_text(json.dumps(index))
    assert "Simulated vehicles" in PageReader(write_report(full_run, tmp_path)).text
    (folder / "index.json").write_text(json.dumps({**index, "counts": 7}))
    text = PageReader(write_report(full_run, tmp_path)).text
    assert f"no data card of synthetic: damaged or of another version: counts in {folder / 'index.json'}" in text
    assert "build-dataset --sources synthetic --data-root" in text and "--force" in text


def test_cards_are_those_of_the_sources_whatever_the_test_chips_suffer(
    full_run: Path, synthetic_root: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(full_run, tmp_path / "run", ignore=shutil.ignore_patterns("*.html")))
    stored = (run / "fewshot" / "results.json").read_text()
    for name in ("synthetic-under-speckle=2", "synthetic-tested-on-hafen-under-gain=0.5"):
        (run / name).mkdir()
        (run / name / "results.json").write_text(stored.replace('"synthetic"', f'"{name}"'))
    text = PageReader(write_report(run, synthetic_root)).text
    assert text.count("Chips of synthetic.") == 1 and "synthetic-under-speckle=2: accuracy (%)" in text
    assert re.findall("no data card of ([^:]+):", text) == ["hafen"] * 2, "in its section and in the overview"


def test_the_chips_of_the_training_are_told_from_others(
    full_run: Path, synthetic_root: Path, full_page: str, tmp_path: Path
) -> None:
    assert "the run was trained on these chips" in PageReader(full_page).text
    folder = Path(shutil.copytree(synthetic_root / "shards" / "synthetic", tmp_path / "shards" / "synthetic"))
    index = json.loads((folder / "index.json").read_text())
    index["shards"][0]["sha256"] = "0" * 64
    (folder / "index.json").write_text(json.dumps(index))
    text = PageReader(write_report(full_run, tmp_path)).text
    assert "synthetic was built anew since" in text and "the run was trained on these chips" not in text


def test_a_number_that_stands_in_two_tables_is_said_once() -> None:
    stored = read_record(GOLDEN / "single" / "results.json", FewshotResults)
    cells = tuple(replace(stored.cells[0], shots=shots, mean=50.0, std=1.0) for shots in (10, 20))
    table = Found(Path("results.json"), replace(stored, cells=cells))
    run = SimpleNamespace(weights_sha256=stored.runs[0].weights_sha256)
    lines = fewshot_lines(run, [table, table])  # type: ignore[arg-type]
    assert lines == [
        "mstar, linear-probe, feature cls, solver adamw, split published, recipe published, augmentation none: "
        "50.0 ± 1.0% (10 shots), 50.0 ± 1.0% (20 shots)"
    ]


def test_lines_of_several_tables_are_sorted_marked_and_told_apart() -> None:
    stored = read_record(GOLDEN / "single" / "results.json", FewshotResults)
    cell = replace(stored.cells[0], std=1.0)
    many = replace(cell, shots=500, mean=27.0, short={"T72": 232})
    few = [replace(cell, shots=shots, mean=20.0 + shots) for shots in (5, 1)]
    more_runs = [replace(cell, shots=shots, mean=21.0 + shots, num_runs=7, incomplete=True) for shots in (5, 1)]
    tables = [
        Found(Path(f"results/{name}/results.json"), replace(stored, cells=tuple(cells)))
        for name, cells in (("e1", [many, *few]), ("e2", more_runs), ("copy-of-e2", more_runs))
    ]
    run = SimpleNamespace(weights_sha256=stored.runs[0].weights_sha256)
    first, second = fewshot_lines(run, tables)  # type: ignore[arg-type]
    assert first.startswith("results/e1: mstar, linear-probe") and second.startswith("results/e2: mstar, linear-probe")
    assert first.endswith(": 21.0 ± 1.0% (1 shot), 25.0 ± 1.0% (5 shots), 27.0 ± 1.0%* (500 shots); "
                          "* fewer chips than shots in some classes")  # fmt: skip
    assert second.endswith(": 22.0 ± 1.0% (1 shot, 7 runs), 26.0 ± 1.0% (5 shots, 7 runs)")


def test_a_run_of_views_shows_them_and_misses_no_targets(synthetic_root: Path, tmp_path: Path) -> None:
    train(synthetic_root, tmp_path / "run", method="views", max_steps=1)
    page = PageReader(write_report(tmp_path / "run"))
    assert "targets.png is not there" not in page.text and "views of them with what was drawn for each" in page.text
