"""The hub's answers are understood, its refusals explained and its token kept to itself."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from cloze.errors import ClozeError
from cloze.fetch import hub, web
from cloze.fetch.sources import HubSource, parse_hub
from cloze.fetch.transfer import Checksums
from tests.file_server import COMMIT, Answer, FakeHub, as_json, git_blob_hash

LARGE, SMALL = b"large" * 100, b"small"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    server = FakeHub()
    server.add("sub/large file.parquet", LARGE, lfs=True)
    server.add("README.md", SMALL, lfs=False)
    monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nowhere/token")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(web.time, "sleep", lambda _: None)
    yield server
    server.close()


def source(path: str, revision: str = COMMIT) -> HubSource:
    return HubSource("owner", "name", revision, path)


def test_a_model_is_asked_for_as_one(server: FakeHub) -> None:
    with pytest.raises(ClozeError):
        hub.file_info(parse_hub(f"hf://owner/name@{COMMIT}/config.json"))
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
    pages = [as_json([folder, server.entries[0]], Link=next_page), as_json([server.entries[1]])]
    server.routes[tree] = lambda request: pages[request.path.endswith("?cursor=2")]
    files = hub.list_files(parse_hub(f"hf://datasets/owner/name@{COMMIT}"))
    assert [file.source.path for file in files] == ["README.md", "sub/large file.parquet"]


def test_listing_asks_for_the_folder(server: FakeHub) -> None:
    path = f"/api/datasets/owner/name/tree/{COMMIT}/a%20b%2Fc"
    server.routes[path] = lambda _: as_json([])
    with pytest.raises(ClozeError, match="the folder holds no file; check its path"):
        hub.list_files(source("a b/c"))
    assert server.requests[0].path.startswith(f"{path}?recursive=")


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


def test_the_token_goes_to_the_hub(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    hub.pin(source("README.md", "main"))
    assert server.requests[0].headers["authorization"] == "Bearer secret"


def test_token_that_gives_no_access(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    server.script = [Answer(401)]
    with pytest.raises(ClozeError, match=r"it is private \(HF_TOKEN gives no access\)") as caught:
        hub.file_info(source("README.md"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"5", b'[{"path": "README.md", "size": 5}]', b'[{"type": "file", "size": 5}]'],
)
def test_answers_of_something_else(server: FakeHub, body: bytes) -> None:
    server.script = [Answer(200, body)]
    with pytest.raises(ClozeError, match=r"README.md: .*is not that of a hub .*HF_ENDPOINT right"):
        hub.file_info(source("README.md"))


def test_a_repository_without_a_commit(server: FakeHub) -> None:
    server.script = [as_json({"id": "owner/name"})]
    with pytest.raises(ClozeError, match=r"not that of a hub \(it names no commit\)"):
        hub.pin(source("README.md", "main"))


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


def fetch(path: str, output: Path) -> None:
    file = hub.file_info(source(path))
    hub.fetch_file(file, output, hub.published_checksums(file, None))


def test_a_hub_out_of_reach_is_one_sentence(
    server: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ClozeError, match=r"refused; gave up after 6 .* or set `mirror`") as caught:
        hub.file_info(source("README.md"))
    assert "\n" not in str(caught.value)
    with pytest.raises(ClozeError, match=r"refused; gave up\. Check the connection"):
        hub.list_files(source(""))


def test_without_the_network_the_setting_is_named(
    server: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ClozeError, match="HF_HUB_OFFLINE is set; unset it, or set `mirror`"):
        hub.pin(source("README.md", "main"))


def test_a_file_comes_with_the_token_and_is_checked(
    server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    file = hub.file_info(source("sub/large file.parquet"))
    hub.fetch_file(file, tmp_path / "x", hub.published_checksums(file, None))
    assert (tmp_path / "x").read_bytes() == LARGE
    assert server.requests[-1].headers["authorization"] == "Bearer secret"
    assert server.requests[-1].path.endswith(f"/resolve/{COMMIT}/sub/large%20file.parquet")
