"""What the Hugging Face hub says about files of datasets and models: addresses, sizes, hashes.

The HTTP interface is the one that the `huggingface_hub` library speaks. `HF_ENDPOINT`
names another server that speaks it; `HF_TOKEN` is sent to that server only.
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import requests

from cloze.errors import ClozeError
from cloze.fetch.checksums import Checksums
from cloze.fetch.sources import HubSource
from cloze.fetch.web import BearerToken, HttpError, TransientError, describe, retrying, send

log = logging.getLogger("cloze")


@dataclass(frozen=True)
class HubFile:
    """One file of a repository.

    `size` is in bytes. Of a file in large file storage the hub publishes `sha256`, of
    any other only the hash of its git blob, `git_sha1`; the other one is `None`.
    """

    source: HubSource
    size: int
    sha256: str | None
    git_sha1: str | None


def endpoint() -> str:
    """Return the hub's address without a trailing slash."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def authorization(url: str) -> BearerToken | None:
    """Return what proves the user's identity, if `HF_TOKEN` is set and `url` is the hub's."""
    token = os.environ.get("HF_TOKEN", "").strip()
    return BearerToken(token) if token and url.startswith(f"{endpoint()}/") else None


def download_url(source: HubSource) -> str:
    """Return the address of the file's bytes."""
    revision, path = quote(source.revision, safe=""), quote(source.path)
    return f"{endpoint()}/{source.repository}/resolve/{revision}/{path}"


def pin(source: HubSource) -> HubSource:
    """Return `source` at the commit that its revision names now."""
    if source.is_pinned:
        return source
    answer, _ = _ask("GET", _api(source, "revision"), source)
    return source.at(_field(answer, "sha", str, source))


def file_info(source: HubSource) -> HubFile:
    """Return the size and hash that the hub publishes for one file.

    Raises `ClozeError` if the repository, the revision or the file does not exist, or is
    not open to the user.
    """
    form = {"paths": [source.path], "expand": "false"}
    entries, _ = _ask("POST", _api(source, "paths-info"), source, data=form)
    for entry in _list(entries, source):
        if entry.get("path") == source.path and entry.get("type") == "file":
            return _hub_file(entry, source)
    raise ClozeError(
        f"{source}: the {source.kind} has no such file at this revision; list what it has: "
        f"python scripts/download.py --list hf://{source.repository}@{source.revision}/"
    )


def list_files(folder: HubSource) -> list[HubFile]:
    """Return every file below a folder, sorted by path.

    Raises `ClozeError` as `file_info` does, and if the folder holds no file.
    """
    path = f"/{quote(folder.path)}" if folder.path else ""
    url: str | None = f"{_api(folder, 'tree')}{path}?recursive=true&expand=false"
    files = []
    while url is not None:
        entries, url = _ask("GET", url, folder)
        files += [
            _hub_file(entry, folder)
            for entry in _list(entries, folder)
            if entry.get("type") == "file"
        ]
    if not files:
        raise ClozeError(f"{folder}: the folder holds no file; check its path")
    return sorted(files, key=lambda file: file.source.path)


@contextlib.contextmanager
def refusals_explained(source: HubSource) -> Iterator[None]:
    """Turn the hub's refusals inside the block into `ClozeError`s that say what to do."""
    try:
        yield
    except HttpError as error:
        raise ClozeError(f"{source}: {_reason(error, source)}") from error


def _reason(error: HttpError, source: HubSource) -> str:
    page = f"{endpoint()}/{source.repository}"
    if error.code == "RevisionNotFound":
        return f"there is no revision {source.revision!r}; {page}/commits/main lists the commits"
    if error.code == "EntryNotFound":
        return f"the {source.kind} has no such path at this revision; {page} shows what it has"
    if error.code == "GatedRepo":
        return f"the {source.kind} has terms to accept: do so at {page}, then set HF_TOKEN to yours"
    if error.status in (401, 403) or error.code == "RepoNotFound" or error.is_missing:
        token = "HF_TOKEN gives no access" if authorization(page) else "HF_TOKEN is unset"
        return f"no such {source.kind}, or it is private ({token}); check the name at {page}"
    return str(error)


def _api(source: HubSource, question: str) -> str:
    revision = quote(source.revision, safe="")
    # Here a model too has a folder.
    repository = source.repository if source.folder else f"models/{source.repository}"
    return f"{endpoint()}/api/{repository}/{question}/{revision}"


def _ask(method: str, url: str, source: HubSource, **options: Any) -> tuple[Any, str | None]:
    """Return the hub's answer and the address of its next page, if there is one."""

    def attempt() -> tuple[Any, str | None]:
        with send(method, url, auth=authorization(url), **options) as response:
            try:
                return response.json(), response.links.get("next", {}).get("url")
            except requests.JSONDecodeError as error:
                raise ClozeError(
                    f"{url}: the answer is not JSON; is HF_ENDPOINT ({endpoint()}) a hub?"
                ) from error
            except requests.RequestException as error:
                raise TransientError(f"the connection broke ({describe(error)})") from error

    with refusals_explained(source):
        return retrying(url, attempt)


def _hub_file(entry: dict[str, Any], source: HubSource) -> HubFile:
    file = replace(source, path=_field(entry, "path", str, source))
    size = _field(entry, "size", int, source)
    lfs = entry.get("lfs")
    if lfs is None:
        return HubFile(file, size, None, _field(entry, "oid", str, source))
    # The entry's own oid is that of the pointer file, not of the content.
    return HubFile(file, size, _field(lfs, "oid", str, source), None)


def _field(entry: Any, key: str, kind: type, source: HubSource) -> Any:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kind):
        raise ClozeError(
            f"{source}: the answer of {endpoint()} lacks {key!r}; is HF_ENDPOINT a hub?"
        )
    return value


def _list(entries: Any, source: HubSource) -> list[dict[str, Any]]:
    if not isinstance(entries, list):
        raise ClozeError(
            f"{source}: the answer of {endpoint()} is not a list; is HF_ENDPOINT a hub?"
        )
    return entries


def published_checksums(file: HubFile, sha256: str | None) -> Checksums:
    """Return the hashes to check: the hub's and, if given, the user's.

    Raises `ClozeError` if they disagree, which saves the transfer.
    """
    if sha256 is not None and file.sha256 is not None and sha256 != file.sha256:
        raise ClozeError(
            f"{file.source}: wrong sha256: expected {sha256}, but the hub publishes {file.sha256}; "
            "correct the sha256 or pin the revision that it belongs to"
        )
    return Checksums(sha256=sha256 or file.sha256, git_sha1=file.git_sha1)
