"""push: a run's encoder to the Hugging Face hub, with a model card made from the files of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sarjepa.boundary import decoder_errors
from sarjepa.config import PushConfig
from sarjepa.data.built import built_datasets, shards_folder
from sarjepa.data.index import read_index
from sarjepa.documents import read_record
from sarjepa.errors import InputError
from sarjepa.models.addresses import HUB_FILES, HUB_PREFIX, newest_run
from sarjepa.models.checkpoints import encoder_bytes, load_encoder
from sarjepa.models.encoder import Encoder
from sarjepa.progress import Progress
from sarjepa.results.records import REPORT, Report
from sarjepa.results.result import Result
from sarjepa.results.stored import SETTINGS, read_settings
from sarjepa.results.tables import Table


def run(config: PushConfig, progress: Progress) -> Result:
    """Make the repository if need be, and put the encoder and its card there in one commit.

    Raises:
        InputError: the run cannot be read, or the hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi  # slow to import, and seldom needed

    assert config.to is not None
    name, repository = config.run or newest_run(), config.to.removeprefix("hf://")
    encoder = load_encoder(name)
    describe = {key: value for key, value in encoder.describe.items() if key not in ("shape", "file")}
    text = card(name, repository, encoder, config.data_root)
    files = {HUB_FILES[0]: encoder_bytes(encoder, describe), "README.md": text.encode()}

    def refuse(words: str) -> InputError:
        hint = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"
        return InputError("the hub did not take the model", where=config.to, got=words, hint=hint)

    with decoder_errors(refuse):
        api = HfApi()
        api.create_repo(repository, exist_ok=True)
        operations = [CommitOperationAdd(path, content) for path, content in files.items()]
        api.create_commit(repository, operations, commit_message="Add the encoder and its card")
    return Result(f"pushed; sarjepa.load_encoder({HUB_PREFIX + repository!r}) reads it", Path(name))


def card(name: str, repository: str, encoder: Encoder, data_root: str) -> str:
    """The model card in Markdown: model, use, data with their terms, settings and results.

    Args:
        name: name of the run.
        repository: owner/name.
        encoder: encoder of the run.
        data_root: folder that may still hold the built sources, for their terms.

    Example:
        >>> text = card("runs/toy", "owner/toy-encoder", load_encoder("runs/toy"), "data")
        >>> text.splitlines()[-3:]  # no terms come with the toy chips
        ['- toy: terms not known here', '', 'The weights may be used only as far as the terms of these sets allow.']
    """
    describe, folder = encoder.describe, Path(name)
    tags = ["sar", "radar", "self-supervised", *filter(None, [describe.get("method")])]
    head = yaml.safe_dump({"library_name": "sarjepa", "license": "other", "tags": tags}, sort_keys=False)
    use = f'encoder = sarjepa.load_encoder("{HUB_PREFIX}{repository}")\nfeatures = encoder.embed(images)'
    size = sum(weight.numel() for weight in encoder.parameters()) / 1e6
    parts = [
        f"---\n{head}---",
        f"# {repository.split('/')[-1]}",
        f"An encoder of radar images, trained without labels by {describe.get('method') or 'an unknown method'} "
        f"({describe.get('model') or 'unknown model'}, {size:.3g} million weights).",
        f"```python\nimport sarjepa\n\n{use}\n```",
        "## Data",
        *_data(describe.get("sources"), data_root),
    ]
    if (folder / SETTINGS).is_file():
        own_paths = ("data-root", "run-dir", "init")  # they mean nothing on another machine
        settings = {key: value for key, value in read_settings(folder).items() if key not in own_paths}
        parts += ["## Settings", f"```yaml\n{yaml.safe_dump(settings, sort_keys=False)}```"]
    reports = [read_record(file, Report) for file in sorted(folder.glob(f"*/{REPORT}"))]
    rows = [
        (report.dataset, report.protocol, str(report.shots or "all"), report.divided, f"{report.accuracy:.1f}")
        for report in reports
    ]
    if rows:
        columns = ("data set", "protocol", "shots", "split", "accuracy (%)")
        parts += ["## Results", Table("One draw each", columns, tuple(rows)).markdown().rstrip()]
    return "\n\n".join(parts) + "\n"


def _data(sources: object, data_root: str) -> list[str]:
    """The sources, with terms and citations from the data cards of those that are built."""
    lines = []
    for source in sources if isinstance(sources, list | tuple) else ():
        facts: dict[str, Any] = {}
        if source in built_datasets(data_root):
            facts = read_index(shards_folder(data_root, source)).get("card") or {}
        terms = "; ".join(f"{key}: {facts[key]}" for key in ("terms", "citation") if facts.get(key))
        lines.append(f"- {source}: {terms or 'terms not known here'}")
    return ["\n".join(lines) or "Not known.", "The weights may be used only as far as the terms of these sets allow."]
