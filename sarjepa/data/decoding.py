"""Decoding: files to finished chips, in several processes, in one order.

A job is a file; its result is a list of chips or the reason why there is none. Jobs go out in chunks and results come
back in the order of the jobs, whichever process is faster, so that shards do not depend on the number of processes.
Only a few chunks are under way at a time: memory stays flat however many chips there are.

Every worker imports this module afresh, so it imports nothing slow.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TypeVar

import numpy as np

from sarjepa.data import duplicates
from sarjepa.data.manifest import ChipRule, Distribution
from sarjepa.data.normalize import Normalisation, normalise, samples
from sarjepa.data.simulator import SimulatedChip, simulate, simulate_optical
from sarjepa.data.slicing import is_empty, middle, tiles
from sarjepa.errors import InputError
from sarjepa.formats.archives import Container, open_container
from sarjepa.formats.boxes import AnnotationError, Box, columns_of, inside, read_voc, read_yolo, renamed
from sarjepa.formats.readers import Reading, UnknownFormatError, UnreadableError, read_colour, read_images

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CHUNK = 64  # files per message: large enough that messages cost nothing, small enough to keep memory low

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Job:
    """One file of one container, or one chip to be simulated.

    Attributes:
        path: name of the chip inside the source.
        container, member: number of the container in `Settings.containers`, and name of the file in it.
        groups: named groups of its path.
        simulated: the chip, if it is one.
        optical: container and member of the optical image of the same place, if there is one.
    """

    path: str
    container: int = -1
    member: str = ""
    groups: dict[str, str | None] = field(default_factory=dict)
    simulated: SimulatedChip | None = None
    optical: tuple[int, str] | None = None


@dataclass(frozen=True)
class Settings:
    """What every worker needs to know."""

    containers: tuple[Path, ...] = ()
    formats: tuple[str, ...] | None = None
    distribution: Distribution | None = None
    chips: ChipRule = field(default_factory=ChipRule)
    normalisation: Normalisation = field(default_factory=Normalisation)
    describe: bool = True
    bands: str | None = None


@dataclass(frozen=True)
class Prepared:
    """A finished chip: image (H, W), name, columns, what duplicates are found by, and optical image (3, H, W)."""

    image: np.ndarray
    path: str
    columns: dict[str, str]
    digest: bytes
    descriptor: np.ndarray | None
    optical: np.ndarray | None = None


@dataclass(frozen=True)
class Decoded:
    """What became of a job.

    Attributes:
        path: path of the job.
        chips: finished chips; none where there is a reason.
        reason: why the file cannot be used, or None.
        is_stray: the reason is that no reader knows the format of a file among a user's own images.
        num_empty: tiles left out.
        columns: columns of the whole file.
        shape: (H, W) of the whole file.
    """

    path: str
    chips: tuple[Prepared, ...] = ()
    reason: str | None = None
    is_stray: bool = False
    num_empty: int = 0
    columns: dict[str, str] = field(default_factory=dict)
    shape: tuple[int, ...] = (0, 0)


class Decoder:
    """Turns jobs into chips; each worker has one, which keeps its archives open."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._open: dict[int, Container] = {}

    def __call__(self, job: Job) -> Decoded:
        """Decode one file, normalise it, cut it into chips."""
        try:
            readings = self._read(job)
            boxes = self._boxes(job, readings[0][0].image.shape)
            for reading, _ in readings:
                self._check_range(reading.image)
            optical = self._optical(job, readings[0][0].image.shape)
        except (UnreadableError, AnnotationError) as error:
            is_stray = isinstance(error, UnknownFormatError) and self.settings.distribution is None
            return Decoded(job.path, reason=str(error), is_stray=is_stray)
        chips, num_empty = [], 0
        for number, (reading, columns) in enumerate(readings, start=1):
            band = f"#{columns.get('polarisation', number)}" if len(readings) > 1 else ""
            pieces, num_left_out = self._cut(normalise(reading.image, self.settings.normalisation))
            num_empty += num_left_out
            is_tiled = len(pieces) + num_left_out > 1
            for piece, (row, column) in pieces:
                image = np.ascontiguousarray(piece)
                height, width = image.shape
                path = f"{job.path}{band}@{row},{column}" if is_tiled else f"{job.path}{band}"
                tile_columns = {"row": str(row), "column": str(column)} if is_tiled else {}
                box_columns = {} if boxes is None else columns_of(inside(boxes, (row, column), image.shape))
                chips.append(
                    Prepared(
                        image,
                        path,
                        columns | tile_columns | box_columns,
                        digest=duplicates.digest(image),
                        descriptor=duplicates.descriptor(image) if self.settings.describe else None,
                        optical=None if optical is None else optical[:, row : row + height, column : column + width],
                    )
                )
        if not chips:
            return Decoded(job.path, reason="nothing but empty tiles", num_empty=num_empty)
        first, columns = readings[0]
        return Decoded(job.path, tuple(chips), num_empty=num_empty, columns=columns, shape=first.image.shape)

    def samples(self, job: Job) -> np.ndarray:
        """Pixels of a file for a set's statistics: (P,) float32, empty where the file cannot be read."""
        try:
            return np.concatenate([samples(reading.image) for reading, _ in self._read(job)])
        except UnreadableError:
            return np.zeros(0, np.float32)

    def _read(self, job: Job) -> list[tuple[Reading, dict[str, str]]]:
        """The images of a file (most have one) with their columns."""
        if job.simulated is not None:
            image, header = simulate(job.simulated)
            return [(Reading(image), {"class": job.simulated.class_name, "split": job.simulated.split, **header})]
        data, distribution = self._bytes(job.container, job.member), self.settings.distribution
        readings = read_images(data, self.settings.formats, job.member, self.settings.bands)
        if distribution:
            return [(reading, distribution.describe(job.groups, reading.header)) for reading in readings]
        groups = {key: text for key, text in job.groups.items() if text is not None}
        return [(reading, reading.columns | groups) for reading in readings]

    def _optical(self, job: Job, shape: tuple[int, ...]) -> np.ndarray | None:
        """The optical image of a job at the size of its radar image, (3, H, W) uint8."""
        if job.simulated is not None:
            return simulate_optical(job.simulated) if job.simulated.is_paired else None
        if job.optical is None:
            return None
        try:
            return read_colour(self._bytes(*job.optical), (shape[0], shape[1]))
        except UnreadableError as error:
            raise UnreadableError(f"its optical image {job.optical[1]}: {error}") from error

    def _bytes(self, number: int, name: str) -> bytes:
        """A file of a container."""
        if number not in self._open:
            self._open[number] = open_container(self.settings.containers[number])
        try:
            return self._open[number].read(name)
        except InputError as error:
            raise UnreadableError(f"{error.what}: {error.got}") from error

    def _boxes(self, job: Job, shape: tuple[int, ...]) -> list[Box] | None:
        """The boxes beside an image file; empty where the file has no annotation, None where the set has no boxes."""
        rule = self.settings.distribution.boxes if self.settings.distribution else None
        if rule is None:
            return None
        name = rule.find.sub(rule.replace, job.member)
        if not self._open[job.container].holds(name):
            return []
        data = self._bytes(job.container, name)
        return renamed(read_voc(data) if rule.format == "voc" else read_yolo(data, shape), rule.names)

    def _check_range(self, image: np.ndarray) -> None:
        """Refuse floats above 1 that are to stay as stored: they have no full scale and would be clipped."""
        if self.settings.normalisation.method == "as-stored" and image.dtype.kind == "f" and image.max() > 1:
            raise UnreadableError(f"values reach {image.max():.4g}, above 1; choose a --normalisation, say percentile")

    def _cut(self, image: np.ndarray) -> tuple[list[tuple[np.ndarray, tuple[int, int]]], int]:
        """The pieces of an image with their top left corners, and how many empty tiles were left out."""
        rule = self.settings.chips
        if rule.size is None or max(image.shape) <= rule.size:
            return [(image, (0, 0))], 0
        if rule.rule == "centre-crop":
            return [middle(image, rule.size)], 0
        size = rule.size
        corners = tiles((image.shape[0], image.shape[1]), size, rule.overlap)
        pieces = [(image[row : row + size, column : column + size], (row, column)) for row, column in corners]
        kept = [(piece, corner) for piece, corner in pieces if not is_empty(piece)]
        return kept, len(pieces) - len(kept)


_decoder: Decoder | None = None


def _start(settings: Settings) -> None:
    global _decoder
    _decoder = Decoder(settings)


def _start_worker(settings: Settings) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _start(settings)


def _end_with_parent() -> None:
    """End with the parent: one that is killed cannot stop its pool, whose processes would wait for work forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a process of the pool waits"
    parent.join()
    os._exit(1)


def _work(method: Callable[[Decoder, Job], Outcome], jobs: list[Job]) -> list[Outcome]:
    """Apply a method of this process's decoder to a chunk of jobs."""
    assert _decoder is not None, "the pool's initializer has run"
    return [method(_decoder, job) for job in jobs]


def decode(jobs: Sequence[Job], settings: Settings, workers: int = 0) -> Iterator[Decoded]:
    """Decode every job, in order.

    Args:
        jobs: the files.
        settings: settings of the decoding.
        workers: number of processes; 0 for one per core, 1 for this process alone.

    Example:
        >>> job = Job("chip", simulated=SimulatedChip(seed=0, class_name="tank", split="train", index=0))
        >>> [(decoded.path, decoded.shape, len(decoded.chips)) for decoded in decode([job], Settings(), workers=1)]
        [('chip', (72, 72), 1)]
    """
    yield from _run(jobs, settings, workers, Decoder.__call__)


def sample(jobs: Sequence[Job], settings: Settings, workers: int = 0) -> Iterator[np.ndarray]:
    """Pixels of every file, for a set's statistics, in order.

    Example:
        >>> job = Job("chip", simulated=SimulatedChip(seed=0, class_name="tank", split="train", index=0))
        >>> [len(pixels) for pixels in sample([job], Settings(), workers=1)]  # all of 72 x 72 px, and their maximum
        [5185]
    """
    yield from _run(jobs, settings, workers, Decoder.samples)


def _run(
    jobs: Sequence[Job], settings: Settings, workers: int, method: Callable[[Decoder, Job], Outcome]
) -> Iterator[Outcome]:
    workers = workers or len(os.sched_getaffinity(0))
    chunks = (list(jobs[start : start + CHUNK]) for start in range(0, len(jobs), CHUNK))
    if workers == 1 or len(jobs) <= CHUNK:
        _start(settings)
        for chunk in chunks:
            yield from _work(method, chunk)
        return
    # Spawned, not forked: a fork in the middle of another thread's work (a progress bar's) inherits its locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(settings,)) as pool:
        under_way: deque[Future[list[Outcome]]] = deque()
        try:
            with _interrupts_held():  # the processes start with the first job
                under_way.extend(pool.submit(_work, method, chunk) for chunk in islice(chunks, 3 * workers))
            while under_way:
                yield from under_way.popleft().result()
                under_way.extend(pool.submit(_work, method, chunk) for chunk in islice(chunks, 1))
        except BrokenProcessPool as error:
            raise InputError("a decoding process was killed", hint="is memory short? try --workers 1") from error
        finally:
            for future in under_way:
                future.cancel()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold back the signals that end a command; those received meanwhile are raised at the end.

    A terminal sends Ctrl-C to every process of a command. It is blocked here, and stays blocked in the processes that
    are started meanwhile, which inherit the mask: this process alone answers it. Blocking is not enough for this
    process itself: a thread of a numerical library may receive the signal, and Python would then raise in the middle of
    starting a process.
    """
    resource_tracker.ensure_running()  # started later, it would unblock Ctrl-C
    received: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()  # handlers are set and called in this thread alone
    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in _ENDING if is_main}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
        for signum in received:  # the first that the command does not ignore ends this
            signal.raise_signal(signum)
