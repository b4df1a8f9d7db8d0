"""What earlier commands made is found by the names that made it, or a line says how to make it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sarjepa.data.built import expand_built, open_source
from sarjepa.errors import InputError


def test_groups_and_folders_become_the_names_of_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("mstar", "pretrain", f"folder:{tmp_path}/harbour/", "folder:./port", "harbour", "sample")
    assert expand_built(names) == ("mstar", "msar", "sarship", "sarsim", "sample", "harbour", "port")


def test_a_public_set_that_is_not_built_names_the_command_that_builds_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"; run sarjepa build-dataset --sources mstar --data-root {tmp_path} first"):
        open_source(str(tmp_path), "mstar")


def test_another_name_gets_the_nearest_built_one_and_the_way_to_ones_own_images(toy_root: Path) -> None:
    with pytest.raises(
        InputError, match=r"run .* --sources folder:PATH/toys --data-root .* first; did you mean 'toy'\?"
    ):
        open_source(str(toy_root), "toys")
