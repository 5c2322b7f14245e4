"""Build a data set folder: documents in, shards and a manifest out, on several cores."""

import concurrent.futures
import concurrent.futures.process
import multiprocessing
import os
from collections.abc import Callable, Iterator
from ctypes import c_uint64
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cloze.cli import progress
from cloze.corpus.document_reader import count_documents, read_documents
from cloze.data.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    Manifest,
    ShardEntry,
    SplitEntry,
    write_manifest,
)
from cloze.data.samples import Method, SampleCollector, encode_document
from cloze.data.shards import EXTENSIONS, shard_name, write_shard
from cloze.data.tokenizer import load_tokenizer, special_ids, vocab_size
from cloze.errors import ClozeError
from cloze.files import sha256_file

SPLITS = ("train", "validation")
MIN_MAX_LENGTH = 8
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class DataSetRecipe:
    """Everything that decides a data set's bytes, besides its documents."""

    tokenizer: Path
    method: Method
    max_length: int
    num_shards: int
    format: str


@dataclass(frozen=True)
class _ShardTask:
    """One shard: the rows `start` to `stop` of one split's documents."""

    recipe: DataSetRecipe
    split: str
    documents: Path
    start: int
    stop: int
    output: Path


@dataclass(frozen=True)
class _ShardResult:
    """A written shard, and counts over what went into it."""

    entry: ShardEntry
    documents: int
    text_bytes: int
    unknown_tokens: int


def build_data_set(
    documents: Path, output: Path, recipe: DataSetRecipe, threads: int
) -> dict[str, Any]:
    """Write the shards of both splits and `manifest.json` into `output`; return metrics.

    Reads `documents/{train,validation}.parquet`. `train` has `recipe.num_shards`
    shards, `validation` one; each takes a contiguous range of documents and is a
    function of that range alone, so `threads` (processes) never changes a byte.

    Raises `ClozeError` if `max_length` is too small, an input is missing or damaged,
    the tokenizer lacks a special token or a split gives no sample.
    """
    if recipe.max_length < MIN_MAX_LENGTH:
        raise ClozeError(
            f"max_length of {recipe.max_length} leaves too little room for text: [CLS] and [SEP] "
            f"take two tokens of each sample; use at least {MIN_MAX_LENGTH}"
        )
    # The processes here are the parallelism; threads below them would only compete.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer = load_tokenizer(recipe.tokenizer)
    special, size = special_ids(tokenizer), vocab_size(tokenizer)
    tasks = [task for split in SPLITS for task in _plan(documents, output, recipe, split)]
    # An old manifest must not vouch for a mixture of old and new shards.
    (output / MANIFEST).unlink(missing_ok=True)
    results = dict(zip(tasks, _run_all(tasks, threads), strict=True))
    splits = {}
    for split in SPLITS:
        of_split = [result for task, result in results.items() if task.split == split]
        splits[split] = _split_entry(of_split)
        if not splits[split].samples:
            raise ClozeError(
                f"{documents / split}.parquet: its {splits[split].documents} documents hold no "
                "text, so there is no sample; check how the documents were extracted"
            )
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        format=recipe.format,
        method=recipe.method.name,
        max_length=recipe.max_length,
        vocab_size=size,
        tokenizer_sha256=sha256_file(recipe.tokenizer),
        special_ids=special.roles(),
        splits=splits,
    )
    _remove_stale_shards(output, manifest)
    write_manifest(output, manifest)
    return _metrics(manifest, results)


def _plan(documents: Path, output: Path, recipe: DataSetRecipe, split: str) -> Iterator[_ShardTask]:
    path = documents / f"{split}.parquet"
    num_documents = count_documents(path)
    num_shards = recipe.num_shards if split == "train" else 1
    for index in range(num_shards):
        yield _ShardTask(
            recipe=recipe,
            split=split,
            documents=path,
            start=index * num_documents // num_shards,
            stop=(index + 1) * num_documents // num_shards,
            output=output / shard_name(split, index, num_shards, recipe.format),
        )


def _run_all(tasks: list[_ShardTask], threads: int) -> list[_ShardResult]:
    """Run the tasks in this process or, with several threads, in that many processes."""
    total = sum(task.stop - task.start for task in tasks)
    with progress(total=total, unit="document", description="tokenise") as bar:
        if threads == 1:
            return [_build_shard(task, bar.update) for task in tasks]
        return _run_in_processes(tasks, threads, bar)


def _run_in_processes(tasks: list[_ShardTask], threads: int, bar: tqdm) -> list[_ShardResult]:
    # Not fork: the tokenizer's and Arrow's threads do not survive it.
    context = multiprocessing.get_context("spawn")
    counter = context.Value(c_uint64, 0)
    pool = concurrent.futures.ProcessPoolExecutor(
        min(threads, len(tasks)), context, initializer=_share_counter, initargs=(counter,)
    )
    with pool:
        futures = [pool.submit(_build_shard_in_process, task) for task in tasks]
        try:
            pending = set(futures)
            while pending:
                _, pending = concurrent.futures.wait(pending, timeout=_POLL_SECONDS)
                bar.update(counter.value - bar.n)
                _raise_first_failure(futures)
        except concurrent.futures.process.BrokenProcessPool as error:
            raise ClozeError(
                "a process that was writing shards was killed, as happens when memory runs out; "
                "use fewer threads, or more and so smaller shards (num_shards)"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return [future.result() for future in futures]


def _raise_first_failure(futures: list["concurrent.futures.Future[_ShardResult]"]) -> None:
    for future in futures:
        if future.done():
            future.result()


_counter: "Synchronized[int] | None" = None


def _share_counter(counter: "Synchronized[int]") -> None:
    global _counter
    _counter = counter


def _build_shard_in_process(task: _ShardTask) -> _ShardResult:
    counter = _counter
    if counter is None:
        raise RuntimeError("this process was started without a counter")

    def count(documents: int) -> None:
        with counter.get_lock():
            counter.value += documents

    return _build_shard(task, count)


def _build_shard(task: _ShardTask, count: Callable[[int], Any]) -> _ShardResult:
    """Tokenise, cut, pack and write one shard; calls `count(1)` after each document."""
    recipe = task.recipe
    tokenizer = load_tokenizer(recipe.tokenizer)
    special = special_ids(tokenizer)
    collector = SampleCollector(recipe.max_length, vocab_size(tokenizer), special)
    text_bytes = 0
    for document_id, text in read_documents(task.documents, task.start, task.stop):
        document = encode_document(tokenizer, recipe.method.segments(text))
        collector.add(document_id, document, recipe.method)
        text_bytes += len(text.encode())
        count(1)
    rows = collector.rows()
    return _ShardResult(
        entry=write_shard(task.output, rows, recipe.format),
        documents=task.stop - task.start,
        text_bytes=text_bytes,
        unknown_tokens=int(np.count_nonzero(rows.input_ids == special.unk)),
    )


def _split_entry(results: list[_ShardResult]) -> SplitEntry:
    entries = [result.entry for result in results]
    return SplitEntry(
        shards=entries,
        rows=sum(entry.rows for entry in entries),
        samples=sum(entry.samples for entry in entries),
        tokens=sum(entry.tokens for entry in entries),
        documents=sum(result.documents for result in results),
        text_bytes=sum(result.text_bytes for result in results),
    )


def _remove_stale_shards(folder: Path, manifest: Manifest) -> None:
    """Remove shards that an earlier run with other settings left beside the new ones."""
    named = {shard.file for split in manifest.splits.values() for shard in split.shards}
    for split in SPLITS:
        for extension in EXTENSIONS.values():
            for path in folder.glob(f"{split}-?????-of-?????.{extension}"):
                if path.name not in named:
                    path.unlink()


def _metrics(manifest: Manifest, results: dict[_ShardTask, _ShardResult]) -> dict[str, Any]:
    """Per split: totals, bytes of text a token, filled share of rows, unknown share of tokens."""
    metrics: dict[str, Any] = {}
    for name, split in manifest.splits.items():
        unknown = sum(r.unknown_tokens for task, r in results.items() if task.split == name)
        text_tokens = split.tokens - 2 * split.samples
        metrics[name] = {
            "documents": split.documents,
            "text_bytes": split.text_bytes,
            "rows": split.rows,
            "samples": split.samples,
            "tokens": split.tokens,
            "bytes_per_token": split.text_bytes / text_tokens,
            "row_fill": split.tokens / (split.rows * manifest.max_length),
            "unknown_token_share": unknown / text_tokens,
        }
    return metrics
