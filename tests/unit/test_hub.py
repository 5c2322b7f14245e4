"""The hub's answers are understood, its refusals explained and its token kept to itself."""

import hashlib
from collections.abc import Iterator

import pytest

from cloze.errors import ClozeError
from cloze.fetch import hub, web
from cloze.fetch.checksums import Checksums
from cloze.fetch.sources import HubSource, parse_hub
from tests.file_server import COMMIT, Answer, FakeHub, FileServer, as_json, git_blob_hash

LARGE, SMALL = b"large" * 100, b"small"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    server = FakeHub()
    server.add("sub/large file.parquet", LARGE, lfs=True)
    server.add("README.md", SMALL, lfs=False)
    monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(web.time, "sleep", lambda _: None)
    yield server
    server.close()


def source(path: str, revision: str = COMMIT) -> HubSource:
    return HubSource("owner", "name", revision, path)


def test_default_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert hub.download_url(source("a b.txt", "refs/convert/parquet")) == (
        "https://huggingface.co/datasets/owner/name/resolve/refs%2Fconvert%2Fparquet/a%20b.txt"
    )


def test_addresses_of_a_model(server: FakeHub) -> None:
    model = parse_hub(f"hf://owner/name@{COMMIT}/config.json")
    assert hub.download_url(model) == f"{server.url}/owner/name/resolve/{COMMIT}/config.json"
    with pytest.raises(ClozeError):
        hub.file_info(model)
    assert server.requests[0].path == f"/api/models/owner/name/paths-info/{COMMIT}"


def test_large_file_has_a_sha256(server: FakeHub) -> None:
    info = hub.file_info(source("sub/large file.parquet"))
    sha256 = hashlib.sha256(LARGE).hexdigest()
    assert info == hub.HubFile(source("sub/large file.parquet"), len(LARGE), sha256, None)
    request = server.requests[0]
    assert (request.method, request.path) == (
        "POST",
        f"/api/datasets/owner/name/paths-info/{COMMIT}",
    )


def test_small_file_has_a_git_hash(server: FakeHub) -> None:
    info = hub.file_info(source("README.md"))
    assert (info.sha256, info.git_sha1) == (None, git_blob_hash(SMALL))


def test_branch_is_pinned_and_commit_is_taken_as_it_is(server: FakeHub) -> None:
    assert hub.pin(source("README.md", "main")) == source("README.md")
    assert len(server.requests) == 1
    assert hub.pin(source("README.md")) == source("README.md")
    assert len(server.requests) == 1


def test_listing_follows_pages_and_leaves_folders_out(server: FakeHub) -> None:
    tree = f"/api/datasets/owner/name/tree/{COMMIT}"
    folder = {"type": "directory", "path": "sub", "oid": "0" * 40, "size": 0}
    next_page = f'<{server.url}{tree}?cursor=2>; rel="next"'
    pages = {
        f"{tree}?recursive=true&expand=false": as_json([folder, server.entries[0]], Link=next_page),
        f"{tree}?cursor=2": as_json([server.entries[1]]),
    }
    server.routes[tree] = lambda request: pages[request.path]
    files = hub.list_files(parse_hub(f"hf://datasets/owner/name@{COMMIT}"))
    assert [file.source.path for file in files] == ["README.md", "sub/large file.parquet"]


def test_listing_asks_for_the_folder(server: FakeHub) -> None:
    path = f"/api/datasets/owner/name/tree/{COMMIT}/a%20b/c"
    server.routes[path] = lambda _: as_json([])
    with pytest.raises(ClozeError, match="the folder holds no file; check its path"):
        hub.list_files(source("a b/c"))
    assert server.requests[0].path == f"{path}?recursive=true&expand=false"


def test_missing_file_points_to_the_listing(server: FakeHub) -> None:
    message = rf"none: the dataset has no such file.*--list hf://datasets/owner/name@{COMMIT}/"
    with pytest.raises(ClozeError, match=message):
        hub.file_info(source("none"))


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "RevisionNotFound", r"there is no revision 'main'; .*/commits/main lists"),
        (404, "EntryNotFound", "the dataset has no such path at this revision"),
        (403, "GatedRepo", r"has terms to accept: do so at .*/datasets/owner/name, then set HF_"),
        (404, "RepoNotFound", r"no such dataset, or it is private \(HF_TOKEN is unset\)"),
        (401, "", r"no such dataset, or it is private \(HF_TOKEN is unset\); check the name at"),
        (400, "", "the server answered 400 Bad Request; check the address"),
    ],
)
def test_refusals(server: FakeHub, status: int, code: str, message: str) -> None:
    server.script = [Answer(status, headers={"X-Error-Code": code})]
    with pytest.raises(
        ClozeError, match=rf"^hf://datasets/owner/name@main/README\.md: .*{message}"
    ):
        hub.pin(source("README.md", "main"))
    assert len(server.requests) == 1


def test_overloaded_hub_is_asked_again(server: FakeHub) -> None:
    server.script = [Answer(503), Answer(429), Answer(200, b"[{}", sent=1)]
    assert hub.pin(source("README.md", "main")).revision == COMMIT
    assert len(server.requests) == 4


def test_token_goes_to_the_hub_only(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    hub.pin(source("README.md", "main"))
    assert server.requests[0].headers["authorization"] == "Bearer secret"

    other = FileServer()
    tree = f"/api/datasets/owner/name/tree/{COMMIT}"
    server.routes[tree] = lambda _: as_json([], Link=f'<{other.url}/next>; rel="next"')
    other.routes["/next"] = lambda _: as_json(server.entries)
    hub.list_files(source(""))
    other.close()
    assert "authorization" not in other.requests[0].headers
    assert hub.authorization(f"{server.url}0/datasets") is None


def test_token_that_gives_no_access(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    server.script = [Answer(401)]
    with pytest.raises(ClozeError, match=r"it is private \(HF_TOKEN gives no access\)") as caught:
        hub.file_info(source("README.md"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", r"the answer is not JSON; is HF_ENDPOINT \(http://127.* a hub\?"),
        (b"{}", "is not a list; is HF_ENDPOINT a hub"),
        (b'[{"type": "file", "path": "README.md", "size": 5}]', "lacks 'oid'; is HF_ENDPOINT"),
        (b'[{"type": "file", "path": "README.md", "oid": "0"}]', "lacks 'size'; is HF_ENDPOINT"),
    ],
)
def test_answers_of_something_else(server: FakeHub, body: bytes, message: str) -> None:
    server.script = [Answer(200, body)]
    with pytest.raises(ClozeError, match=message):
        hub.file_info(source("README.md"))


def test_hash_of_the_user_and_of_the_hub_must_agree() -> None:
    known, other = "a" * 64, "b" * 64
    large = hub.HubFile(source("x"), 1, known, None)
    assert hub.published_checksums(large, None) == Checksums(known)
    assert hub.published_checksums(large, known) == Checksums(known)
    with pytest.raises(
        ClozeError, match=f"x: wrong sha256: expected {other}, but the hub publishes {known}"
    ):
        hub.published_checksums(large, other)
    small = hub.HubFile(source("x"), 1, None, "c" * 40)
    assert hub.published_checksums(small, other) == Checksums(other, "c" * 40)
