"""Full disks and broken shards: one message that says what to do, nothing half written."""

import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import collect_shards
import split_tokens
from cloze.errors import ClozeError
from cloze.tokens.loading import load_rows
from tests.shard_jobs import (
    FORMATS,
    METHODS,
    SHARD,
    build_shards,
    collect_flags,
    contents,
    names,
    script,
    shard_flags,
    tokenizer_flags,
    write_corpus,
)

# What a file may grow to where writes fail: less than a shard and than a tokenizer.
LIMIT_BYTES = 8192


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def with_small_files(
    command: list[str], limit: int = LIMIT_BYTES
) -> "subprocess.CompletedProcess[str]":
    """Run a command that may write no more than `limit` bytes to any file."""
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )


@pytest.mark.parametrize("shard_format", FORMATS)
@pytest.mark.parametrize("method", METHODS)
def test_a_shard_that_outgrows_its_limit(
    corpus: Path, tmp_path: Path, method: str, shard_format: str
) -> None:
    flags = [*shard_flags(corpus, corpus, tmp_path, shard_format), "--shard", SHARD]
    process = with_small_files(script(method, flags))
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert line.startswith(f"error: cannot write {tmp_path / SHARD}.{FORMATS[shard_format]}: ")
    assert "ulimit -f" in line
    assert names(tmp_path) == []


def test_a_tokenizer_that_outgrows_its_limit(corpus: Path, tmp_path: Path) -> None:
    process = with_small_files(script("train_tokenizer", tokenizer_flags(corpus, tmp_path)))
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert line.startswith(f"error: cannot write {tmp_path / 'tokenizer.json'}: ")
    assert names(tmp_path) == []


def test_a_manifest_that_outgrows_its_limit(corpus: Path, tmp_path: Path) -> None:
    build_shards("split_tokens", corpus, tmp_path, "msgpack")
    before = names(tmp_path)
    process = with_small_files(script("collect_shards", collect_flags(tmp_path)), 100)
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert line.startswith(f"error: cannot write {tmp_path / 'manifest.json'}: ")
    assert names(tmp_path) == before


def on_a_full_disk(folder: Path, command: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command that sees an empty disk of 16 KiB in `folder`; then list what it left there."""
    folder.mkdir()
    mount = f"mount -t tmpfs -o size=16k tmpfs {folder} || exit 77"
    shell = f'{mount}; "$@"; code=$?; ls -A {folder}; exit $code'
    try:
        process = subprocess.run(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", shell, "sh", *command],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("needs unshare")
    if process.returncode == 77 or process.stderr.startswith("unshare:"):
        pytest.skip("this system mounts nothing for its users")
    return process


@pytest.mark.parametrize("shard_format", FORMATS)
def test_a_shard_on_a_full_disk(corpus: Path, tmp_path: Path, shard_format: str) -> None:
    folder = tmp_path / "disk"
    flags = [*shard_flags(corpus, corpus, folder, shard_format), "--shard", SHARD]
    process = on_a_full_disk(folder, script("segment_text", flags))
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert line.startswith("error: ")
    assert SHARD in line
    assert "free some space" in line
    assert process.stdout == ""


def test_a_tokenizer_on_a_full_disk(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    process = on_a_full_disk(folder, script("train_tokenizer", tokenizer_flags(corpus, folder)))
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert line.startswith(f"error: cannot write {folder / 'tokenizer.json'}: the disk is full: ")
    assert process.stdout == ""


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("shard_format", FORMATS)
@pytest.mark.parametrize(
    ("harm", "name"),
    [(truncate, "truncated"), (flip_a_bit, "damaged"), (Path.unlink, "missing")],
    ids=["truncated", "bit-flipped", "missing"],
)
def test_a_broken_shard_is_named_and_made_again_alone(
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    shard_format: str,
    harm: Callable[[Path], None],
    name: str,
) -> None:
    build_shards("split_tokens", corpus, tmp_path, shard_format)
    assert collect_shards.main(collect_flags(tmp_path)) == 0
    undisturbed = contents(tmp_path)
    shard, manifest = tmp_path / f"{SHARD}.{FORMATS[shard_format]}", tmp_path / "manifest.json"
    harm(shard)

    with pytest.raises(ClozeError, match=f"^{shard}: {name} shard.*delete .*{manifest}") as read:
        load_rows(tmp_path, "train", corpus / "tokenizer.json")
    assert collect_shards.main(collect_flags(tmp_path)) == 1
    assert capsys.readouterr().err == f"error: {read.value}\n"

    # What the message says to do.
    shard.unlink(missing_ok=True)
    manifest.unlink()
    flags = [*shard_flags(corpus, corpus, tmp_path, shard_format), "--shard", SHARD]
    assert split_tokens.main(flags) == 0
    assert collect_shards.main(collect_flags(tmp_path)) == 0
    assert contents(tmp_path) == undisturbed
