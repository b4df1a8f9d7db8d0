"""Pre-training, from built shards to an encoder.

The parts meet here: chips are drawn from shards and augmented, a method of `sarjepa.pretext` turns a batch into a loss,
the loop of `sarjepa.training` takes the steps. Because every batch, crop and mask is a pure function of the step and
the seed, resuming needs nothing but weights, optimiser and step, and gives the weights of a run that was never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.parallel import DistributedDataParallel

from sarjepa.config import PretrainConfig
from sarjepa.data.built import expand_built
from sarjepa.data.loader import ahead
from sarjepa.errors import InputError
from sarjepa.files import write_atomically
from sarjepa.models.encoder import Encoder
from sarjepa.pretext.methods import METHODS, check_revision, take_weights
from sarjepa.progress import Progress
from sarjepa.recipes.pretraining.batches import Batches
from sarjepa.recipes.pretraining.run_folder import RunFolder
from sarjepa.recipes.pretraining.setup import average_of, bare_method, ready_method, shards_of, take_moments, watch_of
from sarjepa.recipes.pretraining.views_picture import views_picture
from sarjepa.reports.formats import figure_bytes
from sarjepa.reports.pretraining import curves_figure, target_rows, targets_figure
from sarjepa.results.result import Result
from sarjepa.results.stored import SETTINGS, read_settings
from sarjepa.training.checkpoint import LAST, save_checkpoint
from sarjepa.training.log import StepLog
from sarjepa.training.loop import LossNotFiniteError, StepRecord, fit, stop_on_signals
from sarjepa.training.optim import adamw
from sarjepa.training.runtime import Ranks, autocast, pick_device, pick_precision, process_group
from sarjepa.training.schedule import warmup_cosine
from sarjepa.version import __version__

if TYPE_CHECKING:
    from sarjepa.training.sharding import Sharding

_NUM_PREVIEWS = 4
_WARMUP_EPOCHS, _WARMUP_SHARE = 20.0, 0.1  # as published, and at most this share of a shorter run


def run(config: PretrainConfig, progress: Progress) -> Result:
    """Pre-train; see `PretrainConfig` for the settings and the README for the files of a run folder."""
    device = pick_device(config.device)
    config = replace(config, sources=expand_built(config.sources))
    config = replace(config, precision=_precision(config, device))
    with process_group(device) as ranks:
        ready = _Run(config, device, ranks, progress)
        with ready.folder.taken() if ranks.is_first else nullcontext():
            return ready.train()


def _folder(config: PretrainConfig) -> Path:
    return Path(config.run_dir or f"runs/{config.method}-{config.model}-{'-'.join(config.sources)}")


def _precision(config: PretrainConfig, device: torch.device) -> str:
    """The number format: a run that goes on keeps the one it was started with, whatever this machine prefers."""
    if config.precision == "auto" and config.resume and (_folder(config) / SETTINGS).is_file():
        return str(read_settings(_folder(config)).get("precision", "auto"))
    return pick_precision(config.precision, device)


class _Run:
    """One run: its folder, its parts, and what happens between steps."""

    def __init__(self, config: PretrainConfig, device: torch.device, ranks: Ranks, progress: Progress) -> None:
        self.config, self.device, self.ranks = config, device, ranks
        self.progress = progress if ranks.is_first else Progress()
        torch.manual_seed(config.seed)
        self.method = ready_method(config, device, self.progress)
        self.batches = Batches(config, device, ranks, self.method.views)
        self.pool, self.epoch_steps = self.batches.pool, self.batches.epoch_steps
        for line in self.pool.left_out:
            self.progress.note(line)
        self.num_steps = config.epochs * self.epoch_steps
        self.num_warmup_steps = round(self._warmup_epochs() * self.epoch_steps)
        self.folder = RunFolder(_folder(config), config)
        self.sharding = shards_of(config, self.method, device, ranks)
        self.optimizer = adamw(self.method, config.weight_decay)
        self.average = average_of(self.method.encoder, config.ema)
        self.watch = watch_of(config, device) if ranks.is_first else None
        self.step = 0
        self.log: StepLog | None = None  # of rank 0

    def _warmup_epochs(self) -> float:
        """As set, or the default for so many epochs, which is said."""
        if self.config.warmup_epochs is not None:
            return self.config.warmup_epochs
        epochs = min(_WARMUP_EPOCHS, _WARMUP_SHARE * self.config.epochs)
        self.progress.note(f"the learning rate warms up over {epochs:g} of {self.config.epochs} epochs")
        return epochs

    def _unshard(self, sharding: Sharding) -> None:
        """Whole weights in place of shards on rank 0, to be exported and drawn."""
        weights = sharding.gathered(self.method.state_dict(), self.ranks.is_first)
        self.sharding = None
        if self.ranks.is_first:
            self.method = bare_method(self.config).to(self.device)
            self.method.load_state_dict(weights)

    def _open_folder(self) -> None:
        """Start a new run folder, or pick up the state of one that is there."""
        if self.config.resume:
            state = self.folder.state(self.device, self.progress)
            self._check_described(state["describe"])
            weights, moments = state["method"], state["optimizer"]
            if self.sharding:
                weights, moments = self.sharding.weights(weights), self.sharding.moments(self.optimizer, moments)
            take_weights(self.method, weights, self.folder.path)
            take_moments(self.optimizer, moments, self.folder.path)
            self.step = state["step"]
            if self.average is not None:
                self.average.load_state_dict(state["average"])
        elif self.ranks.is_first:  # the others might look when rank 0 has begun to write
            self.folder.check_new()
        if self.ranks.is_first:
            self.log = self.folder.start(self.step)

    def _check_described(self, described: Mapping[str, Any]) -> None:
        """Refuse to go on with another method or other chips than the run was started with.

        Raises:
            InputError: the method has changed since, or a source was built anew and came out differently.
        """
        check_revision(self.config.method, described, self.folder.path)
        for name, digest in described.get("data", {}).items():
            if digest != self.batches.data_sha256[name]:
                raise InputError(
                    "the data set is not the one that the run was started with",
                    where=name,
                    expected=f"shards of checksum {digest[:12]}",
                    got=self.batches.data_sha256[name][:12],
                    hint="build it with the settings of then, or start another run",
                )

    def _save(self) -> None:
        """Checkpoint of the present step."""
        weights, moments = self.method.state_dict(), self.optimizer.state_dict()
        if self.sharding:
            weights, moments = self.sharding.gathered((weights, moments), self.ranks.is_first)
        if not self.ranks.is_first:
            return
        state: dict[str, Any] = {
            "encoder_shape": asdict(self.method.encoder.shape),
            "describe": self._describe(),
            "exported": self.method.exported,
            "method": weights,
            "optimizer": moments,
            "step": self.step,
        }
        if self.average is not None:
            state["average"] = self.average.state_dict()
        epoch = self.step // self.epoch_steps
        keep = self.config.keep_every and self.step % self.epoch_steps == 0 and epoch % self.config.keep_every == 0
        save_checkpoint(self.folder.path, state, keep_as=f"checkpoint-{epoch:04d}.pt" if keep else None)

    def _describe(self) -> dict[str, Any]:
        return {
            "model": self.config.model,
            "method": self.config.method,
            "revision": METHODS[self.config.method].revision,
            "target": self.method.target.name if self.method.target else None,
            "sources": list(self.pool.source_names),
            "data": self.batches.data_sha256,
            "num_chips": len(self.pool),
            "fraction": self.config.fraction,
            "steps": self.step,
            "epochs": self.step / self.epoch_steps,
            "seed": self.config.seed,
            "normalisation": "magnitude in [0, 1], no mean or deviation",
            "versions": {"sarjepa": __version__, "torch": str(torch.__version__)},
        }

    def _lr_at(self, step: int) -> float:
        peak = self.config.lr * self.batches.size / 256
        return warmup_cosine(step, self.num_steps, self.num_warmup_steps, peak)

    def train(self) -> Result:
        """Take the steps that are left, save, export, draw."""
        self._open_folder()
        self.first = self.step
        self.last = max(self.first, min(self.num_steps, self.config.max_steps or self.num_steps))
        self.began, self.waited = time.monotonic(), 0.0
        if self.ranks.is_first and self.method.views:
            picture = views_picture(self.batches, self.config.seed)
            write_atomically(self.folder.path / "views.png", figure_bytes(picture))
        description = f"{self.config.method} on {len(self.pool)} chips"
        with stop_on_signals() as self.stop, self.progress.task(description, self.last - self.first) as self.bar:
            try:
                self._fit()
            except InputError as error:
                # The weights of the step before are worth keeping. (Shards need every process, and an error may be of
                # this one alone: there the last checkpoint has to do.) Weights that gave no loss may be ruined
                # themselves: they do not take the place of a checkpoint.
                diverged = isinstance(error, LossNotFiniteError)
                if not self.sharding and not (diverged and (self.folder.path / LAST).is_file()):
                    self._save()
                if diverged:
                    error.hint = (
                        f"start another run with --init {self.folder.path} and a lower --lr, or --precision fp32"
                    )
                raise
        if self.sharding:
            self._unshard(self.sharding)
        if self.ranks.is_first:
            self._finish()
        return Result(self._message(), self.folder.path, signal=self.stop.number)

    def _fit(self) -> None:
        module: torch.nn.Module = self.method
        if self.ranks.world_size > 1 and not self.sharding:
            module = DistributedDataParallel(self.method, [self.device] if self.device.type == "cuda" else None)
        fit(
            module,
            self.optimizer,
            ahead(self.batches, range(self.first, self.last), self.config.workers),
            first_step=self.first,
            lr_at=self._lr_at,
            precision=self.config.precision,
            device=self.device,
            ranks=self.ranks,
            clip_grad=self.config.clip_grad,
            after_step=self._after_step,
        )

    def _after_step(self, record: StepRecord) -> bool:
        """Move the teacher, log, show, save; True ends the training."""
        self.step = record.step
        self.waited += record.wait_seconds
        self.method.after_step(record.step / self.num_steps)
        speed = record.num_images / (record.seconds + record.wait_seconds)
        if self.average is not None:
            self.average.update_parameters(self.method.encoder)
        if self.log is not None:
            line = {
                "step": record.step,
                "epoch": (record.step - 1) // self.epoch_steps,
                "loss": record.loss,
                "lr": record.lr,
                "images/s": round(speed, 2),
                "wait": round(record.wait_seconds, 4),
            }
            self.log.append(line | self._look())
        self.bar.advance(1, f"loss {record.loss:.4f} {speed:.0f} images/s")
        hours = (time.monotonic() - self.began) / 3600
        late = self.config.max_hours is not None and hours > self.config.max_hours
        # Every rank ends at the same step, whichever of them got the signal.
        ending = bool(self.ranks.gather_max(float(bool(self.stop.reason) or late), self.device))
        if ending or record.step % (self.config.save_every * self.epoch_steps) == 0 or record.step == self.last:
            self._save()
        return ending

    def _look(self) -> dict[str, float]:
        """At the end of some epochs: a picture, and what the online probe sees."""
        epoch, position = divmod(self.step, self.epoch_steps)
        if position:
            return {}
        if epoch % self.config.picture_every == 0 and self.step < self.last:  # the last are drawn at the end
            self._draw()
        if self.watch is None or epoch % (self.config.probe_every or 1):
            return {}
        return self.watch(self.method.result(), self.progress)

    def _finish(self) -> None:
        """Export the encoder and draw the run's pictures."""
        self.folder.export(self.method.result(), self._describe())
        if self.average is not None:
            averaged = self.average.module
            assert isinstance(averaged, Encoder)
            self.folder.export(averaged, {**self._describe(), "ema": self.config.ema}, "encoder-ema.safetensors")
        self._draw()

    def _draw(self) -> None:
        """curves.png and, where the method predicts something, targets.png of the present step."""
        if self.log and self.log.records:
            write_atomically(self.folder.path / "curves.png", figure_bytes(curves_figure(self.log.records)))
        if self.sharding:
            return  # predicting takes every process
        image, keys = self.batches.spread(_NUM_PREVIEWS)
        if self.method.views:
            image = image[:, 0]
        with autocast(self.config.precision, self.device):
            shown = self.method.preview(image, keys)
        if shown is None:
            return
        state_BRC = shown.state_BN.unflatten(1, self.method.encoder.grid(image))
        rows = target_rows(shown.image, state_BRC, shown.target, shown.prediction)
        write_atomically(self.folder.path / "targets.png", figure_bytes(targets_figure(rows, shown.channel_names)))

    def _message(self) -> str:
        seconds = time.monotonic() - self.began
        loss = f", loss {self.log.records[-1]['loss']:.4f}" if self.log and self.log.records else ""
        text = (
            f"{self.folder.path}: {self.step - self.first} steps in {seconds / 60:.1f} min, at step {self.step} of "
            f"{self.num_steps}{loss}; waited for data {100 * self.waited / max(seconds, 1e-9):.1f}% of the time"
        )
        if self.stop.reason:
            text += f"\nstopped by {self.stop.reason} and saved; the same command with --resume goes on"
        return text
