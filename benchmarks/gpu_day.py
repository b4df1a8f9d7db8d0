"""What a machine with a GPU is asked in one day, as one dated report.

The tests that need a GPU, the ratio kernel and the pre-training step against the plain ways, then real pre-trainings of
a given number of hours on the sets that are built (a ViT-S and a ViT-B by sar-jepa, and the ViT-B on by views), and the
few-shot table of all of them by both recipes. Stopped anywhere, the same call goes on; a step that is done is not done
again.

    python benchmarks/gpu_day.py --data-root data --hours 12
    python benchmarks/gpu_day.py --data-root data --size demo --hours 0.05      # the same walk on a CPU, in minutes

A cosine schedule must end where the hours do. So each pre-training is first tried for some steps, and the number of its
epochs follows from their rate. A quarter of the hours goes to the ViT-S, a half to the ViT-B, a quarter to its views.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

from sarjepa.data.built import built_datasets
from sarjepa.models.checkpoints import load_encoder
from sarjepa.results.provenance import machine

# Preset of the pre-trainings and of their views, models, steps of the trial, what the few-shot table is told.
SIZES = {
    "paper": ("paper", "paper-views", ("vit-small", "vit-base"), 60, ("--crop", "published")),
    "demo": ("demo", "demo-views", ("vit-demo", "vit-laptop"), 6, ("--shots", "5", "--runs", "2")),
}
DOWNSTREAM = ("mstar", "fusarship", "saracd", "synthetic")


class Day:
    """The steps of the day.

    Args:
        folder: of the runs and of what each step said.
        common: settings of every command of the package.
    """

    def __init__(self, folder: Path, common: tuple[str, ...]) -> None:
        self.folder, self.common = folder, common
        self.report: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)

    def step(self, name: str, *words: str, tail: int = 20) -> None:
        """Run a command unless it is done; its end goes into the report, also where it failed."""
        said, done = self.folder / f"{name}.txt", self.folder / f"{name}.json"
        if not done.is_file():
            print(f"{datetime.datetime.now():%H:%M} {name}: {shlex.join(words)}", flush=True)
            began = time.time()
            with said.open("w") as output:
                code = subprocess.run(words, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
            record = {"command": shlex.join(words), "code": code, "seconds": round(time.time() - began)}
            (done if code == 0 else done.with_suffix(".failed")).write_text(json.dumps(record))
        else:
            record = json.loads(done.read_text())
        lines = said.read_text(errors="replace").strip().splitlines()[-tail:]
        command = record["command"].replace(sys.executable, "python")
        outcome = f"{record['seconds']} s" if record["code"] == 0 else f"failed with {record['code']}"
        self.report += [f"## {name}", "", f"`{command}`: {outcome}", "", "```", *lines, "```", ""]

    def sarjepa(self, name: str, command: str, *words: str, tail: int = 20) -> None:
        """A command of the package."""
        self.step(name, sys.executable, "-m", "sarjepa", command, *words, *self.common, tail=tail)

    def pretrain(self, name: str, hours: float, num_trial: int, *words: str) -> Path:
        """A pre-training of about so many hours; its folder."""
        run, trial = self.folder / name, self.folder / f"{name}-trial"
        self.sarjepa(
            f"{name}-trial", "pretrain", *words, "--run-dir", str(trial), "--max-steps", str(num_trial), tail=1
        )
        if not (trial / "log.jsonl").is_file():
            sys.exit(f"the trial of {name} took no step: see {self.folder / name}-trial.txt")
        num_chips = load_encoder(trial).describe["num_chips"]
        records = [json.loads(line) for line in (trial / "log.jsonl").read_text().splitlines()]
        rate = statistics.median(record["images/s"] for record in records[len(records) // 2 :])
        epochs = max(1, round(hours * 3600 * rate / num_chips))
        self.report += [f"{rate:.0f} images/s: {epochs} epochs of {num_chips} chips in {hours:.2g} hours", ""]
        resume = ("--resume",) if (run / "checkpoint-last.pt").is_file() else ()
        warmup = str(max(1, round(0.1 * epochs)) if epochs > 1 else 0)
        length = ("--epochs", str(epochs), "--warmup-epochs", warmup)
        self.sarjepa(name, "pretrain", *words, "--run-dir", str(run), *length, *resume, tail=2)
        return run


def main() -> None:
    """Walk the day and write its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--hours", type=float, default=12.0, help="of pre-training, in all")
    parser.add_argument("--size", choices=SIZES, default="paper")
    parser.add_argument("--runs", type=Path, default=Path("runs/gpu-day"))
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    preset, views_preset, models, num_trial, told = SIZES[arguments.size]
    sources = built_datasets(arguments.data_root)
    sources = [name for name in sources if (name == "synthetic") == (arguments.size == "demo")]
    if not sources:
        sys.exit(f"no set is built under {arguments.data_root}: run sarjepa build-dataset first")
    measured = [name for name in sources if name in DOWNSTREAM]
    day = Day(arguments.runs, ("--data-root", arguments.data_root))
    python = sys.executable
    if arguments.size == "paper":
        day.step("tests", python, "-m", "pytest", "-m", "gpu", "-q", tail=3)
        for name in ("ratio", "pretrain_step"):
            day.step(name, python, f"benchmarks/{name}.py", tail=60)
    given = ("--sources", ",".join(sources))
    runs = [
        day.pretrain(model, share * arguments.hours, num_trial, "--preset", preset, "--model", model, *given)
        for model, share in zip(models, (0.25, 0.5), strict=True)
    ]
    more = ("--preset", views_preset, "--model", models[1], *given, "--init", str(runs[-1]))
    runs.append(day.pretrain(f"{models[1]}-views", 0.25 * arguments.hours, num_trial, *more))
    checkpoints = [word for run in (*runs, f"random:{runs[0]}") for word in ("--checkpoint", str(run))]
    for recipe in ("published", "augmented"):
        out = arguments.runs / f"few-shot-{recipe}"
        told_of = ("--preset", preset, "--datasets", ",".join(measured), "--recipe", recipe, *told)
        day.sarjepa(f"few-shot-{recipe}", "fewshot-bench", *told_of, *checkpoints, "--out", str(out), tail=1)
        if (out / "table.md").is_file():
            day.report += [(out / "table.md").read_text(), ""]
    today = datetime.date.today()
    facts = [f"- {key}: {value}" for key, value in machine().items()]
    head = [
        f"# A day on a GPU, {today}",
        "",
        f"{arguments.hours:g} hours of pre-training asked, size {arguments.size}.",
        "",
    ]
    out = arguments.out or Path(__file__).parent / "results" / f"gpu-day-{today}.md"
    out.write_text("\n".join([*head, *facts, "", *day.report]))
    print(f"report: {out}")


if __name__ == "__main__":
    main()
