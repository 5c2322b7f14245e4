"""Files of embeddings, written as they come: `.npy` and parquet.

Each writer is a context manager that completes its file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy

from cloze.errors import ClozeError
from cloze.use.texts import Text


class NpyWriter:
    """An array float32 [N, D] that `numpy.load` reads, also with `mmap_mode`."""

    def __init__(self, path: Path, size: int) -> None:
        self._stream = path.open("wb")
        self._shape = (0, size)
        self._write_header()

    def _write_header(self) -> None:
        # NumPy leaves room in the header for a first axis that grows, so its length stays.
        self._stream.seek(0)
        header = {"descr": "<f4", "fortran_order": False, "shape": self._shape}
        npy.write_array_header_1_0(self._stream, header)

    def add(self, texts: Sequence[Text], embeddings: np.ndarray) -> None:
        """Append the rows."""
        self._stream.write(np.ascontiguousarray(embeddings, dtype="<f4").data)
        self._shape = (self._shape[0] + len(embeddings), self._shape[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self._stream:
            self._write_header()


class ParquetWriter:
    """Columns `text` (and `second_text` of pairs) and `embedding`, a list of D float32."""

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size = path, size
        self._writer: pq.ParquetWriter | None = None

    def add(self, texts: Sequence[Text], embeddings: np.ndarray) -> None:
        """Append a row group."""
        columns: dict[str, pa.Array] = {"text": pa.array([text.first for text in texts])}
        if any(text.second is not None for text in texts):
            columns["second_text"] = pa.array([text.second for text in texts])
        flat = pa.array(np.ascontiguousarray(embeddings, dtype=np.float32).reshape(-1))
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, self._size)
        table = pa.table(columns)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._writer is None and kind is None:
            self.add([], np.empty((0, self._size), np.float32))
        if self._writer is not None:
            self._writer.close()


_WRITERS: dict[str, type[NpyWriter | ParquetWriter]] = {
    ".npy": NpyWriter,
    ".parquet": ParquetWriter,
}


def embedding_suffix(path: Path) -> str:
    """Return the suffix, which names the format; raises `ClozeError` for an unknown one."""
    if path.suffix not in _WRITERS:
        raise ClozeError(
            f"--output {path}: {path.suffix or 'no suffix'} is unknown; "
            f"use {' or '.join(_WRITERS)}, or leave --output out for JSON lines"
        )
    return path.suffix


def open_embeddings(path: Path, suffix: str, size: int) -> NpyWriter | ParquetWriter:
    """Open a file of vectors of `size` numbers in the format that `suffix` names."""
    return _WRITERS[suffix](path, size)
