"""YAML and JSON from files that may be damaged, written by hand, or made to do harm.

YAML is more than it seems. An alias stands for all that its anchor holds, so that nine lines of aliases to aliases mean
a billion items; a tag such as !!timestamp calls a constructor on whatever text follows it; a mapping may hold a key
twice, of which the last one counts. None of it has a place in a settings file, a manifest or a table of runs, so all
three are refused. What is left are mappings, lists, texts, numbers, dates, true, false and null.

PyYAML takes about a second for 50 kB, so a file's size is limited; the largest that comes with the package has 6 kB.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from sarjepa.boundary import decoder_errors
from sarjepa.errors import InputError

LARGEST_YAML_BYTES = 2**17
# Surrogates, but for those by which Python writes the bytes of a file's name that are not text.
_NO_TEXT = re.compile("[\ud800-\udc7f\udd00-\udfff]")


class _PlainLoader(yaml.SafeLoader):
    """Mappings without a repeated key, lists and scalars; no aliases, no tags."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"an alias, *{event.anchor}: write out what it stands for")
        if getattr(event, "tag", None) is not None:
            raise yaml.YAMLError(f"a tag, {event.tag}: settings are texts, numbers, lists and mappings")
        return super().compose_node(parent, index)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        text = super().construct_scalar(node)
        if isinstance(text, str) and _NO_TEXT.search(text):
            raise yaml.YAMLError("half a character")
        return text

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            twice = next(key for place, key in enumerate(keys) if key in keys[:place])
            raise yaml.YAMLError(f"the key {twice!r} stands twice")
        return super().construct_mapping(node, deep)


def parse_yaml(text: str | bytes, where: object) -> Any:
    """What a YAML text holds: a mapping, a list, or one value.

    Args:
        text: of one document.
        where: the file, for the error.

    Raises:
        InputError: it is damaged, too large, or holds an alias, a tag or a key twice.

    Example:
        >>> parse_yaml("radii: [5, 9]", "run.yaml")
        {'radii': [5, 9]}
    """
    if len(text) > LARGEST_YAML_BYTES:
        limit = f"at most {LARGEST_YAML_BYTES} bytes"
        raise InputError("not readable as YAML", where=where, expected=limit, got=f"{len(text)} bytes")
    with decoder_errors(lambda words: InputError("not readable as YAML", where=where, got=words)):
        return yaml.load(text, _PlainLoader)


def read_json(path: Path, hint: str | None = None) -> Any:
    """What a JSON file holds.

    Args:
        path: of the file.
        hint: what to do about a damaged one, for the error.

    Raises:
        InputError: it is damaged, or holds a number that is not finite.
    """

    def refuse(words: str) -> InputError:
        return InputError("not readable as JSON", where=path, got=words, hint=hint)

    def constant(name: str) -> None:
        raise refuse(name)

    with decoder_errors(refuse):
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=constant)
