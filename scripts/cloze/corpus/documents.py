"""Documents on disk: a parquet file a split, a row a document, and a file of what was dropped.

What was dropped is tab-separated text, which opens everywhere; most of it is excerpts, which
gzip makes half as large, and `zless`, `zgrep`, pandas, R and DuckDB read it as it lies.
"""

import contextlib
import gzip
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cloze.corpus.arrays import count_words, damage_named, numbers, text_bytes
from cloze.errors import ClozeError
from cloze.files import SPLITS, atomic_path, require_file

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
EXCERPT_CHARACTERS = 200
DROPPED_NAME = "dropped.tsv.gz"
_COLUMNS = ("reason", "detail", "source", "title", "text")
# In every text: a line end of some kind, or a tab.
_BREAKS = re.compile("[\t\n\x0b\x0c\r\x1c-\x1e\x85\u2028\u2029]+")


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
    require_file(path)
    with damage_named(path, "parquet file", "make it again"), pq.ParquetFile(path) as file:
        if file.schema_arrow.names != SCHEMA.names:
            raise ClozeError(
                f"{path}: has the columns {', '.join(file.schema_arrow.names)} instead of "
                f"{', '.join(SCHEMA.names)}; make it with extract_documents.py"
            )
        yield file


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

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
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


class DroppedWriter:
    """Writes `dropped.tsv.gz`; the same drops give the same bytes.

    Columns: reason, detail (what was measured, or which document was kept instead),
    source, title, and the first 200 characters of the text, breaks and tabs as spaces.
    `counts` holds the documents by reason.
    """

    def __init__(self, path: Path, reasons: Sequence[str]) -> None:
        """Start the file; `reasons` are counted from 0, others are not allowed."""
        self.counts = dict.fromkeys(reasons, 0)
        self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__
        # Without a name and a time in the header the bytes depend on the content alone.
        self._stream = gzip.GzipFile("", "wb", compresslevel=1, fileobj=self._file, mtime=0)
        self._write_line(_COLUMNS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._stream.close()
        finally:
            self._file.close()

    def add(self, rows: pa.RecordBatch) -> None:
        """Append documents, each with its reason: rows of `parts.PART_SCHEMA`."""
        for row in rows.select(_COLUMNS).to_pylist():
            self.counts[row["reason"]] += 1
            row["text"] = row["text"][:EXCERPT_CHARACTERS]
            self._write_line([row[name] for name in _COLUMNS])

    def _write_line(self, cells: Sequence[str]) -> None:
        line = "\t".join(_BREAKS.sub(" ", cell) for cell in cells)
        self._stream.write(f"{line}\n".encode())


@contextlib.contextmanager
def atomic_documents(folder: Path) -> Iterator[tuple[dict[str, Path], Path]]:
    """Yield temporary paths: of each split by its name, and of the dropped documents.

    They become `folder/{train,validation,test}.parquet` and `folder/dropped.tsv.gz` when the
    block ends well. Raises `ClozeError` if the file system refuses the write.
    """
    with contextlib.ExitStack() as published:
        paths = {
            split: published.enter_context(atomic_path(folder / f"{split}.parquet"))
            for split in SPLITS
        }
        yield paths, published.enter_context(atomic_path(folder / DROPPED_NAME))


@contextlib.contextmanager
def open_writers(paths: Mapping[str, Path]) -> Iterator[dict[str, DocumentWriter]]:
    """Yield a writer for each split, by its name; they are closed when the block ends."""
    with contextlib.ExitStack() as stack:
        yield {split: stack.enter_context(DocumentWriter(path)) for split, path in paths.items()}
