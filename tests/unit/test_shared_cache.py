"""Several processes read one data set that is too large for memory."""

import errno
import fcntl
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cloze.tokens import loading
from cloze.tokens.loading import load_rows
from tests.tiny import write_dataset, write_tokenizer

SCRIPTS = Path(__file__).parents[2] / "scripts"
# Reads a data set through mapped files; decoding tells that it has begun, and takes a while.
READER = """
import json, os, sys, time
from pathlib import Path
from cloze.tokens import loading

folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
fill = loading._fill

def slow_fill(rows, *others):
    with open(folder.parent / "decoders", "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(seconds)
    fill(rows, *others)

loading._fill = slow_fill
loading._SECONDS_OF_SILENCE = 0.3
rows = loading.load_rows(folder, "train", None, memory_bytes=0)
inode = os.stat(rows.input_ids.filename).st_ino
print(json.dumps([inode, int(rows.input_ids.sum())]))
"""


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data", write_tokenizer(tmp_path))


def start_reader(data_set: Path, seconds: float) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", READER, str(data_set), str(seconds)],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def decoders(data_set: Path) -> list[int]:
    path = data_set.parent / "decoders"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def cache_of(data_set: Path) -> Path:
    (cache,) = (data_set / ".cache").glob("train-????????????")
    return cache


def test_one_of_three_processes_decodes_and_all_map_its_files(data_set: Path) -> None:
    readers = [start_reader(data_set, seconds=2) for _ in range(3)]
    answers, errors = zip(*(reader.communicate(timeout=120) for reader in readers), strict=True)
    assert [reader.returncode for reader in readers] == [0, 0, 0], errors
    (decoder,) = decoders(data_set)
    in_memory = load_rows(data_set, "train", None)
    inode = (cache_of(data_set) / "input_ids.bin").stat().st_ino
    assert [json.loads(answer) for answer in answers] == 3 * [
        [inode, int(in_memory.input_ids.sum())]
    ]
    # The tests' processes have no log but what warnings print by themselves.
    waited = [error for error in errors if f"waiting for process {decoder} on" in error]
    assert len(waited) == 2, errors


def test_after_a_killed_decoder_the_next_one_goes_on(data_set: Path) -> None:
    killed = start_reader(data_set, seconds=600)
    wait_until(lambda: decoders(data_set))
    next_one = start_reader(data_set, seconds=0)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    answer, error = next_one.communicate(timeout=120)
    assert next_one.returncode == 0, error
    assert decoders(data_set) == [killed.pid, next_one.pid]
    assert json.loads(answer)[1] == int(load_rows(data_set, "train", None).input_ids.sum())
    assert not list((data_set / ".cache").glob(".*.tmp"))


def truncate(cache: Path) -> None:
    path = cache / "input_ids.bin"
    os.truncate(path, path.stat().st_size // 2)


def zero(cache: Path) -> None:
    path = cache / "word_starts.bin"
    path.write_bytes(bytes(path.stat().st_size))


def lose_a_file(cache: Path) -> None:
    (cache / "row_offsets.bin").unlink()


def lose_the_sums(cache: Path) -> None:
    (cache / "sha256.json").unlink()


@pytest.mark.parametrize("damage", [truncate, zero, lose_a_file, lose_the_sums])
def test_a_damaged_cache_is_made_again(data_set: Path, damage: Callable[[Path], None]) -> None:
    whole = load_rows(data_set, "train", None)
    load_rows(data_set, "train", None, memory_bytes=0)
    damage(cache_of(data_set))
    mended = load_rows(data_set, "train", None, memory_bytes=0)
    for name in ("input_ids", "row_offsets", "word_starts"):
        np.testing.assert_array_equal(getattr(mended, name), getattr(whole, name))


def test_without_locks_it_says_so_and_takes_what_another_process_made(
    data_set: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill = loading._fill

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    def fill_while_another_finishes(*args: object) -> None:
        fill(*args)
        monkeypatch.setattr(loading, "_fill", fill)
        finished = data_set.with_name("elsewhere")
        shutil.copytree(data_set, finished, ignore=shutil.ignore_patterns(".cache"))
        load_rows(finished, "train", None, memory_bytes=0)
        shutil.copytree(cache_of(finished), data_set / ".cache" / cache_of(finished).name)

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(loading, "_fill", fill_while_another_finishes)
    monkeypatch.setattr(logging.getLogger("cloze"), "propagate", True)
    rows = load_rows(data_set, "train", None, memory_bytes=0)
    np.testing.assert_array_equal(rows.input_ids, load_rows(data_set, "train", None).input_ids)
    assert "the file system knows no locks (No locks available)" in caplog.text


@pytest.mark.parametrize(
    ("limit_of_sizes", "processes", "is_mapped"), [(9, 1, False), (3, 1, True), (9, 4, True)]
)
def test_memory_is_the_containers_and_shared_by_the_processes_of_the_machine(
    data_set: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit_of_sizes: int,
    processes: int,
    is_mapped: bool,
) -> None:
    size = loading._num_bytes(load_rows(data_set, "train", None))
    monkeypatch.setattr(loading, "memory_limit", lambda: limit_of_sizes * size)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    rows = load_rows(data_set, "train", None)
    assert isinstance(rows.input_ids, np.memmap) == is_mapped
