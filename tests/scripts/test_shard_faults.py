"""Jobs that make a data set, killed at any point: nothing half written, and a rerun completes."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

import collect_shards
import segment_text
import split_tokens
import train_tokenizer
from cloze.tokens.loading import load_rows
from tests.shard_jobs import (
    FORMATS,
    METHODS,
    SHARD,
    TEXTS,
    build_shards,
    collect_flags,
    contents,
    killed_at,
    names,
    script,
    shard_flags,
    tokenizer_flags,
    write_corpus,
)
from tests.texts import write_documents


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


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


@pytest.mark.parametrize(
    "call",
    ["os.fsync", "cloze.tokens.dataset.write_shard_entry"],
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
    assert killed_at(call, "split_tokens", flags) == -signal.SIGKILL
    assert not (output / f"{SHARD}.json").exists()
    assert collect_shards.main(collect_flags(output)) == 1
    assert split_tokens.main(flags) == 0
    assert contents(output) == contents(undisturbed)


def test_killed_while_collecting_and_started_again(corpus: Path, tmp_path: Path) -> None:
    build_shards("split_tokens", corpus, tmp_path, "msgpack")
    assert killed_at("os.fsync", "collect_shards", collect_flags(tmp_path)) == -signal.SIGKILL
    assert not (tmp_path / "manifest.json").exists()
    assert list(tmp_path.glob(".manifest.json.*.tmp"))
    assert collect_shards.main(collect_flags(tmp_path)) == 0
    assert not list(tmp_path.glob(".*.tmp"))
    assert load_rows(tmp_path, "train", corpus / "tokenizer.json").num_samples


def test_killed_while_training_a_tokenizer_and_started_again(corpus: Path, tmp_path: Path) -> None:
    flags = tokenizer_flags(corpus, tmp_path)
    assert killed_at("os.fsync", "train_tokenizer", flags) == -signal.SIGKILL
    assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
    assert train_tokenizer.main(flags) == 0
    assert not list(tmp_path.glob(".*.tmp"))
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        assert (tmp_path / name).read_bytes() == (corpus / name).read_bytes()


def test_the_entry_of_another_run_does_not_vouch_for_a_shard(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_shards("split_tokens", corpus, tmp_path, "msgpack")
    flags = [*shard_flags(corpus, corpus, tmp_path, "msgpack"), "--shard", SHARD, "--whole-words"]
    assert (
        killed_at("cloze.tokens.dataset.write_shard_entry", "split_tokens", flags)
        == -signal.SIGKILL
        == -signal.SIGKILL
    )
    assert collect_shards.main(collect_flags(tmp_path)) == 1
    assert f"{SHARD}.msgpack.gz: " in capsys.readouterr().err
    assert not (tmp_path / "manifest.json").exists()
