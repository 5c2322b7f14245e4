"""Read documents from parquet, any range of rows, in bounded memory and without copying text."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cloze.corpus.arrays import damage_named, values_of
from cloze.errors import ClozeError
from cloze.files import require_file

_COLUMNS = ["document_id", "text"]
_AGAIN = "make it again with extract_documents.py"
# How much of a row group is decoded at a time.
_PIECE_BYTES = 1 << 19


def text_bytes(path: Path) -> int:
    """Return the bytes of UTF-8 text that a documents file holds, from its metadata alone."""
    with _open(path) as parquet:
        column = parquet.schema_arrow.names.index("text")
        groups = (parquet.metadata.row_group(i) for i in range(parquet.num_row_groups))
        return sum(int(group.column(column).total_uncompressed_size) for group in groups)


def count_documents(path: Path) -> int:
    """Return how many rows a documents file has; raises `ClozeError` as `read_batches` does."""
    with _open(path) as parquet:
        return int(parquet.metadata.num_rows)


@dataclass(frozen=True)
class DocumentBatch:
    """Documents as they lie in memory, one right after the other.

    `ids`: uint32 [num_documents]; `text`: uint8, UTF-8; `offsets`: int64
    [num_documents + 1], where each document starts in `text`.
    """

    ids: np.ndarray
    text: np.ndarray
    offsets: np.ndarray


def read_batches(
    path: Path, start: int = 0, stop: int | None = None, batch_bytes: int = 2 << 20
) -> Iterator[DocumentBatch]:
    """Yield the rows `start` to `stop` in order, in batches of about `batch_bytes` of text.

    What a batch holds depends on the file and the range alone; it never spans two row groups.
    Memory is bounded by a row group's compressed text and by a batch. Raises `ClozeError` if
    the file is missing, is no parquet, lacks a column or is damaged.
    """
    with _open(path) as parquet:
        stop = parquet.metadata.num_rows if stop is None else stop
        first = 0
        for group in range(parquet.num_row_groups):
            last = first + parquet.metadata.row_group(group).num_rows
            if first < stop and last > start:
                pieces = _read_group(parquet, group, path)
                yield from _batches(_within(pieces, start - first, stop - first), batch_bytes)
            first = last


def read_texts(path: Path, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, str]]:
    """Yield `(document_id, text)` for rows `start` to `stop`; raises as `read_batches` does."""
    for batch in read_batches(path, start, stop):
        bounds = itertools.pairwise(batch.offsets.tolist())
        for document_id, (first, last) in zip(batch.ids.tolist(), bounds, strict=True):
            yield document_id, str(batch.text[first:last].data, "utf-8")


def _read_group(parquet: pq.ParquetFile, group: int, path: Path) -> Iterator[DocumentBatch]:
    """Yield the documents of a row group in pieces of about `_PIECE_BYTES`."""
    metadata = parquet.metadata.row_group(group)
    size = metadata.column(parquet.schema_arrow.names.index("text")).total_uncompressed_size
    rows = max(1, metadata.num_rows * _PIECE_BYTES // max(size, 1))
    with damage_named(path, "file of documents", _AGAIN):
        yield from map(
            _flat,
            parquet.iter_batches(rows, row_groups=[group], columns=_COLUMNS, use_threads=False),
        )


def _flat(rows: pa.RecordBatch) -> DocumentBatch:
    """Return documents without copying their text."""
    texts = rows.column("text").cast(pa.large_binary())
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    text = np.frombuffer(data or b"", np.uint8)[bounds[0] : bounds[-1]]
    return DocumentBatch(values_of(rows.column("document_id")), text, bounds - bounds[0])


def _within(pieces: Iterable[DocumentBatch], start: int, stop: int) -> Iterator[DocumentBatch]:
    """Yield what pieces hold of the documents `start` to `stop`, counted from the first piece."""
    first = 0
    for piece in pieces:
        last = first + len(piece.ids)
        if last > start:
            yield _part(piece, max(start - first, 0), min(stop, last) - first)
        if last >= stop:
            return
        first = last


def _batches(pieces: Iterable[DocumentBatch], batch_bytes: int) -> Iterator[DocumentBatch]:
    """Yield the documents of pieces, as many at a time as have `batch_bytes`, one at least."""
    held = DocumentBatch(np.empty(0, np.uint32), np.empty(0, np.uint8), np.zeros(1, np.int64))
    for piece in pieces:
        held = _joined(held, piece)
        start = 0
        while len(held.text) - held.offsets[start] > batch_bytes:
            limit = held.offsets[start] + batch_bytes
            stop = max(int(np.searchsorted(held.offsets, limit, side="right")) - 1, start + 1)
            yield _part(held, start, stop)
            start = stop
        held = _part(held, start, len(held.ids))
    if len(held.ids):
        yield held


def _joined(first: DocumentBatch, second: DocumentBatch) -> DocumentBatch:
    if not len(first.ids):
        return second
    return DocumentBatch(
        np.concatenate([first.ids, second.ids]),
        np.concatenate([first.text, second.text]),
        np.concatenate([first.offsets, second.offsets[1:] + len(first.text)]),
    )


def _part(documents: DocumentBatch, start: int, stop: int) -> DocumentBatch:
    """Return the documents `start` to `stop`."""
    offsets = documents.offsets[start : stop + 1]
    text = documents.text[offsets[0] : offsets[-1]]
    return DocumentBatch(documents.ids[start:stop], text, offsets - offsets[0])


def _open(path: Path) -> pq.ParquetFile:
    require_file(path)
    with damage_named(path, "parquet file", _AGAIN):
        parquet = pq.ParquetFile(path)
    missing = [name for name in _COLUMNS if name not in parquet.schema_arrow.names]
    if missing:
        raise ClozeError(
            f"{path}: no column {missing[0]!r}, so these are no documents; "
            "make it with extract_documents.py"
        )
    return parquet
