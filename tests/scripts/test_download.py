"""`download.py` as a user runs it: every kind of source, the mirror and the listing."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import download
from cloze.fetch import web
from tests.file_server import COMMIT, Answer, FakeHub, FileServer

yaml = pytest.importorskip("yaml")

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HUB_FILE = "hf://datasets/owner/name@{}/sub/data.parquet"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    server = FakeHub()
    server.add("sub/data.parquet", CONTENT, lfs=True)
    server.add("README.md", b"small", lfs=False)
    server.files["/a/data.bin"] = CONTENT
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(web.time, "sleep", lambda _: None)
    yield server
    server.close()


def run(*arguments: object) -> int:
    return download.main([str(argument) for argument in arguments])


def error_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run(*arguments) == 1
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


def test_web_file(server: FakeHub, tmp_path: Path) -> None:
    source, output = f"{server.url}/a/data.bin", tmp_path / "out" / "data.bin"
    assert run("--source", source, "--output", output, "--sha256", SHA256.upper()) == 0
    assert output.read_bytes() == CONTENT


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_local_file(tmp_path: Path, form: str) -> None:
    (tmp_path / "in").write_bytes(CONTENT)
    source, output = form.format(tmp_path / "in"), tmp_path / "out"
    # Local sources are not mirrored.
    assert run("--source", source, "--output", output, "--mirror", "/nowhere") == 0
    assert output.read_bytes() == CONTENT


def test_hub_file_is_checked_against_what_the_hub_publishes(
    server: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = HUB_FILE.format(COMMIT), tmp_path / "data.parquet"
    assert run("--source", source, "--output", output) == 0
    assert output.read_bytes() == CONTENT
    url = f"/datasets/owner/name/resolve/{COMMIT}/sub/data.parquet"
    server.files[url] = b"other"
    message = error_of(capsys, "--source", source, "--output", output)
    assert f"{url}: wrong sha256: expected {SHA256}, found d9298a10" in message


def test_small_hub_file_is_checked_against_its_git_hash(
    server: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = f"hf://datasets/owner/name@{COMMIT}/README.md"
    assert run("--source", source, "--output", tmp_path / "README.md") == 0
    server.files[f"/datasets/owner/name/resolve/{COMMIT}/README.md"] = b"Small"
    message = error_of(capsys, "--source", source, "--output", tmp_path / "README.md")
    assert "wrong git blob hash" in message


def test_branch_is_fetched_at_its_commit_with_a_warning(
    server: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--source", HUB_FILE.format("main"), "--output", tmp_path / "x") == 0
    assert f"revision 'main' may move; it is now {COMMIT}: pin that" in capsys.readouterr().err


def test_wrong_hash_is_seen_before_the_hub_sends_the_file(
    server: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--source", HUB_FILE.format(COMMIT), "--output", tmp_path / "x")
    message = error_of(capsys, *arguments, "--sha256", "0" * 64)
    assert "but the hub publishes" in message
    assert all("/resolve/" not in request.path for request in server.requests)


def test_dataset_with_terms_to_accept(
    server: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"/datasets/owner/name/resolve/{COMMIT}/sub/data.parquet"
    server.routes[url] = lambda _: Answer(403, headers={"X-Error-Code": "GatedRepo"})
    source = HUB_FILE.format(COMMIT)
    message = error_of(capsys, "--source", source, "--output", tmp_path / "x")
    assert f"{source}: the dataset has terms to accept" in message


def test_listing_can_be_pasted_and_fetched(
    server: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--list", "hf://datasets/owner/name@main/") == 0
    text = capsys.readouterr().out
    assert "512,000 bytes" in text
    assert yaml.safe_load(text) == [
        {"source": f"hf://datasets/owner/name@{COMMIT}/README.md"},
        {"source": HUB_FILE.format(COMMIT), "sha256": SHA256},
    ]
    for number, entry in enumerate(yaml.safe_load(text)):
        assert run("--source", entry["source"], "--output", tmp_path / str(number)) == 0


@pytest.mark.parametrize("text", ["1" * 64, "12e" + "4" * 61, "a b", "a #b", "a: b", "é:", "'"])
def test_yaml_reads_back_what_was_listed(text: str) -> None:
    assert yaml.safe_load(f"- x: {download.yaml_text(text)}  # note") == [{"x": text}]


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (HUB_FILE.format(COMMIT), f"datasets/owner/name/{COMMIT}/sub/data.parquet"),
        (HUB_FILE.format(COMMIT), "data.parquet"),
        ("https://host.invalid/a/data.bin?v=1", "host.invalid/a/data.bin?v=1"),
        ("https://host.invalid/a/data.bin", "data.bin"),
    ],
)
def test_mirror_folder_and_mirror_server(tmp_path: Path, source: str, place: str) -> None:
    mirror = tmp_path / "mirror"
    (mirror / place).parent.mkdir(parents=True)
    (mirror / place).write_bytes(CONTENT)
    given = ("--source", source, "--sha256", SHA256)
    assert run(*given, "--output", tmp_path / "1", "--mirror", mirror) == 0
    assert run(*given, "--output", tmp_path / "2", "--mirror", f"file://{mirror}") == 0
    web_mirror = FileServer()
    # The path that a request for this place carries, once percent signs are decoded.
    web_mirror.files[f"/m/{place}"] = CONTENT
    assert run(*given, "--output", tmp_path / "3", "--mirror", f"{web_mirror.url}/m") == 0
    web_mirror.close()
    assert {(tmp_path / name).read_bytes() for name in "123"} == {CONTENT}


def test_mirror_prefers_the_full_path(tmp_path: Path) -> None:
    full = tmp_path / "host.invalid" / "x" / "data.bin"
    full.parent.mkdir(parents=True)
    full.write_bytes(b"full")
    (tmp_path / "data.bin").write_bytes(b"flat")
    source, output = "https://host.invalid/x/data.bin", tmp_path / "out"
    assert run("--source", source, "--output", output, "--mirror", tmp_path) == 0
    assert output.read_bytes() == b"full"


def test_the_log_says_which_place_of_the_mirror_was_used(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"flat")
    arguments = ("--source", "https://host.invalid/x/data.bin", "--output", tmp_path / "out")
    assert run(*arguments, "--mirror", tmp_path, "--log", tmp_path / "log") == 0
    log = (tmp_path / "log").read_text()
    assert f"copying {tmp_path / 'data.bin'} (4 bytes)" in log
    assert "a mirror may hold anything and no sha256 is given to check it" in log


def test_mirror_without_the_file(
    server: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--source", "https://host.invalid/x/none.bin", "--output", tmp_path / "out")
    message = error_of(capsys, *arguments, "--mirror", tmp_path / "m")
    folder = tmp_path / "m"
    assert f"put it at {folder}/host.invalid/x/none.bin or {folder}/none.bin" in message
    message = error_of(capsys, *arguments, "--mirror", server.url)
    assert f"put it at {server.url}/host.invalid/x/none.bin or {server.url}/none.bin" in message
    assert [request.path for request in server.requests] == [
        "/host.invalid/x/none.bin",
        "/none.bin",
    ]


def test_mirror_is_not_trusted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data.bin").write_bytes(b"other")
    arguments = ("--source", "https://host.invalid/data.bin", "--output", tmp_path / "out")
    message = error_of(capsys, *arguments, "--mirror", tmp_path, "--sha256", SHA256)
    assert f"data.bin: wrong sha256: expected {SHA256}" in message
    assert not (tmp_path / "out").exists()


def test_mirror_server_that_refuses(
    server: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script = [Answer(403)]
    arguments = ("--source", "https://host.invalid/x.bin", "--output", tmp_path / "out")
    message = error_of(capsys, *arguments, "--mirror", server.url)
    assert "host.invalid/x.bin: the server answered 403" in message


def test_output_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--source needs --output FILE" in error_of(capsys, "--source", "a")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "a", "--output", "b", "--sha256", "abc"], "'abc' is not a sha256"),
        (["--source", "a", "--list", "b"], "not allowed with argument"),
        ([], "one of the arguments --source --list is required"),
    ],
)
def test_bad_command_lines(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("source", ["{}/a/data.bin", HUB_FILE.format(COMMIT)])
def test_killed_process_leaves_a_part_that_the_next_one_completes(
    server: FakeHub, tmp_path: Path, source: str
) -> None:
    """SIGKILL while the server stalls; the second run asks for the rest only."""
    source, output = source.format(server.url), tmp_path / "data.bin"
    partial = tmp_path / ".data.bin.partial"
    # The body is cut here and the connection stays open, so the reader waits.
    server.stall_after = 300_000
    command = [sys.executable, download.__file__, "--source", source, "--output", str(output)]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 30
    while not (partial.exists() and partial.stat().st_size > 200_000):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    server.stall_after = None
    size = partial.stat().st_size
    assert run("--source", source, "--output", output, "--sha256", SHA256) == 0
    assert server.requests[-1].headers["range"] == f"bytes={size}-"
    assert output.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [output]
