"""The server of a model under what a careless or hostile client sends; it answers the next one."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

import serve
from tests.hostile.outcome import by_name
from tests.hostile.test_model_folders import write_model

pytest.importorskip("uvicorn")
pytestmark = pytest.mark.slow


def start(model: Path, errors: Path) -> SimpleNamespace:
    """Start `serve.py` in a process of its own."""
    with open(errors, "wb") as stream:
        process = subprocess.Popen(
            [sys.executable, str(Path(serve.__file__)), "--model", str(model), "--port=0",
             "--device=cpu"],
            stdout=subprocess.PIPE, stderr=stream, text=True,
        )  # fmt: skip
    address = process.stdout.readline().split()[0]
    return SimpleNamespace(process=process, url=address, port=int(address.rpartition(":")[2]),
                           errors=errors)  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder = tmp_path_factory.mktemp("served")
    found = start(write_model(folder / "model"), folder / "errors")
    yield found
    found.process.send_signal(signal.SIGINT)
    assert found.process.wait(20) in (0, 130)


def post(body: bytes, *headers: str, use: str = "classify", length: object = None) -> bytes:
    lines = [
        f"POST /api/{use} HTTP/1.1", "Host: localhost", "Content-Type: application/json",
        f"Content-Length: {len(body) if length is None else length}", *headers,
    ]  # fmt: skip
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def texts(*given: object) -> bytes:
    return json.dumps({"texts": list(given)}).encode()


CHUNKED = b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
REQUESTS: dict[str, bytes] = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00",
    "nothing": b"",
    "zeros": bytes(4096),
    "a method of its own": b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: elsewhere\r\n\r\n",
    "a host of no text": b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
    "HTTP of another version": b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "a path of no text": b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a path that leads out": b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a path that is long": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a use in percent signs": post(texts("w1"), use="%ff%00%2e%2e"),
    "a header that is long": post(texts("w1"), "X: " + "x" * 100_000),
    "10,000 headers": post(texts("w1"), *[f"X{n}: y" for n in range(10_000)]),
    "a line folded": post(texts("w1"), "X: y", " z"),
    "a longer length": post(texts("w1"), length=1000),
    "a shorter length": post(texts("w1"), length=3),
    "a negative length": post(texts("w1"), length=-1),
    "a length of text": post(texts("w1"), length="x"),
    "a length of 10**30": post(texts("w1"), length=10**30),
    "both lengths": post(texts("w1"), "Transfer-Encoding: chunked"),
    "chunks of text": CHUNKED + b"x\r\nabc\r\n",
    "a chunk of 10**15": CHUNKED + b"FFFFFFFFFFFFF\r\nabc\r\n",
    "an encoding of its own": post(texts("w1"), "Content-Encoding: gzip"),
    "an upgrade": b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "deep JSON": post(b"[" * 100_000),
    "a deep text": post(b'{"texts": [' + b"[" * 50_000),
    "a number of 5,000 digits": post(b'{"texts": [' + b"9" * 5000 + b"]}"),
    "NaN": post(b'{"texts": [NaN]}'),
    "half of a surrogate pair": post(b'{"texts": ["\\ud800"]}'),
    "a NUL": post(b'{"texts": ["\\u0000"]}'),
    "texts of other types": post(texts(None, True, 1.5, {}, [])),
    "pairs of other types": post(texts([None, None])),
    "a pair without a second": post(texts(["w1", None])),
    "a body that is a list": post(b"[]"),
    "texts that are a text": post(b'{"texts": "w1"}'),
    "no body": post(b""),
    "UTF-16": post('{"texts": ["w1"]}'.encode("utf-16")),
    "64 long texts": post(texts(*["w1 " * 1000] * 64)),
    "two at once": post(texts("w1")) * 2,
    "a form of no text": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\ntext=%ff%",
    "a form of many fields": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\n" + b"a=b&" * 50,
}  # fmt: skip


def send(server: SimpleNamespace, content: bytes, wait: bool = True) -> bytes:
    """Send bytes; returns what comes back within half a second."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        try:
            connection.sendall(content)
            if not wait:
                return b""
            connection.settimeout(0.5)
            received = b""
            while piece := connection.recv(1 << 16):
                received += piece
        except OSError:
            pass
        return received if wait else b""


def assert_sound(server: SimpleNamespace) -> None:
    """Assert that the server answers others and has printed no traceback."""
    answer = requests.post(f"{server.url}/api/classify", json={"texts": ["w1"]}, timeout=10)
    assert answer.status_code == 200
    said = server.errors.read_text()
    assert "Traceback" not in said, said[-3000:]


@by_name(REQUESTS)
def test_a_request_that_is_none_harms_nobody(server, case):
    received = send(server, case)
    assert not received.startswith(b"HTTP/1.1 5"), received[:500]
    assert b"Traceback" not in received
    assert_sound(server)


@by_name({str(size): size for size in (1, 20, 60, 150, 200)})
def test_a_client_that_hangs_up_harms_nobody(server, case):
    whole = post(texts(*["w1 w2 " * 500] * 64))
    for _ in range(5):
        send(server, whole[:case], wait=False)
    send(server, whole, wait=False)
    time.sleep(0.5)
    assert_sound(server)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@by_name(
    {
        "half of a request": post(texts("w1"), length=1000),
        "half of a header": b"POST /api/classify HTTP/1.1\r\nHost: loc",
        "nothing": b"",
        "a whole one": post(texts("w1")),
    }
)
def test_it_ends_though_somebody_has_sent_half_of_a_request(tmp_path, case, stop):
    server = start(write_model(tmp_path / "model"), tmp_path / "errors")
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(case)
        time.sleep(0.5)
        server.process.send_signal(stop)
        status = server.process.wait(20)
    assert status in (0, 130, -signal.SIGTERM)
    said = server.errors.read_text()
    assert "Traceback" not in said, said[-3000:]


def test_what_is_no_number_is_no_answer(server, tmp_path):
    """Weights that are numbers, and too large."""
    import torch
    from safetensors.torch import load_file, save_file

    model = write_model(tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    weights["bert.embeddings.LayerNorm.weight"] += torch.tensor(3e38)
    (model / "model.safetensors").unlink()
    save_file(weights, model / "model.safetensors")
    found = start(model, tmp_path / "errors")
    try:
        answer = requests.post(f"{found.url}/api/classify", json={"texts": ["w1"]}, timeout=10)
        assert answer.status_code == 422
        assert "no number" in answer.json()["error"]
        page = requests.post(found.url, data={"use": "classify", "text": "w1"}, timeout=10)
        assert page.status_code == 422
        assert "nan%" not in page.text.lower().replace(" ", "")
    finally:
        found.process.send_signal(signal.SIGINT)
        found.process.wait(20)
