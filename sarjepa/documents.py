"""YAML and JSON from files that may be damaged, written by hand, or made to do harm.

Three features of YAML are refused, since no settings file, manifest or table of runs needs them: an alias stands for
all that its anchor holds, so that nine lines of aliases to aliases mean a billion items; a tag such as !!timestamp
calls a constructor on the text after it; of a key that stands twice in a mapping, only the last counts. What is left
are mappings, lists, texts, numbers, dates, true, false and null.

JSON that was written from a dataclass is read back as that dataclass, every field of its type; a file with other
content gives an error that names the file and the key.

PyYAML takes about a second for 50 kB, so a file's size is limited; the largest that comes with the package has 6 kB.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import yaml

from sarjepa.boundary import decoder_errors
from sarjepa.errors import InputError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_Kind = TypeVar("_Kind")
LARGEST_YAML_BYTES = 2**17
# Surrogates, except those by which Python writes the bytes of a file name that are not text.
_HALF = re.compile(rb"(?<!\\)(?<!\\ud[89ab][0-9a-f]{2})\\udc([89a-f][0-9a-f])")  # not the second half of a pair
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
    """The content of a YAML text: a mapping, a list, or one value.

    Args:
        text: text of one YAML document.
        where: name of the file, for errors.

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
    """The content of a JSON file.

    Args:
        path: path of the file.
        hint: next step for a damaged file, for errors.

    Raises:
        InputError: the file is damaged, or holds a number that is not finite.

    Example:
        >>> _ = Path("accuracies.json").write_text('{"mstar": NaN}')
        >>> read_json(Path("accuracies.json"), hint="measure again")
        Traceback (most recent call last):
        sarjepa.errors.InputError: not readable as JSON: accuracies.json; got NaN; measure again
    """

    def refuse(words: str) -> InputError:
        return InputError("not readable as JSON", where=path, got=words, hint=hint)

    def constant(name: str) -> None:
        raise refuse(name)

    with decoder_errors(refuse):
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=constant)


def read_record(path: Path, kind: type[_Kind], hint: str | None = None) -> _Kind:
    r"""A JSON file as an object of the type that it was written from.

    Args:
        path: path of the file.
        kind: type to read, such as a dataclass. Unknown keys are left out, a missing one takes its default.
        hint: next step for a damaged file, for errors.

    Raises:
        InputError: the file is not JSON, a key is missing, or a value is of another type.

    Example:
        >>> from sarjepa.download import Patience
        >>> _ = Path("patience.json").write_text('{"attempts": 2, "colour": "red"}')
        >>> read_record(Path("patience.json"), Patience)
        Patience(attempts=2, pause_s=1.0, longest_pause_s=60.0, stall_s=30.0)
    """
    return parse_record(path.read_bytes(), kind, path, hint)


def parse_record(content: bytes, kind: type[_Kind], where: object, hint: str | None = None) -> _Kind:
    r"""The text of a JSON file as an object; `where` is the file's name for errors, the rest as of `read_record`.

    Example:
        >>> parse_record(b'{"5": 62.1}', dict[int, float], "results.json")
        {5: 62.1}
    """
    from pydantic import ValidationError  # not needed by most commands

    adapter = _adapter(cast(Any, kind))
    try:
        # Bytes of a file name that are not text are written as \udcff, and read as the text \xff.
        return adapter.validate_json(_HALF.sub(rb"\\\\x\1", content), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        raise InputError("not readable as JSON", where=where, got=first["msg"].partition(": ")[2], hint=hint)
    key = ".".join(map(str, first["loc"])) or "the file"
    if first["type"] == "missing":
        raise InputError("a key is missing", where=f"{key} in {where}", hint=hint)
    got = repr(first["input"])[:60]
    expected = first["msg"].removeprefix("Input should be ").lower()
    raise InputError("damaged or of another version", where=f"{key} in {where}", expected=expected, got=got, hint=hint)


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
