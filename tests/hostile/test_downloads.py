"""Servers that lie, stall, loop and refuse: asked a bounded number of times, then explained."""

import contextlib
import gzip
import hashlib
import random
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import download
from tests.file_server import Answer, FileServer, Request
from tests.hostile.outcome import by_name, check, run

pytestmark = pytest.mark.slow

CONTENT = random.Random(1).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MOST_REQUESTS = 40


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr("cloze.fetch.web.time.sleep", lambda seconds: None)
    monkeypatch.setattr("cloze.fetch.web.TIMEOUT_SECONDS", (5.0, 1.0))
    server = FileServer()
    server.files["/data.bin"] = CONTENT
    yield server
    server.close()


def fetch(server: FileServer, folder: Path, *flags: str, url: str = "") -> bool:
    """Download the file; returns whether it was refused, and leaves it whole or not at all."""
    output = folder / "data.bin"
    address = url or f"{server.url}/data.bin"
    outcome = run(download, "--source", address, "--output", output, *flags, folder=folder)
    assert len(server.requests) <= MOST_REQUESTS, f"{len(server.requests)} requests"
    refused = check(outcome, "data.bin")
    assert refused == (not output.exists())
    return refused


def always(*answers: Answer | Callable[[Request], Answer]) -> Any:
    def set_up(server: FileServer) -> None:
        def answer(request: Request) -> Answer:
            chosen = answers[min(len(server.requests), len(answers)) - 1]
            return chosen if isinstance(chosen, Answer) else chosen(request)

        server.routes["/data.bin"] = answer

    return set_up


def part(start: Any, end: Any, size: Any, body: bytes = CONTENT[:1000], **headers: str) -> Answer:
    return Answer(206, body, {"Content-Range": f"bytes {start}-{end}/{size}", **headers})


ANSWERS: dict[str, Any] = {
    "206 to a plain question": always(part(0, 999, len(CONTENT))),
    "206 of the end": always(part(5, 999, len(CONTENT))),
    "206 without a range": always(Answer(206, CONTENT)),
    "206 of no size": always(part(0, 999, "*")),
    "206 of other digits": always(part("٠", "٩", "١٠")),
    "206 of a huge size": always(part(0, 999, 10**30)),
    "206 of everything": always(part(0, len(CONTENT) - 1, len(CONTENT), CONTENT)),
    "416 always": always(Answer(416, b"", {"Content-Range": "bytes */5"})),
    "a redirect to itself": always(Answer(302, headers={"Location": "/data.bin"})),
    "a redirect to nowhere": always(Answer(302)),
    "a redirect to a file": always(Answer(302, headers={"Location": "file:///etc/passwd"})),
    "a redirect to no address": always(Answer(302, headers={"Location": "http://[::"})),
    "a redirect to another port": always(Answer(302, headers={"Location": "http://127.0.0.1:1/x"})),
    "a redirect of no text": always(Answer(302, headers={"Location": "http://\xff/x"})),
    "nothing": always(Answer(204)),
    "a status of 299": always(Answer(299, CONTENT)),
    "a status of 700": always(Answer(700, CONTENT)),
    **{
        f"Retry-After: {value!r}": always(Answer(503, headers={"Retry-After": value}))
        for value in (
            "²", "-1", "1e9", "9" * 400, "", "x", "Mon, 99 Foo 2026",
            "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 +9999", "0.5", "٣",
            "Mon, 01 Jan 0001 00:00:00 +2359", "Fri, 31 Dec 99999 23:59:59 GMT",
        )
    },
    "a page that says no": always(Answer(200, b"<!doctype html><html>Sign in</html>")),
    "another content": always(Answer(200, CONTENT[:-1] + b"\0")),
    "compressed though not asked": always(
        Answer(200, gzip.compress(CONTENT), {"Content-Encoding": "gzip"})
    ),
    "an encoding that nobody knows": always(Answer(200, CONTENT, {"Content-Encoding": "x"})),
    "an ETag of no text": always(Answer(200, CONTENT, {"ETag": '"\xff\xfe"'})),
    "an ETag that is long": always(Answer(200, CONTENT, {"ETag": f'"{"x" * 8000}"'})),
}  # fmt: skip
WHOLE = {
    "206 of everything", "an encoding that nobody knows", "an ETag of no text",
    "an ETag that is long", "a status of 299",
}  # fmt: skip


@by_name({name: (name, set_up) for name, set_up in ANSWERS.items()})
def test_an_answer_that_is_no_file_is_explained(server, tmp_path, case):
    name, set_up = case
    set_up(server)
    assert fetch(server, tmp_path, "--sha256", SHA256) or name in WHOLE


def test_redirects_without_end_are_followed_for_a_while(server, tmp_path):
    def answer(request: Request) -> Answer:
        place = f"/data.bin?{len(server.requests)}"
        return Answer(302, headers={"Location": place})

    server.routes["/data.bin"] = answer
    assert fetch(server, tmp_path)


RAW: dict[str, bytes] = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "nothing": b"",
    "half of a status": b"HTTP/1.1 20",
    "a status of text": b"HTTP/1.1 OK\r\n\r\n",
    "a length of text": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
    "a length of 10**30": b"HTTP/1.1 200 OK\r\nContent-Length: 1" + b"0" * 30 + b"\r\n\r\nabc",
    "a length of 5,000 digits": b"HTTP/1.1 200 OK\nContent-Length: " + b"9" * 5000 + b"\n\nabc",
    "a longer length": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
    "chunks of text": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nabc",
    "chunks that end early": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc",
    "100,000 headers": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000 + b"\r\n",
    "a header of a megabyte": b"HTTP/1.1 200 OK\r\na: " + b"x" * (1 << 20) + b"\r\n\r\n",
    "100 without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
}  # fmt: skip


@by_name(RAW)
def test_bytes_that_are_no_answer_are_explained(server, tmp_path, case):
    listener = socket.create_server(("127.0.0.1", 0))
    asked = []

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(4096))
                with contextlib.suppress(OSError):
                    connection.sendall(case)

    threading.Thread(target=answer, daemon=True).start()
    port = listener.getsockname()[1]
    flags = ["--sha256", SHA256]
    assert fetch(server, tmp_path, *flags, url=f"http://127.0.0.1:{port}/data.bin")
    assert len(asked) <= MOST_REQUESTS
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


STATES: dict[str, bytes] = {
    "empty": b"",
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "an ETag that is a number": b'{"etag": 7, "url": "URL", "size": 300000}',
    "an ETag with a line end": b'{"etag": "a\\r\\nX: y", "url": "URL", "size": 300000}',
    "an ETag of no Latin": b'{"etag": "\\u4f60", "url": "URL", "size": 300000}',
    "a size of text": b'{"etag": "\\"x\\"", "url": "URL", "size": "x"}',
    "a url that is a list": b'{"etag": "\\"x\\"", "url": [], "size": 300000}',
    "complete, as it says": b'{"etag": null, "url": "URL", "size": 1000}',
}


@by_name(STATES)
def test_what_an_earlier_try_left_is_not_believed(server, tmp_path, case):
    (tmp_path / ".data.bin.partial").write_bytes(b"x" * 1000)
    state = case.replace(b"URL", f"{server.url}/data.bin".encode())
    (tmp_path / ".data.bin.partial.json").write_bytes(state)
    if fetch(server, tmp_path, "--sha256", SHA256):
        assert b'"size": 1000' in case
        # Nothing of it is left, so that the next try is whole.
        assert not fetch(server, tmp_path, "--sha256", SHA256)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


@by_name(
    {
        text: text
        for text in (
            "http://", "http://[", "http://host:99999/data.bin", "http://user:secret@host/data.bin",
            "ftp://host/data.bin", "hf://datasets/a/data.bin", "hf://datasets/a/b@main/../data.bin",
            "hf://datasets/a/b@main/data.bin\n", "http://a b/data.bin", "http://host/\ndata.bin",
            "file://host/data.bin", "data.bin", "", "http://127.0.0.1:1/data.bin",
            "http://" + "a" * 300 + "/data.bin", "http://\u4f60..x/data.bin", "http://host/\ud800data.bin",
        )
    }
)  # fmt: skip
def test_an_address_that_is_none_is_explained(server, tmp_path, case):
    output = tmp_path / "out.bin"
    outcome = run(download, f"--source={case}", "--output", output, folder=tmp_path)
    assert outcome.status in (1, 2)
    if outcome.status == 1:
        check(outcome)
    assert "secret" not in outcome.errors
    assert not output.exists()
