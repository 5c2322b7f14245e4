"""Data sets for training: every shard is checked against the manifest, then decoded once.

What fits is held in memory; what does not becomes flat files that are mapped into memory,
beside the data set, so that any batch is still found at once. Of several processes that want
such files at the same time one makes them and the others wait.
"""

import contextlib
import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from cloze.cli import log
from cloze.errors import ClozeError
from cloze.files import atomic_folder, read_json, sha256_file, write_json
from cloze.machine import memory_limit
from cloze.tokens.manifest import MANIFEST, Manifest, check_shard, check_tokenizer, read_manifest
from cloze.tokens.shards import Block, Rows, id_dtype, read_shard

# A trainer needs memory for more than its data.
_SHARE_OF_MEMORY = 0.25
CACHE = ".cache"
_SUMS = "sha256.json"
_SECONDS_OF_SILENCE = 5.0


def load_rows(
    folder: Path, split: str, tokenizer: Path | None, memory_bytes: float | None = None
) -> Rows:
    """Read all shards of one split, in order, into memory or into mapped files.

    More than `memory_bytes` is decoded into `folder/.cache`, about four bytes a token, once:
    whoever comes next, or waited meanwhile, maps what is there if its bytes are those that
    were written. The default is a quarter of the memory that the container may use, divided
    by the processes that torchrun started here. Which of the two it was makes no difference
    to the values.

    Verifies the manifest, each shard's size and sha256 and, unless `tokenizer` is
    None, that the data set was made with that tokenizer file. Raises `ClozeError` if
    one of these is missing or does not match.
    """
    manifest = _checked_manifest(folder, split, tokenizer)
    entry = manifest.splits[split]
    counts = (entry.rows, entry.samples, entry.tokens)
    if memory_bytes is None:
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        memory_bytes = _SHARE_OF_MEMORY * memory_limit() / processes
    size = _num_bytes(_empty_rows(manifest, *counts, allocate=_virtual))
    if size <= memory_bytes:
        rows = _empty_rows(manifest, *counts)
        _fill(rows, folder, manifest, split)
        return rows

    def decode(temporary: Path) -> None:
        log.info("decoding %s of %s into %s: %.2f GB", split, folder, cache, size / 1e9)
        rows = _empty_rows(manifest, *counts, allocate=_mapped(temporary, "w+"))
        _fill(rows, folder, manifest, split)

    cache = folder / CACHE / f"{split}-{sha256_file(folder / MANIFEST)[:12]}"
    _make_once(cache, decode)
    return _empty_rows(manifest, *counts, allocate=_mapped(cache, "r"))


def _make_once(cache: Path, decode: Callable[[Path], None]) -> None:
    """Let one process at a time fill the folder `cache`, unless it is there and whole."""
    if _is_whole(cache):
        return
    with _lock(cache.with_name(f"{cache.name}.lock")) as is_alone:
        if _is_whole(cache):
            return
        shutil.rmtree(cache, ignore_errors=True)
        if is_alone:
            for leftover in cache.parent.glob(f".{cache.name}.*.tmp"):
                shutil.rmtree(leftover)
        try:
            with atomic_folder(cache) as temporary:
                decode(temporary)
                write_json(temporary / _SUMS, _sums(temporary))
        except OSError:
            # Without locks another process may have been faster.
            if not _is_whole(cache):
                raise


def _is_whole(cache: Path) -> bool:
    try:
        return bool(read_json(cache / _SUMS) == _sums(cache))
    except (ClozeError, OSError):
        return False


def _sums(cache: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(cache.glob("*.bin"))}


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Hold the lock of a file, which names the holder; a killed process holds none.

    Yields False where the file system knows no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)

    def say_who_is_waited_for() -> None:
        log.warning(
            "waiting for process %s, which decodes %s; it is then read from there",
            path.read_text(encoding="utf-8") or "unknown",
            path.with_suffix(""),
        )

    with open(path, "a", encoding="utf-8") as file:
        patience = threading.Timer(_SECONDS_OF_SILENCE, say_who_is_waited_for)
        patience.daemon = True
        patience.start()
        is_alone = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            is_alone = False
            log.warning(
                "warning: %s: the file system knows no locks (%s), so each process that starts "
                "now decodes the data set by itself; copy it to a local disk to avoid that",
                path,
                error.strerror,
            )
        finally:
            patience.cancel()
        file.truncate(0)
        file.write(f"{os.getpid()} on {os.uname().nodename}")
        file.flush()
        yield is_alone


Allocate = Callable[[str, int, type | np.dtype], np.ndarray]


def _in_memory(name: str, length: int, dtype: type | np.dtype) -> np.ndarray:
    return np.zeros(length, dtype)


def _virtual(name: str, length: int, dtype: type | np.dtype) -> np.ndarray:
    """Return an array that knows its size and takes no memory."""
    return np.broadcast_to(np.zeros((), dtype), length)


def _mapped(cache: Path, mode: Literal["r", "w+"]) -> Allocate:
    def allocate(name: str, length: int, dtype: type | np.dtype) -> np.ndarray:
        # An empty file cannot be mapped.
        shape, path = max(1, length), cache / f"{name}.bin"
        array = np.memmap(path, dtype, mode, shape=(shape,))
        if mode == "w+" and hasattr(os, "posix_fallocate"):
            # Else a full disk would end the process by a signal, at some write to the array.
            with open(path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, array.nbytes)
        return array[:length]

    return allocate


def _num_bytes(rows: Rows) -> int:
    return sum(array.nbytes for array in vars(rows).values() if isinstance(array, np.ndarray))


def _fill(rows: Rows, folder: Path, manifest: Manifest, split: str) -> None:
    row = sample = token = 0
    for block in _blocks(folder, manifest, split):
        _place(rows, block, row, sample, token)
        row += len(block.samples_per_row)
        sample += len(block.sample_lengths)
        token += len(block.input_ids)


def iterate_rows(folder: Path, split: str, tokenizer: Path | None) -> Iterator[Rows]:
    """Yield the rows of one split in order, a block of a shard at a time.

    Memory is bounded by a block. Verifies and raises as `load_rows` does.
    """
    manifest = _checked_manifest(folder, split, tokenizer)
    for block in _blocks(folder, manifest, split):
        rows = _empty_rows(manifest, *_counts(block))
        _place(rows, block, 0, 0, 0)
        yield rows


def _checked_manifest(folder: Path, split: str, tokenizer: Path | None) -> Manifest:
    manifest = read_manifest(folder)
    if tokenizer is not None:
        check_tokenizer(manifest, folder, tokenizer)
    if split not in manifest.splits:
        raise ClozeError(
            f"{folder}: no split {split!r} in the manifest; there are {sorted(manifest.splits)}"
        )
    return manifest


def _blocks(folder: Path, manifest: Manifest, split: str) -> Iterator[Block]:
    for shard in manifest.splits[split].shards:
        path = folder / shard.file
        check_shard(path, shard)
        left = np.array([shard.rows, shard.samples, shard.tokens])
        for block in read_shard(path, manifest.format):
            left -= _counts(block)
            # More than there is room for, which is what the manifest says.
            if left.min() < 0:
                break
            yield block
        if left.any():
            raise ClozeError(
                f"{path}: has other rows, samples or tokens than {folder / MANIFEST} says; delete "
                f"{folder} and run again"
            )


def _counts(block: Block) -> tuple[int, int, int]:
    """Return the rows, samples and tokens of a block."""
    return len(block.samples_per_row), len(block.sample_lengths), len(block.input_ids)


def _empty_rows(
    manifest: Manifest,
    num_rows: int,
    num_samples: int,
    num_tokens: int,
    allocate: Allocate = _in_memory,
) -> Rows:
    return Rows(
        max_length=manifest.max_length,
        row_length=manifest.row_length,
        vocab_size=manifest.vocab_size,
        input_ids=allocate("input_ids", num_tokens, id_dtype(manifest.vocab_size)),
        row_offsets=allocate("row_offsets", num_rows + 1, np.int64),
        sample_offsets=allocate("sample_offsets", num_samples + 1, np.int64),
        word_starts=allocate("word_starts", num_tokens, np.bool_),
        sentence_starts=allocate("sentence_starts", num_tokens, np.bool_),
        documents=allocate("documents", num_samples, np.uint32),
        second_lengths=allocate("second_lengths", num_samples, np.uint32),
        is_next=allocate("is_next", num_samples, np.bool_),
    )


def _place(rows: Rows, block: Block, row: int, sample: int, token: int) -> None:
    """Copy one block into `rows`, from the given row, sample and token on."""
    tokens = slice(token, token + len(block.input_ids))
    rows.input_ids[tokens] = block.input_ids
    rows.word_starts[tokens] = block.word_starts
    rows.sentence_starts[tokens] = block.sentence_starts
    samples = slice(sample, sample + len(block.documents))
    rows.documents[samples] = block.documents
    rows.second_lengths[samples] = block.second_lengths
    rows.is_next[samples] = block.is_next
    ends = token + np.cumsum(block.sample_lengths, dtype=np.int64)
    rows.sample_offsets[sample + 1 : sample + 1 + len(ends)] = ends
    last_samples = sample + np.cumsum(block.samples_per_row, dtype=np.int64)
    rows.row_offsets[row + 1 : row + 1 + len(last_samples)] = rows.sample_offsets[last_samples]
