"""Documents on disk: one parquet file a split, one row a document."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cloze.corpus.arrays import numbers
from cloze.corpus.text_counts import count_words, text_bytes
from cloze.errors import ClozeError
from cloze.files import require_file

SPLITS = ("train", "validation", "test")
SCHEMA = pa.schema(
    [
        ("document_id", pa.uint32()),
        ("source", pa.string()),
        ("title", pa.string()),
        ("text", pa.large_string()),
    ]
)
_ROW_GROUP_BYTES = 8 << 20
_ROW_GROUP_ROWS = 1 << 16
_WRITE_BATCH_ROWS = 4


class Document(NamedTuple):
    """What a reader yields: the name of the file or archive member, title, text."""

    source: str
    title: str
    text: str


class StoredDocument(NamedTuple):
    """One row of a split's parquet file; `document_id` is unique within the corpus."""

    document_id: int
    source: str
    title: str
    text: str


def read_documents(path: Path) -> Iterator[StoredDocument]:
    """Yield the rows of one split in order, with one row group in memory at a time.

    Raises `ClozeError` if `path` is missing or is no file that `DocumentWriter` wrote.
    """
    for batch in read_groups(path):
        columns = batch.to_pydict()
        yield from map(StoredDocument, *(columns[name] for name in SCHEMA.names))


def count_groups(path: Path) -> int:
    """Return how many row groups one split has; raises as `read_documents` does."""
    with _opened(path) as file:
        return int(file.num_row_groups)


def read_groups(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the row groups of one split in order; raises as `read_documents` does."""
    with _opened(path) as file:
        for index in range(file.num_row_groups):
            group = file.read_row_group(index, use_threads=False)
            yield from group.combine_chunks().to_batches()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(require_file(path)) as file:
            if file.schema_arrow.names != SCHEMA.names:
                raise ClozeError(
                    f"{path}: has the columns {', '.join(file.schema_arrow.names)} instead of "
                    f"{', '.join(SCHEMA.names)}; make it with extract_documents.py"
                )
            yield file
    except pa.ArrowException as error:
        raise ClozeError(f"{path}: not a whole parquet file ({error}); make it again") from error


def measured(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return documents that were read back with the columns that `DocumentWriter.add` needs."""
    texts = rows.column("text")
    rows = rows.append_column("characters", pc.utf8_length(texts))
    return rows.append_column("words", numbers(count_words(texts), pa.int64()))


class DocumentWriter:
    """Writes one split; the same documents give the same bytes.

    Row groups close at 8 MiB of text or 65,536 documents, however the documents come, so
    memory is bounded by these, by the longest document and by a batch. `counts` holds what
    was added so far: documents, characters (code points), bytes (UTF-8) and words
    (separated by white space) of the texts.
    """

    def __init__(self, path: Path) -> None:
        self.counts = dict.fromkeys(("documents", "characters", "bytes", "words"), 0)
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0
        self._held_bytes = 0
        self._writer = pq.ParquetWriter(
            path,
            SCHEMA,
            compression="zstd",
            compression_level=3,
            use_dictionary=["source"],
            write_statistics=["document_id"],
            # A page ends between two batches: with batches of 1,024 documents it is as large
            # as its row group, and a reader holds a whole page.
            write_batch_size=_WRITE_BATCH_ROWS,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._writer.close()

    def add(self, rows: pa.RecordBatch) -> None:
        """Append documents: the columns of `SCHEMA`, and `characters` and `words` of each text."""
        if not rows.num_rows:
            return
        lengths = np.diff(text_bytes(rows.column("text"))[1])
        self.counts["documents"] += rows.num_rows
        self.counts["bytes"] += int(lengths.sum())
        for name in ("characters", "words"):
            self.counts[name] += pc.sum(rows.column(name)).as_py()
        rows = rows.select(SCHEMA.names)
        ends = np.cumsum(lengths)
        start = 0
        while start < rows.num_rows:
            before = ends[start - 1] if start else 0
            full = np.searchsorted(ends, before + _ROW_GROUP_BYTES - self._held_bytes)
            stop = min(int(full) + 1, start + _ROW_GROUP_ROWS - self._held_rows, rows.num_rows)
            self._held.append(rows.slice(start, stop - start))
            self._held_rows += stop - start
            self._held_bytes += int(ends[stop - 1] - before)
            if self._held_bytes >= _ROW_GROUP_BYTES or self._held_rows >= _ROW_GROUP_ROWS:
                self._flush()
            start = stop

    def _flush(self) -> None:
        if not self._held:
            return
        # In one piece: where chunks meet would show in the bytes of the file.
        table = pa.Table.from_batches(self._held, SCHEMA).combine_chunks()
        self._writer.write_table(table, row_group_size=self._held_rows)
        self._held, self._held_rows, self._held_bytes = [], 0, 0
