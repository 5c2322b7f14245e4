"""Downloads resume, retry, check and fail with a reason; only whole files are published."""

import errno
import fcntl
import hashlib
import json
import random
import shutil
import threading
from collections import namedtuple
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import requests

from cloze.errors import ClozeError
from cloze.fetch import transfer, web
from cloze.fetch.checksums import Checksums
from cloze.fetch.partial import PartialFile
from cloze.fetch.transfer import copy_file, fetch_url
from cloze.fetch.web import HttpError
from tests.file_server import Answer, FileServer, Request, git_blob_hash

CONTENT = random.Random(1).randbytes(700_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def server() -> Iterator[FileServer]:
    server = FileServer()
    server.files["/data.bin"] = CONTENT
    yield server
    server.close()


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, which are noted and not sat out."""
    waits: list[float] = []
    monkeypatch.setattr(web.time, "sleep", waits.append)
    return waits


def leave_partial(server: FileServer, output: Path) -> int:
    """Fetch a part of the file as a killed process leaves it and return its size."""
    with PartialFile(output) as partial:
        server.script = [server.dropped_after(300_000)]
        with pytest.raises(web.TransientError):
            transfer._fetch_rest(f"{server.url}/data.bin", partial, None)
        server.requests.clear()
        return partial.size


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_fetches_a_whole_file(server: FileServer, tmp_path: Path) -> None:
    output = tmp_path / "sub" / "data.bin"
    fetch_url(f"{server.url}/data.bin", output, Checksums(SHA256))
    assert output.read_bytes() == CONTENT
    assert files_in(output.parent) == ["data.bin"]
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_says_what_size_and_space_before_the_first_byte(
    server: FileServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "data.bin"
    monkeypatch.setattr(transfer.log, "handlers", [])
    monkeypatch.setattr(transfer.log, "propagate", True)
    with caplog.at_level("INFO", "cloze"):
        fetch_url(f"{server.url}/data.bin", output, Checksums())
    fetching, space, checked = [record.getMessage() for record in caplog.records]
    assert fetching == f"fetching {server.url}/data.bin (700,000 bytes) to {output}"
    assert space.startswith("needs 700,000 bytes, ")
    assert checked.endswith(f"sha256 {SHA256}")


def test_empty_file(server: FileServer, tmp_path: Path) -> None:
    server.files["/empty"] = b""
    fetch_url(f"{server.url}/empty", tmp_path / "empty", Checksums())
    assert (tmp_path / "empty").read_bytes() == b""


def test_broken_connection_resumes_where_it_stopped(
    server: FileServer, tmp_path: Path, waits: list[float]
) -> None:
    server.script = [server.dropped_after(300_000), server.dropped_after(200_000)]
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256))
    starts = [request.headers.get("range") for request in server.requests]
    assert starts[0] is None
    first, second = (int(str(start)[6:-1]) for start in starts[1:])
    assert 200_000 < first <= 300_000 < second <= 500_000
    # Each attempt made headway, so the waits do not grow.
    assert waits == [1.0, 1.0]


def test_a_later_process_resumes(server: FileServer, tmp_path: Path) -> None:
    output = tmp_path / "data.bin"
    size = leave_partial(server, output)
    assert files_in(tmp_path) == [".data.bin.partial", ".data.bin.partial.json"]
    fetch_url(f"{server.url}/data.bin", output, Checksums(SHA256))
    assert [request.headers["range"] for request in server.requests] == [f"bytes={size}-"]
    assert output.read_bytes() == CONTENT
    assert files_in(tmp_path) == ["data.bin"]


def test_server_without_ranges_starts_over(server: FileServer, tmp_path: Path) -> None:
    leave_partial(server, tmp_path / "data.bin")
    server.supports_ranges = False
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256))
    assert "range" in server.requests[0].headers
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_changed_file_starts_over(server: FileServer, tmp_path: Path) -> None:
    leave_partial(server, tmp_path / "data.bin")
    server.files["/data.bin"] = CONTENT[::-1]
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums())
    assert (tmp_path / "data.bin").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"other"', "Content-Range": "bytes {start}-699999/700000"},
        {"Content-Range": "bytes 5-699999/700000"},
        {"Content-Range": "bytes {start}-699999/800000"},
        {},
    ],
)
def test_a_part_that_does_not_fit_starts_over(
    server: FileServer, tmp_path: Path, headers: dict[str, str]
) -> None:
    size = leave_partial(server, tmp_path / "data.bin")
    filled = {key: value.format(start=size) for key, value in headers.items()}
    server.script = [Answer(206, CONTENT[size:], filled)]
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256))
    assert "range" not in server.requests[1].headers
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_range_not_satisfiable_starts_over(server: FileServer, tmp_path: Path) -> None:
    leave_partial(server, tmp_path / "data.bin")
    server.script = [Answer(416)]
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256))
    assert ["range" in request.headers for request in server.requests] == [True, False]


def test_no_etag_no_resume(server: FileServer, tmp_path: Path) -> None:
    server.sends_etag = False
    leave_partial(server, tmp_path / "data.bin")
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256))
    assert "range" not in server.requests[0].headers


def test_weak_etag_no_resume(server: FileServer, tmp_path: Path) -> None:
    server.script = [Answer(200, CONTENT, {"ETag": 'W/"1"'}, sent=300_000)]
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256))
    assert "range" not in server.requests[1].headers


def test_partial_of_another_address_is_not_used(server: FileServer, tmp_path: Path) -> None:
    leave_partial(server, tmp_path / "data.bin")
    server.files["/other.bin"] = CONTENT
    fetch_url(f"{server.url}/other.bin", tmp_path / "data.bin", Checksums(SHA256))
    assert "range" not in server.requests[0].headers


def test_damaged_notes_start_over(server: FileServer, tmp_path: Path) -> None:
    leave_partial(server, tmp_path / "data.bin")
    (tmp_path / ".data.bin.partial.json").write_text("{")
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256))
    assert "range" not in server.requests[0].headers


def test_complete_partial_needs_no_request(server: FileServer, tmp_path: Path) -> None:
    url = f"{server.url}/data.bin"
    notes = {"url": url, "etag": None, "size": len(CONTENT)}
    (tmp_path / ".data.bin.partial").write_bytes(CONTENT)
    (tmp_path / ".data.bin.partial.json").write_text(json.dumps(notes))
    fetch_url(url, tmp_path / "data.bin", Checksums(SHA256))
    assert server.requests == []
    assert files_in(tmp_path) == ["data.bin"]


def test_unknown_length_is_read_to_its_end(server: FileServer, tmp_path: Path) -> None:
    server.sends_length = False
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256))
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_bytes_stay_as_sent_whatever_their_label(server: FileServer, tmp_path: Path) -> None:
    server.script = [Answer(200, CONTENT, {"Content-Encoding": "gzip"})]
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256))
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


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


def test_redirect_to_nowhere_is_explained(server: FileServer, tmp_path: Path) -> None:
    server.script = [Answer(302, headers={"Location": "ftp://host/a"})]
    with pytest.raises(ClozeError, match=r"data\.bin: No connection adapters .*check the address"):
        fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums())


def test_certificate_that_is_not_trusted_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")

    monkeypatch.setattr(requests, "request", fail)
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


def test_wrong_hash_keeps_nothing(server: FileServer, tmp_path: Path) -> None:
    output = tmp_path / "data.bin"
    output.write_bytes(b"former")
    server.files["/data.bin"] = b"other"
    found = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(
        ClozeError, match=rf"/data\.bin: wrong sha256: expected {SHA256}, found {found}.*Fetch it"
    ):
        fetch_url(f"{server.url}/data.bin", output, Checksums(SHA256))
    assert files_in(tmp_path) == ["data.bin"]
    assert output.read_bytes() == b"former"


def test_git_blob_hash(server: FileServer, tmp_path: Path) -> None:
    good = git_blob_hash(CONTENT)
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(git_sha1=good))
    bad = "0" * 40
    with pytest.raises(ClozeError, match=f"wrong git blob hash: expected {bad}, found {good}"):
        fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(git_sha1=bad))


def test_full_disk_is_foreseen(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 699_999))
    message = r"data\.bin: needs 700,000 bytes, but only 699,999 are free"
    with pytest.raises(ClozeError, match=message):
        fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums())
    (tmp_path / "local.bin").write_bytes(CONTENT)
    with pytest.raises(ClozeError, match=message):
        copy_file(tmp_path / "local.bin", tmp_path / "data.bin", Checksums())
    assert files_in(tmp_path) == ["local.bin"]


def test_space_is_needed_for_the_rest_only(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = leave_partial(server, tmp_path / "data.bin")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, len(CONTENT) - size))
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256))


def test_disk_that_fills_up_is_named_and_the_part_stays(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullFile:
        def __init__(self, file: Any) -> None:
            self._file, self._room = file, 200_000

        def write(self, chunk: memoryview) -> int:
            if not self._room:
                raise OSError(errno.ENOSPC, "No space left on device")
            part = chunk[: self._room]
            self._room -= len(part)
            return int(self._file.write(part))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

    lock = PartialFile._lock

    def lock_full(self: PartialFile) -> None:
        lock(self)
        self._file = FullFile(self._file)  # type: ignore[assignment]

    with monkeypatch.context() as patch:
        patch.setattr(PartialFile, "_lock", lock_full)
        with pytest.raises(ClozeError, match=r"cannot write .*\.partial: the disk is full: free"):
            fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256))
    assert (tmp_path / ".data.bin.partial").read_bytes() == CONTENT[:200_000]
    fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums(SHA256))
    assert server.requests[-1].headers["range"] == "bytes=200000-"


def test_two_processes_do_not_fetch_one_file(server: FileServer, tmp_path: Path) -> None:
    with open(tmp_path / ".data.bin.partial", "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ClozeError, match=r"data\.bin: another process is fetching this file"):
            fetch_url(f"{server.url}/data.bin", tmp_path / "data.bin", Checksums())
    assert server.requests == []


def test_file_published_while_waiting_for_the_lock_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "data.bin"
    (tmp_path / ".data.bin.partial").write_bytes(CONTENT)
    real = fcntl.flock

    def publish_then_lock(file: Any, operation: int) -> None:
        (tmp_path / ".data.bin.partial").replace(output)
        real(file, operation)

    monkeypatch.setattr(fcntl, "flock", publish_then_lock)
    with pytest.raises(ClozeError, match="another process"), PartialFile(output):
        pass
    assert output.read_bytes() == CONTENT


def test_missing_is_told_from_other_refusals(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(HttpError) as caught:
        fetch_url(f"{server.url}/none", tmp_path / "none", Checksums())
    assert caught.value.is_missing


def test_copies_a_local_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    copy_file(tmp_path / "a", tmp_path / "new" / "b", Checksums(SHA256))
    assert files_in(tmp_path / "new") == ["b"]
    assert (tmp_path / "new" / "b").read_bytes() == CONTENT


def test_local_file_with_a_wrong_hash_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"former")
    with pytest.raises(ClozeError, match=rf"a: wrong sha256: expected {SHA256}, found ca978112"):
        copy_file(tmp_path / "a", tmp_path / "b", Checksums(SHA256))
    assert (tmp_path / "b").read_bytes() == b"former"
    assert files_in(tmp_path) == ["a", "b"]


def test_copy_needs_a_file_and_another_output(tmp_path: Path) -> None:
    with pytest.raises(ClozeError, match="none: no such file; check the path"):
        copy_file(tmp_path / "none", tmp_path / "b", Checksums())
    (tmp_path / "a").write_bytes(b"a")
    with pytest.raises(ClozeError, match="source and output are the same file"):
        copy_file(tmp_path / "a", tmp_path / "a", Checksums())
