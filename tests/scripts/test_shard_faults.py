"""Whatever goes wrong while a data set is made: a clear message, nothing half written, a rerun."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import collect_shards
import segment_text
import split_tokens
import train_tokenizer
from cloze.data.collect import shard_names
from cloze.data.loading import load_rows
from cloze.errors import ClozeError
from tests.texts import random_text, write_documents

SCRIPTS = Path(__file__).parents[2] / "scripts"
METHODS = {"segment_text": segment_text.main, "split_tokens": split_tokens.main}
FORMATS = {"msgpack": "msgpack.gz", "parquet": "parquet"}
SHARD = "train-00000-of-00002"
# What a file may grow to where writes fail: less than a shard and than a tokenizer.
LIMIT_BYTES = 8192
TEXTS = [random_text(seed, 25) for seed in range(40)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents and a tokenizer."""
    folder = tmp_path_factory.mktemp("corpus")
    write_documents(folder / "train.parquet", TEXTS)
    write_documents(folder / "validation.parquet", TEXTS[:4], first_id=len(TEXTS))
    assert train_tokenizer.main(tokenizer_flags(folder, folder)) == 0
    return folder


def tokenizer_flags(corpus: Path, output: Path) -> list[str]:
    paths = ["--documents", corpus / "train.parquet", "--output", output]
    return [*map(str, paths), "--vocab-size", "900", "--min-frequency", "1", "--threads", "1"]


def shard_flags(corpus: Path, documents: Path, output: Path, shard_format: str) -> list[str]:
    paths = ["--documents", documents, "--tokenizer", corpus / "tokenizer.json"]
    flags = ["--max-length", "32", "--num-shards", "2", "--threads", "1"]
    return [*map(str, paths), *flags, "--output", str(output), "--format", shard_format]


def collect_flags(folder: Path) -> list[str]:
    return ["--dataset", str(folder), "--num-shards", "2"]


def build_shards(method: str, corpus: Path, output: Path, shard_format: str) -> None:
    flags = shard_flags(corpus, corpus, output, shard_format)
    for name in shard_names(2):
        assert METHODS[method]([*flags, "--shard", str(name)]) == 0


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.name != "metrics.json"
    }


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def killed(command: list[str], output: Path, pattern: str) -> None:
    """Run a command until it writes to a file of this pattern, then kill it without warning."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size for path in output.glob(pattern)):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def script(name: str, flags: list[str]) -> list[str]:
    return [sys.executable, str(SCRIPTS / f"{name}.py"), *flags]


@pytest.fixture(scope="module")
def long_documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents that take seconds, in several blocks of a shard."""
    folder = tmp_path_factory.mktemp("long")
    write_documents(folder / "train.parquet", TEXTS * 30)
    return folder


@pytest.mark.parametrize(
    ("method", "shard_format"), [("segment_text", "msgpack"), ("split_tokens", "parquet")]
)
def test_killed_in_the_middle_of_a_shard_and_started_again(
    corpus: Path, long_documents: Path, tmp_path: Path, method: str, shard_format: str
) -> None:
    output = tmp_path / "killed"
    build_shards(method, corpus, output, shard_format)
    assert collect_shards.main(collect_flags(output)) == 0
    undisturbed = contents(output)
    shard, entry = f"{SHARD}.{FORMATS[shard_format]}", f"{SHARD}.json"
    for name in (shard, entry, "manifest.json"):
        (output / name).unlink()
    before = names(output)

    flags = [*shard_flags(corpus, long_documents, output, shard_format), "--shard", SHARD]
    killed(script(method, flags), output, f".{shard}.*.tmp")

    left = set(names(output)) - set(before)
    assert len(left) == 1
    assert all(name.startswith(f".{shard}.") and name.endswith(".tmp") for name in left)
    assert collect_shards.main(collect_flags(output)) == 1
    flags = [*shard_flags(corpus, corpus, output, shard_format), "--shard", SHARD]
    assert METHODS[method](flags) == 0
    assert collect_shards.main(collect_flags(output)) == 0
    assert contents(output) == undisturbed


def test_killed_in_the_middle_of_a_data_set_and_started_again(
    corpus: Path, long_documents: Path, tmp_path: Path
) -> None:
    shutil.copy(corpus / "validation.parquet", long_documents)
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "killed"
    flags = shard_flags(corpus, corpus, undisturbed, "msgpack")
    assert segment_text.main(flags) == 0
    long = shard_flags(corpus, long_documents, output, "msgpack")
    output.mkdir()
    killed(script("segment_text", long), output, ".train-*.tmp")
    assert not (output / "manifest.json").exists()
    assert segment_text.main(shard_flags(corpus, corpus, output, "msgpack")) == 0
    assert contents(output) == contents(undisturbed)


def stopped_at(call: str, command: list[str]) -> list[str]:
    """Return the command with one function replaced by the death of the process."""
    module, _, function = call.rpartition(".")
    code = (
        f"import os, signal, runpy, sys; import {module};"
        f"{module}.{function} = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL);"
        f"sys.path.insert(0, {str(SCRIPTS)!r}); sys.argv = sys.argv[1:];"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    return [command[0], "-c", code, *command[1:]]


@pytest.mark.parametrize(
    "call",
    ["os.fsync", "cloze.data.dataset.write_shard_entry"],
)
def test_killed_when_a_shard_is_whole_but_not_its_entry(
    corpus: Path, tmp_path: Path, call: str
) -> None:
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "killed"
    for folder in (undisturbed, output):
        build_shards("split_tokens", corpus, folder, "msgpack")
    for path in output.glob(f"{SHARD}.*"):
        path.unlink()
    flags = [*shard_flags(corpus, corpus, output, "msgpack"), "--shard", SHARD]
    process = subprocess.run(
        stopped_at(call, script("split_tokens", flags)),
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    assert not (output / f"{SHARD}.json").exists()
    assert collect_shards.main(collect_flags(output)) == 1
    assert split_tokens.main(flags) == 0
    assert contents(output) == contents(undisturbed)


def test_killed_while_collecting_and_started_again(corpus: Path, tmp_path: Path) -> None:
    build_shards("split_tokens", corpus, tmp_path, "msgpack")
    process = subprocess.run(
        stopped_at("os.fsync", script("collect_shards", collect_flags(tmp_path))),
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "manifest.json").exists()
    assert list(tmp_path.glob(".manifest.json.*.tmp"))
    assert collect_shards.main(collect_flags(tmp_path)) == 0
    assert not list(tmp_path.glob(".*.tmp"))
    assert load_rows(tmp_path, "train", corpus / "tokenizer.json").num_samples


def test_killed_while_training_a_tokenizer_and_started_again(corpus: Path, tmp_path: Path) -> None:
    process = subprocess.run(
        stopped_at("os.fsync", script("train_tokenizer", tokenizer_flags(corpus, tmp_path))),
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
    assert train_tokenizer.main(tokenizer_flags(corpus, tmp_path)) == 0
    assert not list(tmp_path.glob(".*.tmp"))
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        assert (tmp_path / name).read_bytes() == (corpus / name).read_bytes()


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


def test_the_entry_of_another_run_does_not_vouch_for_a_shard(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_shards("split_tokens", corpus, tmp_path, "msgpack")
    flags = [*shard_flags(corpus, corpus, tmp_path, "msgpack"), "--shard", SHARD, "--whole-words"]
    process = subprocess.run(
        stopped_at("cloze.data.dataset.write_shard_entry", script("split_tokens", flags)),
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    assert collect_shards.main(collect_flags(tmp_path)) == 1
    assert f"{SHARD}.msgpack.gz: " in capsys.readouterr().err
    assert not (tmp_path / "manifest.json").exists()
