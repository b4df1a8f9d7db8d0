"""Every setting of every command, written once: type, help, marks and default in one line.

The command line's options are generated from these classes, YAML files and presets are checked against them, and every
run stores the one it used. They are flat on purpose: a key in a YAML file is the option's name without the dashes in
front (`batch-size` or `batch_size`), under the command's name where a file serves several commands. `sarjepa.setting`
explains the marks.

Only `sarjepa.recipes` reads these objects; everything below takes plain keywords.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from typing import Annotated, ClassVar

from sarjepa.errors import InputError
from sarjepa.setting import (
    ARGUMENT,
    BUILT,
    CHECKPOINT,
    CLASSIFIER,
    COMMAND_LINE,
    FREE,
    GRID,
    NEWEST,
    PATH,
    REPEAT,
    REQUIRED,
    RUN,
    Items,
    Like,
    OneOf,
    Range,
    settings_of,
)

BASELINES = ("pixels", "log-pixels", "ratio", "hog")  # features without weights, named in place of a checkpoint
DOWNSTREAM = ("mstar", "fusarship", "saracd")
METHODS = (
    "sar-jepa",
    "lomar",
    "lomar-sar",
    "mae",
    "fg-mae",
    "i-jepa",
    "pgca",
    "pgca-deep",
    "latent-gradient",
    "sarmae",
    "views",
    "sar-jepa-views",
    "safe",
)
VIEW_AUGMENTATIONS = ("shift", "mirror", "rotate", "scale", "gain", "ramp", "contrast", "speckle")
TARGETS = ("ratio", "ratio-gaussian", "ratio-disjoint", "pixel", "low-pass", "hog", "hog-gaussian", "sar-hog")
MODELS = ("vit-demo", "vit-laptop", "vit-tiny", "vit-small", "vit-base", "vit-large", "vit-huge")
PROTOCOLS = ("linear-probe", "fine-tune")
RECIPES = ("published", "augmented")
SPLIT_POLICIES = ("published", "grouped")
POOLS = ("cls", "mean", "grid2", "grid4")
SOLVERS = ("adamw", "lbfgs", "lda", "knn", "centroid", "label-spreading")
NORMALISATIONS = ("as-stored", "linear", "decibel", "quarter-power", "log1p", "percentile")

_ONE_CROP = r"\s*(?:[^,]+=)?(?:published|none|0*[1-9][0-9]{0,4})\s*"
_CROP = Like(f"{_ONE_CROP}(?:,{_ONE_CROP})*", "published, none, N or SOURCE=N,...")
# The published crop is for evaluation; pre-training keeps whole chips unless a side is given.
_CENTRE_CROP = Like(rf"(?!.*published\s*(?:,|$)){_CROP.pattern}", "none, N or SOURCE=N,...")
_CROP_HELP = (
    "centre crop (px) before resizing: published (128 of each benchmark), none, N, or mstar=64,...; SARATR-X: "
    "fusarship=none,saracd=none"
)
_CHECKPOINT_HELP = f"run folder, checkpoint or exported encoder; or a baseline: {', '.join(BASELINES)}"
_POOL_HELP = "feature of a chip: cls, mean, grid2 or grid4 (patch tokens on a coarse grid)"
_JOINED_POOLS = OneOf(*POOLS, joined="+")
_AUGMENT = OneOf("none", *VIEW_AUGMENTATIONS, joined=",")
_DISTURBANCE = Like(
    r"none|speckle=[1-9][0-9]{0,3}|(gain|ramp)=(?=.*[1-9])[0-9]{1,4}(\.[0-9]{1,4})?",
    "none, speckle=LOOKS, gain=FACTOR or ramp=FACTOR",
)
_PRECISIONS = OneOf("auto", "bf16", "fp32")
_COUNT = Range(1, 1_000_000)
_SHOTS = Range(1, 1_000_000, "no set has so many chips of a class")


@dataclass(frozen=True)
class Common:
    """What every command takes."""

    command: ClassVar[str] = ""
    example: ClassVar[str] = ""
    # Name of the layer that gave a setting, by its key, without those of default value; neither stored nor compared.
    origins: InitVar[Mapping[str, str] | None] = None

    data_root: Annotated[str, "folder that holds the built shards (or SARJEPA_DATA)", PATH, FREE] = "data"
    device: Annotated[
        str, "auto, cpu, cuda or cuda:N", Like(r"auto|cpu|cuda(:[0-9]{1,3})?", "auto, cpu, cuda or cuda:N"), FREE
    ] = "auto"
    seed: Annotated[int, "seed of every random draw; 0 is a seed like any other", Range(0, 2**63 - 1), GRID] = 0

    def __post_init__(self, origins: Mapping[str, str] | None) -> None:
        """Check every value against the marks of its setting; every error names its key."""
        object.__setattr__(self, "origins", origins or {})
        for setting in settings_of(type(self)):
            setting.check(getattr(self, setting.key))

    def is_typed(self, key: str) -> bool:
        """Whether a person gave the setting on the command line, whatever its value."""
        return vars(self)["origins"].get(key) == COMMAND_LINE

    def is_of_preset(self, key: str) -> bool:
        """Whether the setting comes from a preset."""
        return str(vars(self)["origins"].get(key)).startswith("preset ")


@dataclass(frozen=True)
class BuildDatasetConfig(Common):
    """Public archives (or your own folders) to verified HDF5 shards."""

    command: ClassVar[str] = "build-dataset"
    example: ClassVar[str] = "sarjepa build-dataset --sources mstar,saracd --archives DIR"

    sources: Annotated[
        tuple[str, ...],
        "sources, groups (pretrain, downstream, all), folder:PATH[,PATH] or pairs:SAR_FOLDER,OPTICAL_FOLDER",
        GRID,
    ] = ("synthetic",)
    archives: Annotated[
        tuple[str, ...], "folder of archives obtained by hand, searched before any download", PATH, REPEAT, FREE
    ] = ()
    chip_size: Annotated[
        int | None,
        "cut images larger than this into tiles of this size (px); default: the manifest's",
        Range(8, 65_536),
    ] = None
    overlap: Annotated[float, "share of a tile that overlaps its neighbour", Range(0, 0.9)] = 0.0
    normalisation: Annotated[str | None, "magnitude mapping; default: the manifest's", OneOf(*NORMALISATIONS)] = None
    normalise_per: Annotated[str, "with --normalisation: measure each chip, or the whole set", OneOf("chip", "set")] = (
        "chip"
    )
    name: Annotated[
        str | None,
        "what to call a source of one's own images; default: as its first folder",
        Like(r"[A-Za-z0-9][A-Za-z0-9._-]*", "letters, digits, dots, dashes"),
        FREE,
    ] = None
    label_pattern: Annotated[
        str | None, "one's own images: regular expression whose group (?P<label>...) of the path is the class"
    ] = None
    split_by: Annotated[
        str | None, "one's own images: folder, or a CSV or TSV of path,label,split,group,polarisation", PATH
    ] = None
    bands: Annotated[
        str | None,
        "of several bands in one's own images: the magnitude of complex parts, one of them, or a chip of each",
        OneOf("complex", "each", "1", "2", "3", "4", "HH", "HV", "VH", "VV"),
    ] = None
    distribution: Annotated[str | None, "form of a set to build (mstar: jpeg, phoenix); default: the first at hand"] = (
        None
    )
    workers: Annotated[int, "decoding processes; 0: one per core", Range(0, 1024), FREE] = 0
    chips_per_class: Annotated[int, "synthetic only: simulated chips per class and split", Range(1, 100_000)] = 120
    max_rejected: Annotated[float, "share of unreadable files above which the build stops", Range(0, 1), FREE] = 0.01
    near_duplicates: Annotated[bool, "group near-duplicate chips"] = True
    force: Annotated[bool, "build again over shards that are there", FREE] = False
    dry_run: Annotated[bool, "say what would be fetched and what is missing, and stop", FREE] = False
    verify: Annotated[bool, "re-read built shards against their checksums, and stop", FREE] = False
    check_leaks: Annotated[
        bool, "say what gives labels of built sources away and which chips they share, and stop", FREE
    ] = False


@dataclass(frozen=True)
class PretrainConfig(Common):
    """Self-supervised pre-training on built shards."""

    command: ClassVar[str] = "pretrain"
    example: ClassVar[str] = "sarjepa pretrain --preset laptop --sources mstar,saracd"

    sources: Annotated[
        tuple[str, ...], "built sources to train on, groups (pretrain, downstream, all) or folder:PATH", BUILT
    ] = ("synthetic",)
    splits: Annotated[
        tuple[str, ...] | None, "splits to train on, or all; default: every chip that no benchmark tests"
    ] = None
    fraction: Annotated[float, "share of the chips to train on, drawn by the seed", Range(0, 1, above=True)] = 1.0
    method: Annotated[str, "method of pre-training", OneOf(*METHODS)] = "sar-jepa"
    target: Annotated[str | None, "what is predicted; default: the method's", OneOf(*TARGETS)] = None
    radii: Annotated[tuple[int, ...], "half-widths (px) of the ratio's windows", Range(1, 4096)] = (5, 9, 13, 17)
    low_pass_radius: Annotated[
        float, "low-pass target: largest frequency kept, in cycles over 224 px", Range(1, 10_000)
    ] = 60.0
    model: Annotated[str, "encoder", OneOf(*MODELS)] = "vit-base"
    image_size: Annotated[int, "side (px) of the training image", Range(1, 4096, "every patch of it is a token")] = 224
    patch_size: Annotated[int | None, "side (px) of a patch; default: the model's", Range(1, 4096)] = None
    centre_crop: Annotated[
        str, "side (px) kept around the chip's centre first: none, N, or mstar=80,...", _CENTRE_CROP
    ] = "none"
    crop_scale: Annotated[
        tuple[float, ...],
        "random resized crop: smallest and largest share of the area",
        Items(2),
        Range(0, 1, above=True),
    ] = (0.2, 1.0)
    contrast: Annotated[float, "random contrast: factor uniform in 1 - this .. 1 + this", Range(0, 1)] = 0.5
    flip: Annotated[bool, "mirror half of the chips, left to right"] = True
    anchor: Annotated[
        str | None,
        "sarmae: network that optical images are seen by: timm:NAME, released (each with @FILE) or an encoder's path",
    ] = None
    anchor_weight: Annotated[float | None, "of the alignment with the anchor; default: 0.8", Range(0, 100)] = None
    paired_share: Annotated[
        float | None, "share of an epoch drawn from chips with an optical image; default: as they come", Range(0, 1)
    ] = None
    view_augment: Annotated[
        tuple[str, ...], "methods of views: what differs between two views of a chip", OneOf(*VIEW_AUGMENTATIONS)
    ] = ("shift", "mirror", "rotate", "scale", "gain", "speckle")
    temperature: Annotated[
        float | None, "methods of views: temperature of the loss; default: the method's", Range(0.001, 1000)
    ] = None
    view_weight: Annotated[
        float, "sar-jepa-views: weight of the loss of the views beside the masked loss", Range(0, 1000)
    ] = 0.1
    num_windows: Annotated[int, "local windows per image", Range(1, 1000, "the encoder sees each of them")] = 4
    window_size: Annotated[int, "side of a local window, in patches", Range(1, 256)] = 7
    mask_ratio: Annotated[float | None, "share of patches masked; default: the method's", Range(0.01, 0.99)] = None
    normalise_patches: Annotated[
        bool | None,
        "global masks: predict a patch's values less their mean, over their deviation; default: the method's",
    ] = None
    power_weight: Annotated[
        bool | None, "mae: weigh a patch's error by exp(1 - power), so that bright scatterers count less (SAR-W-MixMAE)"
    ] = None
    predictor_width: Annotated[int | None, "predictor width; default: the method's", Range(1, 16_384)] = None
    predictor_depth: Annotated[int | None, "predictor blocks; default: the method's", Range(1, 256)] = None
    predictor_heads: Annotated[int | None, "predictor attention heads; default: the method's", Range(1, 1024)] = None
    epochs: Annotated[int, "passes over the chips", _COUNT] = 200
    warmup_epochs: Annotated[
        float | None,
        "epochs of linear warm-up; default: 20, or a tenth of the epochs where they are fewer than 200",
        Range(0),
    ] = None
    batch_size: Annotated[int, "images per step, over all processes", _COUNT] = 300
    lr: Annotated[float, "peak learning rate for a batch of 256; scaled by batch / 256", Range(0)] = 1e-3
    weight_decay: Annotated[float, "AdamW weight decay, none on biases and norms", Range(0, 1000)] = 0.05
    precision: Annotated[str, "bf16 (autocast), fp32, or auto: bf16 where the device has it", _PRECISIONS] = "auto"
    accumulate: Annotated[int, "parts a batch is taken in, for a smaller memory", _COUNT] = 1
    recompute: Annotated[bool, "run each block again in the backward pass instead of keeping its activations", FREE] = (
        False
    )
    compile: Annotated[bool, "compile the blocks (torch.compile)", FREE] = False
    shard: Annotated[bool, "shard weights and optimiser over the processes (FSDP2), not copy them (DDP)", FREE] = False
    clip_grad: Annotated[float | None, "largest gradient norm; default: no clipping", Range(0, above=True)] = None
    init: Annotated[str | None, "start from this checkpoint's encoder", PATH, CHECKPOINT] = None
    run_dir: Annotated[str | None, "folder of the run; default runs/METHOD-MODEL-SOURCES", PATH, FREE] = None
    resume: Annotated[bool, "go on where the run stopped", FREE] = False
    max_steps: Annotated[int | None, "stop after this many steps, saving", Range(1, 10**12), FREE] = None
    max_hours: Annotated[float | None, "stop after this many hours, saving", Range(0, 10**6), FREE] = None
    save_every: Annotated[int, "epochs between checkpoints", _COUNT, FREE] = 1
    keep_every: Annotated[int | None, "keep the checkpoint of every n-th epoch beside the last one", _COUNT, FREE] = (
        None
    )
    ema: Annotated[
        float | None, "also average the encoder's weights at this rate (0.999), for encoder-ema", Range(0, 1)
    ] = None
    probe_every: Annotated[int | None, "epochs between looks at the representation; default: none", _COUNT, FREE] = None
    probe_dataset: Annotated[
        str | None, "built data set of the online kNN probe; default: the first source", FREE, BUILT
    ] = None
    probe_crop: Annotated[
        str, "its centre crop (px) before resizing: published, none, N, or mstar=64,...", _CROP, FREE
    ] = "published"
    picture_every: Annotated[int, "epochs between pictures of targets and predictions", _COUNT, FREE] = 10
    workers: Annotated[int, "threads that prepare batches", Range(1, 1024), FREE] = 1

    def __post_init__(self, origins: Mapping[str, str] | None) -> None:
        """Check what depends on two values, and drop a preset's warm-up that would fill the run."""
        super().__post_init__(origins)
        if self.is_of_preset("warmup_epochs") and 2 * (self.warmup_epochs or 0) > self.epochs:
            object.__setattr__(self, "warmup_epochs", None)
        if (self.warmup_epochs or 0) > self.epochs:
            wanted = f"0 to {self.epochs}, the epochs"
            raise InputError("value out of range", where="warmup-epochs", expected=wanted, got=self.warmup_epochs)
        if self.crop_scale[0] > self.crop_scale[1]:
            raise InputError("the smallest share comes first", where="crop-scale", got=self.crop_scale)
        if self.probe_dataset is not None and self.probe_every is None:
            hint = "give --probe-every, or leave it out"
            raise InputError("nothing is probed", where="probe-dataset", got=self.probe_dataset, hint=hint)


@dataclass(frozen=True)
class Featured(Common):
    """What features and the evaluations share: how a chip becomes a feature."""

    crop: Annotated[str, _CROP_HELP, _CROP] = "published"
    blocks: Annotated[
        tuple[int, ...],
        "blocks whose features are joined, each through the final norm, from 1; default: the last",
        Range(1, 256),
    ] = ()

    def feature(self, pool: str) -> str:
        """The name of a pooling with the blocks of the settings, as in results.

        Example:
            >>> Featured(blocks=(3, 6)).feature("cls+grid4")
            'cls+grid4@3,6'
        """
        return pool + (f"@{','.join(map(str, self.blocks))}" if self.blocks else "")


@dataclass(frozen=True)
class FeaturesConfig(Featured):
    """The features of every chip of a data set, for tools of your own."""

    command: ClassVar[str] = "features"
    example: ClassVar[str] = "sarjepa features --checkpoint RUN --dataset mstar --pool cls+grid4 --out features.npz"

    checkpoint: Annotated[str | None, f"{_CHECKPOINT_HELP}; default: the newest run", PATH, CHECKPOINT, NEWEST] = None
    dataset: Annotated[str, "built data set", BUILT] = "mstar"
    pool: Annotated[str, f"{_POOL_HELP}, or some joined: cls+grid4", _JOINED_POOLS] = "cls"
    precision: Annotated[
        str, "of the encoder: bf16 (autocast), fp32, or auto: bf16 where the device has it", _PRECISIONS
    ] = "fp32"
    out: Annotated[
        str | None,
        "file to write, .npz, .h5 or .parquet; default: features-DATASET.npz inside the run, or under results/",
        Like(r".*\.(npz|h5|parquet)", "a file that ends in .npz, .h5 or .parquet"),
        PATH,
        FREE,
    ] = None


@dataclass(frozen=True)
class PredictConfig(Common):
    """The class of every image in a folder, by a classifier that probe or finetune saved, with its confidence."""

    command: ClassVar[str] = "predict"
    example: ClassVar[str] = "sarjepa predict FOLDER --classifier RUN/finetune-mstar --out classes.csv"

    folder: Annotated[str | None, "images of any size and format, in sub-folders too", PATH, ARGUMENT, REQUIRED] = None
    classifier: Annotated[
        str | None, "folder that probe or finetune wrote, or the file in it", PATH, CLASSIFIER, REQUIRED
    ] = None
    out: Annotated[str, "table to write", PATH, FREE] = "predictions.csv"


@dataclass(frozen=True)
class Evaluation(Featured):
    """What probe, finetune and fewshot-bench share: how a chip becomes an input and a feature."""

    recipe: Annotated[
        str,
        "settings that belong together: published (the only one beside the paper's numbers), augmented",
        OneOf(*RECIPES),
    ] = "published"
    copies: Annotated[
        int | None,
        "frozen: training rows of a shot, itself and its views; default: 2 of mirror alone, else 4",
        Range(2, 1000, "each passes the encoder"),
    ] = None
    label_set: Annotated[
        str | None, "classes and chips that count (mstar: soc-10, soc-10-single); default: the manifest's"
    ] = None
    test_dataset: Annotated[
        str | None, "built data set to test on in place of one's own test chips; classes are told by name", BUILT, GRID
    ] = None
    precision: Annotated[
        str | None,
        "of the encoder: bf16 (autocast), fp32, or auto: bf16 where the device has it; default: the recipe's",
        _PRECISIONS,
    ] = None
    epochs: Annotated[
        int | None, "epochs of the probe or fine-tuning; default: the recipe's (published: 40)", Range(1, 100_000)
    ] = None
    batch_size: Annotated[int | None, "images per training step; default: the recipe's (published: 50)", _COUNT] = None
    lr: Annotated[float | None, "peak learning rate; default: the recipe's (published: 1e-3)", Range(0)] = None
    weight_decay: Annotated[float | None, "AdamW weight decay; default: the recipe's (5e-4)", Range(0, 1000)] = None


@dataclass(frozen=True)
class SingleEvaluation(Evaluation):
    """What only probe and finetune share: one data set, one draw, one report."""

    dataset: Annotated[str, "built data set", BUILT] = "mstar"
    shots: Annotated[
        int | None,
        "training chips per class; default: the whole training split, of which finetune holds a tenth out for its "
        "temperature",
        _SHOTS,
    ] = None
    split_policy: Annotated[str, "published, or grouped: no near-duplicate on both sides", OneOf(*SPLIT_POLICIES)] = (
        "published"
    )
    pool: Annotated[
        str | None, f"{_POOL_HELP}, or some joined: cls+grid4; default: the recipe's (published: cls)", _JOINED_POOLS
    ] = None
    augment: Annotated[
        str | None, "views of the shots to learn from, or none, comma-separated; default: the recipe's", _AUGMENT
    ] = None
    out: Annotated[str | None, "folder of the report; default: inside the run", PATH, FREE] = None


@dataclass(frozen=True)
class ProbeConfig(SingleEvaluation):
    """Linear probe of one checkpoint on one data set."""

    command: ClassVar[str] = "probe"
    example: ClassVar[str] = "sarjepa probe --checkpoint RUN --dataset mstar --shots 40 --recipe augmented"

    checkpoint: Annotated[
        str | None,
        f"{_CHECKPOINT_HELP}; default: the newest run",
        PATH,
        CHECKPOINT,
        NEWEST,
    ] = None
    solver: Annotated[
        str | None,
        "adamw (as published), lbfgs, lda, knn, centroid, or label-spreading, which reads unlabelled training chips "
        "too; default: the recipe's",
        OneOf(*SOLVERS),
    ] = None


@dataclass(frozen=True)
class Tuning(Evaluation):
    """What only finetune and fewshot-bench share: how all weights are trained."""

    steps: Annotated[int | None, "fine-tuning: steps in place of epochs; default: the recipe's", _COUNT] = None
    head_lr: Annotated[
        float | None, "fine-tuning: peak learning rate of the head; default: the recipe's", Range(0, 1000)
    ] = None
    layer_decay: Annotated[
        float | None,
        "fine-tuning: rate of a block relative to the one above it; default: the recipe's (1: none)",
        Range(0.1, 1),
    ] = None
    head: Annotated[
        str | None,
        "fine-tuning: linear (as published) or normalised (batch normalisation first); default: the recipe's",
        OneOf("linear", "normalised"),
    ] = None
    label_smoothing: Annotated[
        float | None,
        "fine-tuning: share of a label that goes to all classes; default: the recipe's (published: 0)",
        Range(0, 0.9),
    ] = None
    dropout: Annotated[
        float | None,
        "fine-tuning: share of the feature hidden from the head; default: the recipe's (published: 0)",
        Range(0, 0.9),
    ] = None


@dataclass(frozen=True)
class FinetuneConfig(SingleEvaluation, Tuning):
    """Fine-tune one checkpoint, all weights, on one data set."""

    command: ClassVar[str] = "finetune"
    example: ClassVar[str] = "sarjepa finetune --checkpoint RUN --dataset mstar --shots 40 --recipe augmented"

    checkpoint: Annotated[
        str | None, "run folder, checkpoint or exported encoder; default: the newest run", PATH, CHECKPOINT, NEWEST
    ] = None
    curve: Annotated[bool, "also test after every epoch, for the curve; the last epoch stays the result"] = False


@dataclass(frozen=True)
class FewshotBenchConfig(Tuning):
    """The few-shot table: checkpoints x data sets x protocols x shots x runs."""

    command: ClassVar[str] = "fewshot-bench"
    example: ClassVar[str] = "sarjepa fewshot-bench --checkpoint RUN --datasets mstar,saracd --shots 10,20,40"

    checkpoint: Annotated[
        tuple[str, ...],
        f"run folder, checkpoint or exported encoder; a baseline ({', '.join(BASELINES)}), or `random:RUN` for the "
        "run's encoder at initialisation; default: the newest run",
        PATH,
        CHECKPOINT,
        NEWEST,
        REPEAT,
        GRID,
    ] = ()
    datasets: Annotated[
        tuple[str, ...], "built data sets; default: the downstream ones that are built", GRID, BUILT
    ] = ()
    shots: Annotated[tuple[int, ...], "training chips per class", _SHOTS, GRID] = (10, 20, 40)
    runs: Annotated[
        int,
        "draws per cell, seeds SEED .. SEED + RUNS - 1",
        Range(1, 1000, "all are drawn before the first is evaluated"),
        GRID,
    ] = 10
    protocols: Annotated[tuple[str, ...], "linear-probe, fine-tune", OneOf(*PROTOCOLS), GRID] = ("linear-probe",)
    split_policy: Annotated[
        tuple[str, ...],
        "published, grouped (no near-duplicate on both sides), or both with a comma between: a row for each",
        OneOf(*SPLIT_POLICIES),
        GRID,
    ] = ("published",)
    pool: Annotated[
        tuple[str, ...] | None,
        "features of a chip, one row for each: cls, mean, grid2, grid4, or some joined: cls+grid4; default: the "
        "recipe's",
        _JOINED_POOLS,
        GRID,
    ] = None
    augment: Annotated[
        tuple[str, ...] | None,
        "views of the shots to learn from, or none, comma-separated; repeat it for a row each; default: the recipe's",
        _AUGMENT,
        REPEAT,
        GRID,
    ] = None
    solver: Annotated[
        tuple[str, ...] | None,
        "of the linear probe, one row for each: adamw (as published), lbfgs, lda, knn, centroid, or label-spreading, "
        "which reads unlabelled training chips too; default: the recipe's",
        OneOf(*SOLVERS),
        GRID,
    ] = None
    baselines: Annotated[
        tuple[str, ...],
        "features without weights that get a row by lda, or by label-spreading if it is asked for; or none",
        OneOf("none", *BASELINES),
        GRID,
    ] = ("log-pixels", "ratio", "hog")
    disturb: Annotated[
        tuple[str, ...],
        "what the test chips suffer, a table for each: none, speckle=LOOKS, gain=FACTOR, ramp=FACTOR",
        _DISTURBANCE,
        GRID,
    ] = ("none",)
    draws: Annotated[str | None, "read the few-shot draws from this draws.json instead of drawing", PATH] = None
    compare: Annotated[str | None, "`paper`: set the published numbers beside these", OneOf("paper"), GRID] = None
    out: Annotated[str | None, "folder of the table; default: results/fewshot", PATH, FREE] = None

    def __post_init__(self, origins: Mapping[str, str] | None) -> None:
        """Check what the marks cannot say.

        Raises:
            InputError: the paper's numbers are compared with those of another recipe than the published one, or labels
                are to spread over chips that are not known.
        """
        super().__post_init__(origins)
        if self.draws and "label-spreading" in (self.solver or ()):
            raise InputError(
                "a file of draws does not name the unlabelled chips that labels spread over",
                where="draws",
                hint="leave out --draws, or label-spreading from --solver",
            )
        if self.compare == "paper" and (self.recipe != "published" or set(self.augment or ()) - {"none"}):
            raise InputError(
                "the paper's numbers were made without augmentation",
                where="compare",
                hint="compare them with --recipe published, and give the augmented table another --out",
            )


@dataclass(frozen=True)
class VisualizeAttentionConfig(Common):
    """Where each head looks, what lies near what in feature space, as numbers and as pictures."""

    command: ClassVar[str] = "visualize-attention"
    example: ClassVar[str] = "sarjepa visualize-attention --checkpoint RUN --images FOLDER"

    checkpoint: Annotated[
        tuple[str, ...],
        "run folder, checkpoint or exported encoder, or `random:RUN` for the run's encoder at initialisation; "
        "repeat it to set several side by side; default: the newest run",
        PATH,
        CHECKPOINT,
        NEWEST,
        REPEAT,
    ] = ()
    images: Annotated[
        tuple[str, ...],
        "image to look at, or a folder of images; repeat the option for several; default: chips of the data sets",
        PATH,
        REPEAT,
    ] = ()
    dataset: Annotated[
        tuple[str, ...], "built data sets to take chips from; default: those the runs were trained on", BUILT
    ] = ()
    num_images: Annotated[int, "chips the distances are averaged over; of --images all are", Range(1, 100_000)] = 64
    num_points: Annotated[
        int, "chips in the map of features, and among which neighbours are looked for", Range(2, 100_000)
    ] = 400
    crop: Annotated[str, _CROP_HELP, _CROP] = "published"
    image_size: Annotated[
        str | None,
        "input in px: HxW or N, in whole patches; native: not resampled, cut to whole patches; "
        "default: the side the encoder was trained at",
        Like(r"native|[0-9]{1,5}([xX][0-9]{1,5})?", "native, N or HxW (px)"),
    ] = None
    patch: Annotated[
        tuple[int, ...],
        "ROW,COLUMN (from 0) of the patch whose attention is shown; default: the brightest",
        Items(2),
        Range(0, 4096),
    ] = ()
    renormalise: Annotated[
        bool, "distances: rescale what each query gives to patches to sum to one, the class token left out"
    ] = False
    pool: Annotated[str, _POOL_HELP, OneOf(*POOLS)] = "cls"
    format: Annotated[str, "of the pictures: png, pdf or svg", OneOf("png", "pdf", "svg")] = "png"
    out: Annotated[
        str | None, "folder of the pictures; default: inside the run, or for several under results/", PATH, FREE
    ] = None


@dataclass(frozen=True)
class ReportConfig(Common):
    """One run as one self-contained HTML file, readable offline."""

    command: ClassVar[str] = "report"
    example: ClassVar[str] = "sarjepa report --run RUN --results results/fewshot"

    run: Annotated[str | None, "run folder; default: the newest run", PATH, RUN] = None
    results: Annotated[
        tuple[str, ...],
        "folder of fewshot-bench results to show beside those in the run and those of its weights under results/",
        PATH,
        REPEAT,
    ] = ()
    chips: Annotated[
        bool, "show pictures with chips of the data; --no-chips where their terms forbid passing them on"
    ] = True
    out: Annotated[str | None, "file to write; default: report.html in the run folder", PATH, FREE] = None


@dataclass(frozen=True)
class ReproduceConfig(Common):
    """One of the paper's tables or figures, with every run that it needs."""

    command: ClassVar[str] = "reproduce"
    example: ClassVar[str] = "sarjepa reproduce --experiment table4 --scale laptop"

    experiment: Annotated[
        str, "table1, table3 to table6, figure4 to figure7, or another table of the results page, such as views"
    ] = "table4"
    scale: Annotated[str, "size of the runs: demo, laptop or paper"] = "laptop"
    sources: Annotated[tuple[str, ...], "built sets to pre-train on; default: the scale's"] = ()
    datasets: Annotated[tuple[str, ...], "built sets to measure on; default: those of --sources, else the scale's"] = ()
    seeds: Annotated[int | None, "pre-trainings per row, seeds SEED ..; default: the scale's", Range(1, 1000), GRID] = (
        None
    )
    jobs: Annotated[int, "commands at a time", Range(1, 1024), FREE] = 1
    launch: Annotated[str | None, "what starts pre-training, such as 'torchrun --nproc-per-node 4 -m'", FREE] = None
    imagenet: Annotated[
        str | None, "ViT weights of the imagenet row: file, https address or hf-hub:OWNER/NAME", PATH, CHECKPOINT, GRID
    ] = None
    run_root: Annotated[str, "folder of the runs, which tables share", PATH, FREE] = "runs"
    out: Annotated[str | None, "folder of the table; default: results/EXPERIMENT", PATH, FREE] = None
    print: Annotated[bool, "print what is yet to be done, stage and command a line, for several machines", FREE] = False
    step: Annotated[int | None, "do this step alone, numbered as by --print", Range(1, 1_000_000), FREE] = None


@dataclass(frozen=True)
class ExportConfig(Common):
    """The encoder of a run as a file for other programs."""

    command: ClassVar[str] = "export"
    example: ClassVar[str] = "sarjepa export RUN --format onnx --out encoder.onnx"

    run: Annotated[
        str | None, "run folder, checkpoint or exported encoder; default: the newest run", PATH, CHECKPOINT, NEWEST,
        ARGUMENT,
    ] = None  # fmt: skip
    format: Annotated[
        str,
        "safetensors (this package's own), timm (names of its ViT), onnx, torchscript",
        OneOf("safetensors", "timm", "onnx", "torchscript"),
    ] = "safetensors"
    out: Annotated[str | None, "file to write; default: inside the run", PATH, FREE] = None


@dataclass(frozen=True)
class PushConfig(Common):
    """The encoder of a run to the Hugging Face hub, with a card made of the run."""

    command: ClassVar[str] = "push"
    example: ClassVar[str] = "sarjepa push RUN hf://OWNER/NAME"

    run: Annotated[str | None, "run folder, checkpoint or exported encoder", PATH, CHECKPOINT, ARGUMENT, REQUIRED] = (
        None
    )
    to: Annotated[
        str | None, "hf://OWNER/NAME", Like(r"hf://[\w.-]+/[\w.-]+", "hf://OWNER/NAME"), ARGUMENT, REQUIRED
    ] = None


@dataclass(frozen=True)
class ListConfig(Common):
    """What is built, which runs there are and what they were trained on, and which public sets can be had."""

    command: ClassVar[str] = "list"
    example: ClassVar[str] = "sarjepa list --data-root data --run-root runs"

    run_root: Annotated[str, "folder of the runs", PATH, FREE] = "runs"


@dataclass(frozen=True)
class ModelsConfig(Common):
    """Weights that others publish, on which terms they are, and how they are read here."""

    command: ClassVar[str] = "models"
    example: ClassVar[str] = "sarjepa models"


COMMANDS: dict[str, type[Common]] = {
    config.command: config
    for config in (
        BuildDatasetConfig,
        PretrainConfig,
        ProbeConfig,
        FinetuneConfig,
        FewshotBenchConfig,
        FeaturesConfig,
        PredictConfig,
        VisualizeAttentionConfig,
        ReproduceConfig,
        ReportConfig,
        ExportConfig,
        PushConfig,
        ListConfig,
        ModelsConfig,
    )
}


def as_dict(config: Common) -> dict[str, object]:
    """The settings as plain YAML-ready values (tuples as lists), keys as on the command line.

    Example:
        >>> settings = as_dict(PretrainConfig(radii=(5, 9)))
        >>> settings["radii"], settings["crop-scale"]
        ([5, 9], [0.2, 1.0])
    """
    return {
        key.replace("_", "-"): list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(config).items()
    }
