"""Brings one file to one place: whole, checked, and resumed where an earlier try stopped."""

import hashlib
import logging
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import requests
import urllib3
from requests.auth import AuthBase
from tqdm import tqdm

from cloze.cli import progress
from cloze.errors import ClozeError
from cloze.fetch.web import HttpError, TransientError, describe, retrying, send
from cloze.files import (
    CHUNK_BYTES,
    atomic_path,
    describe_os_error,
    read_json,
    require_file,
    write_json,
)
from cloze.locks import try_lock

log = logging.getLogger("cloze")

# Small, because the piece in transit when a connection drops is lost.
_PIECE_BYTES = 1 << 16
# No file has more than 10**18 bytes.
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})")
_CONTENT_LENGTH = re.compile(r"[0-9]{1,18}")
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]*"')


@dataclass(frozen=True)
class Checksums:
    """What is known about a file's bytes beforehand; `None` is unknown.

    `sha256` is 64 hexadecimal digits, `git_sha1` the 40 of the file as a git blob.
    """

    sha256: str | None = None
    git_sha1: str | None = None

    def verify(self, path: Path, name: str) -> None:
        """Raise `ClozeError`, which calls the file `name`, unless `path` has these hashes."""
        size = path.stat().st_size
        sha256 = hashlib.sha256()
        git_sha1 = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        with (
            open(path, "rb") as stream,
            progress(total=size, unit="B", unit_scale=True, description="checking") as bar,
        ):
            while chunk := stream.read(CHUNK_BYTES):
                sha256.update(chunk)
                if self.git_sha1 is not None:
                    git_sha1.update(chunk)
                bar.update(len(chunk))
        _compare(name, "sha256", self.sha256, sha256.hexdigest())
        _compare(name, "git blob hash", self.git_sha1, git_sha1.hexdigest())
        if self.sha256 is None:
            log.info("%s: sha256 %s", name, sha256.hexdigest())


def _compare(name: str, kind: str, expected: str | None, found: str) -> None:
    if expected not in (None, found):
        raise ClozeError(
            f"{name}: wrong {kind}: expected {expected}, found {found}. Nothing was kept. Fetch it "
            f"again; if the same is found twice, the source has changed: check it, then correct "
            f"the {kind} or pin a revision"
        )


class PartialFile:
    """The file `.NAME.partial` beside an output, locked while the context lasts.

    `.NAME.partial.json` beside it holds the address, the ETag and the full size of what
    is being fetched. Both stay when the context ends early, even by SIGKILL, and the next
    one takes them up. Raises `ClozeError` if another process holds the lock.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.path = output.with_name(f".{output.name}.partial")
        self.size = 0
        self._state_path = output.with_name(f".{output.name}.partial.json")
        self._state: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "ab", buffering=0)
        try:
            self._lock()
            self.size = self._file.tell()
            if self._state_path.exists():
                self._state = self._read_state()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self.path.exists() and self.size == 0:
            self.remove()
        self._file.close()

    def is_complete(self, url: str) -> bool:
        """Whether all bytes of `url` are here, so that only the check is left."""
        return self._state.get("url") == url and self._state.get("size") == self.size

    def resume_headers(self, url: str) -> dict[str, str]:
        """Return the headers that ask for the rest of `url`; none if it must start over.

        Only a strong ETag proves that the server still has the same bytes.
        """
        etag = self._state.get("etag")
        if self.size == 0 or self._state.get("url") != url or etag is None:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": etag}

    def continues_with(self, etag: str | None, start: int, size: int | None) -> bool:
        """Whether an answer's ETag, first byte and full size fit what is here."""
        return (
            start == self.size
            and size == self._state.get("size")
            and etag in (None, self._state.get("etag"))
        )

    def restart(self, url: str, etag: str | None, size: int | None) -> None:
        """Drop what is here and note what comes next; `size` is None if unknown."""
        self.clear()
        strong = etag if etag is not None and _STRONG_ETAG.fullmatch(etag) else None
        self._state = {"url": url, "etag": strong, "size": size}
        write_json(self._state_path, self._state)

    def clear(self) -> None:
        """Drop what is here."""
        self._state_path.unlink(missing_ok=True)
        self._file.truncate(0)
        self.size, self._state = 0, {}

    def append(self, chunk: bytes) -> None:
        """Add bytes; raises `ClozeError` if the disk refuses them."""
        rest = memoryview(chunk)
        while rest:
            try:
                written = self._file.write(rest)
            except OSError as error:
                error.filename = str(self.path)
                raise ClozeError(f"cannot write {describe_os_error(error)}") from error
            self.size += written
            rest = rest[written:]

    def publish(self) -> None:
        """Turn the finished file into the output."""
        os.fsync(self._file.fileno())
        self.path.replace(self.output)
        self._state_path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete what is here from the disk."""
        self._state_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def _lock(self) -> None:
        busy = f"{self.output}: another process is fetching this file; wait for it or stop it"
        if not try_lock(self._file.fileno(), self.path):
            raise ClozeError(busy)
        # Between opening and locking, the former owner may have published the file.
        if not self.path.exists() or not os.path.samestat(
            os.fstat(self._file.fileno()), self.path.stat()
        ):
            raise ClozeError(busy)

    def _read_state(self) -> dict[str, Any]:
        try:
            state = read_json(self._state_path)
        except ClozeError:
            # It is only a help to resume: without it the download starts over.
            return {}
        etag = state.get("etag") if isinstance(state, dict) else 0
        is_sound = etag is None or (isinstance(etag, str) and _STRONG_ETAG.fullmatch(etag))
        return state if is_sound else {}


def copy_file(path: Path, output: Path, checksums: Checksums) -> None:
    """Copy a local file to `output`, atomically.

    Raises `ClozeError` if the file is missing, its hash is wrong or the disk lacks the space.
    """
    size = require_file(path).stat().st_size
    if output.exists() and output.samefile(path):
        raise ClozeError(f"{path}: source and output are the same file; choose another output")
    log.info("copying %s (%s bytes) to %s", path, f"{size:,}", output)
    with atomic_path(output) as temporary:
        _require_space(output, size)
        with (
            open(path, "rb") as source,
            open(temporary, "wb") as target,
            _bytes_bar(size, 0, output.name) as bar,
        ):
            while chunk := source.read(CHUNK_BYTES):
                target.write(chunk)
                bar.update(len(chunk))
        checksums.verify(temporary, str(path))


def fetch_url(url: str, output: Path, checksums: Checksums, auth: AuthBase | None = None) -> None:
    """Fetch an `http(s):` address to `output`, atomically, going on with an earlier try.

    Raises `HttpError` if the server refuses, `ClozeError` if the connection keeps failing,
    the hash is wrong (nothing is kept then) or the disk lacks the space.
    """
    with PartialFile(output) as partial:
        if partial.is_complete(url):
            log.info("%s: all %s bytes are here already", url, f"{partial.size:,}")
        else:
            retrying(url, lambda: _fetch_rest(url, partial, auth), lambda: partial.size)
        try:
            checksums.verify(partial.path, url)
        except ClozeError:
            partial.remove()
            raise
        partial.publish()


def _fetch_rest(url: str, partial: PartialFile, auth: AuthBase | None) -> None:
    """Make one attempt to complete `partial`; raises `TransientError` if it ends early."""
    resume = partial.resume_headers(url)
    # A compressed answer would have another length and other ranges than the file.
    headers = {"Accept-Encoding": "identity", **resume}
    try:
        response = send(url, headers, auth)
    except HttpError as error:
        if error.status != requests.codes.requested_range_not_satisfiable or not resume:
            raise
        partial.clear()
        return _fetch_rest(url, partial, auth)
    with response:
        size = _full_size(response)
        etag = response.headers.get("ETag")
        if response.status_code == requests.codes.partial_content:
            if not partial.continues_with(etag, _first_byte(response), size):
                if not resume:
                    raise ClozeError(
                        f"{url}: the server answered with a part of the file (206), though all of "
                        "it was asked for; check the address, or try a mirror"
                    )
                partial.clear()
                return _fetch_rest(url, partial, auth)
        elif response.status_code == requests.codes.ok:
            partial.restart(url, etag, size)
        else:
            raise ClozeError(
                f"{url}: the server answered {response.status_code} {response.reason}, "
                "not with the file; check the address"
            )
        _announce(url, partial, size)
        _append_body(response, partial, size)
    return None


def _announce(url: str, partial: PartialFile, size: int | None) -> None:
    log.info(
        "fetching %s (%s) to %s%s",
        url,
        "size unknown" if size is None else f"{size:,} bytes",
        partial.output,
        f", {partial.size:,} bytes of it here already" if partial.size else "",
    )
    if size is not None:
        _require_space(partial.output, size - partial.size)


def _append_body(response: requests.Response, partial: PartialFile, size: int | None) -> None:
    with _bytes_bar(size, partial.size, partial.output.name) as bar:
        try:
            # Undecoded: some servers label a .gz file as compressed in transit.
            for chunk in response.raw.stream(_PIECE_BYTES, decode_content=False):
                partial.append(chunk)
                bar.update(len(chunk))
        except urllib3.exceptions.HTTPError as error:
            raise TransientError(f"the connection broke ({describe(error)})") from error
    if size is not None and partial.size < size:
        raise TransientError(f"the server sent {partial.size:,} of {size:,} bytes")


def _full_size(response: requests.Response) -> int | None:
    """Bytes of the whole file, of which the answer may be a part."""
    if match := _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "")):
        return int(match[2])
    length = response.headers.get("Content-Length", "")
    return int(length) if _CONTENT_LENGTH.fullmatch(length) else None


def _first_byte(response: requests.Response) -> int:
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


def _require_space(output: Path, needed: int) -> None:
    free = shutil.disk_usage(output.parent).free
    if needed > free:
        raise ClozeError(
            f"{output}: needs {needed:,} bytes, but only {free:,} are free on its disk; "
            "free some space or choose another output folder"
        )
    log.info("needs %s bytes, %s are free", f"{needed:,}", f"{free:,}")


def _bytes_bar(size: int | None, done: int, name: str) -> tqdm:
    return progress(
        total=size, initial=done, unit="B", unit_scale=True, unit_divisor=1024, description=name
    )
