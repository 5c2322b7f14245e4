"""A web server for tests, which can misbehave in the ways that real ones do."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# huggingface_hub asks for this once a day, whatever it is used for.
LIBRARY_QUESTION = "/api/agent-harnesses"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, list[str]]


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    sent: int | None = None  # bytes of the body that really go out before the connection drops


class FileServer:
    """Serves `files` by path; `script` holds answers for the next requests, in order."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.routes: dict[str, Callable[[Request], Answer]] = {}
        self.script: list[Answer | Callable[[Request], Answer]] = []
        self.requests: list[Request] = []
        self.supports_ranges = True
        self.sends_etag = True
        self.sends_length = True
        self.stall_after: int | None = None
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                # A reader may hang up in the middle; some tests are about that.
                with contextlib.suppress(ConnectionError):
                    server._answer(self)

            do_POST = do_GET  # noqa: N815 - the name is that of the base class

            def log_message(self, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self.host = self.url.removeprefix("http://")
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def file(self, request: Request) -> Answer:
        """What a well-behaved server says to a GET, ranges and ETags included."""
        name = unquote(urlsplit(request.path).path)
        if name not in self.files:
            return Answer(404)
        body = self.files[name]
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        headers = {"ETag": etag} if self.sends_etag else {}
        wanted = request.headers.get("range")
        if wanted is None or not self.supports_ranges or request.headers.get("if-range") != etag:
            return Answer(200, body, headers)
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            return Answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
        content_range = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return Answer(206, body[start:], {**headers, "Content-Range": content_range})

    def dropped_after(self, sent: int) -> Callable[[Request], Answer]:
        """The right answer, but the connection breaks after `sent` bytes of the body."""

        def answer(request: Request) -> Answer:
            whole = self.file(request)
            return Answer(whole.status, whole.body, whole.headers, sent)

        return answer

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        content = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        headers = {key.lower(): value for key, value in handler.headers.items()}
        request = Request(handler.command, handler.path, headers, parse_qs(content.decode()))
        path = urlsplit(handler.path).path
        if path == LIBRARY_QUESTION:
            chosen: Answer | Callable[[Request], Answer] = Answer(404)
        else:
            self.requests.append(request)
            chosen = self.script.pop(0) if self.script else self.routes.get(path, self.file)
        answer = chosen if isinstance(chosen, Answer) else chosen(request)
        handler.send_response(answer.status)
        for key, value in answer.headers.items():
            handler.send_header(key, value)
        if self.sends_length:
            handler.send_header("Content-Length", str(len(answer.body)))
        else:
            handler.send_header("Connection", "close")
        handler.end_headers()
        if self.stall_after is not None and len(answer.body) > self.stall_after:
            handler.wfile.write(answer.body[: self.stall_after])
            handler.wfile.flush()
            handler.rfile.read(1)  # returns when the reader is gone
            return
        handler.wfile.write(answer.body[: answer.sent])
        if answer.sent is not None:
            handler.close_connection = True


def as_json(value: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(
        status, json.dumps(value).encode(), {"Content-Type": "application/json"} | headers
    )


def git_blob_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class FakeHub(FileServer):
    """Answers as the hub does for one dataset, `owner/name`, whose `main` is `COMMIT`."""

    def __init__(self) -> None:
        super().__init__()
        self.content: dict[str, bytes] = {}
        self.entries: list[dict[str, Any]] = []
        api = "/api/datasets/owner/name"
        about = {"id": "owner/name", "sha": COMMIT}
        self.routes[f"{api}/revision/main"] = lambda _: as_json(about)
        self.routes[f"{api}/paths-info/{COMMIT}"] = self._paths_info
        self.routes[f"{api}/tree/{COMMIT}"] = lambda _: as_json(self.entries)

    def add(self, path: str, content: bytes, *, lfs: bool) -> None:
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content)}
        entry["oid"] = "f" * 40 if lfs else git_blob_hash(content)
        if lfs:
            sha256 = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 134}
        self.entries.append(entry)
        self.files[f"/datasets/owner/name/resolve/{COMMIT}/{path}"] = content

    def _paths_info(self, request: Request) -> Answer:
        return as_json([e for e in self.entries if e["path"] in request.form["paths"]])
