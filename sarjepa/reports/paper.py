"""The published numbers, to be shown beside new ones.

They are data (`paper_results.yaml`, with their source): accuracy in percent, mean of 10 runs, ViT-B, pre-trained on the
four pre-training sets. They are not strictly comparable: class sets, splits, crops and seeds of the paper's runs are
not published, as the tables state.
"""

from __future__ import annotations

import functools
from importlib import resources

from sarjepa.documents import parse_yaml

SOURCE = "SAR-JEPA paper, arXiv 2311.15153, ViT-B, mean of 10 runs"
SHOTS = (10, 20, 40)


@functools.cache
def paper_results() -> dict[str, dict]:
    """The whole file: counts (table1), later work, and of tables 3 to 6 protocol, method, data set and three numbers.

    Example:
        >>> paper_results()["table6"]["linear-probe"]["sar-jepa"]["mstar"]
        [67.7, 75.1, 81.6]
    """
    text = (resources.files("sarjepa.reports") / "paper_results.yaml").read_text(encoding="utf-8")
    return parse_yaml(text, "paper_results.yaml")


def published(table: str, protocol: str) -> dict[str, dict[tuple[str, int], float]]:
    """One table's numbers.

    Args:
        table: name of the table, "table3" to "table6".
        protocol: "linear-probe" or "fine-tune".

    Returns:
        {method: {(data set, shots): accuracy (%)}}, in the paper's order.

    Example:
        >>> list(published("table6", "linear-probe")["sar-jepa"])[:2]
        [('mstar', 10), ('mstar', 20)]
    """
    methods = paper_results()[table][protocol]
    return {
        method: {
            (dataset, shots): float(accuracy)
            for dataset, row in by_dataset.items()
            for shots, accuracy in zip(SHOTS, row, strict=True)
        }
        for method, by_dataset in methods.items()
    }


def published_counts() -> dict[str, int]:
    """Number of chips of each data set, as the paper's authors list them.

    Example:
        >>> counts = published_counts()
        >>> sum(counts[name] for name in ("msar", "sarship", "sarsim", "sample"))  # the four pre-training sets
        94776
    """
    return dict(paper_results()["table1"])
