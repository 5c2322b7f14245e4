"""Read documents from parquet, any range of rows, in bounded memory and without copying text."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cloze.errors import ClozeError
from cloze.files import require_file

_COLUMNS = ["document_id", "text"]


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

    What a batch holds depends on the file and the range alone; memory is bounded by a row
    group. Raises `ClozeError` if the file is missing, is no parquet, lacks a column or is
    damaged.
    """
    with _open(path) as parquet:
        stop = parquet.metadata.num_rows if stop is None else stop
        first = 0
        for group in range(parquet.num_row_groups):
            last = first + parquet.metadata.row_group(group).num_rows
            if first < stop and last > start:
                try:
                    table = parquet.read_row_group(group, columns=_COLUMNS, use_threads=False)
                except (pa.ArrowException, OSError) as error:
                    raise ClozeError(
                        f"{path}: damaged ({_one_line(error)}); "
                        "make it again with extract_documents.py"
                    ) from error
                wanted = slice(max(start - first, 0), min(stop, last) - first)
                yield from _batches(_flat(table), wanted, batch_bytes)
            first = last


def read_documents(
    path: Path, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, str]]:
    """Yield `(document_id, text)` for rows `start` to `stop`; raises as `read_batches` does."""
    for batch in read_batches(path, start, stop):
        bounds = itertools.pairwise(batch.offsets.tolist())
        for document_id, (first, last) in zip(batch.ids.tolist(), bounds, strict=True):
            yield document_id, str(batch.text[first:last].data, "utf-8")


def _flat(table: pa.Table) -> DocumentBatch:
    """Return a row group's documents without copying their text."""
    ids = table.column("document_id").to_numpy()
    if not len(ids):
        return DocumentBatch(ids, np.empty(0, np.uint8), np.zeros(1, np.int64))
    texts = table.column("text").combine_chunks().cast(pa.large_binary())
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    text = np.frombuffer(data or b"", np.uint8)[bounds[0] : bounds[-1]]
    return DocumentBatch(ids, text, bounds - bounds[0])


def _batches(group: DocumentBatch, wanted: slice, batch_bytes: int) -> Iterator[DocumentBatch]:
    start = wanted.start
    while start < wanted.stop:
        first_byte = group.offsets[start]
        reach = int(np.searchsorted(group.offsets, first_byte + batch_bytes, side="right")) - 1
        stop = min(max(reach, start + 1), wanted.stop)
        text = group.text[first_byte : group.offsets[stop]]
        yield DocumentBatch(
            group.ids[start:stop], text, group.offsets[start : stop + 1] - first_byte
        )
        start = stop


def _open(path: Path) -> pq.ParquetFile:
    require_file(path)
    try:
        parquet = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise ClozeError(
            f"{path}: not a parquet file ({_one_line(error)}); "
            "make it again with extract_documents.py"
        ) from error
    missing = [name for name in _COLUMNS if name not in parquet.schema_arrow.names]
    if missing:
        raise ClozeError(
            f"{path}: no column {missing[0]!r}, so these are no documents; "
            "make it with extract_documents.py"
        )
    return parquet


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
