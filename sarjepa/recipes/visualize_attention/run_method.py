"""The pretext method of a run, with its predictor: built from the run's settings, filled from its checkpoint.

An export holds only the encoder. Pictures of targets and predictions need the predictor too, whose weights are in the
run folder's checkpoint and whose settings are in the run's settings.yaml.
"""

from __future__ import annotations

from pathlib import Path

import torch

from sarjepa.errors import InputError
from sarjepa.pickles import read_pickle
from sarjepa.pretext.method import Method
from sarjepa.pretext.methods import build_method, method_settings, take_weights
from sarjepa.progress import Progress
from sarjepa.results.stored import read_settings
from sarjepa.training.checkpoint import load_last_checkpoint


def open_method(checkpoint: str, device: torch.device, progress: Progress) -> Method:
    """The method of a run folder, or of one of its checkpoints, with its predictor, in evaluation mode.

    Raises:
        InputError: the checkpoint has no predictor, its settings are missing, or its method has changed since.

    Example:
        >>> open_method("hf-hub:owner/model", torch.device("cpu"), Progress())  # an export holds the encoder alone
        Traceback (most recent call last):
        sarjepa.errors.InputError: no predictor: hf-hub:owner/model; expected a run folder or one of its checkpoints
    """
    path = Path(checkpoint)
    if not path.is_dir() and path.suffix != ".pt":
        raise InputError("no predictor", where=checkpoint, expected="a run folder or one of its checkpoints")
    folder = path if path.is_dir() else path.parent
    settings = read_settings(folder)
    state = load_last_checkpoint(folder, device, progress).content if path.is_dir() else read_pickle(path)
    if not all(isinstance(state.get(key), dict) for key in ("method", "describe")):
        raise InputError("no predictor", where=checkpoint, expected="a checkpoint of sarjepa pretrain")
    method = build_method(str(settings.get("method", "")), **method_settings(settings))
    predicted = method.target.name if method.target else None
    if (then := state["describe"].get("target", predicted)) != predicted:
        raise InputError("the run predicted something else", where=checkpoint, expected=predicted, got=then)
    take_weights(method, state["method"], checkpoint)
    return method.eval().to(device)
