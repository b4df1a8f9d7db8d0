"""The pretext method of a run: built from its settings, filled from its checkpoint, shown on a few chips.

An exported encoder is what remains of a run. To see what a run was asked to predict, and what it predicts, its
predictor is needed too: that stands in the run folder's checkpoint, and how to build it in the run's settings.yaml.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sarjepa.errors import InputError
from sarjepa.models.released import read_pickle
from sarjepa.pretext.masking import ImageKeys
from sarjepa.pretext.method import Method
from sarjepa.pretext.methods import MethodSettings, build_method
from sarjepa.progress import Progress
from sarjepa.recipes.shared.built import read_settings
from sarjepa.reports.chips import ShownChip
from sarjepa.reports.pretraining import TargetRow
from sarjepa.training.checkpoint import load_last_checkpoint


def method_settings(settings: Mapping[str, Any]) -> MethodSettings:
    """What of a run's settings belongs to its method.

    Args:
        settings: keys as on the command line; what is missing has its default.
    """
    names = {field.name: field.name.replace("_", "-") for field in dataclasses.fields(MethodSettings)}
    found: dict[str, Any] = {}
    for name, key in names.items():
        if key in settings:
            found[name] = tuple(settings[key]) if isinstance(settings[key], list) else settings[key]
    return MethodSettings(**found)


def take_weights(method: Method, weights: Mapping[str, torch.Tensor], where: object) -> None:
    """Fill a method from a checkpoint.

    Raises:
        InputError: the weights are those of another model.
    """
    try:
        method.load_state_dict(weights)
    except RuntimeError as error:  # torch's word for missing, unexpected and misshapen weights
        raise InputError(
            "the checkpoint is of another model than the settings describe",
            where=where,
            got="; ".join(line.strip() for line in str(error).splitlines()[1:3])[:200],
            hint="it may come from another version; start another run",
        ) from error


def open_method(checkpoint: str, device: torch.device, progress: Progress) -> Method:
    """The method of a run folder, or of one of its checkpoints, with its predictor, in evaluation mode.

    Raises:
        InputError: the checkpoint has no predictor, or no settings to build it by.
    """
    path = Path(checkpoint)
    if not path.is_dir() and path.suffix != ".pt":
        raise InputError("no predictor", where=checkpoint, expected="a run folder or one of its checkpoints")
    folder = path if path.is_dir() else path.parent
    settings = read_settings(folder)
    state = load_last_checkpoint(folder, device, progress) if path.is_dir() else read_pickle(path)
    if "method" not in state:
        raise InputError("no predictor", where=checkpoint, expected="a checkpoint of sarjepa pretrain")
    method = build_method(str(settings.get("method", "")), method_settings(settings))
    take_weights(method, state["method"], checkpoint)
    return method.eval().to(device)


def target_rows(
    method: Method, image_B1HW: torch.Tensor, keys: ImageKeys, chips: Sequence[ShownChip] = ()
) -> tuple[list[TargetRow], tuple[str, ...]]:
    """What a method is asked and what it answers, ready to draw.

    Args:
        method: of a run.
        image_B1HW: chips, on its device.
        keys: what the masks belong to.
        chips: the same as they are to be shown; default: without title and scale.

    Returns:
        One row per chip, and the names of the target's channels.
    """
    shown = method.preview(image_B1HW, keys)
    height, width = image_B1HW.shape[-2:]
    rows = [
        TargetRow(chip, state.numpy(), target.numpy(), prediction.numpy())
        for chip, state, target, prediction in zip(
            chips or [ShownChip(image.numpy(), "", (height, width)) for image in shown.image[:, 0]],
            shown.state_BN.unflatten(1, method.encoder.grid(image_B1HW)),
            shown.target,
            shown.prediction,
            strict=True,
        )
    ]
    return rows, shown.channel_names
