"""Brings one file to one place: whole, checked, and resumed where an earlier try stopped."""

import logging
import re
import shutil
from pathlib import Path

import requests
import urllib3
from requests.auth import AuthBase
from tqdm import tqdm

from cloze.cli import progress
from cloze.errors import ClozeError
from cloze.fetch.checksums import Checksums
from cloze.fetch.partial import PartialFile
from cloze.fetch.web import HttpError, TransientError, describe, retrying, send
from cloze.files import CHUNK_BYTES, atomic_path, require_file

log = logging.getLogger("cloze")

# Small, because the piece in transit when a connection drops is lost.
_PIECE_BYTES = 1 << 16
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


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
    return int(length) if length.isdigit() else None


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
