"""The settings of `build-dataset` that build a source again as it was built, from its index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sarjepa.data.manifest_parser import typed_source
from sarjepa.data.own_images import PAIRED


def build_settings(source: str, root: str, stored: Mapping[str, Any], card: object) -> dict[str, Any]:
    """The stored settings, with the source as it is typed and the data folder, neither of which an index holds.

    Args:
        source: name of the source.
        root: data folder, which holds shards/SOURCE.
        stored: the settings in index.json.
        card: the provenance in index.json, whose notes tell pairs from a folder; None if it has none.

    Example:
        >>> build_settings("harbour", "data", {"bands": "each"}, {"notes": [f"5 of 9 files {PAIRED}"]})
        {'bands': 'each', 'sources': ['pairs:PATH/harbour,OPTICAL_FOLDER'], 'data_root': 'data'}
    """
    return {**stored, "sources": [typed_source(source, PAIRED in str(card))], "data_root": root}
