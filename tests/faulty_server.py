"""A local HTTP server that misbehaves as told, for the download tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Script:
    """What the server does: `content` by default; each path's faults in turn, one per request, then it behaves."""

    content: bytes
    etag: str = '"v1"'
    faults: dict[str, list[Any]] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # (path, Range header)
    ranges: bool = True
    length: bool = True


def _handler(script: Script) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            script.requests.append((self.path, self.headers.get("Range")))
            queue = script.faults.get(self.path, [])
            fault = queue.pop(0) if queue else None
            if isinstance(fault, tuple):  # (status, headers, body)
                self._answer(fault[0], fault[2], fault[1])
                return
            body = fault if isinstance(fault, bytes) else script.content
            start = self._start(len(body))
            if start is not None and start >= len(body):
                self._answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
                return
            headers = {"ETag": script.etag} if script.etag else {}
            if start is not None:
                headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self._answer(200 if start is None else 206, body[start or 0 :], headers, fault)

        def _start(self, size: int) -> int | None:
            wanted = self.headers.get("Range")
            if wanted is None or not script.ranges:
                return None
            if self.headers.get("If-Range", script.etag) != script.etag:
                return None
            return int(wanted.removeprefix("bytes=").rstrip("-"))

        def _answer(self, status: int, body: bytes, headers: dict[str, str], fault: object = None) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            if script.length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if fault in ("break", "stall"):
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                if fault == "stall":
                    time.sleep(1.5)
                return
            self.wfile.write(body)

    return Handler


@contextmanager
def serve(script: Script) -> Iterator[str]:
    """Run the server; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(script))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
