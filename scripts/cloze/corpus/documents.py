"""Documents on disk: one parquet file a split, one row a document."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq

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
    try:
        with pq.ParquetFile(require_file(path)) as file:
            if file.schema_arrow.names != SCHEMA.names:
                raise ClozeError(
                    f"{path}: has the columns {', '.join(file.schema_arrow.names)} instead of "
                    f"{', '.join(SCHEMA.names)}; make it with extract_documents.py"
                )
            for index in range(file.num_row_groups):
                columns = file.read_row_group(index).to_pydict()
                yield from map(StoredDocument, *(columns[name] for name in SCHEMA.names))
    except pa.ArrowException as error:
        raise ClozeError(f"{path}: not a whole parquet file ({error}); make it again") from error


class DocumentWriter:
    """Writes one split; the same documents give the same bytes.

    Row groups close at 8 MiB of text or 65,536 documents, so memory is bounded by
    these and by the longest document. `counts` holds what was written so far:
    documents, characters (code points), bytes (UTF-8) and words (separated by
    white space) of the texts.
    """

    def __init__(self, path: Path) -> None:
        self.counts = dict.fromkeys(("documents", "characters", "bytes", "words"), 0)
        self._rows: list[StoredDocument] = []
        self._row_bytes = 0
        self._writer = pq.ParquetWriter(
            path,
            SCHEMA,
            compression="zstd",
            compression_level=3,
            use_dictionary=["source"],
            write_statistics=["document_id"],
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

    def add(self, document: StoredDocument) -> None:
        """Append one document."""
        text_bytes = len(document.text.encode())
        self.counts["documents"] += 1
        self.counts["characters"] += len(document.text)
        self.counts["bytes"] += text_bytes
        self.counts["words"] += len(document.text.split())
        self._rows.append(document)
        self._row_bytes += text_bytes
        if self._row_bytes >= _ROW_GROUP_BYTES or len(self._rows) >= _ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = zip(*self._rows, strict=True)
        arrays = [
            pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)
        ]
        self._writer.write_batch(
            pa.record_batch(arrays, schema=SCHEMA), row_group_size=len(self._rows)
        )
        self._rows, self._row_bytes = [], 0
