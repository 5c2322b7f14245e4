"""What was dropped from a corpus and why, one line a document, to read and to search.

Tab-separated text opens everywhere and is written as it comes; most of it is excerpts
of text, which gzip makes half as large, and `zless`, `zgrep`, pandas, R and DuckDB read
it as it lies.
"""

import gzip
import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from cloze.corpus.parts import EXCERPT_CHARACTERS

DROPPED_NAME = "dropped.tsv.gz"
_COLUMNS = ("reason", "detail", "source", "title", "text")
# In every text: a line end of some kind, or a tab.
_BREAKS = re.compile("[\t\n\x0b\x0c\r\x1c-\x1e\x85\u2028\u2029]+")


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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
