"""models: weights that others publish, their terms, and whether and how sarjepa reads them."""

from __future__ import annotations

from pathlib import Path

from sarjepa.config import ModelsConfig
from sarjepa.data.manifest_parser import published_models
from sarjepa.progress import Progress
from sarjepa.results.result import Result
from sarjepa.results.tables import Table


def run(config: ModelsConfig, progress: Progress) -> Result:
    """Show the list.

    Example:
        >>> table = run(ModelsConfig(), Progress()).tables[0]
        >>> [(name, terms) for name, _, _, terms, _ in table.rows[:2]]  # *: not verified
        [('sar-jepa', 'CC BY-NC 4.0'), ('saratr-x', 'as its page says*')]
    """

    def shown(facts: dict[str, str], key: str) -> str:
        return facts[key] + "*" * (key in facts["unverified"].split())

    keys = ("title", "where", "terms", "read_by")
    rows = tuple((name, *(shown(facts, key) for key in keys)) for name, facts in published_models().items())
    note = "* not verified. `imagenet:` and `half:` say how the images of the training were normalised."
    table = Table("Published weights", ("name", "what", "where", "terms", "read by sarjepa"), rows, note)
    return Result(
        f"{len(rows)} sets of weights; fetch one, and give its file as --checkpoint or --init", Path(), (table,)
    )
