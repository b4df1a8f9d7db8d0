"""The house rules that a machine can hold: layers, package list, a quick --help, no traces of one machine."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from sarjepa.config import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
BASE = {
    "errors",
    "files",
    "boundary",
    "documents",
    "section",
    "pickles",
    "progress",
    "draws",
    "speckle",
    "resampling",
    "version",
    "download",
}
CORE_ROOMS = {"formats", "data", "ops", "models", "training", "pretext", "evaluation", "results", "reports", "recipes"}

# What a room may import from the package, beside itself and the base.
LAYERS: dict[str, set[str]] = {
    "errors": set(),
    "files": set(),
    "boundary": set(),
    "documents": set(),
    "section": set(),
    "pickles": set(),
    "progress": set(),
    "draws": set(),
    "speckle": set(),
    "resampling": set(),
    "version": set(),
    "download": set(),
    "presets": set(),
    "experiments": {"config"},
    "data_manifests": set(),
    "setting": set(),
    "config": {"setting"},
    "overlay": {"config", "setting", "presets"},
    "formats": set(),
    "data": {"formats"},
    "ops": set(),
    "models": set(),
    "training": set(),
    "pretext": {"ops", "models"},
    "evaluation": {"data", "ops", "models", "training"},
    "results": {"setting", "config", "overlay"},
    "reports": {"results", "experiments"},
    "recipes": {"setting", "config", "overlay", "experiments", *CORE_ROOMS},
    "cli": {"setting", "config", "overlay", "recipes"},
    "__init__": CORE_ROOMS,
    "__main__": {"cli"},
}


def _room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "sarjepa" else parts[0]


def _sources() -> list[Path]:
    return sorted(path for top in ("sarjepa", "cli", "data_manifests") for path in (ROOT / top).rglob("*.py"))


def _imported_rooms(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("sarjepa.")}


@pytest.mark.parametrize("path", _sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_keep_to_the_layers(path: Path) -> None:
    room = _room_of(path)
    stray = _imported_rooms(path) - LAYERS[room] - BASE - {room}
    assert not stray, f"{room} must not import {sorted(stray)}"


def test_every_package_of_the_tree_is_installed() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    found = set()
    for path in _sources():
        if path.name == "__init__.py":
            parts = path.parent.relative_to(ROOT).parts
            found.add(".".join(parts if parts[0] == "sarjepa" else ("sarjepa", *parts)))
    assert listed == found


@pytest.mark.parametrize("room", sorted(CORE_ROOMS))
def test_the_core_never_prints(room: str) -> None:
    for path in (ROOT / "sarjepa" / room).rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "print"]
        assert not calls, f"{path.name} prints at line {calls[0].lineno}"
        assert not any(
            name in path.read_text(encoding="utf-8") for name in ("import typer", "import rich", "from rich")
        )


def test_only_the_boundary_around_decoders_catches_every_exception() -> None:
    found = []
    for path in _sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                names = {getattr(name, "id", "") for name in ast.walk(node.type)} if node.type else {"Exception"}
                found += [path.relative_to(ROOT).as_posix()] * bool(names & {"Exception", "BaseException"})
    assert found == ["sarjepa/boundary.py"]


def test_help_does_not_import_torch() -> None:
    code = "import sys, sarjepa.cli.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_command_waits_for_timm_or_torchvision() -> None:
    """They take as long to import as torch, and a torchvision of another release than torch does not import at all."""
    modules = sorted({config.command.replace("-", "_") for config in COMMANDS.values()})
    code = "import sys, importlib; sys.modules |= dict.fromkeys(['timm', 'torchvision'])\n"
    code += f"for name in {modules}: importlib.import_module(f'sarjepa.recipes.{{name}}')"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_public_names_are_where_they_are_said_to_be() -> None:
    import sarjepa

    for name in sarjepa.__all__:
        assert getattr(sarjepa, name) is not None
    with pytest.raises(AttributeError):
        _ = sarjepa.no_such_name


def test_no_file_names_a_machine_or_a_registry() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    # Put together here, so that the list does not find itself.
    forbidden = ["/" + "work/", "/" + "root/", "/" + "opt/", "index" + "-url", "pypi" + ".org"]
    for name in tracked:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".cfg", ".toml", ".yaml", ""} and path.is_file():
            text = path.read_text(encoding="utf-8")
            assert not [word for word in forbidden if word in text], name
