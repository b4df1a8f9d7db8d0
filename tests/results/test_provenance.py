"""Where a number comes from: the source tree's own commit, never that of a repository it happens to lie in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sarjepa.results import provenance
from sarjepa.version import __version__


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module as it would be installed inside a repository that has a commit of its own."""
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "theirs")
    file = tmp_path / "sarjepa" / "results" / "provenance.py"
    file.parent.mkdir(parents=True)
    file.write_text("")
    (tmp_path / "sarjepa" / "config.py").write_text("")
    monkeypatch.setattr(provenance, "__file__", str(file))
    return file


def test_a_package_in_somebody_elses_repository_gives_its_version(placed: Path) -> None:
    assert provenance.commit() == f"sarjepa {__version__}"


def test_a_source_tree_gives_its_commit_and_says_when_files_differ(placed: Path) -> None:
    elsewhere = placed.parents[1] / "config.py"  # another room of the package
    git(placed.parent, "add", str(placed), str(elsewhere))
    git(placed.parent, "commit", "-q", "-m", "ours")
    number = git(placed.parent, "rev-parse", "--short=12", "HEAD").strip()
    assert provenance.commit() == number
    elsewhere.write_text("changed")
    assert provenance.commit() == f"{number}, changed"
