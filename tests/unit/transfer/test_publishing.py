"""Only whole and right files are published: hashes, full disks, two processes at one file."""

import errno
import fcntl
import hashlib
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from cloze.errors import ClozeError
from cloze.fetch.transfer import Checksums, PartialFile, copy_file, fetch_url
from tests.file_server import FileServer, git_blob_hash
from tests.unit.transfer.downloads import CONTENT, SHA256, files_in, leave_partial

Usage = namedtuple("Usage", "total used free")


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
