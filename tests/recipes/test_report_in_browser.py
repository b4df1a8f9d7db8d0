"""The page in a real browser: nothing runs over its edge, no picture is missing, light and dark are followed.

Needs Chromium or Chrome on the machine and is skipped without. The page has no script and forbids scripts; the test
looks at a copy in which the policy is taken out and a script put in that tells what the browser made of it. The copy is
shown in a frame of the wanted width, because a headless window cannot be narrower than 500 px.
"""

from __future__ import annotations

import html
import http.server
import json
import re
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sarjepa.config import PretrainConfig, ReportConfig, as_dict
from sarjepa.documents import read_record
from sarjepa.files import json_text, write_json
from sarjepa.progress import Progress
from sarjepa.recipes import report
from sarjepa.reports.elements import element
from sarjepa.reports.page import Section, html_page
from sarjepa.results.records import ClassScores, Report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")
DARK = "--blink-settings=preferredColorScheme=0"
PROBE = """<script>addEventListener("load", () => {
  document.querySelectorAll("details").forEach(one => one.open = true)
  parent.postMessage(JSON.stringify({
  width: innerWidth, content: document.documentElement.scrollWidth, height: document.documentElement.scrollHeight,
  images: [...document.images].map(image => [image.naturalWidth, image.clientWidth]),
  boxes: [...document.querySelectorAll(".scroll")].map(box => [box.clientWidth, box.scrollWidth]),
  tables: [...document.querySelectorAll("table")].map(table => [table.parentElement.clientWidth, table.scrollWidth]),
  paper: getComputedStyle(document.body).backgroundColor, font: parseFloat(getComputedStyle(document.body).fontSize),
}), "*")})</script>"""
HOST = """<body><iframe src="copy.html" style="border:0;width:{width}px;height:800px"></iframe><pre></pre>
<script>addEventListener("message", told => document.querySelector("pre").textContent = told.data)</script>"""


def browse(file: Path, *options: str) -> str:
    """The document as it is when the browser has loaded a file."""
    assert BROWSER
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={file.parent / 'profile'}",
             *options, "--dump-dom", file.as_uri()]  # fmt: skip
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout


def look(page: str, width: int, folder: Path, *options: str) -> dict[str, Any]:
    """What the browser makes of a page at a width (px)."""
    folder.mkdir(parents=True, exist_ok=True)
    free = re.sub(r"<meta http-equiv[^>]*>", "", page)
    (folder / "copy.html").write_text(free.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    (folder / "host.html").write_text(HOST.format(width=width), encoding="utf-8")
    shown = browse(folder / "host.html", "--virtual-time-budget=10000", *options)
    found = re.search(r"<pre>(.*)</pre>", shown, re.DOTALL)
    assert found and found[1], shown[-500:]
    return json.loads(html.unescape(found[1]))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run with long names, wide tables and wide pictures."""
    run = tmp_path_factory.mktemp("browser") / (
        "a-run-with-a-name-that-is-far-longer-than-a-telephone-is-wide-" + 60 * "x"
    )
    run.mkdir()
    settings = as_dict(PretrainConfig(data_root="nowhere", sources=tuple(f"source{n}" for n in range(12)), lr=3e-4))
    (run / "settings.yaml").write_text(json_text(settings))  # JSON is YAML
    records = [
        {"step": n, "epoch": 0, "loss": 1 / n, "lr": 0.1, "images/s": 9.5, "knn": 20.0 + n} for n in range(1, 99)
    ]
    (run / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    classes = {f"class-{n}-{'w' * 30}": ClassScores(50.0, None, 2) for n in range(5)}
    stored = read_record(Path(__file__).parents[1] / "golden" / "results" / "probe" / "report.json", Report)
    for folder in ("probe", "attention"):
        (run / folder).mkdir()
        Image.new("L", (1300, 300), 128).save(run / folder / "maps.png")
    Image.new("L", (2000, 700), 128).save(run / "targets.png")
    write_json(run / "probe" / "report.json", replace(stored, per_class=classes, checkpoint="/".join(["folder"] * 30)))
    report.run(ReportConfig(run=str(run), data_root="nowhere"), Progress())
    return (run / "report.html").read_text(encoding="utf-8")


@needs_browser
@pytest.mark.parametrize("width", [360, 400, 1400])
def test_the_page_fits_its_window_and_every_picture_is_there(page: str, width: int, tmp_path: Path) -> None:
    seen = look(page, width, tmp_path)
    assert seen["width"] >= width - 20, "the frame is as wide as asked for, but for a scroll bar"
    assert seen["content"] <= seen["width"], "nothing runs over the edge"
    assert len(seen["images"]) == 3 + 4, "pictures and curves"
    assert all(natural > 0 and shown > 100 for natural, shown in seen["images"])
    assert seen["font"] >= 16
    scrolled = [content > box for box, content in seen["boxes"]]
    assert any(scrolled) if width < 1400 else not all(scrolled), "what is wide scrolls inside its box"
    fits = [content <= box for box, content in seen["tables"]]
    assert fits and (all(fits) or width == 1400), "no number is off a telephone's screen"


@needs_browser
def test_the_page_follows_the_reader_s_choice_of_light_or_dark(page: str, tmp_path: Path) -> None:
    light, dark = look(page, 800, tmp_path / "light"), look(page, 800, tmp_path / "dark", DARK)
    assert light["paper"] == "rgb(255, 255, 255)"
    assert max(map(int, re.findall(r"\d+", dark["paper"])[:3])) < 60


@needs_browser
@pytest.mark.parametrize("allowed", [False, True])
def test_the_page_s_policy_keeps_the_browser_from_fetching(page: str, tmp_path: Path, allowed: bool) -> None:
    asked: list[str] = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stray = f'<img src="http://127.0.0.1:{server.server_port}/stray.png" alt="">'
        changed = page.replace("</body>", stray + "</body>")
        changed = re.sub(r"<meta http-equiv[^>]*>", "", changed) if allowed else changed
        (tmp_path / "copy.html").write_text(changed, encoding="utf-8")
        browse(tmp_path / "copy.html")
        server.shutdown()
    assert asked == (["/stray.png"] if allowed else [])


@needs_browser
def test_this_test_sees_a_missing_picture_and_a_page_that_is_too_wide(tmp_path: Path) -> None:
    broken = element("img", src="data:image/png;base64,AAAA", alt="broken")
    wide = element("div", "wider than the screen", style="width: 900px")
    seen = look(html_page("t", "l", [Section("a", "A", [broken, wide])], "e"), 360, tmp_path)
    assert [natural for natural, _ in seen["images"]] == [0]
    assert seen["content"] > seen["width"]
