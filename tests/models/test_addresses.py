"""Checkpoints at a web address and on the hub, against a server on this machine."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import torch

from sarjepa.download import Patience
from sarjepa.errors import InputError
from sarjepa.files import sha256_of
from sarjepa.models.addresses import fetch, is_address
from sarjepa.models.checkpoints import encoder_bytes, load_encoder, weights_sha256
from sarjepa.models.encoder import Encoder, EncoderShape


class Server:
    """Files by path, how often each was asked for, and how many bytes of the announced length are sent."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut = 0
        self.url = ""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._reply()

        def do_GET(self) -> None:
            state.asked.append(self.path)
            content = self._reply()
            self.wfile.write(content[: len(content) - state.cut])

        def _reply(self) -> bytes:
            content = state.files.get(self.path)
            self.send_response(404 if content is None else 200)
            if content is None:
                known = any(path.startswith("/".join(self.path.split("/")[:3])) for path in state.files)
                self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
            body = content or b""
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", "a" * 40)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return body

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{listening.server_port}"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield state
    listening.shutdown()
    listening.server_close()
    thread.join()


@pytest.fixture
def hub(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The same server in place of the hub."""
    real = huggingface_hub.hf_hub_download

    def download(repository: str, name: str, revision: str | None = None) -> str:
        return real(repository, name, revision=revision, endpoint=server.url, cache_dir=tmp_path / "hub", token=False)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return server


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderShape(width=32, depth=1, num_heads=2, patch_size=8, image_size=32))


def test_a_checkpoint_at_an_address_is_fetched_once(server: Server, encoder: Encoder) -> None:
    content = encoder_bytes(encoder, {"method": "sar-jepa"})
    server.files["/some/encoder.safetensors?download=1"] = content
    address = f"{server.url}/some/encoder.safetensors?download=1"
    first, second = load_encoder(address), load_encoder(address)
    assert weights_sha256(first) == weights_sha256(second) == weights_sha256(encoder)
    assert len(server.asked) == 1
    assert first.describe["sha256"] == hashlib.sha256(content).hexdigest()
    assert first.describe["file"] == address


def test_two_addresses_with_one_file_name_do_not_mix(server: Server) -> None:
    server.files = {"/a/checkpoint.pth": b"first", "/b/checkpoint.pth": b"second"}
    files = [fetch(f"{server.url}/{folder}/checkpoint.pth") for folder in "ab"]
    assert [file.read_bytes() for file in files] == [b"first", b"second"]
    assert sha256_of(files[0]) == hashlib.sha256(b"first").hexdigest()


def test_a_download_that_breaks_off_is_not_taken_for_the_file(server: Server, tmp_path: Path) -> None:
    server.files["/encoder.safetensors"] = bytes(5000)
    server.cut = 1000
    with pytest.raises(InputError, match=r"cannot be fetched.*broke off"):
        fetch(f"{server.url}/encoder.safetensors", Patience(attempts=2, pause_s=0.01))
    server.cut = 0
    assert fetch(f"{server.url}/encoder.safetensors").stat().st_size == 5000
    assert [file.suffix for file in (tmp_path / "cache").rglob("[!.]*") if file.is_file()] == [".safetensors"]


def test_a_full_disk_is_named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/encoder.safetensors"] = bytes(5000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 0))
    with pytest.raises(InputError, match=r"cannot be fetched: http.*got not enough disk space: 0 MB free"):
        fetch(f"{server.url}/encoder.safetensors", Patience(attempts=1, pause_s=0.01))


def test_processes_that_fetch_at_the_same_time_wait_for_the_first(server: Server) -> None:
    server.files["/encoder.safetensors"] = content = bytes(range(256)) * 40_000
    with ThreadPoolExecutor(3) as pool:
        files = list(pool.map(fetch, [f"{server.url}/encoder.safetensors"] * 3))
    assert len(set(files)) == 1 and len(server.asked) == 1
    assert files[0].read_bytes() == content


def test_a_download_says_nothing_of_its_own(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    server.files["/encoder.safetensors"] = b"some"
    fetch(f"{server.url}/encoder.safetensors")
    assert capfd.readouterr() == ("", "")


def test_a_wrong_address_is_an_input_error(server: Server) -> None:
    for address in (f"{server.url}/nothing.pth", "http://127.0.0.1:9/encoder.pth", "https:///"):
        with pytest.raises(InputError, match="cannot be fetched"):
            load_encoder(address)


def test_a_model_on_the_hub_is_read_from_the_first_file_it_has(hub: Server, encoder: Encoder) -> None:
    folder = "/someone/some-encoder/resolve/main"
    hub.files[f"{folder}/model.safetensors"] = encoder_bytes(encoder, {"method": "sar-jepa"})
    opened = load_encoder("hf-hub:someone/some-encoder")
    assert weights_sha256(opened) == weights_sha256(encoder)
    assert opened.describe["file"] == "hf-hub:someone/some-encoder"


def test_a_revision_on_the_hub_can_be_asked_for(hub: Server, encoder: Encoder) -> None:
    hub.files["/someone/some-encoder/resolve/v2/encoder.safetensors"] = encoder_bytes(encoder, {"method": "second"})
    assert load_encoder("hf-hub:someone/some-encoder@v2").describe["method"] == "second"


def test_a_model_without_weights_and_a_missing_or_misspelt_one_are_input_errors(hub: Server) -> None:
    hub.files["/someone/some-encoder/resolve/main/README.md"] = b"# nothing here"
    with pytest.raises(InputError, match=r"encoder\.safetensors or model\.safetensors"):
        load_encoder("hf-hub:someone/some-encoder")
    for name in ("nobody/nothing", "a/b/c/d", ""):
        with pytest.raises(InputError, match="cannot be fetched"):
            load_encoder(f"hf-hub:{name}")


def test_a_hub_that_is_away_is_an_input_error(hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="cannot be reached"):
        load_encoder("hf-hub:someone/some-encoder")


def test_a_local_path_is_not_an_address() -> None:
    assert not is_address("runs/https") and not is_address(Path("encoder.safetensors"))
    assert is_address("https://example.org/encoder.safetensors") and is_address("hf-hub:owner/name")
