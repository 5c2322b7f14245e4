"""Whatever goes wrong in extraction: a clear message, nothing half written, a rerun completes."""

import io
import lzma
import os
import re
import resource
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
import zstandard

import extract_documents
import extract_part
from cloze.corpus import text_streams

SCRIPTS = Path(__file__).parents[2] / "scripts"
STORIES = "\n\n".join(f"Story {n} has this end." for n in range(3000)).encode()


@pytest.fixture(params=["documents", "part"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    return folder if request.param == "documents" else folder / "part.arrow"


def command(output: Path, *paths: Path, format: str = "paragraphs") -> list[str]:
    return ["--format", format, "--input", *map(str, paths), "--output", str(output)]


def script_of(output: Path) -> str:
    return "extract_part" if output.suffix else "extract_documents"


def run(output: Path, *paths: Path, format: str = "paragraphs") -> int:
    script = extract_part if output.suffix else extract_documents
    return script.main(command(output, *paths, format=format))


def written(output: Path) -> list[Path]:
    folder = output.parent if output.suffix else output
    return sorted(folder.iterdir()) if folder.exists() else []


def packed(path: Path, content: bytes) -> Path:
    path.write_bytes(lzma.compress(content))
    return path


@pytest.mark.parametrize("keep", [0.3, 0.99])
def test_a_truncated_source(
    tmp_path: Path, output: Path, keep: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path = packed(tmp_path / "stories.txt.xz", STORIES)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])

    assert run(output, path) == 1

    assert "stories.txt.xz: damaged or truncated" in capsys.readouterr().err
    assert written(output) == []
    path.write_bytes(whole)
    assert run(output, path) == 0
    assert output.exists()


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
def test_a_flipped_bit(
    tmp_path: Path, output: Path, place: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path = packed(tmp_path / "stories.txt.xz", STORIES)
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 4
    path.write_bytes(content)

    assert run(output, path) == 1

    assert "stories.txt.xz: " in capsys.readouterr().err
    assert written(output) == []


def test_a_hostile_archive(
    tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = ("a.txt", b"harmless")
    for name, kind in {"../evil.txt": tarfile.REGTYPE, "/evil": tarfile.REGTYPE}.items():
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
            for member, content in (good, (name, b"evil")):
                info = tarfile.TarInfo(member)
                info.size, info.type = len(content), kind
                archive.addfile(info, io.BytesIO(content))
        assert run(output, tmp_path / "a.tar.gz", format="text") == 1
        assert "outside its folder" in capsys.readouterr().err
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    assert run(output, tmp_path / "b.tar", format="text") == 1
    assert "no file in it matches '*'" in capsys.readouterr().err
    assert written(output) == []
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("format", ["text", "paragraphs", "wikitext", "jsonl", "csv"])
@pytest.mark.parametrize("body", [b"x", b"x\n"], ids=["one line", "many lines"])
def test_a_bomb_does_not_fill_the_memory(
    tmp_path: Path,
    format: str,
    body: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(text_streams, "MAX_DOCUMENT_BYTES", 1 << 20)
    monkeypatch.setattr(text_streams, "_BLOCK_BYTES", 1 << 16)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        head = b" = Title = \n" if format == "wikitext" else b""
        archive.writestr("bomb.txt", head + body * ((8 << 20) // len(body)))

    assert run(tmp_path / "out", tmp_path / "bomb.zip", format=format) == 1

    message = capsys.readouterr().err
    if body == b"x" or format in ("text", "paragraphs", "wikitext"):
        assert re.search(r"bomb\.zip: bomb\.txt: holds an? .* of more than 1 MiB; ", message)
    assert written(tmp_path / "out") == []


def test_ten_gigabytes_of_nothing_are_refused_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.txt.zst"
    spaces = b" " * (64 << 20)
    with (
        path.open("wb") as file,
        zstandard.ZstdCompressor(level=1).stream_writer(file) as stream,
    ):
        for _ in range(160):
            stream.write(spaces)
    assert path.stat().st_size < 2 << 20
    limit = 1 << 30

    process = subprocess.run(
        [sys.executable, SCRIPTS / "extract_documents.py", *command(tmp_path / "out", path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
    )

    assert process.returncode == 1
    assert "bomb.txt.zst: holds a line of more than 64 MiB" in process.stderr
    assert "Traceback" not in process.stderr
    assert written(tmp_path / "out") == []


def started(tmp_path: Path, output: Path) -> subprocess.Popen[bytes]:
    """Start an extraction that takes seconds and return when it is at work."""
    long = tmp_path / "long.txt"
    long.write_bytes((STORIES + b"\n\n") * 500)
    process = subprocess.Popen(
        [sys.executable, SCRIPTS / f"{script_of(output)}.py", *command(output, long)],
        stderr=subprocess.PIPE,
        # A shell that runs the tests in the background has its children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not any(path.suffix == ".tmp" for path in written(output)):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def test_killed_in_the_middle_and_started_again(tmp_path: Path, output: Path) -> None:
    path = packed(tmp_path / "stories.txt.xz", STORIES)
    assert run(output, path) == 0
    names = [place for place in written(output) if place.name != "metrics.json"]
    expected = {place: place.read_bytes() for place in names}
    for place in written(output):
        place.unlink()
    process = started(tmp_path, output)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    left = written(output)
    assert left
    assert all(place.suffix == ".tmp" for place in left)
    assert run(output, path) == 0
    assert {place: place.read_bytes() for place in names} == expected
    assert not any(place.suffix == ".tmp" for place in written(output))


def test_interrupted_it_leaves_nothing(tmp_path: Path, output: Path) -> None:
    process = started(tmp_path, output)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate()

    assert process.returncode == 130
    assert b"interrupted" in message
    assert written(output) == []


@pytest.mark.parametrize(
    ("format", "text", "advice"),
    [
        ("text", "One.\nTwo.\n", "add documents, or read what stands between blank lines"),
        ("paragraphs", "One.\nTwo.\n", "or read a document a line with --format lines, or give"),
        ("lines", "One.\n", "add documents, or give --train and --validation files of their own"),
        ("tsv", "text\nOne.\n", "add documents, or give --train and --validation files of their"),
    ],
)
def test_advice_for_one_document_is_none_that_is_followed_already(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], format: str, text: str, advice: str
) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert run(tmp_path / "out", tmp_path / "a.txt", format=format) == 1
    message = capsys.readouterr().err
    assert "no document is left for validation" in message
    assert advice in message
    assert f"--format {format}" not in message.partition("; add")[2]
