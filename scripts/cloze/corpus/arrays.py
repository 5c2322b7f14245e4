"""Arrow arrays from NumPy arrays and Python texts and back, by their buffers.

`pyarrow.array` and `to_numpy` import pandas where that is installed, to ask whether they were
given one of its arrays: half a second of a job that may take two.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


def use_system_memory() -> None:
    """Have Arrow take memory from the C library, which gives freed memory back.

    Arrow's own allocator holds freed memory in huge pages: 60 MB where 8 MB are in use.
    """
    pa.set_memory_pool(pa.system_memory_pool())


def numbers(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Return an array of a numeric type, without nulls."""
    data = np.ascontiguousarray(values, dtype=kind.to_pandas_dtype())
    return pa.Array.from_buffers(kind, len(data), [None, pa.py_buffer(data)])


def booleans(values: np.ndarray) -> pa.BooleanArray:
    """Return an array of truth values, without nulls."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])


def strings(values: Sequence[str | None], kind: pa.DataType | None = None) -> pa.Array:
    """Return an array of `pa.string()` or the type given; None is null."""
    return binaries([None if value is None else value.encode() for value in values], kind)


def binaries(values: Sequence[bytes | None], kind: pa.DataType | None = None) -> pa.Array:
    """Return an array of texts from their UTF-8, or of bytes; None is null.

    `kind`: `pa.string()` (if unset), `pa.large_string()` or bytes of a fixed size.
    """
    kind = kind or pa.string()
    valid = np.fromiter((value is not None for value in values), np.bool_, len(values))
    validity = None if valid.all() else _bits(valid)
    if pa.types.is_fixed_size_binary(kind):
        filler = bytes(kind.byte_width)
        data = b"".join(filler if value is None else value for value in values)
        return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(data)])
    data = b"".join(value for value in values if value is not None)
    offset_type = np.int64 if pa.types.is_large_string(kind) else np.int32
    offsets = np.zeros(len(values) + 1, dtype=offset_type)
    np.cumsum([0 if value is None else len(value) for value in values], out=offsets[1:])
    buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(values), buffers)


def is_null(array: pa.Array) -> np.ndarray:
    """Return bool [len(array)]."""
    validity = array.buffers()[0]
    if validity is None:
        return np.zeros(len(array), dtype=bool)
    bits = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")
    return bits[array.offset : array.offset + len(array)] == 0


def values_of(array: pa.Array) -> np.ndarray:
    """Return the values of a numeric array without nulls."""
    values = np.frombuffer(array.buffers()[1], array.type.to_pandas_dtype())
    return values[array.offset : array.offset + len(array)]


def _bits(values: np.ndarray) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
