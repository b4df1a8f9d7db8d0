"""The examples in docstrings do what they show; every public function of the package has one."""

from __future__ import annotations

import ast
import doctest
import importlib
import shutil
from pathlib import Path

import pytest
import torch

import sarjepa
from sarjepa.evaluation.classifier import save_classifier
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


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, toy_root: Path, toy_run: Path) -> Path:
    """The folder that the examples begin in, as earlier commands would have left it."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "data").symlink_to(toy_root)
    shutil.copytree(toy_run, folder / "runs" / "toy")
    encoder = sarjepa.load_encoder(toy_run)
    torch.manual_seed(0)
    classifier = Classifier(encoder, Head(encoder.width, 3))
    describe = {"classes": ["across", "along", "blob"], "temperature": 1.0, "crop": None}
    (folder / "runs" / "toy" / "finetune-toy").mkdir()
    save_classifier(folder / "runs" / "toy" / "finetune-toy" / CLASSIFIER_FILE, classifier, describe)
    return folder


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_a_public_function_holds(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    function = getattr(sarjepa, name)
    [example] = doctest.DocTestFinder(recurse=False).find(function, name, globs={name: function})
    assert example.examples, f"{name} shows no example"
    assert doctest.DocTestRunner(verbose=False).run(example).failed == 0


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_module_hold(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    module = importlib.import_module(name)
    result = doctest.testmod(
        module, extraglobs={"sarjepa": sarjepa, **{key: getattr(sarjepa, key) for key in FUNCTIONS}}
    )
    assert result.attempted and not result.failed
