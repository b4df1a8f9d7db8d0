"""YAML and JSON: what is plain is read, and everything else is one line that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sarjepa.config import COMMANDS, as_dict
from sarjepa.data.manifest_parser import parse_manifest
from sarjepa.documents import LARGEST_YAML_BYTES, parse_yaml, read_json
from sarjepa.errors import InputError
from sarjepa.overlay import read_settings_file
from sarjepa.results.stored import read_settings

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HARMFUL = {
    "an alias bomb": (BOMB, "an alias"),
    "an alias to itself": ("seed: &a [*a]", "an alias"),
    "a tag": ("seed: !!timestamp z", "a tag"),
    "a tag that makes an object": ("seed: !!python/name:os.system", "a tag"),
    "a day that is none": ("seed: 2024-13-01", "ValueError"),
    "a number of 5000 digits": ("seed: " + "9" * 5000, "ValueError"),
    "half a number": ("seed: 0x_", "ValueError"),
    "a nest": ("seed: " + "[" * 5000, "RecursionError"),
    "a key that stands twice": ("seed: 1\nseed: 2", "'seed' stands twice"),
    "a key that is a list": ("? [1]\n: 2", "unhashable"),
    "two documents": ("--- a\n--- b", "single document"),
    "half a character": ('seed: "\\ud800"', "half a character"),
    "too much": ("# " * LARGEST_YAML_BYTES, "expected at most"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_yaml_that_is_not_plain_is_one_line_from_every_reader(name: str, tmp_path: Path) -> None:
    text, words = HARMFUL[name]
    (tmp_path / "settings.yaml").write_text(text)
    readers = {
        "settings": lambda: read_settings_file(tmp_path / "settings.yaml", "pretrain"),
        "stored settings": lambda: read_settings(tmp_path),
        "a manifest": lambda: parse_manifest(text, "settings.yaml"),
    }
    for read in readers.values():
        with pytest.raises(InputError, match=words) as refusal:
            read()
        assert "not readable as YAML" in str(refusal.value) and "settings.yaml" in str(refusal.value)
        assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 500


def test_bytes_that_are_no_text_are_one_line(tmp_path: Path) -> None:
    for content in (b"seed: \xff\xfe", b"\xff\xfe\0", b"seed: \0"):
        with pytest.raises(InputError, match="not readable as YAML"):
            parse_yaml(content, "run.yaml")


def test_what_the_commands_store_is_plain() -> None:
    for config_class in COMMANDS.values():
        settings = as_dict(config_class())
        assert parse_yaml(yaml.safe_dump(settings), "settings.yaml") == settings


@pytest.mark.parametrize("text", ["{", '{"a": NaN}', "[" * 100_000, "9" * 5000, "\x00", '{"a": Infinity}', ""])
def test_json_that_is_not_sound_is_one_line_with_a_way_on(text: str, tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(InputError, match=r"not readable as JSON: .*index\.json; got .*; build again") as refusal:
        read_json(tmp_path / "index.json", hint="build again")
    assert "\n" not in str(refusal.value)
