"""Pre-training, from built shards to an encoder.

The parts meet here: chips are drawn from shards and augmented, a method of `sarjepa.pretext` turns a batch into a loss,
the loop of `sarjepa.training` takes the steps. Because every batch, crop and mask is a pure function of the step and
the seed, resuming needs nothing but weights, optimiser and step, and gives the weights of a run that was never stopped.

A run is two things: `_Run`, which is settled before the first step, and `TrainingState`, which every step changes.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from sarjepa.config import PretrainConfig
from sarjepa.data.built import expand_built
from sarjepa.data.loader import ahead
from sarjepa.errors import InputError
from sarjepa.evaluation.watch import Watch
from sarjepa.files import write_atomically
from sarjepa.models.encoder import Encoder
from sarjepa.pretext.methods import METHODS, check_facts, check_revision
from sarjepa.progress import Progress, Task
from sarjepa.recipes.pretrain.batches import Batches
from sarjepa.recipes.pretrain.method import ready_method
from sarjepa.recipes.pretrain.run_folder import RunFolder
from sarjepa.recipes.pretrain.state import (
    TrainingState,
    checkpoint_of,
    described,
    new_state,
    restore,
    with_whole_weights,
)
from sarjepa.recipes.pretrain.views_picture import views_picture
from sarjepa.reports.figures import figure_bytes
from sarjepa.reports.pretraining import curves_figure, pairs_figure, target_rows, targets_figure
from sarjepa.results.result import Result
from sarjepa.results.stored import SETTINGS, read_settings
from sarjepa.training.checkpoint import LAST, save_checkpoint
from sarjepa.training.log import StepLog
from sarjepa.training.loop import LossNotFiniteError, StepRecord, StopRequest, fit, stop_on_signals
from sarjepa.training.runtime import Ranks, autocast, pick_device, pick_precision, process_group
from sarjepa.training.schedule import warmup_cosine
from sarjepa.version import __version__

_NUM_PREVIEWS = 4
_WARMUP_EPOCHS, _WARMUP_SHARE = 20.0, 0.1  # as published, and at most this share of a shorter run


@dataclass(frozen=True)
class _Run:
    """What is settled before the first step.

    Attributes:
        config: settings of the run.
        device, ranks: device and ranks of this process.
        progress: receiver of notes and of the progress bar.
        batches: images of each step.
        folder: folder of the run.
        watch: online probe; only on rank 0, and only if it is asked for.
        log: log of the steps; only on rank 0.
        first: number of steps done before this call.
        began: start of the training, in seconds of the monotonic clock.
    """

    config: PretrainConfig
    device: torch.device
    ranks: Ranks
    progress: Progress
    batches: Batches
    folder: RunFolder
    watch: Watch | None
    log: StepLog | None = None
    first: int = 0
    began: float = 0.0

    @property
    def num_steps(self) -> int:
        """Number of steps of the whole run."""
        return self.config.epochs * self.batches.epoch_steps

    @property
    def last(self) -> int:
        """Number of steps done after this call, unless it is stopped."""
        return max(self.first, min(self.num_steps, self.config.max_steps or self.num_steps))

    def lr_at(self, step: int) -> float:
        """The learning rate of a step counted from 0."""
        num_warmup_steps = round(warmup_epochs(self.config) * self.batches.epoch_steps)
        return warmup_cosine(step, self.num_steps, num_warmup_steps, self.config.lr * self.batches.size / 256)


def run(config: PretrainConfig, progress: Progress) -> Result:
    """Pre-train; see `PretrainConfig` for the settings and the README for the files of a run folder."""
    device = pick_device(config.device)
    config = replace(config, sources=expand_built(config.sources))
    path = Path(config.run_dir or f"runs/{config.method}-{config.model}-{'-'.join(config.sources)}")
    precision = config.precision
    if precision == "auto" and config.resume and (path / SETTINGS).is_file():
        # A resumed run keeps the number format that it was started with, whatever this machine prefers.
        precision = str(read_settings(path).get("precision", "auto"))
    config = replace(config, precision=pick_precision(precision, device))
    with process_group(device) as ranks:
        progress = progress if ranks.is_first else Progress()
        torch.manual_seed(config.seed)
        method = ready_method(config, device, progress)
        state = new_state(config, method, device, ranks)
        batches = Batches(config, device, ranks, method.views, method.optical)
        watch = None
        if config.probe_every is not None and ranks.is_first:
            dataset = config.probe_dataset or config.sources[0]
            watch = Watch(config.data_root, dataset, config.probe_crop, config.precision, device)
        prepared = _Run(config, device, ranks, progress, batches, RunFolder(path, config), watch)
        with prepared.folder.taken() if ranks.is_first else nullcontext():
            return _train(_started(prepared, state), state)


def _started(run: _Run, state: TrainingState) -> _Run:
    """Start a new run in its folder, or restore the state of the run in it."""
    config, folder = run.config, run.folder
    for line in run.batches.pool.left_out:
        run.progress.note(line)
    for name in run.batches.pool.tested:
        run.progress.note(
            f"{name}: an evaluation on it tests chips that are trained on, without their labels; to keep them apart, "
            "build it with a split into train and test, and train on train alone"
        )
    if config.warmup_epochs is None:
        run.progress.note(f"the learning rate warms up over {warmup_epochs(config):g} of {config.epochs} epochs")
    if config.resume:
        stored = folder.state(run.device, run.progress)
        describe = described(stored)
        check_revision(config.method, describe, folder.path)
        run.batches.check_data(describe)
        check_facts(state.method, describe, folder.path)
        restore(state, stored, folder.path)
    elif run.ranks.is_first:  # another rank might see files that rank 0 has already written
        folder.check_new()
    log = folder.start(state.step) if run.ranks.is_first else None
    return replace(run, log=log, first=state.step, began=time.monotonic())


def warmup_epochs(config: PretrainConfig) -> float:
    """Number of epochs in which the learning rate rises: as set, else as published, at most a tenth of the run.

    Example:
        >>> warmup_epochs(PretrainConfig(epochs=800)), warmup_epochs(PretrainConfig(epochs=50))
        (20.0, 5.0)
    """
    return min(_WARMUP_EPOCHS, _WARMUP_SHARE * config.epochs) if config.warmup_epochs is None else config.warmup_epochs


def _train(run: _Run, state: TrainingState) -> Result:
    """Take the remaining steps, save, export, draw."""
    if run.ranks.is_first and state.method.views:
        picture = views_picture(run.batches, run.config.seed)
        write_atomically(run.folder.path / "views.png", figure_bytes(picture))
    module: torch.nn.Module = state.method
    if run.ranks.world_size > 1 and not state.sharding:
        module = DistributedDataParallel(state.method, [run.device] if run.device.type == "cuda" else None)
    description = f"{run.config.method} on {len(run.batches.pool)} chips"
    with stop_on_signals() as stop, run.progress.task(description, run.last - run.first) as bar:
        try:
            fit(
                module,
                state.optimizer,
                ahead(run.batches, range(run.first, run.last), run.config.workers),
                first_step=run.first,
                lr_at=run.lr_at,
                precision=run.config.precision,
                device=run.device,
                ranks=run.ranks,
                clip_grad=run.config.clip_grad,
                after_step=lambda record: _after_step(run, state, record, stop, bar),
            )
        except InputError as error:
            # The weights of the step before are worth keeping. Not so with shards: gathering them takes every
            # process, and the error may be of this one alone. Weights that gave no finite loss may be ruined, so they
            # do not replace a checkpoint.
            diverged = isinstance(error, LossNotFiniteError)
            if not (state.step or diverged or run.config.resume):
                if run.ranks.is_first:
                    run.folder.undo_start()
            elif not state.sharding and not (diverged and (run.folder.path / LAST).is_file()):
                _save(run, state)
            if diverged:
                error.hint = f"start another run with --init {run.folder.path} and a lower --lr, or --precision fp32"
            raise
    state = with_whole_weights(state, run.config, run.device, run.ranks)
    if run.ranks.is_first:
        _finish(run, state)
    return Result(_message(run, state, stop), run.folder.path, signal=stop.number)


def _after_step(run: _Run, state: TrainingState, record: StepRecord, stop: StopRequest, bar: Task) -> bool:
    """Move the teacher, log, show, save; return whether the training ends here."""
    config, epoch_steps = run.config, run.batches.epoch_steps
    state.step = record.step
    state.method.after_step(record.step / run.num_steps)
    speed = record.num_images / (record.seconds + record.wait_seconds)
    if state.average is not None:
        state.average.update_parameters(state.method.encoder)
    if run.log is not None:
        line = {
            "step": record.step,
            "epoch": (record.step - 1) // epoch_steps,
            "loss": record.loss,
            "lr": record.lr,
            "images/s": round(speed, 2),
            "wait": round(record.wait_seconds, 4),
        }
        run.log.append(line | _look(run, state))
    bar.advance(1, f"loss {record.loss:.4f} {speed:.0f} images/s")
    hours = (time.monotonic() - run.began) / 3600
    late = config.max_hours is not None and hours > config.max_hours
    # Every rank ends at the same step, whichever rank got the signal.
    ending = bool(run.ranks.gather_max(float(bool(stop.reason) or late), run.device))
    epoch, position = divmod(record.step, epoch_steps)
    is_due = not position and any(epoch % every == 0 for every in (config.save_every, config.keep_every) if every)
    if ending or is_due or record.step == run.last:
        _save(run, state)
    return ending


def _look(run: _Run, state: TrainingState) -> dict[str, float]:
    """At the end of some epochs: draw a picture, run the online probe; return the probe's numbers."""
    epoch, position = divmod(state.step, run.batches.epoch_steps)
    if position:
        return {}
    if epoch % run.config.picture_every == 0 and state.step < run.last:  # `_finish` draws those of the last step
        _draw(run, state)
    if run.watch is None or epoch % (run.config.probe_every or 1):
        return {}
    return run.watch(state.method.result(), run.progress)


def _save(run: _Run, state: TrainingState) -> None:
    """Write a checkpoint of the present step."""
    content = checkpoint_of(state, _describe(run, state), run.ranks)
    if content is None:
        return
    epoch, position = divmod(state.step, run.batches.epoch_steps)
    keep = run.config.keep_every and not position and epoch % run.config.keep_every == 0
    save_checkpoint(run.folder.path, content, keep_as=f"checkpoint-{epoch:04d}.pt" if keep else None)


def _describe(run: _Run, state: TrainingState) -> dict[str, Any]:
    """The facts that checkpoints and exports carry."""
    pool = run.batches.pool
    return {
        "model": run.config.model,
        "method": run.config.method,
        "revision": METHODS[run.config.method].revision,
        "target": state.method.target.name if state.method.target else None,
        "sources": list(pool.source_names),
        "data": run.batches.data_sha256,
        "num_chips": len(pool),
        "tested_sources": list(pool.tested),
        "fraction": run.config.fraction,
        "steps": state.step,
        "epochs": state.step / run.batches.epoch_steps,
        "planned_epochs": run.config.epochs,
        "seed": run.config.seed,
        "normalisation": "magnitude in [0, 1], no mean or deviation",
        "centre_crop": run.batches.crops,
        "versions": {"sarjepa": __version__, "torch": str(torch.__version__)},
        **state.method.facts(),
    }


def _finish(run: _Run, state: TrainingState) -> None:
    """Export the encoder and draw the run's pictures."""
    describe = _describe(run, state)
    run.folder.export(state.method.result(), describe)
    if state.average is not None:
        averaged = state.average.module
        assert isinstance(averaged, Encoder)
        run.folder.export(averaged, {**describe, "ema": run.config.ema}, "encoder-ema.safetensors")
    _draw(run, state)


def _draw(run: _Run, state: TrainingState) -> None:
    """curves.png and, where the method predicts something, targets.png of the present step."""
    method, path = state.method, run.folder.path
    if run.log and run.log.records:
        write_atomically(path / "curves.png", figure_bytes(curves_figure(run.log.records)))
    if state.sharding:
        return  # a prediction takes every process
    image, keys = run.batches.spread(_NUM_PREVIEWS)
    if method.views:
        image = image[:, 0]
    with autocast(run.config.precision, run.device):
        shown = method.preview(image, keys)
    if shown is None:
        return
    state_BRC = shown.state_BN.unflatten(1, method.encoder.grid(shown.image))
    rows = target_rows(shown.image, state_BRC, shown.target, shown.prediction)
    heading = (
        f"{run.config.method}, step {state.step:,} of {run.num_steps:,}: what it is asked to predict of some chips"
    )
    write_atomically(path / "targets.png", figure_bytes(targets_figure(rows, shown.channel_names, heading)))
    if shown.alignment is not None:
        optical_B3HW, cosine_BRC = map(np.asarray, (shown.alignment.optical_B3HW, shown.alignment.cosine_BRC))
        picture = pairs_figure(np.asarray(image[:, 0].cpu()), rows, optical_B3HW, cosine_BRC)
        write_atomically(path / "pairs.png", figure_bytes(picture))


def _message(run: _Run, state: TrainingState, stop: StopRequest) -> str:
    seconds, records = time.monotonic() - run.began, run.log.records if run.log else []
    waited = sum(record["wait"] for record in records if record["step"] > run.first)
    loss = f", loss {records[-1]['loss']:.4f}" if records else ""
    text = (
        f"{run.folder.path}: {state.step - run.first} steps in {seconds / 60:.1f} min, at step {state.step} of "
        f"{run.num_steps}{loss}; waited for data {100 * waited / max(seconds, 1e-9):.1f}% of the time"
    )
    if stop.reason:
        text += f"\nstopped by {stop.reason} and saved; the same command with --resume goes on"
    return text
