"""features: the features of every chip of a built source, as one file for other tools.

The arrays are feature (N, D) float32, label (N,) with -1 for none, split and path (N,) text; classes (C,) names the
labels. numpy reads npz, h5py reads h5, pandas and polars read parquet, which holds feature as a column of lists and the
column class beside label.
"""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np

from sarjepa.config import FeaturesConfig
from sarjepa.data.built import open_source
from sarjepa.data.crops import check_crop, crop_side
from sarjepa.errors import InputError
from sarjepa.evaluation.baselines import Baseline
from sarjepa.evaluation.features import extract, file_name
from sarjepa.evaluation.opened import open_checkpoint
from sarjepa.files import write_atomically
from sarjepa.models.addresses import newest_run
from sarjepa.models.heads import Feature
from sarjepa.progress import Progress
from sarjepa.recipes.evaluating.class_report import report_folder
from sarjepa.resampling import centre_crop_and_resize
from sarjepa.results.result import Result, writable_folder
from sarjepa.training.runtime import pick_device, pick_precision

Arrays = dict[str, np.ndarray]


def run(config: FeaturesConfig, progress: Progress) -> Result:
    """Pass every chip through the encoder and write the file.

    Raises:
        InputError: the data set is not built, the checkpoint cannot be read, the file cannot be written, or pyarrow,
            which parquet needs, is not installed.

    Example:
        >>> config = FeaturesConfig(checkpoint="runs/toy", dataset="toy", pool="cls+grid2", out="toy.npz")
        >>> run(config, Progress()).message  # 16 numbers of the class token, 16 of each of 2 x 2 cells
        '72 chips x 80 numbers, whole chips; toy.npz'
        >>> np.load("toy.npz")["classes"].tolist()
        ['across', 'along', 'blob']
    """
    device = pick_device(config.device)
    shards = open_source(config.data_root, config.dataset)
    check_crop(config.data_root, config.crop)
    crop = crop_side(config.crop, config.dataset, shards)
    name = config.checkpoint or newest_run()
    usual = report_folder(None, name, f"features-{config.dataset}", None)
    out = Path(config.out) if config.out else usual.with_name(f"{usual.name}.npz")
    if out.suffix == ".parquet" and find_spec("pyarrow") is None:
        hint = "pip install pyarrow, or write .npz or .h5"
        raise InputError("parquet needs pyarrow, which is not installed", where=out, hint=hint)
    opened = open_checkpoint(name, config.seed, device, progress, config.blocks)
    writable_folder(out.parent)

    feature = Feature.read(config.feature(config.pool))
    blocks = feature.blocks or (None,)
    features = extract(
        opened.encoder,
        lambda rows: centre_crop_and_resize(shards.images(rows), shards.scale, crop, opened.image_size, device),
        len(shards),
        blocks=blocks,
        precision=pick_precision(config.precision, device),
        progress=progress,
        description=f"features of {config.dataset} by {name}",
    )
    is_baseline = isinstance(opened.encoder, Baseline)
    keys = ["cls"] if is_baseline else [file_name(pool, block) for block in blocks for pool in feature.pools]
    feature_ND = np.concatenate([features[key] for key in keys], axis=1)
    arrays = {
        "feature": feature_ND,
        "label": shards.labels,
        "split": shards.splits,
        "path": np.array(shards.paths),
        "classes": np.array(shards.classes, dtype=np.str_),
    }
    write_atomically(out, FORMATS[out.suffix](arrays))
    cropped = f"centre {crop} px" if crop else "whole chips"
    return Result(f"{len(shards)} chips x {feature_ND.shape[1]} numbers, {cropped}; {out}", out.parent)


def _npz(arrays: Arrays) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def _h5(arrays: Arrays) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, values in arrays.items():
            is_text = values.dtype.kind == "U"
            file[name] = values.astype(h5py.string_dtype()) if is_text else values
    return content.getvalue()


def _parquet(arrays: Arrays) -> bytes:
    import pyarrow
    from pyarrow import parquet

    feature_ND, names = arrays["feature"], [*arrays["classes"].tolist(), ""]  # names[-1]: label -1 has no class
    lists = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(feature_ND.ravel()), feature_ND.shape[1])
    columns = {key: arrays[key].tolist() for key in ("label", "split", "path")}
    columns["class"] = [names[label] for label in columns["label"]]
    content = io.BytesIO()
    parquet.write_table(pyarrow.table({"feature": lists, **columns}), content)
    return content.getvalue()


FORMATS = {".npz": _npz, ".h5": _h5, ".parquet": _parquet}
