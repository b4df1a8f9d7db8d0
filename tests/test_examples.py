"""The examples in docstrings do what they show; every public function has one, but for those named here."""

from __future__ import annotations

import ast
import doctest
import importlib
import shutil
from pathlib import Path

import pytest
import torch

import sarjepa
from sarjepa.evaluation.classifier import classifier_bytes
from sarjepa.models.addresses import CLASSIFIER_FILE
from sarjepa.models.heads import Classifier, Head

FUNCTIONS = [name for name in sarjepa.__all__ if callable(getattr(sarjepa, name))]
ROOT = Path(sarjepa.__file__).parent
WITH_EXAMPLES = [
    ".".join(("sarjepa", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(ROOT.rglob("*.py"))
    if any(">>>" in (ast.get_docstring(node) or "") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
           if isinstance(node, ast.FunctionDef | ast.ClassDef))
]  # fmt: skip

WITHOUT = {  # by what an example would need
    "a network": {"models.addresses.fetch", "recipes.push.run"},
    "a GPU": {"ops.ratio_triton.ratio_triton"},
    "several processes": {"recipes.pretrain.state.with_whole_weights"},
    "seconds": {
        "recipes.pretrain.run", "recipes.pretrain.views_picture.views_picture", "recipes.visualize_attention.run",
        "recipes.evaluating.labelling.label_chips", "training.runtime.check_compiler"},
    "the machine's own output": {
        "results.provenance.commit", "results.provenance.processor", "results.provenance.machine"},
    "a record of some 25 fields": {
        "recipes.evaluating.class_report.report_of", "recipes.evaluating.class_report.write_report",
        "recipes.report.results.report_line", "recipes.report.results.fewshot_lines", "recipes.reproduce.files.gather",
        "reports.class_table.class_table", "reports.fewshot_tables.dataset_note", "reports.fewshot_tables.plot",
        "reports.fewshot_tables.accuracy_table", "reports.fewshot_tables.detail_table",
    },
}  # fmt: skip


def test_every_public_function_shows_an_example() -> None:
    without = set()
    for path in ROOT.rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        functions = [node for node in ast.parse(path.read_text(encoding="utf-8")).body
                     if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]  # fmt: skip
        without |= {f"{module}.{one.name}" for one in functions if ">>>" not in (ast.get_docstring(one) or "")}
    assert without == set().union(*WITHOUT.values())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, toy_run: Path) -> Path:
    """A run and a classifier, as earlier commands would have left them."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(toy_run, folder / "toy")
    encoder = sarjepa.load_encoder(toy_run)
    torch.manual_seed(0)
    classifier = Classifier(encoder, Head(encoder.width, 3))
    describe = {"classes": ["across", "along", "blob"], "temperature": 1.0, "crop": None}
    (folder / "toy" / "finetune-toy").mkdir()
    (folder / "toy" / "finetune-toy" / CLASSIFIER_FILE).write_bytes(classifier_bytes(classifier, describe))
    return folder


@pytest.fixture
def home(tmp_path: Path, toy_root: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that the examples begin in."""
    (tmp_path / "data").symlink_to(toy_root)
    shutil.copytree(runs, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_a_public_function_holds(name: str) -> None:
    function = getattr(sarjepa, name)
    [example] = doctest.DocTestFinder(recurse=False).find(function, name, globs={name: function})
    assert example.examples, f"{name} shows no example"
    assert doctest.DocTestRunner(verbose=False).run(example).failed == 0


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_module_hold(name: str) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(
        module, extraglobs={"sarjepa": sarjepa, **{key: getattr(sarjepa, key) for key in FUNCTIONS}}
    )
    assert result.attempted and not result.failed
