"""The pictures of other commands, with the texts that a page shows beside them.

Every file name that our commands use has an alternative text, for readers who cannot see the picture, and a caption,
for those who do not know the command. Any other picture is described by its file name.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from sarjepa.reports.elements import element, picture_or_notice

SUFFIXES = (".png", ".svg")
# {stem of the file: (alternative text, caption)}.
WORDS = {
    "confusion": ("confusion matrix", "Rows: true class; columns: predicted; in percent of the true class."),
    "curve": ("training loss and test accuracy over epochs", "After each epoch; nothing was chosen by it."),
    "plot": ("accuracy against shots", "Accuracy against shots, with 95% intervals."),
    "attention-distance": ("attention distance per head and block", "How far each head looks, block by block (px)."),
    "maps": ("attention of the class token, one column per head", "Where the class token looks in the last block."),
    "patch-maps": ("attention of one patch", "Where one patch looks in the last block."),
    "rollout": ("attention rollout after some blocks", "Attention multiplied through the blocks."),
    "views": (
        "chips and their views",
        "Chips, and views of them with what was drawn for each, at one gain a row.",
    ),
    "pairs": (
        "chips, their optical images and how tokens agree with the anchor's",
        "Chips, optical images of the same places, what the encoder is shown, and the cosine of each visible token "
        "with the anchor's.",
    ),
    "targets": ("targets and predictions of masked patches", "What the masked patches hold, and what is predicted."),
    "feature-map": ("chips in the plane of most variance", "Features in their plane of most variance."),
    "neighbours": ("nearest chips of a few", "The nearest chips in feature space."),
}
WITHOUT_CHIPS = ("confusion", "curve", "plot", "attention-distance", "feature-map")  # stems; all others may show chips


def shown_picture(path: Path) -> Element:
    """A picture with its alternative text and caption.

    Example:
        >>> _ = Path("confusion.svg").write_text('<svg width="72pt" height="72pt"/>')
        >>> shown = shown_picture(Path("confusion.svg"))
        >>> shown.find(".//img").get("alt"), shown.find("figcaption").text
        ('confusion matrix', 'Rows: true class; columns: predicted; in percent of the true class.')
    """
    alt, caption = WORDS.get(path.stem, (path.stem.replace("-", " ").replace("_", " "), path.name))
    return picture_or_notice(path, alt, caption)


def pictures(folder: Path, chips: bool) -> list[Element]:
    """The pictures of a folder, those of `WORDS` first; without `chips` a note stands for those that show chips.

    Example:
        >>> folder = Path("pictures-of-chips")
        >>> folder.mkdir()
        >>> _ = (folder / "views.svg").write_text('<svg width="72pt" height="72pt"/>')
        >>> [part.text for part in pictures(folder, chips=False)]
        ['Pictures that show chips of the data are left out, as asked.']
    """
    order = {stem: place for place, stem in enumerate(WORDS)}
    paths = [path for path in folder.iterdir() if path.suffix in SUFFIXES]
    paths.sort(key=lambda path: (order.get(path.stem, len(order)), path.name))
    shown = [path for path in paths if chips or path.stem in WITHOUT_CHIPS]
    left_out = element("p", "Pictures that show chips of the data are left out, as asked.")
    return [*map(shown_picture, shown), *([left_out] if len(shown) < len(paths) else [])]
