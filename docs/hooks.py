"""What `make docs` adds to the pages of this folder, so that nothing is written down twice.

- Files outside docs/ that a page links to (README.md, the tables under results/) become part of the site, and links are
  turned to where they are there. README.md is the first page.
- `{{ NAME }}` on a line of its own is replaced by what `MADE` makes of the manifests, the methods and their docstrings.
- Notebooks are executed, and become pages.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from execution import as_markdown, execute
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from sarjepa.config import ModelsConfig
from sarjepa.data.manifest import Manifest
from sarjepa.data.manifest_parser import load_manifest, sets_by_hand, source_names
from sarjepa.pretext.methods import METHODS, OF_ENCODER, build_method, reads
from sarjepa.progress import Progress
from sarjepa.recipes import models
from sarjepa.results.tables import Table

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
_LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the notebooks' pages and pictures, and the files outside docs/ that pages link to."""
    for notebook in sorted(DOCS.glob("notebooks/*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            text, pictures = as_markdown(execute(notebook, Path(folder)), notebook.stem)
        made = {f"{notebook.stem}.md": text, **pictures}
        for name, content in made.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    waiting = [ROOT / "README.md", *(DOCS / file.src_uri for file in files.documentation_pages())]
    while waiting:
        path = waiting.pop()
        if _place(path) not in files.src_uris:
            files.append(File.generated(config, _place(path), abs_src_path=str(path)))
        if path.suffix == ".md" and path.exists():  # a notebook's page does not, and links to pages of docs/ alone
            linked = [(path.parent / link).resolve() for link in _LINK.findall(path.read_text(encoding="utf-8"))]
            waiting += [file for file in linked if file.is_file() and _place(file) not in files.src_uris]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in what is made, and turn links to where a file is in the site."""
    home = Path(page.file.abs_src_path or DOCS / page.file.src_uri).parent
    here = Path(page.file.src_uri).parent

    def turned(found: re.Match[str]) -> str:
        return Path(os.path.relpath(_place((home / found[0]).resolve()), here)).as_posix()

    markdown = re.sub(r"^\{\{ (\w+) \}\}$", lambda found: MADE[found[1]](), markdown, flags=re.MULTILINE)
    return _LINK.sub(turned, markdown)


def _place(path: Path) -> str:
    """The place in the site of a file of the repository; a notebook's is its page."""
    if path == ROOT / "README.md":
        return "index.md"
    path = path.with_suffix(".md") if path.suffix == ".ipynb" else path
    return path.relative_to(DOCS if path.is_relative_to(DOCS) else ROOT).as_posix()


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return Table("", columns, tuple(rows)).markdown().split("\n", 2)[2]  # without the line of the title


def _data_sets() -> str:
    """A table of the sets that have a manifest, and of each what its manifest says."""
    sets = [load_manifest(name) for name in source_names()]
    columns = ("source", "set", "sensor, band", "resolution (m)", "classes", "files as distributed")
    rows = [
        (f"[{one.name}](#{one.name})", one.title, f"{one.sensor}, {one.band}", str(one.resolution_m or "varies"),
         str(len(one.classes) or "none"), _counts(one) or "as many as asked for")
        for one in sets
    ]  # fmt: skip
    return "\n\n".join([_table(columns, rows), *map(_described, sets)])


def _counts(manifest: Manifest) -> str:
    for distribution in manifest.distributions[:1]:
        splits = {split: sum(classes.values()) for split, classes in (distribution.expected or {}).items()}
        return ", ".join(f"{number:,} {split}".strip() for split, number in splits.items())
    return ""


def _described(manifest: Manifest) -> str:
    facts: Mapping[str, str] = {
        "Origin": manifest.origin,
        "Terms": manifest.terms,
        "Citation": manifest.citation,
        "Polarisation": ", ".join(manifest.polarisation),
        "Classes": ", ".join(manifest.classes),
        "Forms": "; ".join(f"{one.name}: {one.about}" for one in manifest.distributions),
        "Not verified": ", ".join(manifest.unverified),
    }
    lines = [f"- **{name}**: {text}" for name, text in facts.items() if text] + [f"- {note}" for note in manifest.notes]
    return f"### {manifest.title} {{ #{manifest.name} }}\n\n" + "\n".join(lines)


def _sets_by_hand() -> str:
    rows = [(one.title, one.origin, one.said) for one in sets_by_hand().values()]
    return _table(("set", "page", "what it holds, terms, citation"), rows)


def _methods() -> str:
    """A table of the methods, and the docstring of each module that they are made of."""
    modules: dict[str, None] = {}
    rows = []
    for name, made_of in METHODS.items():
        module = type(build_method(name, model="vit-demo", image_size=64, radii=(2,))).__module__
        modules[module] = None
        own = sorted(reads(name) - OF_ENCODER - {"target"})
        settings = ", ".join(f"`{key.replace('_', '-')}`" for key in own)
        rows.append((f"[`{name}`](#{module})", made_of.target or "-", made_of.positions, settings))
    modules["sarjepa.pretext.anchored"] = None
    table = _table(("`--method`", "`--target` of its own", "positions", "settings that it reads"), rows)
    return "\n\n".join([table, *map(_docstring, modules)])


def _docstring(module: str) -> str:
    """What a module opens with: its first line a heading, the rest as it stands."""
    heading, _, text = (inspect.getdoc(importlib.import_module(module)) or "").partition("\n")
    return f"### {heading.rstrip('.')} {{ #{module} }}\n{text}"


def _targets() -> str:
    return "\n\n".join(_docstring(f"sarjepa.ops.{name}") for name in ("ratio_conv", "histograms", "lowpass"))


def _weights() -> str:
    [table] = models.run(ModelsConfig(), Progress()).tables
    return table.markdown().split("\n", 2)[2]


MADE: dict[str, Callable[[], str]] = {
    "data_sets": _data_sets,
    "sets_by_hand": _sets_by_hand,
    "methods": _methods,
    "targets": _targets,
    "weights": _weights,
}
