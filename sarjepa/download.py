"""Downloads: get a whole file, or raise an error with the reason.

Connections for large research files break, stall, or answer with a log-in page. So a download

- goes on where it broke off (HTTP Range, with If-Range so that two versions of a file are never joined);
- tries again with growing pauses after a fault that may pass (a broken connection, 429, 5xx), and goes to the next
  address after one that will not (404, 403, a page in place of a file, wrong bytes);
- checks the space on the disk first, and length and SHA-256 while reading;
- has a temporary name until all that is done, under a lock, so that two processes do not fetch the same file.

requests (on urllib3) does the HTTP.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sarjepa.errors import InputError
from sarjepa.files import hold, need_room, not_data
from sarjepa.progress import Progress, Task

if TYPE_CHECKING:
    import requests

BLOCK_BYTES = 1 << 16  # an incomplete block is fetched again after a break
SPARE_BYTES = 64 * 2**20  # space left on the disk beside the file
AGENT = "sarjepa (research data download)"


@dataclass(frozen=True)
class Patience:
    """How long to try: attempts per address, first pause (doubled each time), longest pause, seconds without a byte."""

    attempts: int = 5
    pause_s: float = 1.0
    longest_pause_s: float = 60.0
    stall_s: float = 30.0


@dataclass(frozen=True)
class RemoteFile:
    """A file of a distribution and its sources: addresses, or words (`by_hand`) on how a person gets it."""

    name: str
    aka: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    size: int | None = None
    sha256: str | None = None
    login: bool = False
    by_hand: str = ""
    optional: bool = False

    @property
    def fetchable(self) -> bool:
        """Whether a script can fetch the file."""
        return bool(self.addresses) and not self.login


class _Refused(Exception):  # noqa: N818 - an answer, not a fault of ours
    """The address will not give the file; go to the next."""


class _Broken(Exception):  # noqa: N818
    """The attempt failed, another may succeed; `pause_s` is the wait that the server asks for."""

    def __init__(self, message: str, pause_s: float | None = None) -> None:
        super().__init__(message)
        self.pause_s = pause_s


def fetch(file: RemoteFile, folder: Path, progress: Progress, patience: Patience | None = None) -> Path:
    """Fetch a file into a folder, unless it is there.

    Args:
        file: file to fetch, with its addresses in order of preference.
        folder: folder of the file; it is made if it does not exist.
        progress: receiver of a bar of the bytes, and of warnings.
        patience: limits on attempts and waiting.

    Raises:
        InputError: no address gave the file (the error states each reason), or the disk has too little space.

    Example:
        >>> _ = Path("there.zip").write_bytes(b"from an earlier call")  # so nothing is fetched
        >>> str(fetch(RemoteFile("there.zip", addresses=("https://host/there.zip",)), Path(), Progress()))
        'there.zip'
    """
    if not file.fetchable:
        raise InputError("cannot be fetched by a script", where=file.name, hint=by_hand(file, folder))
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / file.name
    with _alone(final, progress):
        if final.is_file():
            return final
        failures = []
        for address in file.addresses:
            try:
                return _from_address(address, file, final, progress, patience or Patience())
            except _Refused as refusal:
                failures.append(f"{address}: {refusal}")
                progress.warn(failures[-1])
    raise InputError("download failed", where=file.name, got="; ".join(failures), hint=by_hand(file, folder))


def by_hand(file: RemoteFile, folder: Path) -> str:
    """Instructions for a person to get a file that a script cannot fetch.

    Example:
        >>> by_hand(RemoteFile("a.zip", addresses=("https://host/a.zip",)), Path("data"))
        'fetch https://host/a.zip with a browser; put a.zip into data, or name its folder with --archives'
    """
    how = file.by_hand.rstrip(". ") or f"fetch {file.addresses[0]} with a browser"
    return f"{how}; put {file.name} into {folder}, or name its folder with --archives"


@contextmanager
def _alone(final: Path, progress: Progress) -> Iterator[None]:
    """Wait until no other process fetches this file; the lock ends with the process that holds it."""
    lock = final.with_name(f".{final.name}.lock")
    try:
        stream = hold(lock)
    except BlockingIOError:
        progress.note(f"another process is fetching {final.name}; waiting")
        stream = hold(lock, wait=True)
    with stream:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _from_address(address: str, file: RemoteFile, final: Path, progress: Progress, patience: Patience) -> Path:
    """Try one address until it gives the file, refuses, or patience ends."""
    partial = _Partial(final, address, known=file.sha256 is not None)
    pause_s = patience.pause_s
    fault = ""
    for attempt in range(patience.attempts):
        try:
            _attempt(address, file, partial, progress, patience)
            return partial.finish(file)
        except _Broken as error:
            fault = str(error)
            if attempt + 1 < patience.attempts:
                progress.note(f"{file.name}: {fault}; trying again")
                time.sleep(min(error.pause_s or pause_s, patience.longest_pause_s))
                pause_s *= 2
    raise _Refused(f"{fault} ({patience.attempts} attempts)")


class _Partial:
    """The bytes that have come so far, in a file that ends in .partial, and a note beside it of their version."""

    def __init__(self, final: Path, address: str, known: bool) -> None:
        self.final, self.address = final, address
        self.path = final.with_name(final.name + ".partial")
        self._note = final.with_name(final.name + ".partial.json")
        try:
            note = dict(json.loads(self._note.read_text()))
        except (OSError, ValueError, TypeError):
            note = {}
        self.version = note.get("version", "")
        self._sum, self._num_summed = hashlib.sha256(), 0
        # Bytes of one version must not be continued with those of another. A known checksum would catch that at the
        # end; without one, only the server's own name for the version makes it safe to go on.
        if note.get("address") != address or not (self.version or known):
            self.clear()

    @property
    def size(self) -> int:
        """Number of bytes in the file."""
        return self.path.stat().st_size if self.path.exists() else 0

    def clear(self) -> None:
        """Begin again."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        self.version = ""
        self._sum, self._num_summed = hashlib.sha256(), 0

    def note(self, version: str) -> None:
        """Store the address and the version of the bytes."""
        self.version = version
        self._note.write_text(json.dumps({"address": self.address, "version": version}))

    def catch_up(self) -> None:
        """Extend the checksum to all bytes of the file; only those from before this process or a fault are missing."""
        if self._num_summed > self.size:
            self._sum, self._num_summed = hashlib.sha256(), 0
        if self._num_summed == self.size:
            return
        with self.path.open("rb") as stream:
            stream.seek(self._num_summed)
            while block := stream.read(1 << 20):
                self._count(block)

    def _count(self, block: bytes) -> None:
        self._sum.update(block)
        self._num_summed += len(block)

    def append(self, stream: IO[bytes], block: bytes) -> None:
        """Append a block and update the checksum, so that a large file is not read twice."""
        stream.write(block)
        self._count(block)

    def finish(self, file: RemoteFile) -> Path:
        """Check the whole file and give it its name.

        Raises:
            _Refused: wrong bytes; they are removed.
        """
        if file.sha256 is not None:
            self.catch_up()
            if (digest := self._sum.hexdigest()) != file.sha256:
                self.clear()
                raise _Refused(f"wrong content, SHA-256 {digest[:12]} and not {file.sha256[:12]}")
        with self.path.open("rb+") as stream:
            os.fsync(stream.fileno())
        self.path.replace(self.final)
        self._note.unlink(missing_ok=True)
        return self.final


def _attempt(address: str, file: RemoteFile, partial: _Partial, progress: Progress, patience: Patience) -> None:
    """One request: fetch the file, or the rest of it.

    Raises:
        _Refused, _Broken: the address will not give the file, or this attempt failed.
    """
    import requests

    headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
    start = partial.size
    if start and start == file.size:
        return  # killed between the last byte and the name
    if start:
        headers["Range"] = f"bytes={start}-"
        if partial.version:
            headers["If-Range"] = partial.version
    try:
        with requests.get(address, headers=headers, stream=True, timeout=patience.stall_s) as response:
            total = _check_status(response, start, partial)
            if total is not None and file.size is not None and total != file.size:
                partial.clear()
                raise _Refused(f"is {total} bytes, expected {file.size}")
            start = partial.size
            need_room(partial.final.parent, (total or file.size or 0) - start + SPARE_BYTES, partial.final.name)
            with progress.task(f"fetching {file.name}", total or file.size, "B") as task:
                task.advance(start)
                _receive(response, partial, task)
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise _Refused(f"not an address ({error})") from error
    except (requests.RequestException, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
            raise InputError("cannot write", where=partial.path, got=error.strerror or str(error)) from error
        raise _Broken(_short(error)) from error
    wanted = total if total is not None else file.size
    if wanted is not None and partial.size != wanted:
        if partial.size > wanted:
            partial.clear()
        raise _Broken(f"broke off at {partial.size} of {wanted} bytes")


def _check_status(response: requests.Response, start: int, partial: _Partial) -> int | None:
    """Judge an answer by its status and headers; clear the partial file where the server begins again.

    Returns:
        Size of the whole file (bytes), None where the server does not state it.
    """
    status = response.status_code
    if status == 429 or status >= 500:
        raise _Broken(f"answers {status}", _retry_after(response))
    if status == 416:  # the partial file is as long as the file, or longer
        partial.clear()
        raise _Broken("does not continue what is there; beginning again", pause_s=1e-3)
    if status not in (200, 206):
        raise _Refused(f"answers {status}")
    length = response.headers.get("Content-Length")
    if status == 206:
        head, _, size = response.headers.get("Content-Range", "").rpartition("/")
        if head.split("-")[0].split()[-1:] != [str(start)]:
            partial.clear()
            raise _Broken("sends another range than asked for; beginning again", pause_s=1e-3)
        return int(size) if size.isdecimal() else None
    partial.clear()
    partial.note(_version(response))
    return int(length) if length is not None and length.isdecimal() else None


def _version(response: requests.Response) -> str:
    """The server's name for this version of the file, usable in If-Range: a strong ETag, else the date."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _retry_after(response: requests.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time()) if text else None
    except ValueError:
        return None


def _receive(response: requests.Response, partial: _Partial, task: Task) -> None:
    """Append the body to the partial file; the first bytes of a file are checked before they are kept."""
    partial.catch_up()
    is_page = response.headers.get("Content-Type", "").startswith("text/html")
    page = "an HTML page (a log-in page?)" if is_page else None
    with partial.path.open("ab") as stream:
        for block in response.iter_content(BLOCK_BYTES):
            if stream.tell() == 0 and (instead := not_data(block) or page):
                raise _Refused(instead)
            partial.append(stream, block)
            task.advance(len(block))


def _short(error: Any) -> str:
    """A network error in a few words, in place of the nested messages of the libraries."""
    name = type(error).__name__
    words = {"ConnectTimeout": "no connection", "ReadTimeout": "stalled", "ConnectionError": "connection failed"}
    return "stalled" if "timed out" in str(error).lower() else words.get(name, "connection broke off")
