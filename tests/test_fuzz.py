"""Every reader, fed damaged files: what it makes of one is a result or one refusal, in bounded time and memory.

A mutant is a sound file changed by a function of (target, number): bytes flipped, overwritten, cut, repeated or removed
and, where a file is a tree of values, a value replaced by one of another kind. So a failure names what makes it again.
Where a format has a checksum, what is read of damaged bytes must moreover be what was written.

By default a few mutants a target are tried; SARJEPA_FUZZ says how many (`make fuzz`).
"""

from __future__ import annotations

import bz2
import copy
import gzip
import io
import json
import os
import resource
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
import torch
import yaml
from PIL import Image
from safetensors.torch import load, save

import sarjepa
from sarjepa.config import PretrainConfig
from sarjepa.data.manifest_parser import parse_manifest
from sarjepa.documents import read_record
from sarjepa.errors import InputError
from sarjepa.evaluation.benchmark import open_benchmark
from sarjepa.evaluation.classifier import classifier_bytes, load_classifier
from sarjepa.evaluation.draw_records import DrawsFile, from_record, to_record
from sarjepa.evaluation.fewshot import draw
from sarjepa.files import json_text
from sarjepa.formats.archives import containers
from sarjepa.formats.boxes import read_voc, read_yolo
from sarjepa.formats.readers import read_image
from sarjepa.models.checkpoints import encoder_bytes, load_encoder, weights_sha256
from sarjepa.models.encoder import Encoder, EncoderShape
from sarjepa.models.heads import Classifier, Feature, Head
from sarjepa.overlay import overlay, read_preset, read_settings_file
from sarjepa.pickles import read_pickle
from sarjepa.pretext.methods import METHODS, check_revision
from sarjepa.progress import Progress
from sarjepa.recipes.pretrain.method import ready_method
from sarjepa.recipes.pretrain.state import TrainingState, checkpoint_of, described, new_state, restore
from sarjepa.reports.cards import BuiltIndex
from sarjepa.reports.class_table import class_table
from sarjepa.reports.fewshot_tables import accuracy_table, comparison_table, detail_table
from sarjepa.results.records import FewshotResults, Report, Run
from sarjepa.training.checkpoint import Checkpoint
from sarjepa.training.runtime import Ranks

NUM_MUTANTS = int(os.environ.get("SARJEPA_FUZZ") or 12)
LONGEST_S, MOST_BYTES = 10, 2 * 2**30
GOLDEN = Path(__file__).parent / "golden" / "results"
MANIFESTS = Path(__file__).parents[1] / "data_manifests"
IMAGE = np.random.default_rng(0).integers(0, 256, (24, 20), dtype=np.uint8)
# What stands where something else was meant.
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**63, 10**40, 1.5, -0.0, 1e308, "", "x", "1", "\0", "../x", "\u00e9" * 40,
    [], [[]], [None], {}, {"x": {}}, [1, "a"],
)  # fmt: skip


def mutant(content: bytes, generator: np.random.Generator) -> bytes:
    """A file's bytes, changed in one to three places."""
    data = bytearray(content)
    for _ in range(int(generator.integers(1, 4))):
        at = int(generator.integers(0, max(len(data), 1)))
        end = at + int(generator.choice([1, 2, 4, 8, 64, 512]))
        match int(generator.integers(0, 7)):
            case 0:
                data[at : at + 1] = bytes([(data[at] if data else 0) ^ (1 << int(generator.integers(0, 8)))])
            case 1:
                data[at:end] = generator.bytes(end - at)
            case 2:
                data[at:end] = bytes([int(generator.choice([0, 0x7F, 0x80, 0xFF]))]) * (end - at)
            case 3:
                del data[at:]
            case 4:
                del data[at:end]
            case 5:
                data[at:at] = data[at:end]
            case _:
                data[at:at] = generator.bytes(end - at)
    return bytes(data)


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a tree of mappings and lists."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield tree, key
        yield from places(value)


def edited(tree: Any, generator: np.random.Generator) -> Any:
    """A tree with one value replaced by an odd one, or left out."""
    tree = copy.deepcopy(tree)
    found = list(places(tree))
    inside, key = found[int(generator.integers(0, len(found)))]
    if isinstance(inside, dict) and generator.random() < 0.2:
        del inside[key]
    else:
        inside[key] = ODD[int(generator.integers(0, len(ODD)))]
    return tree


@dataclass(frozen=True)
class Target:
    """A reader and sound files for it.

    Attributes:
        seeds: contents of files that it reads.
        read: from a path to what is in the file, comparable where `is_checked`.
        name: of the file.
        edit: a file that is whole and says something else.
        is_checked: damaged bytes never read as something else.
    """

    seeds: tuple[bytes, ...]
    read: Callable[[Path], Any]
    name: str = "file"
    edit: Callable[[bytes, np.random.Generator], bytes] | None = None
    is_checked: bool = False


def _image(path: Path) -> object:
    return read_image(path.read_bytes()).image.shape


def _bytes(write: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def _pillow(kind: str) -> bytes:
    return _bytes(lambda stream: Image.fromarray(IMAGE).save(stream, kind))


def _tiff(image: np.ndarray = IMAGE, **options: Any) -> bytes:
    return _bytes(lambda stream: tifffile.imwrite(stream, image, **options))


def _mat(packed: bool) -> bytes:
    variables = {"complex_img": IMAGE * (1 + 1j), "target_name": "2s1", "elevation": 15.0}
    return _bytes(lambda stream: scipy.io.savemat(stream, variables, do_compression=packed))


def _phoenix() -> bytes:
    rows, columns = IMAGE.shape
    head = (
        "[PhoenixHeaderVer01.04]\nPhoenixHeaderLength= {:05d}\nPhoenixSigSize= {:09d}\nnative_header_length= 0\n"
        f"NumberOfColumns= {columns}\nNumberOfRows= {rows}\nTargetAz= 30.5\n[EndofPhoenixHeader]\n"
    )
    length = len(head.format(0, 0))
    return head.format(length, length + 8 * IMAGE.size).encode() + IMAGE.astype(">f4").tobytes() * 2


def images() -> dict[str, Target]:
    tiffs = (_tiff(), _tiff(compression="zlib"), _tiff(IMAGE.astype(np.float32), tile=(16, 16)), _pillow("TIFF"))
    npys = tuple(_bytes(lambda stream, kind=kind: np.save(stream, IMAGE.astype(kind))) for kind in ("u1", "f4", "c8"))
    seeds = {"tiff": tiffs, "npy": npys, "mat": (_mat(False), _mat(True)), "jpeg": (_pillow("JPEG"),),
             "png": (_pillow("PNG"),), "phoenix": (_phoenix(),)}  # fmt: skip
    return {name: Target(contents, _image) for name, contents in seeds.items()}


def _tar() -> bytes:
    def write(stream: io.BytesIO) -> None:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for number in range(6):
                entry = tarfile.TarInfo(f"set/{number}.bin")
                entry.size = 600
                archive.addfile(entry, io.BytesIO(bytes([number]) * 600))

    return _bytes(write)


def _zip(compression: int) -> bytes:
    def write(stream: io.BytesIO) -> None:
        with zipfile.ZipFile(stream, "w", compression) as archive:
            for number in range(4):
                archive.writestr(f"set/{number}.bin", bytes([number]) * 600)

    return _bytes(write)


def _members(path: Path) -> object:
    cache = path.with_name(f"cache-{time.monotonic_ns()}")
    return [one.read(member.name) for one in containers(path, cache) for member in one.members()]


def archives() -> dict[str, Target]:
    tar = _tar()
    return {
        "tar": Target((tar, gzip.compress(tar), bz2.compress(tar)), _members, "set.tar"),
        "zip": Target((_zip(zipfile.ZIP_STORED), _zip(zipfile.ZIP_DEFLATED)), _members, "set.zip"),
    }


def _edited_json(content: bytes, generator: np.random.Generator) -> bytes:
    return json.dumps(edited(json.loads(content), generator)).encode()


def _edited_yaml(content: bytes, generator: np.random.Generator) -> bytes:
    return yaml.safe_dump(edited(yaml.safe_load(content), generator)).encode()


def documents() -> dict[str, Target]:
    settings = {"pretrain": {"radii": [5, 9], "lr": 1e-3, "epochs": 5, "sources": ["mstar"], "crop-scale": [0.2, 1.0]}}
    corners = b"<xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax>"
    voc = b"<annotation><object><name>ship</name><bndbox>%s</bndbox></object></annotation>" % corners
    yolo = b"0 0.5 0.5 0.2 0.1\n1 0.2 0.3 0.1 0.1\n"

    def tables(path: Path) -> object:
        content = read_record(path, FewshotResults)
        return [accuracy_table(content.cells, cell.dataset).markdown() for cell in content.cells] + [
            detail_table(content.cells).markdown(),
            comparison_table(content.comparisons, content.cells).markdown() if content.comparisons else "",
        ]

    def pretraining(path: Path) -> object:
        return overlay(PretrainConfig, [(str(path), read_settings_file(path, "pretrain"))])

    runs = tuple(path.read_bytes() for path in sorted((GOLDEN / "grid" / "runs").iterdir())[:3])
    reports = tuple((GOLDEN / name / "report.json").read_bytes() for name in ("probe", "finetune", "labels"))
    results = tuple((GOLDEN / name / "results.json").read_bytes() for name in ("grid", "single"))
    return {
        "settings": Target((yaml.safe_dump(settings).encode(),), pretraining, "run.yaml", _edited_yaml),
        "manifest": Target(
            ((MANIFESTS / "mstar.yaml").read_bytes(),),
            lambda path: parse_manifest(path.read_bytes().decode("utf-8", "replace"), path.name),
            "mstar.yaml",
            _edited_yaml,
        ),
        "voc": Target((voc,), lambda path: read_voc(path.read_bytes())),
        "yolo": Target((yolo,), lambda path: read_yolo(path.read_bytes(), (90, 80))),
        "runs/*.json": Target(runs, lambda path: read_record(path, Run), "run.json", _edited_json),
        "report.json": Target(
            reports, lambda path: class_table(read_record(path, Report)).markdown(), "report.json", _edited_json
        ),
        "results.json": Target(results, tables, "results.json", _edited_json),
    }  # fmt: skip


def _encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderShape(width=192, depth=1, num_heads=3, patch_size=8, image_size=16)).eval()


def _used(path: Path) -> str:
    encoder = load_encoder(path)
    side = 2 * encoder.patch_size
    if side <= 64:
        with torch.no_grad():
            encoder(torch.zeros(1, 1, side, side))
    return weights_sha256(encoder)


def _edited_tensor(value: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    choices = (value.flatten(), value[None], value.long(), value.double(), value.flatten()[:0], value.new_zeros(()))
    return choices[int(generator.integers(0, len(choices)))]


def _edited_state(state: dict[str, Any], generator: np.random.Generator) -> dict[str, Any]:
    key = sorted(state)[int(generator.integers(0, len(state)))]
    if generator.random() < 0.3:
        return {name: value for name, value in state.items() if name != key}
    return {**state, key: _edited_tensor(state[key], generator)}


def _edited_torch(content: bytes, generator: np.random.Generator) -> bytes:
    state = torch.load(io.BytesIO(content), weights_only=True)
    key = "method" if "method" in state else "model"
    if generator.random() < 0.5:
        state[key] = _edited_state(state[key], generator)
    else:
        state = edited(state, generator)
    return _bytes(lambda stream: torch.save(state, stream))


def _edited_run(content: bytes, generator: np.random.Generator) -> bytes:
    state = torch.load(io.BytesIO(content), weights_only=True)
    spots = [(inside, key) for inside, key in places(state) if isinstance(inside[key], torch.Tensor)]
    if generator.random() < 0.5:
        inside, key = spots[int(generator.integers(0, len(spots)))]
        inside[key] = _edited_tensor(inside[key], generator)
    else:
        state = edited(state, generator)
    return _bytes(lambda stream: torch.save(state, stream))


def resumed() -> Target:
    """A run that goes on: weights, moments, their average and the step."""
    settings = {
        "image_size": 32,
        "window_size": 3,
        "radii": [2],
        "predictor_width": 8,
        "predictor_depth": 1,
        "ema": 0.9,
    }
    config = overlay(PretrainConfig, [("preset", read_preset("demo", "pretrain")), ("test", settings)])
    device, ranks = torch.device("cpu"), Ranks()

    def stepped(state: TrainingState) -> TrainingState:
        for weight in state.method.parameters():
            weight.grad = torch.zeros_like(weight)
        state.optimizer.step()
        return state

    def read(path: Path) -> object:
        stored = Checkpoint(path, read_pickle(path))
        check_revision(config.method, described(stored), path)
        state = new_state(config, ready_method(config, device, Progress()), device, ranks)
        restore(state, stored, path.parent)
        kept = checkpoint_of(stepped(state), {}, ranks) or {}
        return [value.sum().item() for value in (*kept["method"].values(), *kept["average"].values())]

    state = stepped(new_state(config, ready_method(config, device, Progress()), device, ranks))
    state.step = 1
    said = {"steps": 1, "revision": METHODS[config.method].revision, "data": {"toy": "0" * 64}}
    content = _bytes(lambda stream: torch.save(checkpoint_of(state, said, ranks), stream))
    return Target((content,), read, "checkpoint-last.pt", _edited_run, True)


def _edited_safetensors(content: bytes, generator: np.random.Generator) -> bytes:
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    metadata.pop("sarjepa-sha256", None)
    weights = load(content)
    if generator.random() < 0.4 or not metadata:
        weights = {key: value.contiguous().clone() for key, value in _edited_state(weights, generator).items()}
    else:
        key = next(iter(metadata))
        metadata[key] = json.dumps(edited(json.loads(metadata[key]), generator))
    return save(weights, metadata)


def checkpoints(folder: Path) -> dict[str, Target]:
    encoder, describe = _encoder(), {"method": "sar-jepa", "sources": ["toy"], "seed": 1, "num_chips": 9, "steps": 3}
    state = dict(encoder.state_dict())
    run = {"encoder_shape": asdict(encoder.shape), "describe": describe,
           "method": {f"encoder.{key}": value for key, value in state.items()}, "step": 3}  # fmt: skip
    others = {**state, "pos_embed": torch.rand(1, 5, 192)}
    del others["blocks.0.attn.rpe_k.lookup_table_weight"]
    torch_files = [
        _bytes(lambda stream, c=c: torch.save(c, stream)) for c in (run, {"model": state}, {"model": others})
    ]
    (folder / "classifier.safetensors").write_bytes(
        classifier_bytes(
            Classifier(encoder, Head(192, 2), Feature(("cls",))),
            {"classes": ["a", "b"], "temperature": 1.5, "crop": None, "dataset": "toy", "label_set": "all"},
        )
    )

    def answer(path: Path) -> object:
        classifier = load_classifier(path)
        side = classifier.describe["shape"]["image_size"]
        return classifier.probabilities([np.full((8, 8), 0.5)]).tolist() if side <= 64 else None

    return {
        "checkpoint-last.pt to resume": resumed(),
        "checkpoint-last.pt": Target((torch_files[0],), _used, "checkpoint-last.pt", _edited_torch, True),
        "released": Target(tuple(torch_files[1:]), _used, "released.pth", _edited_torch, True),
        "encoder.safetensors": Target(
            (encoder_bytes(encoder, describe),), _used, "encoder.safetensors", _edited_safetensors, True
        ),
        "released.safetensors": Target((save(state), save(others)), _used, "a.safetensors", _edited_safetensors),
        "classifier.safetensors": Target(
            ((folder / "classifier.safetensors").read_bytes(),), answer, "classifier.safetensors", _edited_safetensors,
            True,
        ),
    }  # fmt: skip


def _edited_columns(content: bytes, generator: np.random.Generator) -> bytes:
    stream = io.BytesIO(content)
    with h5py.File(stream, "r+") as file:
        name = str(generator.choice(["pixels", "offsets", "shapes", "labels", "groups", "splits", "paths"]))
        values = file[name][()]
        del file[name]
        found = (None, values[:-1], values.astype("S3"), values[None], np.concatenate([values, values]), values[::-1])
        chosen = found[int(generator.integers(0, len(found)))]
        if chosen is not None:
            file[name] = chosen
        elif values.dtype.kind == "i":
            file[name] = values * int(generator.choice([-1, 2, 10**9]))
    return stream.getvalue()


def built(root: Path) -> dict[str, Target]:
    folder = root / "shards" / "toy"
    [shard] = folder.glob("*.h5")
    index, content = (folder / "index.json").read_bytes(), shard.read_bytes()
    benchmark = open_benchmark(str(root), "toy")
    draws = [draw(benchmark.candidates, "published", 2, seed) for seed in (0, 1)]
    record = to_record(benchmark.candidates, "published", draws)
    file = json_text(DrawsFile(format="sarjepa-draws-1", datasets={"toy": {"published": record}}))

    def chips(path: Path) -> object:
        (path.parent / "index.json").exists() or (path.parent / "index.json").write_bytes(index)
        (path.parent / shard.name).exists() or (path.parent / shard.name).write_bytes(content)
        shards = sarjepa.open_shards(path.parent)
        return [(chip.image.shape, chip.label, chip.split, chip.path, chip.group) for chip in shards]

    def drawn(path: Path) -> object:
        stored = read_record(path, DrawsFile).datasets.get("toy", {}).get("published")
        return None if stored is None else sorted(from_record(benchmark.candidates, stored, str(path)))

    def card(path: Path) -> object:
        return read_record(path, BuiltIndex)

    return {
        "index.json": Target((index,), chips, "index.json", _edited_json),
        "index.json of a card": Target((index,), card, "index.json", _edited_json),
        "shard": Target((content,), chips, shard.name, _edited_columns),
        "draws.json": Target((file.encode(),), drawn, "draws.json", _edited_json),
    }


NAMES = (
    *images(), *archives(), *documents(), "index.json", "index.json of a card", "shard", "draws.json",
    "checkpoint-last.pt", "released", "encoder.safetensors", "released.safetensors", "classifier.safetensors",
    "checkpoint-last.pt to resume",
)  # fmt: skip


@pytest.fixture(scope="module")
def targets(toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    """Every reader by the name of its format."""
    return {**images(), **archives(), **documents(), **built(toy_root), **checkpoints(tmp_path_factory.mktemp("made"))}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_read_or_refused_in_one_line(
    name: str, targets: dict[str, Target], tmp_path_factory: pytest.TempPathFactory
) -> None:
    target, folder = targets[name], tmp_path_factory.mktemp("fuzz")
    path, faults = folder / target.name, []
    sound = []
    for seed in target.seeds:
        path.write_bytes(seed)
        sound.append(target.read(path) if name != "index.json of a card" else None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(NUM_MUTANTS):
        generator = np.random.default_rng([NAMES.index(name), number])
        which = number % len(target.seeds)
        is_edit = target.edit is not None and number // len(target.seeds) % 2 == 1
        change = target.edit if is_edit and target.edit else mutant
        path.write_bytes(change(target.seeds[which], generator))
        began = time.monotonic()
        fault = ""
        try:
            found = target.read(path)
            if target.is_checked and not is_edit and found != sound[which]:
                fault = "read as something else, without a word"
        except InputError as error:
            if "\n" in str(error) or len(str(error)) > 2000:
                fault = f"not one line: {error}"
        except Exception as error:  # noqa: BLE001 - what it is, the failure says
            fault = f"{type(error).__name__}: {error}"[:300]
        if time.monotonic() - began > LONGEST_S:
            fault += f" took {time.monotonic() - began:.0f} s"
        if (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 > MOST_BYTES:
            fault += " took more than 2 GB"
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if fault:
            faults.append(f"mutant {number} ({'edited' if is_edit else 'damaged'} seed {which}): {fault}")
    assert not faults, f"{len(faults)} of {NUM_MUTANTS}:\n" + "\n".join(faults[:20])
