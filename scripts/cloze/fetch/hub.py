"""Files of datasets and models on the Hugging Face hub, by way of its own library.

`huggingface_hub` knows the user's token (`HF_TOKEN` or `hf auth login`), what a repository
holds, and addresses; `HF_ENDPOINT` names another server that speaks the hub's interface. It is
imported where a source is on the hub, since nothing else needs it.

The bytes come by `fetch_url`: the library (2.4) writes to a file with a random name and deletes
it when it is interrupted, so that gigabytes would start over. The hub serves Xet files that way
too.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from cloze.errors import ClozeError
from cloze.fetch.sources import HubSource
from cloze.fetch.transfer import Checksums, fetch_url
from cloze.fetch.web import (
    ATTEMPTS,
    BearerToken,
    HttpError,
    TransientError,
    describe,
    refusal,
    retrying,
)

Result = TypeVar("Result")


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


def pin(source: HubSource) -> HubSource:
    """Return `source` at the commit that its revision names now."""
    if source.is_pinned:
        return source

    def commit() -> str:
        sha = _api().repo_info(**_repository(source)).sha
        if sha is None:
            raise ValueError("it names no commit")
        return str(sha)

    return source.at(_ask(source, commit))


def file_info(source: HubSource) -> HubFile:
    """Return the size and hash that the hub publishes for one file.

    Raises `ClozeError` if the repository, the revision or the file does not exist, or is
    not open to the user.
    """
    entries = _ask(source, lambda: _api().get_paths_info(paths=source.path, **_repository(source)))
    for file in _hub_files(entries, source):
        if file.source.path == source.path:
            return file
    raise ClozeError(
        f"{source}: the {source.kind} has no such file at this revision; list what it has: "
        f"python scripts/download.py --list hf://{source.repository}@{source.revision}/"
    )


def list_files(folder: HubSource) -> list[HubFile]:
    """Return every file below a folder, sorted by path.

    Raises `ClozeError` as `file_info` does, and if the folder holds no file.
    """

    def entries() -> list[Any]:
        tree = _api().list_repo_tree(
            path_in_repo=folder.path or None, recursive=True, **_repository(folder)
        )
        return list(tree)

    # The library asks again by itself here, and only here.
    files = _hub_files(_ask(folder, entries, attempts=1), folder)
    if not files:
        raise ClozeError(f"{folder}: the folder holds no file; check its path")
    return sorted(files, key=lambda file: file.source.path)


def fetch_file(file: HubFile, output: Path, checksums: Checksums) -> None:
    """Fetch a file to `output` as `fetch_url` does, with the user's token.

    Raises `ClozeError` as `file_info` and `fetch_url` do.
    """
    from huggingface_hub import get_token, hf_hub_url

    token = get_token()
    url = hf_hub_url(filename=file.source.path, endpoint=endpoint(), **_repository(file.source))
    with _refusals_explained(file.source):
        fetch_url(url, output, checksums, BearerToken(token) if token else None)


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


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint())


def _repository(source: HubSource) -> dict[str, str]:
    return {
        "repo_id": f"{source.owner}/{source.name}",
        "repo_type": source.kind,
        "revision": source.revision,
    }


def _hub_files(entries: list[Any], source: HubSource) -> list[HubFile]:
    from huggingface_hub import RepoFile

    files = (entry for entry in entries if isinstance(entry, RepoFile))
    return [
        # The blob of a file in large file storage is a pointer, not the content.
        HubFile(replace(source, path=file.path), file.size, file.lfs.sha256, None)
        if file.lfs
        else HubFile(replace(source, path=file.path), file.size, None, file.blob_id)
        for file in files
    ]


def _ask(source: HubSource, question: Callable[[], Result], attempts: int = ATTEMPTS) -> Result:
    """Return the library's answer, asked again while the hub is busy or out of reach.

    Raises `ClozeError`, which says what to do, for what another attempt would not change.
    """
    from huggingface_hub import errors

    def attempt() -> Result:
        try:
            return question()
        except errors.OfflineModeIsEnabled as error:
            raise ClozeError(
                f"{source}: HF_HUB_OFFLINE is set; unset it, or set `mirror` to a folder that has "
                "the file"
            ) from error
        except errors.HfHubHTTPError as error:
            answer = error.response
            raise refusal(str(answer.url), answer.status_code, answer.headers) from error
        except errors.HTTPError as error:
            raise TransientError(describe(error)) from error
        except (LookupError, TypeError, ValueError) as error:
            raise ClozeError(
                f"{source}: the answer of {endpoint()} is not that of a hub "
                f"({describe(error)}); is HF_ENDPOINT right?"
            ) from error

    with _refusals_explained(source):
        return retrying(str(source), attempt, attempts=attempts)


@contextlib.contextmanager
def _refusals_explained(source: HubSource) -> Iterator[None]:
    """Turn the hub's refusals inside the block into `ClozeError`s that say what to do."""
    try:
        yield
    except HttpError as error:
        raise ClozeError(f"{source}: {_reason(error, source)}") from error


def _reason(error: HttpError, source: HubSource) -> str:
    from huggingface_hub import get_token

    page = f"{endpoint()}/{source.repository}"
    if error.code == "RevisionNotFound":
        return f"there is no revision {source.revision!r}; {page}/commits/main lists the commits"
    if error.code == "EntryNotFound":
        return f"the {source.kind} has no such path at this revision; {page} shows what it has"
    if error.code == "GatedRepo":
        return f"the {source.kind} has terms to accept: do so at {page}, then set HF_TOKEN to yours"
    if error.status in (401, 403) or error.code == "RepoNotFound" or error.is_missing:
        token = "HF_TOKEN gives no access" if get_token() else "HF_TOKEN is unset"
        return f"no such {source.kind}, or it is private ({token}); check the name at {page}"
    return str(error)
