"""Downloads and copies arrive whole; broken ones resume where that is sound, or start over."""

import json
from pathlib import Path

import pytest

from cloze.errors import ClozeError
from cloze.fetch import transfer
from cloze.fetch.transfer import Checksums, copy_file, fetch_url
from tests.file_server import Answer, FileServer
from tests.unit.transfer.downloads import CONTENT, SHA256, files_in, leave_partial


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


@pytest.mark.parametrize("etag", [None, "7", '"a\\r\\nX: y"', '"\\"\u4f60\\""'])
def test_damaged_notes_start_over(server: FileServer, tmp_path: Path, etag: str | None) -> None:
    leave_partial(server, tmp_path / "data.bin")
    address = f"{server.url}/data.bin"
    notes = "{" if etag is None else f'{{"etag": {etag}, "url": "{address}", "size": 700000}}'
    (tmp_path / ".data.bin.partial.json").write_text(notes)
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
