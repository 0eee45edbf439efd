"""A small hub for tests: lists files, serves byte ranges of them, and misbehaves on request."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

REPO = "owner/some-GGUF"


@dataclass
class Hub:
    """What the server has and does. ``mode``: how it answers requests for files."""

    files: dict[str, bytes] = field(default_factory=dict)
    mode: str = "ranges"
    page_size: int = 1000
    redirect_to: str = ""
    url: str = ""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sent_bytes: int = 0
    listing: bytes | None = None
    release: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.hub.requests.append((self.path, dict(self.headers)))
        if url.path == f"/api/models/{REPO}/tree/main":
            self._list(url.query)
        elif url.path.startswith(f"/{REPO}/resolve/main/"):
            self._file(unquote(url.path.removeprefix(f"/{REPO}/resolve/main/")))
        else:
            self._answer(404, b"Repository not found")

    def _list(self, query: str) -> None:
        if self.hub.listing is not None:
            return self._answer(200, self.hub.listing)
        start = int(match[1]) if (match := re.search(r"cursor=(\d+)", query)) else 0
        entries = [{"type": "file", "path": path, "size": len(body)} for path, body in self.hub.files.items()]
        entries.insert(0, {"type": "directory", "path": "folder", "size": 0})
        stop = start + self.hub.page_size
        headers = {}
        if stop < len(entries):
            following = f"{self.hub.url}/api/models/{REPO}/tree/main?recursive=true&cursor={stop}"
            headers["Link"] = f'<{self.hub.redirect_to or following}>; rel="next"'
        return self._answer(200, json.dumps(entries[start:stop]).encode(), headers)

    def _file(self, path: str) -> None:
        body, mode = self.hub.files.get(path), self.hub.mode
        if body is None:
            return self._answer(404, b"Entry not found")
        if mode.isdigit():
            return self._answer(int(mode), b"sorry" * 10)
        if mode == "redirect":
            return self._answer(302, b"", {"Location": f"{self.hub.redirect_to}{self.path}"})
        if mode == "hangs":
            self.hub.release.wait(20)
            return None
        if mode == "no ranges":
            return self._answer(200, body)
        first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
        if first >= len(body):
            return self._answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
        return self._part(body, first, min(last, len(body) - 1), mode)

    def _part(self, body: bytes, first: int, last: int, mode: str) -> None:
        headers = {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
        piece = body[first : last + 1]
        if mode == "other range":
            headers["Content-Range"] = f"bytes {first + 1}-{last}/{len(body)}"
        elif mode == "unknown size":
            headers["Content-Range"] = f"bytes {first}-{last}/*"
        elif mode == "no Content-Range":
            headers = {}
        elif mode == "compressed":
            headers["Content-Encoding"] = "gzip"
        elif mode == "grows":
            headers["Content-Range"] = f"bytes {first}-{last}/{len(body) + len(self.hub.requests)}"
        elif mode == "breaks off":
            headers["Content-Length"] = str(len(piece))
            piece = piece[: len(piece) // 2]
        elif mode == "sends more":
            piece += b"x" * 100_000
        self._answer(206, piece, headers)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        for start in range(0, len(body), 65536):
            try:
                self.wfile.write(body[start : start + 65536])
            except OSError:
                return
            self.hub.sent_bytes += min(65536, len(body) - start)


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Run ``hub`` on a free port of this computer."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
