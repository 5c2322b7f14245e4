"""Servers that are busy, slow, broken or refuse: asked again, or given up with a reason."""

import threading
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import requests

from cloze.errors import ClozeError
from cloze.fetch import web
from cloze.fetch.transfer import Checksums, fetch_url
from cloze.fetch.web import HttpError
from tests.file_server import Answer, FileServer, Request
from tests.unit.transfer.downloads import CONTENT, SHA256, files_in


@pytest.mark.parametrize("status", [429, 500, 503])
def test_overloaded_server_is_asked_again(
    server: FileServer, tmp_path: Path, waits: list[float], status: int
) -> None:
    server.script = [Answer(status), Answer(status)]
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256))
    assert waits == [1.0, 2.0]


def test_retry_after_in_seconds_and_as_a_date(
    server: FileServer, tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.time, "time", lambda: 1_000_000.0)
    date = formatdate(1_000_030, usegmt=True)
    server.script = [Answer(429, headers={"Retry-After": value}) for value in ("7", date)]
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256))
    assert waits == [7.0, 30.0]


def test_a_very_long_wait_is_left_to_the_user(server: FileServer, tmp_path: Path) -> None:
    server.script = [Answer(429, headers={"Retry-After": "3600"})]
    with pytest.raises(ClozeError, match=r"429 .*asks for a wait of 3600 s: run the same command"):
        fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums())


def test_gives_up_after_some_attempts(
    server: FileServer, tmp_path: Path, waits: list[float]
) -> None:
    server.script = [Answer(503)] * 10
    with pytest.raises(
        ClozeError, match=r"/data\.bin: .* 503 .*gave up after 6 attempts.*set `mirror`"
    ):
        fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums())
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert files_in(tmp_path) == []


def test_a_connection_that_always_breaks_at_one_place_ends(
    server: FileServer, tmp_path: Path
) -> None:
    server.supports_ranges = False
    server.script = [server.dropped_after(300_000) for _ in range(20)]
    with pytest.raises(ClozeError, match=r"the connection broke .*gave up after 6 attempts"):
        fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums())
    assert len(server.requests) == 6
    assert files_in(tmp_path) == [".data.bin.partial", ".data.bin.partial.json"]


def test_refused_connection_names_the_reason(server: FileServer, tmp_path: Path) -> None:
    server.close()
    with pytest.raises(ClozeError, match=r"/data\.bin: .*Connection refused; gave up after 6"):
        fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums())


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, r"/data\.bin: the server answered 404 Not Found; check the address"),
        (403, r"/data\.bin: the server answered 403 Forbidden; check .* that you have access"),
        (204, r"/data\.bin: the server answered 204 No Content, not with the file"),
    ],
)
def test_refusals_are_not_repeated(
    server: FileServer, tmp_path: Path, status: int, message: str
) -> None:
    server.script = [Answer(status)]
    with pytest.raises(ClozeError, match=message):
        fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums())
    assert len(server.requests) == 1
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("ftp://host/a", r"data\.bin: No connection adapters .*check the address"),
        ("http://[::", r"data\.bin: Invalid IPv6 URL; check the address"),
        ("/data.bin", r"data\.bin: Exceeded 30 redirects.; check the address"),
    ],
)
def test_redirect_to_nowhere_is_explained(
    server: FileServer, tmp_path: Path, place: str, message: str
) -> None:
    server.routes["/data.bin"] = lambda _: Answer(302, headers={"Location": place})
    with pytest.raises(ClozeError, match=message):
        fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums())


@pytest.mark.parametrize("place", ["0-9/700000", "0-9/*", f"0-9/1{'0' * 30}"])
def test_a_part_of_what_was_asked_whole_is_refused_at_once(
    server: FileServer, tmp_path: Path, place: str
) -> None:
    answer = Answer(206, CONTENT[:10], {"Content-Range": f"bytes {place}"})
    server.routes["/data.bin"] = lambda _: answer
    with pytest.raises(ClozeError, match=r"answered with a part of the file \(206\), though all"):
        fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums())
    assert len(server.requests) == 1
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("value", ["\u00b2", "-1", "", "Fri, 31 Dec 99999 23:59:59 GMT"])
def test_a_wait_that_is_none_is_our_own(
    server: FileServer, tmp_path: Path, waits: list[float], value: str
) -> None:
    server.script = [Answer(503, headers={"Retry-After": value})]
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256))
    assert waits == [1.0]


def test_a_length_that_is_no_number_is_unknown(server: FileServer, tmp_path: Path) -> None:
    server.sends_length = False
    server.script = [Answer(200, CONTENT, {"Content-Length": "9" * 5000})]
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256))
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_certificate_that_is_not_trusted_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")

    monkeypatch.setattr(requests, "get", fail)
    with pytest.raises(ClozeError, match=r"certificate is not trusted .*set REQUESTS_CA_BUNDLE"):
        fetch_url("https://host/a", tmp_path / "a", Checksums())
    assert waits == []


def test_slow_server_is_asked_again(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    late = threading.Event()
    monkeypatch.setattr(web, "TIMEOUT_SECONDS", (5.0, 0.2))

    def too_late(request: Request) -> Answer:
        late.wait(2)
        return Answer(500)

    server.script = [too_late]
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256))
    late.set()
    assert waits == [1.0]


def test_token_stays_with_its_host(server: FileServer, tmp_path: Path) -> None:
    other = FileServer()
    other.files["/data.bin"] = CONTENT
    server.script = [Answer(302, headers={"Location": f"{other.url}/data.bin"})]
    token = web.BearerToken("secret")
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256), token)
    other.close()
    assert server.requests[0].headers["authorization"] == "Bearer secret"
    assert "authorization" not in other.requests[0].headers


def test_missing_is_told_from_other_refusals(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(HttpError) as caught:
        fetch_url(f"{server.url}/none", tmp_path / "none", Checksums())
    assert caught.value.is_missing
