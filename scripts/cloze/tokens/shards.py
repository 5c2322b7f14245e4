"""Rows of token ids in memory, and the two shard formats that hold them on disk.

A sample is `[CLS] … [SEP]` from one document; a row is several whole samples one
after the other. A shard is a sequence of blocks of rows, so that neither writing nor
reading one takes more memory than a block. A block holds flat arrays:

- `msgpack` (`.msgpack.gz`): one map after the other in one gzip stream; each array is a
  map of `dtype` and `data`, raw little-endian bytes, `bits` for eight truth values a byte.
- `parquet`: a row group a block, a line a row; `input_ids`, `word_starts` and
  `sentence_starts` have one item a token, the others one item a sample.
"""

import contextlib
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgpack
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cloze.corpus.arrays import booleans, numbers
from cloze.files import atomic_path

EXTENSIONS = {"msgpack": "msgpack.gz", "parquet": "parquet"}
_PER_SAMPLE = ("sample_lengths", "documents", "second_lengths", "is_next")
_MSGPACK_DTYPES = {"<u2", "<u4"}


@dataclass(frozen=True)
class Rows:
    """Rows, one after the other, with the bounds of what they hold.

    `max_length`: tokens of a sample at most; `row_length`: tokens of a row at most.
    `input_ids`: uint16 or uint32 [num_tokens].
    `row_offsets`: int64 [num_rows + 1], token offsets; every row start is a sample start.
    `sample_offsets`: int64 [num_samples + 1], token offsets.
    `word_starts`: bool [num_tokens], True where a token starts a word; special tokens: True.
    `sentence_starts`: bool [num_tokens], True where a token starts a sentence, and at `[CLS]`.
    `documents`: uint32 [num_samples], the document_id that a sample (its first text) comes from.
    `second_lengths`: uint32 [num_samples], tokens of a pair's second text with its `[SEP]`, or 0.
    `is_next`: bool [num_samples], True where the second text follows the first in its document.
    """

    max_length: int
    row_length: int
    vocab_size: int
    input_ids: np.ndarray
    row_offsets: np.ndarray
    sample_offsets: np.ndarray
    word_starts: np.ndarray
    sentence_starts: np.ndarray
    documents: np.ndarray
    second_lengths: np.ndarray
    is_next: np.ndarray

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return len(self.row_offsets) - 1

    @property
    def num_samples(self) -> int:
        """How many samples there are."""
        return len(self.sample_offsets) - 1

    @property
    def num_tokens(self) -> int:
        """How many tokens there are, special tokens included."""
        return len(self.input_ids)


def id_dtype(vocab_size: int) -> np.dtype:
    """Return the smaller of uint16 and uint32 that holds every id below `vocab_size`."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)


@dataclass(frozen=True)
class Block:
    """What a shard holds of some rows; see `Rows` for the arrays it shares with it.

    `sample_lengths` unsigned [num_samples], tokens; `samples_per_row` unsigned [num_rows].
    """

    input_ids: np.ndarray
    word_starts: np.ndarray
    sentence_starts: np.ndarray
    sample_lengths: np.ndarray
    documents: np.ndarray
    second_lengths: np.ndarray
    is_next: np.ndarray
    samples_per_row: np.ndarray


def _block_of(rows: Rows) -> Block:
    row_first_samples = np.searchsorted(rows.sample_offsets, rows.row_offsets)
    length_dtype = id_dtype(rows.row_length + 1)
    return Block(
        input_ids=rows.input_ids.astype(id_dtype(rows.vocab_size), copy=False),
        word_starts=rows.word_starts,
        sentence_starts=rows.sentence_starts,
        sample_lengths=np.diff(rows.sample_offsets).astype(length_dtype),
        documents=rows.documents.astype(np.uint32, copy=False),
        second_lengths=rows.second_lengths.astype(length_dtype),
        is_next=rows.is_next,
        samples_per_row=np.diff(row_first_samples).astype(length_dtype),
    )


class ShardWriter(Protocol):
    """Takes the rows of one shard, block by block."""

    def add(self, rows: Rows) -> None:
        """Append a block."""


@contextlib.contextmanager
def open_shard(
    path: Path, shard_format: str, vocab_size: int, row_length: int
) -> Iterator[ShardWriter]:
    """Write one shard; it appears under its name when the block ends well.

    The bytes are a function of the rows added, of how they come in blocks, and of the
    format alone. Raises `ClozeError` if the file system refuses the write.
    """
    with atomic_path(path) as temporary:
        if shard_format == "parquet":
            schema = _schema(vocab_size, row_length)
            with pq.ParquetWriter(
                temporary, schema, compression="zstd", use_dictionary=False, write_statistics=False
            ) as writer:
                yield _ParquetShard(writer)
        else:
            # Neither a name nor a time in the header: the same rows give the same bytes.
            with (
                open(temporary, "wb") as file,
                gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as stream,
            ):
                yield _MsgpackShard(stream)


class _MsgpackShard:
    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream

    def add(self, rows: Rows) -> None:
        packed: dict[str, Any] = {}
        for name, array in vars(_block_of(rows)).items():
            if array.dtype == np.bool_:
                data = np.packbits(array, bitorder="little").tobytes()
                packed[name] = {"dtype": "bits", "data": data}
            else:
                little = array.astype(array.dtype.newbyteorder("<"), copy=False)
                packed[name] = {"dtype": little.dtype.str, "data": little.tobytes()}
        self._stream.write(msgpack.packb(packed))


class _ParquetShard:
    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer

    def add(self, rows: Rows) -> None:
        block = _block_of(rows)
        per_sample = np.concatenate([[0], np.cumsum(block.samples_per_row, dtype=np.int64)])
        columns = [
            pa.LargeListArray.from_arrays(
                numbers(per_sample if name in _PER_SAMPLE else rows.row_offsets, pa.int64()),
                _values(getattr(block, name)),
            )
            for name in self._writer.schema.names
        ]
        table = pa.table(columns, schema=self._writer.schema)
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))


def _values(array: np.ndarray) -> pa.Array:
    if array.dtype == np.bool_:
        return booleans(array)
    return numbers(array, pa.from_numpy_dtype(array.dtype))


def _schema(vocab_size: int, row_length: int) -> pa.Schema:
    types = {
        "input_ids": pa.from_numpy_dtype(id_dtype(vocab_size)),
        "word_starts": pa.bool_(),
        "sentence_starts": pa.bool_(),
        "sample_lengths": pa.from_numpy_dtype(id_dtype(row_length + 1)),
        "documents": pa.uint32(),
        "second_lengths": pa.from_numpy_dtype(id_dtype(row_length + 1)),
        "is_next": pa.bool_(),
    }
    return pa.schema([(name, pa.large_list(kind)) for name, kind in types.items()])


def read_shard(path: Path, shard_format: str) -> Iterator[Block]:
    """Yield the blocks of a shard whose bytes are known to be whole."""
    return _read_parquet(path) if shard_format == "parquet" else _read_msgpack(path)


def _read_msgpack(path: Path) -> Iterator[Block]:
    with gzip.open(path) as stream:
        for packed in msgpack.Unpacker(stream, max_buffer_size=0):
            counts = {name: _num_items(packed[name]) for name in ("input_ids", "documents")}
            yield Block(
                **{
                    name: _from_packed(
                        array, counts["documents" if name in _PER_SAMPLE else "input_ids"]
                    )
                    for name, array in packed.items()
                }
            )


def _num_items(array: dict[str, Any]) -> int:
    return len(array["data"]) // np.dtype(array["dtype"]).itemsize


def _from_packed(array: dict[str, Any], count: int) -> np.ndarray:
    if array["dtype"] == "bits":
        packed = np.frombuffer(array["data"], dtype=np.uint8)
        return np.unpackbits(packed, count=count, bitorder="little").view(np.bool_)
    if array["dtype"] not in _MSGPACK_DTYPES:
        raise ValueError(f"dtype {array['dtype']!r}")
    return np.frombuffer(array["data"], dtype=array["dtype"])


def _read_parquet(path: Path) -> Iterator[Block]:
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, use_threads=False).combine_chunks()
            chunks = {name: table.column(name).chunk(0) for name in table.column_names}
            values = {
                name: chunk.flatten().to_numpy(zero_copy_only=False)
                for name, chunk in chunks.items()
            }
            samples_per_row = np.diff(chunks["documents"].offsets.to_numpy())
            yield Block(**values, samples_per_row=samples_per_row)
