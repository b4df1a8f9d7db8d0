"""Pre-training, from built shards to an encoder.

The parts meet here: chips are drawn from shards and augmented, a method of `sarjepa.pretext` turns a batch into a loss,
the loop of `sarjepa.training` takes the steps. Because every batch, crop and mask is a pure function of the step and
the seed, resuming needs nothing but weights, optimiser and step, and gives the weights of a run that was never stopped.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch.nn.parallel import DistributedDataParallel

from sarjepa.config import PretrainConfig, as_dict, parse_crop
from sarjepa.data.augment import augment, draw_augmentation
from sarjepa.data.loader import ChipPool, ahead, batch_indices, steps_per_epoch
from sarjepa.errors import InputError
from sarjepa.models.checkpoints import encoder_bytes, load_encoder
from sarjepa.pretext.masking import ImageKeys
from sarjepa.pretext.method import Method
from sarjepa.pretext.methods import MethodSettings, build_method
from sarjepa.progress import Progress
from sarjepa.recipes.built import open_source
from sarjepa.recipes.result import Result
from sarjepa.reports.pretraining import draw_curves, draw_targets
from sarjepa.training.checkpoint import load_last_checkpoint, save_checkpoint, write_atomically
from sarjepa.training.loop import StepRecord, fit, stop_on_signals
from sarjepa.training.optim import adamw
from sarjepa.training.runtime import Ranks, autocast, pick_device, process_group
from sarjepa.training.schedule import warmup_cosine

# Settings that may differ between a run and its continuation: they change where and how long, not what.
_FREE_ON_RESUME = {
    "resume",
    "max-steps",
    "max-hours",
    "device",
    "workers",
    "data-root",
    "save-every",
    "keep-every",
    "run-dir",
}
_NUM_PREVIEWS = 4


def run(config: PretrainConfig, progress: Progress) -> Result:
    """Pre-train; see `PretrainConfig` for the settings and the README for the files of a run folder."""
    device = pick_device(config.device)
    with process_group(device) as ranks:
        return _Run(config, device, ranks, progress).train()


def _method_settings(config: PretrainConfig) -> MethodSettings:
    return MethodSettings(
        model=config.model,
        image_size=config.image_size,
        patch_size=config.patch_size,
        target=config.target,
        radii=config.radii,
        mask_ratio=config.mask_ratio,
        num_windows=config.num_windows,
        window_size=config.window_size,
        predictor_width=config.predictor_width,
        predictor_depth=config.predictor_depth,
        predictor_heads=config.predictor_heads,
    )


def _open_pool(config: PretrainConfig) -> ChipPool:
    sources = [(name, open_source(config.data_root, name)) for name in config.sources]
    crops = [parse_crop(config.centre_crop, name) for name in config.sources]
    # A chip's centre is the evaluation's business ("published"); pre-training sees whole chips unless told otherwise.
    return ChipPool(sources, config.splits, [crop if isinstance(crop, int) else None for crop in crops])


class _Run:
    """One run: its folder, its parts, and what happens between steps."""

    def __init__(self, config: PretrainConfig, device: torch.device, ranks: Ranks, progress: Progress) -> None:
        if config.batch_size % ranks.world_size:
            raise InputError(
                "the batch does not divide among the processes",
                where="batch-size",
                got=config.batch_size,
                expected=f"a multiple of {ranks.world_size}",
            )
        self.config, self.device, self.ranks = config, device, ranks
        self.progress = progress if ranks.is_first else Progress()
        self.pool = _open_pool(config)
        self.batch_size = min(config.batch_size, len(self.pool))
        self.epoch_steps = steps_per_epoch(len(self.pool), self.batch_size)
        self.num_steps = config.epochs * self.epoch_steps
        self.folder = Path(config.run_dir or f"runs/{config.method}-{config.model}-{'-'.join(config.sources)}")
        torch.manual_seed(config.seed)
        self.method = self._build_method().to(device)
        self.optimizer = adamw(self.method, config.weight_decay)
        self.step = 0
        self.log: list[dict[str, float]] = []

    def _build_method(self) -> Method:
        method = build_method(self.config.method, _method_settings(self.config))
        if self.config.init:
            start = load_encoder(self.config.init)
            if asdict(start.shape) != asdict(method.encoder.shape):
                raise InputError(
                    "the checkpoint's encoder is of another shape",
                    where=self.config.init,
                    expected=method.encoder.shape,
                    got=start.shape,
                )
            method.encoder.load_state_dict(start.state_dict())
        return method

    # -- the folder -----------------------------------------------------------------------------------------------

    def _open_folder(self) -> None:
        """Start a new run folder, or pick up the state of one that is there."""
        settings = as_dict(self.config)
        file = self.folder / "settings.yaml"
        if self.config.resume:
            self._check_settings(file, settings)
            self._restore()
        elif self.folder.exists() and any(self.folder.iterdir()):
            raise InputError(
                "the run folder exists already",
                where=self.folder,
                hint="give another --run-dir, or go on with --resume",
            )
        if self.ranks.is_first:
            self.folder.mkdir(parents=True, exist_ok=True)
            # An export of an earlier stop would be taken for the run's present state.
            (self.folder / "encoder.safetensors").unlink(missing_ok=True)
            write_atomically(file, yaml.safe_dump(settings, sort_keys=False).encode())

    def _check_settings(self, file: Path, settings: dict[str, object]) -> None:
        if not file.is_file():
            raise InputError("no run to resume", where=self.folder, hint="start it without --resume")
        before = yaml.safe_load(file.read_text(encoding="utf-8"))
        for key, value in settings.items():
            if key not in _FREE_ON_RESUME and before.get(key, value) != value:
                raise InputError(
                    "the run was started with other settings",
                    where=f"{key} in {file}",
                    expected=before[key],
                    got=value,
                    hint="resume with the same settings, or start another run",
                )

    def _restore(self) -> None:
        state = load_last_checkpoint(self.folder, self.device, self.progress)
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        log = self.folder / "log.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        # Steps after the checkpoint are taken again; a last line cut off by a crash is one of them.
        self.log = [record for record in map(_parse_line, lines) if record and record["step"] <= self.step]

    def _save(self) -> None:
        """Checkpoint, log and pictures of the present step."""
        if not self.ranks.is_first:
            return
        state: dict[str, Any] = {
            "encoder_shape": asdict(self.method.encoder.shape),
            "describe": self._describe(),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        epoch = self.step // self.epoch_steps
        keep = self.config.keep_every and self.step % self.epoch_steps == 0 and epoch % self.config.keep_every == 0
        save_checkpoint(self.folder, state, keep_as=f"checkpoint-{epoch:04d}.pt" if keep else None)
        text = "".join(json.dumps(record) + "\n" for record in self.log)
        write_atomically(self.folder / "log.jsonl", text.encode())

    def _describe(self) -> dict[str, Any]:
        return {
            "model": self.config.model,
            "method": self.config.method,
            "target": self.config.target,
            "sources": list(self.pool.source_names),
            "num_chips": len(self.pool),
            "steps": self.step,
            "epochs": self.step / self.epoch_steps,
            "seed": self.config.seed,
            "normalisation": "magnitude in [0, 1], no mean or deviation",
        }

    # -- training -------------------------------------------------------------------------------------------------

    def _load(self, step: int) -> tuple[torch.Tensor, ImageKeys]:
        """The augmented batch of a step, on the device, and what its draws belong to."""
        epoch, indices = batch_indices(
            len(self.pool), self.batch_size, self.config.seed, step, self.ranks.rank, self.ranks.world_size
        )
        return self._augmented(epoch, indices)

    def _augmented(self, epoch: int, indices: np.ndarray) -> tuple[torch.Tensor, ImageKeys]:
        config = self.config
        images, scales = self.pool.images(indices)
        low, high = config.crop_scale
        draw = draw_augmentation(
            config.seed, epoch, indices, self.pool.shapes[indices], scale=(low, high), contrast=config.contrast
        )
        keys = ImageKeys(config.seed, epoch, indices)
        return augment(images, scales, draw, config.image_size, self.device), keys

    def _lr_at(self, step: int) -> float:
        peak = self.config.lr * self.batch_size / 256
        return warmup_cosine(step, self.num_steps, round(self.config.warmup_epochs * self.epoch_steps), peak)

    def train(self) -> Result:
        """Take the steps that are left, save, export, draw."""
        config, ranks = self.config, self.ranks
        self._open_folder()
        first, last = self.step, min(self.num_steps, config.max_steps or self.num_steps)
        module: torch.nn.Module = self.method
        if ranks.world_size > 1:
            module = DistributedDataParallel(self.method, [self.device] if self.device.type == "cuda" else None)
        began = time.monotonic()
        wait = 0.0
        description = f"{config.method} on {len(self.pool)} chips"
        with stop_on_signals() as stop, self.progress.task(description, last - first) as bar:

            def after_step(record: StepRecord) -> bool:
                nonlocal wait
                wait += record.wait_seconds
                self.step = record.step
                self.method.after_step(record.step / self.num_steps)
                speed = record.num_images / (record.seconds + record.wait_seconds)
                epoch = (record.step - 1) // self.epoch_steps
                self.log.append(
                    {
                        "step": record.step,
                        "epoch": epoch,
                        "loss": record.loss,
                        "lr": record.lr,
                        "images/s": round(speed, 2),
                        "wait": round(record.wait_seconds, 4),
                    }
                )
                bar.advance(1, f"loss {record.loss:.4f} {speed:.0f} images/s")
                late = config.max_hours is not None and time.monotonic() - began > config.max_hours * 3600
                ending = bool(ranks.gather_max(float(bool(stop.reason) or late), self.device))
                if ending or record.step % (config.save_every * self.epoch_steps) == 0 or record.step == last:
                    self._save()
                return ending

            fit(
                module,
                self.optimizer,
                ahead(self._load, range(first, last), config.workers),
                first_step=first,
                lr_at=self._lr_at,
                precision=config.precision,
                device=self.device,
                ranks=ranks,
                clip_grad=config.clip_grad,
                after_step=after_step,
            )
        if ranks.is_first:
            self._finish()
        return Result(self._message(first, time.monotonic() - began, wait, stop.reason), self.folder)

    def _finish(self) -> None:
        """Export the encoder and draw the run's pictures."""
        write_atomically(self.folder / "encoder.safetensors", encoder_bytes(self.method.encoder, self._describe()))
        if self.log:
            draw_curves(self.log, self.folder / "curves.png")
        chosen = np.linspace(0, len(self.pool) - 1, min(_NUM_PREVIEWS, len(self.pool))).astype(np.int64)
        image, keys = self._augmented(0, chosen)
        with autocast(self.config.precision, self.device):
            preview = self.method.preview(image, keys)
        if preview is not None:
            rows, columns = self.method.encoder.grid(image)
            draw_targets(
                preview.image.numpy(),
                preview.state_BN.reshape(-1, rows, columns).numpy(),
                preview.target.numpy(),
                preview.prediction.numpy(),
                preview.channel_names,
                self.folder / "targets.png",
            )

    def _message(self, first: int, seconds: float, wait: float, reason: str) -> str:
        taken = self.step - first
        loss = f", loss {self.log[-1]['loss']:.4f}" if self.log else ""
        text = (
            f"{self.folder}: {taken} steps in {seconds / 60:.1f} min, at step {self.step} of {self.num_steps}{loss}; "
            f"waited for data {100 * wait / max(seconds, 1e-9):.1f}% of the time"
        )
        if reason:
            text += f"\nstopped by {reason}; go on with --resume"
        return text


def _parse_line(line: str) -> dict[str, float] | None:
    """A line of log.jsonl, or None where a crash cut it off."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None
