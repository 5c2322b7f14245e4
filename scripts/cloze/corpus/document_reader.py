"""Read `document_id` and `text` from a documents parquet, any range of rows, in bounded memory."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cloze.errors import ClozeError
from cloze.files import require_file

_COLUMNS = ["document_id", "text"]
_BATCH_ROWS = 64


def count_documents(path: Path) -> int:
    """Return how many rows a documents file has; raises `ClozeError` as `read_documents` does."""
    with _open(path) as parquet:
        return int(parquet.metadata.num_rows)


def read_documents(
    path: Path, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, str]]:
    """Yield `(document_id, text)` for the rows `start` to `stop`, in order.

    Raises `ClozeError` if the file is missing, is no parquet, lacks a column or is damaged.
    """
    with _open(path) as parquet:
        stop = parquet.metadata.num_rows if stop is None else stop
        first = 0
        for group in range(parquet.num_row_groups):
            last = first + parquet.metadata.row_group(group).num_rows
            if first < stop and last > start:
                try:
                    yield from _read_group(parquet, group, max(start - first, 0), stop - first)
                except (pa.ArrowException, OSError) as error:
                    raise ClozeError(
                        f"{path}: damaged ({_one_line(error)}); "
                        "make it again with extract_documents.py"
                    ) from error
            first = last


def _read_group(
    parquet: pq.ParquetFile, group: int, start: int, stop: int
) -> Iterator[tuple[int, str]]:
    """Yield the rows `start` to `stop` of one row group."""
    first = 0
    batches = parquet.iter_batches(
        batch_size=_BATCH_ROWS, row_groups=[group], columns=_COLUMNS, use_threads=False
    )
    for batch in batches:
        wanted = batch.slice(max(start - first, 0), max(stop - max(first, start), 0))
        ids, texts = (wanted.column(name).to_pylist() for name in _COLUMNS)
        yield from zip(ids, texts, strict=True)
        first += batch.num_rows


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
