"""Every setting of every command, written once: name, type, help and default in one line.

The command line's options are generated from these classes, a YAML file and a preset are held against them, and every
run stores the one it used. They are flat on purpose: a key in a YAML file is the option's name without the dashes in
front (`batch-size` or `batch_size`), under the command's name where a file serves several commands.

Only `sarjepa.recipes` reads these objects; everything below takes plain keywords.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from sarjepa.errors import InputError, nearest


class Repeat:
    """Marks a tuple that the command line takes by repeating the option; other tuples are comma-separated."""


REPEAT = Repeat()

BASELINES = ("pixels", "log-pixels", "ratio", "hog")  # stand where a checkpoint stands
DOWNSTREAM = ("mstar", "fusarship", "saracd")
METHODS = ("sar-jepa", "lomar", "lomar-sar", "mae", "fg-mae", "i-jepa", "pgca", "latent-gradient", "sarmae", "views")
VIEW_AUGMENTATIONS = ("shift", "mirror", "rotate", "scale", "gain", "contrast", "speckle")
TARGETS = ("ratio", "ratio-gaussian", "pixel", "low-pass", "hog", "sar-hog")
MODELS = ("vit-demo", "vit-laptop", "vit-tiny", "vit-small", "vit-base", "vit-large", "vit-huge")
PROTOCOLS = ("linear-probe", "fine-tune")
SPLIT_POLICIES = ("published", "grouped")
POOLS = ("cls", "mean", "grid2", "grid4")
SOLVERS = ("adamw", "lbfgs", "lda", "knn", "centroid")
NORMALISATIONS = ("as-stored", "linear", "decibel", "quarter-power", "log1p", "percentile")


def _one_of(config: object, key: str, choices: tuple[str, ...]) -> None:
    value = getattr(config, key)
    if value is not None and value not in choices:
        raise InputError(f"no such {key.replace('_', '-')}", where=repr(value), hint=nearest(str(value), choices))


def _each_of(config: object, key: str, choices: tuple[str, ...]) -> None:
    values = getattr(config, key)
    if not values:
        raise InputError("nothing chosen", where=key.replace("_", "-"), expected=f"some of {', '.join(choices)}")
    for value in values:
        if value not in choices:
            raise InputError(f"no such {key.replace('_', '-')}", where=repr(value), hint=nearest(value, choices))


def _joined_pools(pools: tuple[str, ...]) -> None:
    if not pools:
        raise InputError("nothing chosen", where="pool", expected=f"some of {', '.join(POOLS)}")
    for pool in pools:
        parts = pool.split("+")
        if unknown := [part for part in parts if part not in POOLS]:
            raise InputError("no such pool", where=repr(pool), hint=nearest(unknown[0], POOLS))
        if len(set(parts)) < len(parts):
            raise InputError("the pool joins a part with itself", where=repr(pool))


def _within(config: object, key: str, low: float, high: float = math.inf) -> None:
    value = getattr(config, key)
    if value is not None and not (low <= value <= high and math.isfinite(value)):
        wanted = f"at least {low}" if high == math.inf else f"{low} to {high}"
        raise InputError("value out of range", where=key.replace("_", "-"), expected=wanted, got=value)


@dataclass(frozen=True)
class Common:
    """What every command takes."""

    command: ClassVar[str] = ""

    data_root: Annotated[str, "folder that holds the built shards (or SARJEPA_DATA)"] = "data"
    device: Annotated[str, "auto, cpu, cuda or cuda:N"] = "auto"
    seed: Annotated[int, "seed of every random draw; 0 is a seed like any other"] = 0

    def __post_init__(self) -> None:
        """Check the ranges; every error names its key."""
        if self.device not in ("auto", "cpu", "cuda") and not (
            self.device.startswith("cuda:") and self.device[5:].isdigit()
        ):
            raise InputError("no such device", where=repr(self.device), expected="auto, cpu, cuda or cuda:N")
        _within(self, "seed", 0, 2**63 - 1)


@dataclass(frozen=True)
class BuildDatasetConfig(Common):
    """Public archives (or your own folders) to verified HDF5 shards."""

    command: ClassVar[str] = "build-dataset"

    sources: Annotated[tuple[str, ...], "sources, groups (pretrain, downstream, all) or folder:PATH"] = ("synthetic",)
    archives: Annotated[
        tuple[str, ...], "folder of archives obtained by hand, searched before any download", REPEAT
    ] = ()
    chip_size: Annotated[
        int | None, "cut images larger than this into tiles of this size (px); default: the manifest's"
    ] = None
    overlap: Annotated[float, "share of a tile that overlaps its neighbour"] = 0.0
    normalisation: Annotated[str | None, f"magnitude mapping: {', '.join(NORMALISATIONS)}; default: the manifest's"] = (
        None
    )
    normalise_per: Annotated[str, "with --normalisation: measure each chip, or the whole set"] = "chip"
    distribution: Annotated[str | None, "form of a set to build (mstar: jpeg, phoenix); default: the first at hand"] = (
        None
    )
    workers: Annotated[int, "decoding processes; 0: one per core"] = 0
    chips_per_class: Annotated[int, "synthetic only: simulated chips per class and split"] = 120
    max_rejected: Annotated[float, "share of unreadable files above which the build stops"] = 0.01
    near_duplicates: Annotated[bool, "group near-duplicate chips"] = True
    force: Annotated[bool, "build again over shards that are there"] = False
    dry_run: Annotated[bool, "say what would be fetched and what is missing, and stop"] = False
    verify: Annotated[bool, "re-read built shards against their checksums, and stop"] = False
    check_leaks: Annotated[bool, "look for near-duplicate chips across the named sources, and stop"] = False

    def __post_init__(self) -> None:
        """Check the ranges; every error names its key."""
        super().__post_init__()
        _within(self, "chip_size", 8)
        _within(self, "overlap", 0, 0.9)
        _within(self, "workers", 0)
        _within(self, "chips_per_class", 1)
        _within(self, "max_rejected", 0, 1)
        _one_of(self, "normalisation", NORMALISATIONS)
        _one_of(self, "normalise_per", ("chip", "set"))


@dataclass(frozen=True)
class PretrainConfig(Common):
    """Self-supervised pre-training on built shards."""

    command: ClassVar[str] = "pretrain"

    sources: Annotated[
        tuple[str, ...], "built sources to train on, groups (pretrain, downstream, all) or folder:PATH"
    ] = ("synthetic",)
    splits: Annotated[
        tuple[str, ...] | None, "splits to train on, or all; default: every chip that no benchmark tests"
    ] = None
    fraction: Annotated[float, "share of the chips to train on, drawn by the seed"] = 1.0
    method: Annotated[str, f"one of {', '.join(METHODS)}"] = "sar-jepa"
    target: Annotated[str | None, f"what is predicted: {', '.join(TARGETS)}; default: the method's"] = None
    radii: Annotated[tuple[int, ...], "half-widths (px) of the ratio windows, one per scale"] = (5, 9, 13, 17)
    low_pass_radius: Annotated[float, "low-pass target: largest frequency kept, in cycles over 224 px"] = 60.0
    model: Annotated[str, f"encoder: {', '.join(MODELS)}"] = "vit-base"
    image_size: Annotated[int, "side (px) of the training image"] = 224
    patch_size: Annotated[int | None, "side (px) of a patch; default: the model's"] = None
    centre_crop: Annotated[str, "side (px) kept around the chip's centre first: none, N, or mstar=80,..."] = "none"
    crop_scale: Annotated[tuple[float, ...], "random resized crop: smallest and largest share of the area"] = (0.2, 1.0)
    contrast: Annotated[float, "random contrast: factor uniform in 1 - this .. 1 + this"] = 0.5
    view_augment: Annotated[
        tuple[str, ...], f"methods of views: what differs between two views of a chip: {', '.join(VIEW_AUGMENTATIONS)}"
    ] = ("shift", "mirror", "rotate", "scale", "gain", "speckle")
    temperature: Annotated[float | None, "methods of views: temperature of the loss; default: the method's"] = None
    num_windows: Annotated[int, "local windows per image"] = 4
    window_size: Annotated[int, "side of a local window, in patches"] = 7
    mask_ratio: Annotated[float | None, "share of patches masked; default: the method's"] = None
    predictor_width: Annotated[int | None, "predictor width; default: the method's"] = None
    predictor_depth: Annotated[int | None, "predictor blocks; default: the method's"] = None
    predictor_heads: Annotated[int | None, "predictor attention heads; default: the method's"] = None
    epochs: Annotated[int, "passes over the chips"] = 200
    warmup_epochs: Annotated[
        float | None, "epochs of linear warm-up; default: 20, or a tenth of the epochs where they are fewer than 200"
    ] = None
    batch_size: Annotated[int, "images per step, over all processes"] = 300
    lr: Annotated[float, "peak learning rate for a batch of 256; scaled by batch / 256"] = 1e-3
    weight_decay: Annotated[float, "AdamW weight decay, none on biases and norms"] = 0.05
    precision: Annotated[str, "bf16 (autocast), fp32, or auto: bf16 where the device has it"] = "auto"
    accumulate: Annotated[int, "parts a batch is taken in, for a smaller memory"] = 1
    recompute: Annotated[bool, "run each block again in the backward pass instead of keeping its activations"] = False
    compile: Annotated[bool, "compile the blocks (torch.compile)"] = False
    shard: Annotated[bool, "shard weights and optimiser over the processes (FSDP2), not copy them (DDP)"] = False
    clip_grad: Annotated[float | None, "largest gradient norm; default: no clipping"] = None
    init: Annotated[str | None, "start from this checkpoint's encoder"] = None
    run_dir: Annotated[str | None, "folder of the run; default runs/METHOD-MODEL-SOURCES"] = None
    resume: Annotated[bool, "go on where the run stopped"] = False
    max_steps: Annotated[int | None, "stop after this many steps, saving"] = None
    max_hours: Annotated[float | None, "stop after this many hours, saving"] = None
    save_every: Annotated[int, "epochs between checkpoints"] = 1
    keep_every: Annotated[int | None, "keep the checkpoint of every n-th epoch beside the last one"] = None
    ema: Annotated[float | None, "also average the encoder's weights at this rate (0.999), for encoder-ema"] = None
    probe_every: Annotated[int | None, "epochs between looks at the representation; default: none"] = None
    probe_dataset: Annotated[str | None, "built data set of the online kNN probe; default: the first source"] = None
    probe_crop: Annotated[str, "its centre crop (px) before resizing: published, none, N, or mstar=64,..."] = (
        "published"
    )
    picture_every: Annotated[int, "epochs between pictures of targets and predictions"] = 10
    workers: Annotated[int, "threads that prepare batches"] = 1

    def __post_init__(self) -> None:
        """Check the ranges; every error names its key."""
        super().__post_init__()
        _one_of(self, "method", METHODS)
        _one_of(self, "target", TARGETS)
        _one_of(self, "model", MODELS)
        _one_of(self, "precision", ("auto", "bf16", "fp32"))
        _each_of(self, "view_augment", VIEW_AUGMENTATIONS)
        _within(self, "temperature", 0.001)
        for key in (
            "image_size",
            "patch_size",
            "num_windows",
            "window_size",
            "batch_size",
            "epochs",
            "predictor_width",
            "predictor_depth",
            "predictor_heads",
            "save_every",
            "keep_every",
            "workers",
            "max_steps",
            "accumulate",
            "probe_every",
            "picture_every",
        ):
            _within(self, key, 1)
        _within(self, "mask_ratio", 0.01, 0.99)
        if "published" in [part.rpartition("=")[2] for part in self.centre_crop.split(",")]:
            hint = "published crops are those of the evaluation"
            raise InputError("no such crop", where="centre-crop", expected="none, N or SOURCE=N,...", got="published",
                             hint=hint)  # fmt: skip
        _within(self, "low_pass_radius", 1)
        _within(self, "contrast", 0, 1)
        _within(self, "ema", 0, 1)
        _within(self, "max_hours", 0)
        _within(self, "clip_grad", 0)
        _within(self, "lr", 0)
        _within(self, "weight_decay", 0)
        _within(self, "warmup_epochs", 0, self.epochs)
        if not 0 < self.fraction <= 1:
            raise InputError("value out of range", where="fraction", expected="0 < fraction <= 1", got=self.fraction)
        if len(self.crop_scale) != 2 or not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise InputError(
                "value out of range",
                where="crop-scale",
                expected="two shares, 0 < smallest <= largest <= 1",
                got=self.crop_scale,
            )
        if not self.radii or min(self.radii) < 1:
            raise InputError("value out of range", where="radii", expected="whole numbers from 1 up", got=self.radii)


@dataclass(frozen=True)
class Evaluation(Common):
    """What probe, finetune and fewshot-bench share: how a chip becomes an input and a feature."""

    blocks: Annotated[
        tuple[int, ...], "blocks whose features are joined, each through the final norm, from 1; default: the last"
    ] = ()
    label_set: Annotated[
        str | None, "classes and chips that count (mstar: soc-10, soc-10-single); default: the manifest's"
    ] = None
    crop: Annotated[str, "centre crop (px) before resizing: published, none, N, or mstar=64,..."] = "published"
    precision: Annotated[str, "of the encoder: bf16 (autocast), fp32, or auto: bf16 where the device has it"] = "fp32"
    epochs: Annotated[int, "epochs of the probe or fine-tuning"] = 40
    batch_size: Annotated[int, "images per training step"] = 50
    lr: Annotated[float, "peak learning rate"] = 1e-3
    weight_decay: Annotated[float, "AdamW weight decay"] = 5e-4

    def __post_init__(self) -> None:
        """Check the ranges; every error names its key."""
        super().__post_init__()
        _one_of(self, "precision", ("auto", "bf16", "fp32"))
        for key in ("epochs", "batch_size"):
            _within(self, key, 1)
        _within(self, "lr", 0)
        _within(self, "weight_decay", 0)
        if self.blocks and min(self.blocks) < 1:
            raise InputError("value out of range", where="blocks", expected="whole numbers from 1 up", got=self.blocks)

    def feature(self, pool: str) -> str:
        """The name of a pooling of the blocks that are asked for, as results have it: "cls+grid4@3,6"."""
        return pool + (f"@{','.join(map(str, self.blocks))}" if self.blocks else "")


@dataclass(frozen=True)
class SingleEvaluation(Evaluation):
    """What only probe and finetune share: one data set, one draw, one report."""

    dataset: Annotated[str, "built data set"] = "mstar"
    shots: Annotated[
        int | None,
        "training chips per class; default: the whole training split, of which finetune holds a tenth out for its "
        "temperature",
    ] = None
    split_policy: Annotated[str, "published, or grouped: no near-duplicate on both sides"] = "published"
    pool: Annotated[
        str, "feature of a chip: cls, mean, grid2 or grid4 (patch tokens on a coarse grid), or some joined: cls+grid4"
    ] = "cls"
    out: Annotated[str | None, "folder of the report; default: inside the run"] = None

    def __post_init__(self) -> None:
        """Check the ranges; every error names its key."""
        super().__post_init__()
        _within(self, "shots", 1)
        _one_of(self, "split_policy", SPLIT_POLICIES)
        _joined_pools((self.pool,))


@dataclass(frozen=True)
class ProbeConfig(SingleEvaluation):
    """Linear probe of one checkpoint on one data set."""

    command: ClassVar[str] = "probe"

    checkpoint: Annotated[
        str | None,
        f"run folder, checkpoint or exported encoder; or a baseline: {', '.join(BASELINES)}; default: the newest run",
    ] = None
    solver: Annotated[str, "adamw (as published), lbfgs, lda, knn or centroid"] = "adamw"

    def __post_init__(self) -> None:
        """Check the ranges; every error names its key."""
        super().__post_init__()
        _one_of(self, "solver", SOLVERS)


@dataclass(frozen=True)
class FinetuneConfig(SingleEvaluation):
    """Fine-tune one checkpoint, all weights, on one data set."""

    command: ClassVar[str] = "finetune"

    checkpoint: Annotated[str | None, "run folder, checkpoint or exported encoder; default: the newest run"] = None
    layer_decay: Annotated[float, "rate of a block relative to the one above it; 1: none, as published"] = 1.0
    curve: Annotated[bool, "also test after every epoch, for the curve; the last epoch stays the result"] = False

    def __post_init__(self) -> None:
        """Check the ranges; every error names its key."""
        super().__post_init__()
        _within(self, "layer_decay", 0.1, 1)


@dataclass(frozen=True)
class FewshotBenchConfig(Evaluation):
    """The few-shot table: checkpoints x data sets x protocols x shots x runs."""

    command: ClassVar[str] = "fewshot-bench"

    checkpoint: Annotated[
        tuple[str, ...],
        f"run folder, checkpoint or exported encoder; a baseline ({', '.join(BASELINES)}), or `random:RUN` for the "
        "run's encoder at initialisation; default: the newest run",
        REPEAT,
    ] = ()
    datasets: Annotated[tuple[str, ...], "built data sets; default: the downstream ones that are built"] = ()
    shots: Annotated[tuple[int, ...], "training chips per class"] = (10, 20, 40)
    runs: Annotated[int, "draws per cell, seeds SEED .. SEED + RUNS - 1"] = 10
    protocols: Annotated[tuple[str, ...], "linear-probe, fine-tune"] = ("linear-probe",)
    split_policy: Annotated[
        tuple[str, ...], "published, grouped (no near-duplicate on both sides), or both: one row for each"
    ] = ("published",)
    pool: Annotated[
        tuple[str, ...], "features of a chip, one row for each: cls, mean, grid2, grid4, or some joined: cls+grid4"
    ] = ("cls",)
    solver: Annotated[
        tuple[str, ...], "of the linear probe, one row for each: adamw (as published), lbfgs, lda, knn, centroid"
    ] = ("adamw",)
    layer_decay: Annotated[
        float, "fine-tuning: rate of a block relative to the one above it; 1: none, as published"
    ] = 1.0
    draws: Annotated[str | None, "read the few-shot draws from this draws.json instead of drawing"] = None
    compare: Annotated[str | None, "`paper`: set the published numbers beside these"] = None
    out: Annotated[str | None, "folder of the table; default: results/fewshot"] = None

    def __post_init__(self) -> None:
        """Check the ranges; every error names its key."""
        super().__post_init__()
        if not self.shots or min(self.shots) < 1:
            raise InputError("value out of range", where="shots", expected="whole numbers from 1 up", got=self.shots)
        _within(self, "runs", 1)
        _within(self, "layer_decay", 0.1, 1)
        _one_of(self, "compare", ("paper",))
        _each_of(self, "protocols", PROTOCOLS)
        _each_of(self, "split_policy", SPLIT_POLICIES)
        _joined_pools(self.pool)
        _each_of(self, "solver", SOLVERS)


@dataclass(frozen=True)
class VisualizeAttentionConfig(Common):
    """Where each head looks, what lies near what in feature space, as numbers and as pictures."""

    command: ClassVar[str] = "visualize-attention"

    checkpoint: Annotated[
        tuple[str, ...],
        "run folder, checkpoint or exported encoder, or `random:RUN` for the run's encoder at initialisation; "
        "repeat it to set several side by side; default: the newest run",
        REPEAT,
    ] = ()
    images: Annotated[
        tuple[str, ...],
        "image to look at, or a folder of images; repeat the option for several; default: chips of the data sets",
        REPEAT,
    ] = ()
    dataset: Annotated[
        tuple[str, ...], "built data sets to take chips from; default: those the runs were trained on"
    ] = ()
    num_images: Annotated[int, "chips the distances are averaged over"] = 64
    num_points: Annotated[int, "chips in the map of features, and among which neighbours are looked for"] = 400
    crop: Annotated[str, "centre crop (px) before resizing: published, none, N, or mstar=64,..."] = "published"
    image_size: Annotated[
        str | None,
        "input in px: HxW or N, in whole patches; native: not resampled, cut to whole patches; "
        "default: the side the encoder was trained at",
    ] = None
    patch: Annotated[
        tuple[int, ...], "ROW,COLUMN (from 0) of the patch whose attention is shown; default: the brightest"
    ] = ()
    renormalise: Annotated[
        bool, "distances: rescale what each query gives to patches to sum to one, the class token left out"
    ] = False
    pool: Annotated[str, "feature of a chip: cls, mean, grid2 or grid4 (patch tokens on a coarse grid)"] = "cls"
    format: Annotated[str, "of the pictures: png, pdf or svg"] = "png"
    out: Annotated[str | None, "folder of the pictures; default: inside the run, or for several under results/"] = None

    def __post_init__(self) -> None:
        """Check the ranges; every error names its key."""
        super().__post_init__()
        _within(self, "num_images", 1)
        _within(self, "num_points", 2)
        _one_of(self, "pool", POOLS)
        _one_of(self, "format", ("png", "pdf", "svg"))
        if self.patch and (len(self.patch) != 2 or min(self.patch) < 0):
            raise InputError("no such patch", where="patch", expected="ROW,COLUMN, both from 0", got=self.patch)


@dataclass(frozen=True)
class ReportConfig(Common):
    """One run as one self-contained HTML file, readable offline."""

    command: ClassVar[str] = "report"

    run: Annotated[str | None, "run folder; default: the newest run"] = None
    results: Annotated[
        tuple[str, ...],
        "folder of fewshot-bench results to show beside those in the run and those of its weights under results/",
        REPEAT,
    ] = ()
    chips: Annotated[
        bool, "show pictures with chips of the data; --no-chips where their terms forbid passing them on"
    ] = True
    out: Annotated[str | None, "file to write; default: report.html in the run folder"] = None


@dataclass(frozen=True)
class ReproduceConfig(Common):
    """One of the paper's tables or figures, with every run that it needs."""

    command: ClassVar[str] = "reproduce"

    experiment: Annotated[str, "table1, table3 to table6, figure4 to figure7"] = "table4"
    scale: Annotated[str, "size of the runs: demo, laptop or paper"] = "laptop"
    sources: Annotated[tuple[str, ...], "built sets to pre-train on; default: the scale's"] = ()
    datasets: Annotated[tuple[str, ...], "built sets to measure on; default: those of --sources, else the scale's"] = ()
    seeds: Annotated[int | None, "pre-trainings per row, seeds SEED ..; default: the scale's"] = None
    jobs: Annotated[int, "commands at a time"] = 1
    launch: Annotated[str | None, "what starts pre-training, such as 'torchrun --nproc-per-node 4 -m'"] = None
    imagenet: Annotated[str | None, "ViT weights of the imagenet row: file, https address or hf-hub:OWNER/NAME"] = None
    run_root: Annotated[str, "folder of the runs, which tables share"] = "runs"
    out: Annotated[str | None, "folder of the table; default: results/EXPERIMENT"] = None

    def __post_init__(self) -> None:
        """Check the ranges; every error names its key."""
        super().__post_init__()
        _within(self, "seeds", 1)
        _within(self, "jobs", 1)


COMMANDS: dict[str, type[Common]] = {
    config.command: config
    for config in (
        BuildDatasetConfig,
        PretrainConfig,
        ProbeConfig,
        FinetuneConfig,
        FewshotBenchConfig,
        VisualizeAttentionConfig,
        ReproduceConfig,
        ReportConfig,
    )
}


def as_dict(config: Common) -> dict[str, object]:
    """The settings as plain YAML-ready values (tuples as lists), keys as on the command line."""
    return {
        key.replace("_", "-"): list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(config).items()
    }
