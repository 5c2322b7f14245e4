"""Rows of token ids in memory, and the two shard formats that hold them on disk.

A sample is `[CLS] … [SEP]` from one document; a row is several whole samples one
after the other. A shard holds rows as flat arrays:

- `msgpack` (`.msgpack.gz`): one map; each array is a map of `dtype` and `data`, raw
  little-endian bytes, `bits` for eight truth values a byte.
- `parquet`: a line a row; `input_ids`, `word_starts` and `sentence_starts` have one
  item a token, `sample_lengths` and `documents` one item a sample.
"""

import gzip
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cloze.data.manifest import ShardEntry, check_tokenizer, read_manifest
from cloze.errors import ClozeError
from cloze.files import atomic_path

EXTENSIONS = {"msgpack": "msgpack.gz", "parquet": "parquet"}
_ROW_GROUP_ROWS = 1 << 15
_MSGPACK_DTYPES = {"<u2", "<u4"}


@dataclass(frozen=True)
class Rows:
    """Rows, one after the other, with the bounds of what they hold.

    `input_ids`: uint16 or uint32 [num_tokens].
    `row_offsets`: int64 [num_rows + 1], token offsets; every row start is a sample start.
    `sample_offsets`: int64 [num_samples + 1], token offsets.
    `word_starts`: bool [num_tokens], True where a token starts a word; special tokens: True.
    `sentence_starts`: bool [num_tokens], True where a token starts a sentence, and at `[CLS]`.
    `documents`: uint32 [num_samples], the document_id that a sample comes from.
    """

    max_length: int
    vocab_size: int
    input_ids: np.ndarray
    row_offsets: np.ndarray
    sample_offsets: np.ndarray
    word_starts: np.ndarray
    sentence_starts: np.ndarray
    documents: np.ndarray

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


def shard_name(split: str, index: int, num_shards: int, shard_format: str) -> str:
    """Return a shard's file name, such as `train-00003-of-00008.parquet`."""
    return f"{split}-{index:05d}-of-{num_shards:05d}.{EXTENSIONS[shard_format]}"


def write_shard(path: Path, rows: Rows, shard_format: str) -> ShardEntry:
    """Write one shard, atomically, and return its line of the manifest.

    The bytes are a function of `rows` and `shard_format` alone.
    """
    content = _to_msgpack(rows) if shard_format == "msgpack" else _to_parquet(rows)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return ShardEntry(
        file=path.name,
        rows=rows.num_rows,
        samples=rows.num_samples,
        tokens=rows.num_tokens,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def load_rows(folder: Path, split: str, tokenizer: Path | None) -> Rows:
    """Read all shards of one split into memory, in order.

    Verifies the manifest, each shard's size and sha256 and, unless `tokenizer` is
    None, that the data set was made with that tokenizer file. Raises `ClozeError` if
    one of these is missing or does not match.
    """
    manifest = read_manifest(folder)
    if tokenizer is not None:
        check_tokenizer(manifest, folder, tokenizer)
    if split not in manifest.splits:
        raise ClozeError(
            f"{folder}: no split {split!r} in the manifest; there are {sorted(manifest.splits)}"
        )
    entry = manifest.splits[split]
    rows = _empty_rows(
        manifest.max_length, manifest.vocab_size, entry.rows, entry.samples, entry.tokens
    )
    row = sample = token = 0
    for shard in entry.shards:
        part = _read_shard(folder / shard.file, shard, manifest.format)
        _place(rows, part, row, sample, token)
        row, sample, token = row + shard.rows, sample + shard.samples, token + shard.tokens
    return rows


@dataclass(frozen=True)
class _Arrays:
    """What a shard file holds."""

    input_ids: np.ndarray
    word_starts: np.ndarray
    sentence_starts: np.ndarray
    sample_lengths: np.ndarray
    documents: np.ndarray
    samples_per_row: np.ndarray


def _arrays(rows: Rows) -> _Arrays:
    row_first_samples = np.searchsorted(rows.sample_offsets, rows.row_offsets)
    length_dtype = id_dtype(rows.max_length + 1)
    return _Arrays(
        input_ids=rows.input_ids.astype(id_dtype(rows.vocab_size), copy=False),
        word_starts=rows.word_starts,
        sentence_starts=rows.sentence_starts,
        sample_lengths=np.diff(rows.sample_offsets).astype(length_dtype),
        documents=rows.documents.astype(np.uint32, copy=False),
        samples_per_row=np.diff(row_first_samples).astype(length_dtype),
    )


def _to_msgpack(rows: Rows) -> bytes:
    packed: dict[str, Any] = {}
    for name, array in vars(_arrays(rows)).items():
        if array.dtype == np.bool_:
            data = np.packbits(array, bitorder="little").tobytes()
            packed[name] = {"dtype": "bits", "data": data}
        else:
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            packed[name] = {"dtype": little.dtype.str, "data": little.tobytes()}
    return gzip.compress(msgpack.packb(packed), compresslevel=1, mtime=0)


def _from_msgpack(content: bytes) -> _Arrays:
    packed = msgpack.unpackb(gzip.decompress(content))
    num_tokens = len(packed["input_ids"]["data"]) // np.dtype(packed["input_ids"]["dtype"]).itemsize
    return _Arrays(**{name: _from_packed(array, num_tokens) for name, array in packed.items()})


def _from_packed(array: dict[str, Any], num_tokens: int) -> np.ndarray:
    if array["dtype"] == "bits":
        packed = np.frombuffer(array["data"], dtype=np.uint8)
        return np.unpackbits(packed, count=num_tokens, bitorder="little").view(np.bool_)
    if array["dtype"] not in _MSGPACK_DTYPES:
        raise ValueError(f"dtype {array['dtype']!r}")
    return np.frombuffer(array["data"], dtype=array["dtype"])


def _to_parquet(rows: Rows) -> bytes:
    arrays = _arrays(rows)
    per_token = rows.row_offsets
    per_sample = np.concatenate([[0], np.cumsum(arrays.samples_per_row, dtype=np.int64)])
    table = pa.table(
        {
            "input_ids": _list_column(per_token, arrays.input_ids),
            "word_starts": _list_column(per_token, arrays.word_starts),
            "sentence_starts": _list_column(per_token, arrays.sentence_starts),
            "sample_lengths": _list_column(per_sample, arrays.sample_lengths),
            "documents": _list_column(per_sample, arrays.documents),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        row_group_size=_ROW_GROUP_ROWS,
        use_dictionary=False,
        write_statistics=False,
    )
    return buffer.getvalue()


def _list_column(offsets: np.ndarray, values: np.ndarray) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(values))


def _from_parquet(content: bytes) -> _Arrays:
    table = pq.read_table(pa.BufferReader(content), use_threads=False)
    columns = {name: table.column(name) for name in table.column_names}
    values = {name: _flat_values(column) for name, column in columns.items()}
    return _Arrays(**values, samples_per_row=_list_lengths(columns["documents"]))


def _flat_values(column: pa.ChunkedArray) -> np.ndarray:
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(chunks) if chunks else np.empty(0, np.uint16)


def _list_lengths(column: pa.ChunkedArray) -> np.ndarray:
    chunks = [np.diff(chunk.offsets.to_numpy()) for chunk in column.chunks]
    return np.concatenate(chunks) if chunks else np.empty(0, np.int64)


def _read_shard(path: Path, entry: ShardEntry, shard_format: str) -> _Arrays:
    if not path.is_file():
        raise ClozeError(f"{path}: missing shard; delete {path.parent} and run again")
    content = path.read_bytes()
    if len(content) < entry.bytes:
        raise ClozeError(
            f"{path}: truncated shard ({len(content)} of {entry.bytes} bytes); "
            "delete it and run again"
        )
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise ClozeError(
            f"{path}: damaged shard (its sha256 is not the manifest's {entry.sha256[:12]}…); "
            "delete it and run again"
        )
    return _from_msgpack(content) if shard_format == "msgpack" else _from_parquet(content)


def _empty_rows(
    max_length: int, vocab_size: int, num_rows: int, num_samples: int, num_tokens: int
) -> Rows:
    return Rows(
        max_length=max_length,
        vocab_size=vocab_size,
        input_ids=np.empty(num_tokens, id_dtype(vocab_size)),
        row_offsets=np.zeros(num_rows + 1, np.int64),
        sample_offsets=np.zeros(num_samples + 1, np.int64),
        word_starts=np.empty(num_tokens, np.bool_),
        sentence_starts=np.empty(num_tokens, np.bool_),
        documents=np.empty(num_samples, np.uint32),
    )


def _place(rows: Rows, part: _Arrays, row: int, sample: int, token: int) -> None:
    """Copy one shard into `rows`, from the given row, sample and token on."""
    tokens = slice(token, token + len(part.input_ids))
    rows.input_ids[tokens] = part.input_ids
    rows.word_starts[tokens] = part.word_starts
    rows.sentence_starts[tokens] = part.sentence_starts
    rows.documents[sample : sample + len(part.documents)] = part.documents
    ends = token + np.cumsum(part.sample_lengths, dtype=np.int64)
    rows.sample_offsets[sample + 1 : sample + 1 + len(ends)] = ends
    last_samples = sample + np.cumsum(part.samples_per_row, dtype=np.int64)
    rows.row_offsets[row + 1 : row + 1 + len(last_samples)] = rows.sample_offsets[last_samples]
