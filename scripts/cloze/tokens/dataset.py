"""Build a data set folder: documents in, shards and a manifest out, on several cores."""

import argparse
import concurrent.futures
import concurrent.futures.process
import itertools
import multiprocessing
import os
import re
import shutil
import time
from collections.abc import Callable
from ctypes import c_uint64
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, Self

import numpy as np
from tqdm import tqdm

from cloze.cli import capped_threads, log, progress
from cloze.corpus.arrays import use_system_memory
from cloze.corpus.document_reader import count_documents, read_batches, text_bytes
from cloze.errors import ClozeError
from cloze.files import SPLITS, sha256_file
from cloze.metrics import Stopwatch, write_metrics
from cloze.settings.datasets import DataSetSettings
from cloze.settings.fields import add_flags
from cloze.settings.machine import ThreadSettings
from cloze.tokens.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    Header,
    Manifest,
    ShardEntry,
    check_shard,
    read_shard_entry,
    split_entry,
    write_manifest,
    write_shard_entry,
)
from cloze.tokens.samples import Method, RowBuilder, RowLayout
from cloze.tokens.shards import EXTENSIONS, open_shard
from cloze.tokens.text_encoder import TextEncoder
from cloze.tokens.tokenizer import load_tokenizer, special_ids, vocab_size

DATASET_SPLITS = SPLITS[:2]
MIN_MAX_LENGTH = 8
_POLL_SECONDS = 0.2
# Compressed token ids take more than half and less than all of their bytes.
_LEAST_COMPRESSED = 0.5


@dataclass(frozen=True)
class ShardName:
    """Names one shard of a data set: `train-00003-of-00008`."""

    split: str
    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.split}-{self.index:05d}-of-{self.count:05d}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name that `str` wrote; raises `ValueError` for any other text."""
        match = re.fullmatch(rf"({'|'.join(DATASET_SPLITS)})-(\d{{5}})-of-(\d{{5}})", text)
        if match is None or int(match[2]) >= int(match[3]):
            raise ValueError(f"{text!r} is no shard's name; they look like train-00003-of-00008")
        return cls(match[1], int(match[2]), int(match[3]))


def shard_names(num_shards: int) -> list[ShardName]:
    """Return all shards of a data set whose training split has `num_shards`."""
    train = [ShardName("train", index, num_shards) for index in range(num_shards)]
    return [*train, ShardName("validation", 0, 1)]


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
    started = time.perf_counter()
    with open_shard(path, recipe.format, size, recipe.row_length) as shard:
        for batch in read_batches(task.documents, task.start, task.stop):
            lines = recipe.method.lines(batch)
            rows = builder.build(batch.ids, encoder.encode(lines.text, lines.offsets))
            shard.add(rows)
            if len(batch.text) and not totals["text_bytes"]:
                seconds = time.perf_counter() - started
                _announce(task, path, seconds, len(batch.text), rows.input_ids.nbytes)
            totals["rows"] += rows.num_rows
            totals["samples"] += rows.num_samples
            totals["tokens"] += rows.num_tokens
            totals["text_bytes"] += len(batch.text)
            totals["unknown_tokens"] += int(np.count_nonzero(rows.input_ids == special.unk))
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


def _announce(
    task: _ShardTask, path: Path, seconds: float, batch_bytes: int, id_bytes: int
) -> None:
    """Log how long a shard will take and how large it will be, from its first documents.

    Raises `ClozeError` if the shard cannot fit on its disk.
    """
    share = (task.stop - task.start) / max(1, count_documents(task.documents))
    factor = max(1.0, share * text_bytes(task.documents) / batch_bytes)
    size, free = factor * id_bytes, shutil.disk_usage(path.parent).free
    log.info("%s: up to %.1f MB on disk, about %.0f s", path.name, size / 1e6, factor * seconds)
    if size * _LEAST_COMPRESSED > free:
        raise ClozeError(
            f"{path.parent}: the shard {path.name} needs some {size / 1e9:.1f} GB, the disk has "
            f"{free / 1e9:.1f} GB left; free some space"
        )


def collect_shards(folder: Path, num_shards: int) -> dict[str, Any]:
    """Write `folder/manifest.json` from the shards' entries; return the data set's metrics.

    Removes shards that earlier settings left in the folder. Raises `ClozeError` if an
    entry is missing, entries disagree, a shard is not what its entry says or a split gives
    no sample.
    """
    headers, shards = {}, {split: list[ShardEntry]() for split in DATASET_SPLITS}
    for name in shard_names(num_shards):
        path = folder / f"{name}.json"
        headers[path], entry = read_shard_entry(path)
        shards[name.split].append(entry)
    (first, header), *others = headers.items()
    for path, other in others:
        if other != header:
            raise ClozeError(
                f"{path}: made with other settings or another tokenizer than {first.name}; "
                "delete it and its shard and run again"
            )
    for entry in itertools.chain(*shards.values()):
        check_shard(folder / entry.file, entry)
    splits = {split: split_entry(entries) for split, entries in shards.items()}
    for split, totals in splits.items():
        if not totals.samples:
            raise ClozeError(
                f"{folder}: the {totals.documents} documents of {split} hold no text, so there is "
                "no sample; check how the documents were extracted"
            )
    manifest = Manifest(**vars(header), splits=splits)
    _remove_stale_shards(folder, manifest)
    write_manifest(folder, manifest)
    return _metrics(manifest)


def _remove_stale_shards(folder: Path, manifest: Manifest) -> None:
    """Remove what earlier settings left beside the shards of the manifest."""
    shards = {shard.file for split in manifest.splits.values() for shard in split.shards}
    named = shards | {f"{name.split('.')[0]}.json" for name in shards}
    for split in DATASET_SPLITS:
        for extension in (*EXTENSIONS.values(), "json"):
            for path in folder.glob(f"{split}-?????-of-?????.{extension}"):
                if path.name not in named:
                    path.unlink()


def _metrics(manifest: Manifest) -> dict[str, Any]:
    """Per split: totals, bytes of text a token, filled share of rows, unknown share of tokens."""
    metrics: dict[str, Any] = {}
    for name, split in manifest.splits.items():
        unknown = sum(shard.unknown_tokens for shard in split.shards)
        text_tokens = split.tokens - 2 * split.samples
        metrics[name] = {
            "documents": split.documents,
            "text_bytes": split.text_bytes,
            "rows": split.rows,
            "samples": split.samples,
            "tokens": split.tokens,
            "bytes_per_token": split.text_bytes / text_tokens,
            "row_fill": split.tokens / (split.rows * manifest.row_length),
            "unknown_token_share": unknown / text_tokens,
        }
    return metrics


def add_dataset_flags(parser: argparse.ArgumentParser, settings: type[DataSetSettings]) -> None:
    """Add the flags of both methods and the settings of one."""
    parser.add_argument(
        "--documents",
        type=Path,
        required=True,
        help="folder with train.parquet and validation.parquet",
    )
    parser.add_argument("--tokenizer", type=Path, required=True, help="a tokenizer.json")
    parser.add_argument("--output", type=Path, required=True, help="folder for the data set")
    add_flags(parser, settings)
    parser.add_argument(
        "--shard",
        type=shard_name,
        metavar="NAME",
        help="make this shard alone, such as train-00003-of-00008; collect_shards.py then makes "
        "the manifest of all",
    )
    add_flags(parser, ThreadSettings)


def shard_name(text: str) -> ShardName:
    """argparse type: the name of a shard."""
    try:
        return ShardName.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run_method(
    args: argparse.Namespace, method: Method, script: Path, next_sentence: bool = False
) -> None:
    """Build what the flags describe: one shard, or the data set and its `metrics.json`."""
    stopwatch = Stopwatch()
    recipe = DataSetRecipe(
        tokenizer=args.tokenizer,
        method=method,
        max_length=args.max_length,
        row_length=args.row_length or args.max_length,
        num_shards=args.num_shards,
        format=args.format,
        next_sentence=next_sentence,
    )
    if args.shard is not None:
        build_one_shard(args.documents, args.output, recipe, args.shard)
        return
    metrics = build_data_set(args.documents, args.output, recipe, capped_threads(args))
    write_metrics(
        args.output / "metrics.json",
        metrics=metrics,
        args=args,
        inputs=[args.tokenizer, *(args.documents / f"{split}.parquet" for split in DATASET_SPLITS)],
        script=script,
        seconds=stopwatch.read(),
    )
