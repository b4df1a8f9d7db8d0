"""push: what comes to the hub is what load_encoder reads there; the hub is a server of its routes on this machine."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import huggingface_hub
import pytest
import torch

import sarjepa
from sarjepa.config import PushConfig
from sarjepa.errors import InputError
from sarjepa.progress import Progress
from sarjepa.recipes import push

COMMIT = "0" * 40


class Hub(http.server.BaseHTTPRequestHandler):
    """One repository, public, whose files are all small."""

    files: ClassVar[dict[str, bytes]] = {}
    token = "Bearer right"

    def answer(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/validate-yaml":
            return self.answer(b'{"errors": [], "warnings": []}', Content_Type="application/json")
        if self.headers.get("Authorization") != self.token:
            return self.answer(b'{"error": "no token that may write"}', 401)
        if self.path == "/api/repos/create":
            said: Any = {"url": f"http://{self.headers['Host']}/somebody/radar", "id": "somebody/radar"}
        elif "/preupload/" in self.path:
            wanted = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            said = {"files": wanted}
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            address = f"http://{self.headers['Host']}/somebody/radar/commit/{COMMIT}"
            said = {"commitUrl": address, "commitOid": COMMIT, "hookOutput": ""}
        else:
            return self.answer(b"{}", 404)
        return self.answer(json.dumps(said).encode(), Content_Type="application/json")

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[-1]
        if self.path.startswith("/somebody/radar/resolve/") and name in self.files:
            etag = hashlib.sha256(self.files[name]).hexdigest()
            return self.answer(self.files[name], ETag=f'"{etag}"', X_Repo_Commit=COMMIT)
        return self.answer(b"{}", 404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)

    do_HEAD = do_GET

    def log_message(self, *words: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    constants = {
        "ENDPOINT": address,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
    }
    for name, value in constants.items():
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    monkeypatch.setenv("HF_TOKEN", "right")
    Hub.files.clear()
    yield Hub
    server.shutdown()
    server.server_close()


def test_a_pushed_encoder_is_read_back_by_its_address(hub: type[Hub], toy_checkpoint: Path, toy_root: Path) -> None:
    config = PushConfig(run=str(toy_checkpoint), to="hf://somebody/radar", data_root=str(toy_root))
    result = push.run(config, Progress())
    assert "sarjepa.load_encoder('hf-hub:somebody/radar')" in result.message
    image = torch.rand(1, 1, 32, 32)
    there, here = sarjepa.load_encoder("hf-hub:somebody/radar"), sarjepa.load_encoder(toy_checkpoint)
    assert torch.equal(there.forward_features(image), here.forward_features(image))
    assert there.describe["method"] == "sar-jepa"
    card = hub.files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: sarjepa\nlicense: other\n") and "by sar-jepa (vit-demo, " in card
    for part in ("- toy: terms not known here", "image-size: 32", 'load_encoder("hf-hub:somebody/radar")'):
        assert part in card
    assert str(toy_root) not in card and str(toy_checkpoint) not in card, "nothing of this machine"


def test_a_hub_that_refuses_is_one_line(hub: type[Hub], toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(InputError, match=r"the hub did not take the model: hf://somebody/radar; .*HF_TOKEN") as refusal:
        push.run(PushConfig(run=str(toy_run), to="hf://somebody/radar"), Progress())
    assert "\n" not in str(refusal.value) and not hub.files
    with pytest.raises(InputError, match="expected hf://OWNER/NAME"):
        PushConfig(to="somebody/radar")
