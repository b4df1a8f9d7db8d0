"""The data card: what a person should know of a built data set before using or citing it.

Both CARD.md and the card on a page are made of index.json alone, so that they describe the data as they were built, and
not the present manifest of the source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any
from xml.etree.ElementTree import Element

from sarjepa.reports.elements import bullets, element, table_element
from sarjepa.results.tables import Table, counted

_NUM_REJECTED = 20  # largest number of rejected files that are listed
Counts = dict[str, dict[str, int]]  # {split: {class: number}}
Line = tuple[str, str]  # words in bold, which may be empty, and the rest of the line


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The origin of a data set; the attributes are keys of its manifest.

    Attributes:
        differences: differences from the expected counts and sizes, in words.
    """

    title: str
    origin: str = ""
    terms: str = ""
    citation: str = ""
    sensor: str = ""
    band: str = ""
    polarisation: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()


def provenance_of(manifest: object, differences: Sequence[str] = ()) -> Provenance:
    """The attributes of a manifest that a card states.

    Example:
        >>> from sarjepa.data.manifest_parser import load_manifest
        >>> provenance = provenance_of(load_manifest("mstar"), ["train/2S1: 298 of 299"])
        >>> provenance.band, provenance.polarisation, provenance.differences
        ('X', ('HH',), ('train/2S1: 298 of 299',))
    """
    keys = [key.name for key in fields(Provenance) if key.name != "differences"]
    return Provenance(**{key: getattr(manifest, key) for key in keys}, differences=tuple(differences))


@dataclass(frozen=True)
class Sizes:
    """The smallest and the largest (height, width) in px, and the number of different sizes."""

    min: tuple[int, int] | None
    max: tuple[int, int] | None
    num: int


@dataclass(frozen=True)
class Example:
    """Paths of one near-duplicate group that spans splits or labels."""

    kind: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Duplicates:
    """Numbers of groups of near-duplicates; None if they were not searched for."""

    exact_groups: int | None
    near_groups: int | None
    num_groups: int | None
    spanning_splits: int | None
    spanning_labels: int | None
    examples: tuple[Example, ...] | None


@dataclass(frozen=True)
class Leak:
    """Share of the labels (%) that one feature alone predicts, and that of guessing."""

    kind: str
    accuracy: float
    chance: float


@dataclass(frozen=True)
class Rejected:
    """A file that was left out, and the reason."""

    path: str
    reason: str


@dataclass(frozen=True)
class Shard:
    """One file of chips."""

    file: str
    num_chips: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class BuiltIndex:
    """The part of index.json that a card states; the attributes are its keys.

    Attributes:
        spanning_groups: names of the groups of a list that have chips on both sides of a split.
        card: provenance of the data; None in an index of earlier versions.
    """

    source: str
    num_chips: int
    classes: tuple[str, ...]
    counts: Counts
    expected: Counts | None = None
    sizes: Sizes
    normalisation: dict[str, Any]
    resolution_m: float | None = None
    duplicates: Duplicates
    spanning_groups: tuple[str, ...] = ()
    leaks: tuple[Leak, ...] = ()
    num_rejected: int = 0
    rejected: tuple[Rejected, ...] = ()
    shards: tuple[Shard, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    card: Provenance | None = None


@dataclass(frozen=True)
class Part:
    """A part of a card.

    Attributes:
        heading: heading of the part; empty: the part continues the one above.
        lines: paragraphs.
        bullets: entries of a list below the paragraphs.
        table: table below the list.
    """

    heading: str = ""
    lines: Sequence[Line] = ()
    bullets: Sequence[Line] = ()
    table: Table | None = None


def counts_table(title: str, classes: Sequence[str], counts: Counts) -> Table:
    """A row per class and a column per split, with sums.

    Example:
        >>> counts = {"train": {"ship": 3, "": 1}, "test": {"ship": 2}}  # one chip has no label
        >>> counts_table("Chips", ["ship", "tank"], counts).rows
        (('ship', '3', '2', '5'), ('(none)', '1', '0', '1'), ('all', '4', '2', '6'))
    """
    splits = list(counts)
    names = [name for name in [*classes, ""] if any(counts[split].get(name) for split in splits)]

    def row(name: str, numbers: Sequence[int]) -> tuple[str, ...]:
        return (name, *map(str, numbers), str(sum(numbers)))

    rows = [row(name or "(none)", [counts[split].get(name, 0) for split in splits]) for name in names]
    totals = row("all", [sum(counts[split].values()) for split in splits])
    columns = ("class", *(split or "(no split)" for split in splits), "all")
    return Table(title, columns, (*rows, totals))


def card_parts(built: BuiltIndex, provenance: Provenance) -> list[Part]:
    """The parts of a card, without its title and its picture.

    Example:
        >>> groups = Duplicates(0, 2, num_groups=3, spanning_splits=2, spanning_labels=0, examples=None)
        >>> built = BuiltIndex(source="toy", num_chips=5, classes=("ship",), counts={"train": {"ship": 5}},
        ...                    sizes=Sizes(None, None, 0), normalisation={}, duplicates=groups, shards=())
        >>> {part.heading: part for part in card_parts(built, Provenance(title="Toy"))}["Near-duplicates"].lines[1]
        ('Leak', ': chips on both sides of a split in 2 groups.')
    """
    facts: Mapping[str, str] = {
        "Origin": provenance.origin,
        "Terms": provenance.terms,
        "Citation": provenance.citation,
        "Sensor": provenance.sensor,
        "Band": provenance.band,
        "Polarisation": ", ".join(provenance.polarisation) or "unknown",
        "Resolution": f"{built.resolution_m:g} m" if built.resolution_m else "unknown",
    }
    parts = [
        Part(bullets=[(name, f": {text}") for name, text in facts.items() if text]),
        Part(table=counts_table("Chips", built.classes, built.counts)),
        Part(lines=[_as_expected(built, provenance)]),
        *_sizes(built),
        _duplicates(built),
    ]
    if names := built.spanning_groups:
        num = counted(len(names), "group")
        told = f": chips on both sides of a split in {num}, e.g. {', '.join(names[:5])}."
        parts.append(Part("Named groups", [("Leak", told)]))
    if built.leaks:
        rows = tuple((leak.kind, f"{leak.accuracy:.1f}", f"{leak.chance:.1f}") for leak in built.leaks)
        why = "A feature that predicts far more than chance gives classes away without the target being looked at."
        table = Table("One feature alone", ("feature", "labels predicted (%)", "by chance (%)"), rows)
        parts.append(Part("Shortcuts", [("", why)], table=table))
    if built.num_rejected:
        named = [("", f"{file.path}: {file.reason}") for file in built.rejected[:_NUM_REJECTED]]
        parts.append(Part("Left out", [("", f"{counted(built.num_rejected, 'file')}, listed in index.json.")], named))
    if provenance.notes:
        parts.append(Part("Notes", bullets=[("", note) for note in provenance.notes]))
    if provenance.unverified:
        keys = ", ".join(provenance.unverified)
        parts.append(Part("Not verified", [("", f"Not verified against the source: {keys}.")]))
    return parts


def _as_expected(built: BuiltIndex, provenance: Provenance) -> Line:
    if built.expected is None:
        return ("", "How many chips there should be is not known.")
    if not provenance.differences:
        return ("", "These are the counts expected of the files as distributed.")
    return ("Not as expected", f" of the files as distributed: {'; '.join(provenance.differences)}.")


def _sizes(built: BuiltIndex) -> list[Part]:
    sizes, normalisation = built.sizes, built.normalisation
    if sizes.min is None or sizes.max is None:
        return []
    extent = " x ".join(map(str, sizes.min))
    if sizes.num > 1:
        extent += f" to {' x '.join(map(str, sizes.max))} ({sizes.num} different)"
    numbers = ", ".join(f"{key} {value}" for key, value in normalisation.items() if key != "method")
    return [Part(lines=[("", f"Height x width {extent} px. Magnitude {normalisation.get('method')} ({numbers}).")])]


def _duplicates(built: BuiltIndex) -> Part:
    groups = built.duplicates
    if groups.num_groups is None:
        return Part(lines=[("", "Near-duplicates were not looked for.")])
    lines = [
        ("", f"{counted(built.num_chips, 'chip')}, {counted(groups.num_groups, 'different scene')}: "
         f"{counted(groups.exact_groups or 0, 'group')} of pixel-identical chips, "
         f"{counted(groups.near_groups or 0, 'group')} of near-duplicates.")
    ]  # fmt: skip
    if groups.spanning_splits:
        lines.append(("Leak", f": chips on both sides of a split in {counted(groups.spanning_splits, 'group')}."))
    if groups.spanning_labels:
        lines.append(("Contradiction", f": more than one label in {counted(groups.spanning_labels, 'group')}."))
    examples = [("", f"{' = '.join(example.paths)} ({example.kind})") for example in groups.examples or ()]
    return Part("Near-duplicates", lines, examples)


def card_text(built: BuiltIndex, provenance: Provenance) -> str:
    """The text of CARD.md.

    Example:
        >>> unknown = Duplicates(*[None] * 6)
        >>> built = BuiltIndex(source="toy", num_chips=2, classes=("ship",), counts={"train": {"ship": 2}},
        ...                    sizes=Sizes(None, None, 0), normalisation={}, duplicates=unknown, shards=())
        >>> card_text(built, Provenance(title="Toy", terms="CC BY 4.0")).splitlines()[4:7]
        ['- **Terms**: CC BY 4.0', '- **Polarisation**: unknown', '- **Resolution**: unknown']
    """

    def line(bold: str, text: str) -> str:
        return f"**{bold}**{text}" if bold else text

    blocks = [f"# {provenance.title}", "![contact sheet](contact-sheet.png)"]
    for part in card_parts(built, provenance):
        blocks += [f"## {part.heading}"] if part.heading else []
        blocks += [
            "\n".join(line(*pair) for pair in part.lines),
            "\n".join(f"- {line(*pair)}" for pair in part.bullets),
        ]
        blocks += [part.table.markdown()] if part.table else []
    return "\n\n".join(block for block in blocks if block) + "\n"


def card_elements(built: BuiltIndex, provenance: Provenance, sheet: Element) -> list[Element]:
    """The card as a part of a page.

    Args:
        built, provenance: facts that the card states.
        sheet: contact sheet, or an element in its place.

    Example:
        >>> built = BuiltIndex(source="toy", num_chips=2, classes=("ship",), counts={"train": {"ship": 2}},
        ...                    sizes=Sizes(None, None, 0), normalisation={}, duplicates=Duplicates(*[None] * 6),
        ...                    shards=(Shard("toy-0.bin", 2, "9f86d081"),))
        >>> *_, shards = card_elements(built, Provenance(title="Toy"), sheet=element("p", "no contact sheet"))
        >>> list(shards.itertext())
        ['Shards of toy', 'file', 'chips', 'sha256', 'toy-0.bin', '2', '9f86d081']
    """

    def line(bold: str, text: str) -> list[Element | str]:
        return [element("strong", bold), text] if bold else [text]

    card = [element("h3", provenance.title), sheet]
    for part in card_parts(built, provenance):
        card += [element("h4", part.heading)] if part.heading else []
        card += [element("p", *line(*pair)) for pair in part.lines]
        card += [bullets(element("span", *line(*pair)) for pair in part.bullets)] if part.bullets else []
        card += [table_element(part.table)] if part.table else []
    rows = tuple((shard.file, str(shard.num_chips), shard.sha256) for shard in built.shards)
    return [*card, table_element(Table(f"Shards of {built.source}", ("file", "chips", "sha256"), rows))]
