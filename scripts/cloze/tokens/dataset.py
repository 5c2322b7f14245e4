"""Build a data set folder: documents in, shards and a manifest out, on several cores."""

import concurrent.futures
import concurrent.futures.process
import multiprocessing
import os
from collections.abc import Callable
from ctypes import c_uint64
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cloze.cli import progress
from cloze.corpus.arrays import use_system_memory
from cloze.corpus.document_reader import count_documents, read_batches
from cloze.errors import ClozeError
from cloze.files import sha256_file
from cloze.tokens.collect import ShardName, collect_shards, shard_names
from cloze.tokens.forecast import Forecast
from cloze.tokens.manifest import FORMAT_VERSION, MANIFEST, Header, ShardEntry, write_shard_entry
from cloze.tokens.samples import Method, RowBuilder, RowLayout
from cloze.tokens.shards import EXTENSIONS, open_shard
from cloze.tokens.text_encoder import TextEncoder
from cloze.tokens.tokenizer import load_tokenizer, special_ids, vocab_size

MIN_MAX_LENGTH = 8
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class DataSetRecipe:
    """Everything that decides a data set's bytes, besides its documents."""

    tokenizer: Path
    method: Method
    max_length: int
    row_length: int
    num_shards: int
    format: str
    next_sentence: bool = False

    def check(self) -> None:
        """Raise `ClozeError` if the lengths leave no room for text."""
        if self.max_length < MIN_MAX_LENGTH:
            raise ClozeError(
                f"max_length of {self.max_length} leaves too little room for text: [CLS] and "
                f"[SEP] take two tokens of each sample; use at least {MIN_MAX_LENGTH}"
            )
        if self.row_length < self.max_length:
            raise ClozeError(
                f"row_length of {self.row_length} cannot hold a sample of max_length "
                f"{self.max_length}; make it as long or longer"
            )


@dataclass(frozen=True)
class _ShardTask:
    """One shard of a data set: the rows `start` to `stop` of one split's documents."""

    recipe: DataSetRecipe
    name: ShardName
    documents: Path
    start: int
    stop: int
    output: Path


def build_data_set(
    documents: Path, output: Path, recipe: DataSetRecipe, threads: int
) -> dict[str, Any]:
    """Write all shards and `manifest.json` into `output`; return metrics.

    Reads `documents/{train,validation}.parquet`. `train` has `recipe.num_shards`
    shards, `validation` one; each takes a contiguous range of documents and is a
    function of that range alone, so `threads` (processes) never changes a byte.

    Raises `ClozeError` if a length is too small, an input is missing or damaged, the
    tokenizer lacks a special token or a split gives no sample.
    """
    tasks = [_plan(documents, output, recipe, name) for name in shard_names(recipe.num_shards)]
    # An old manifest must not vouch for a mixture of old and new shards.
    (output / MANIFEST).unlink(missing_ok=True)
    _run_all(tasks, threads)
    return collect_shards(output, recipe.num_shards)


def build_one_shard(documents: Path, output: Path, recipe: DataSetRecipe, name: ShardName) -> None:
    """Write one shard and its entry; `collect_shards` makes the manifest when all are there.

    Raises `ClozeError` as `build_data_set` does.
    """
    _run_all([_plan(documents, output, recipe, name)], threads=1)


def _plan(documents: Path, output: Path, recipe: DataSetRecipe, name: ShardName) -> _ShardTask:
    recipe.check()
    path = documents / f"{name.split}.parquet"
    num_documents = count_documents(path)
    start, stop = (number * num_documents // name.count for number in (name.index, name.index + 1))
    return _ShardTask(recipe, name, path, start, stop, output)


def _run_all(tasks: list[_ShardTask], threads: int) -> None:
    """Run the tasks in this process or, with several threads, in that many processes."""
    # The processes here are the parallelism; threads below them would only compete.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    total = sum(task.stop - task.start for task in tasks)
    with progress(total=total, unit="document", description="tokenise") as bar:
        if threads == 1:
            for task in tasks:
                _build_shard(task, bar.update)
        else:
            _run_in_processes(tasks, threads, bar)


def _run_in_processes(tasks: list[_ShardTask], threads: int, bar: tqdm) -> None:
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
        _raise_first_failure(futures)


def _raise_first_failure(futures: list["concurrent.futures.Future[None]"]) -> None:
    for future in futures:
        if future.done():
            future.result()


_counter: "Synchronized[int] | None" = None


def _share_counter(counter: "Synchronized[int]") -> None:
    global _counter
    _counter = counter


def _build_shard_in_process(task: _ShardTask) -> None:
    counter = _counter
    if counter is None:
        raise RuntimeError("this process was started without a counter")

    def count(documents: int) -> None:
        with counter.get_lock():
            counter.value += documents

    _build_shard(task, count)


def _build_shard(task: _ShardTask, count: Callable[[int], Any]) -> None:
    """Tokenise, cut, pack and write one shard and its entry; tells `count` of documents done."""
    recipe = task.recipe
    use_system_memory()
    tokenizer = load_tokenizer(recipe.tokenizer)
    special, size = special_ids(tokenizer), vocab_size(tokenizer)
    layout = RowLayout(recipe.max_length, recipe.row_length, size, special)
    builder = RowBuilder(recipe.method, layout, recipe.next_sentence, task.name.index)
    encoder = TextEncoder(tokenizer)
    path = task.output / f"{task.name}.{EXTENSIONS[recipe.format]}"
    totals = dict.fromkeys(("rows", "samples", "tokens", "text_bytes", "unknown_tokens"), 0)
    forecast = Forecast(task.documents, task.start, task.stop, path)
    with open_shard(path, recipe.format, size, recipe.row_length) as shard:
        for batch in read_batches(task.documents, task.start, task.stop):
            lines = recipe.method.lines(batch)
            rows = builder.build(batch.ids, encoder.encode(lines.text, lines.offsets))
            shard.add(rows)
            totals["rows"] += rows.num_rows
            totals["samples"] += rows.num_samples
            totals["tokens"] += rows.num_tokens
            totals["text_bytes"] += len(batch.text)
            totals["unknown_tokens"] += int(np.count_nonzero(rows.input_ids == special.unk))
            forecast.after(len(batch.text), rows.input_ids.nbytes)
            count(len(batch.ids))
    header = Header(
        format_version=FORMAT_VERSION,
        format=recipe.format,
        method=recipe.method.name,
        max_length=recipe.max_length,
        row_length=recipe.row_length,
        vocab_size=size,
        tokenizer_sha256=sha256_file(recipe.tokenizer),
        special_ids=special.roles(),
    )
    entry = ShardEntry(
        file=path.name,
        bytes=path.stat().st_size,
        sha256=sha256_file(path),
        documents=task.stop - task.start,
        **totals,
    )
    write_shard_entry(task.output / f"{task.name}.json", header, entry)
