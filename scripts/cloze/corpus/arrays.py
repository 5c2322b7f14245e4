"""Arrow arrays from NumPy arrays and Python texts and back, by their buffers; words counted there.

`pyarrow.array` and `to_numpy` import pandas where that is installed, to ask whether they were
given one of its arrays: half a second of a job that may take two.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from cloze.errors import ClozeError

_SPACE, _LEAD = 1, 2
# White space beyond ASCII, as Python defines it, by its bytes in UTF-8.
_WIDE_SPACES = [
    chr(point).encode()
    for point in (
        0x85,
        0xA0,
        0x1680,
        *range(0x2000, 0x200B),
        0x2028,
        0x2029,
        0x202F,
        0x205F,
        0x3000,
    )
]
_CLASSES = bytes(
    _SPACE if chr(byte).isspace() and byte < 0x80
    else _LEAD if any(byte == space[0] for space in _WIDE_SPACES)
    else 0
    for byte in range(256)
)  # fmt: skip
_TWO = np.array([int.from_bytes(s, "big") for s in _WIDE_SPACES if len(s) == 2], dtype=np.uint32)
_THREE = np.array([int.from_bytes(s, "big") for s in _WIDE_SPACES if len(s) == 3], dtype=np.uint32)


def use_system_memory() -> None:
    """Have Arrow take memory from the C library, which gives freed memory back.

    Arrow's own allocator holds freed memory in huge pages: 60 MB where 8 MB are in use.
    """
    pa.set_memory_pool(pa.system_memory_pool())


@contextlib.contextmanager
def damage_named(path: Path, what: str, advice: str) -> Iterator[None]:
    """Raise `ClozeError` where Arrow, or a text it read, says in the block that a file is damaged.

    what: what the file is no whole of, such as "parquet file"; advice: what to do about it.
    """
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        # An error number comes from the file system, not from the content.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ClozeError(f"{path}: not a whole {what} ({one_line(error)}); {advice}") from error


def one_line(error: Exception) -> str:
    """Return what an error says, which Arrow spreads over several lines."""
    return " ".join(str(error).split())


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


def text_bytes(texts: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the UTF-8 of all texts, uint8, and int64 [num_texts + 1]: where each one starts.

    Nothing is copied. `texts` has no nulls.
    """
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    if not len(texts):
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    return np.frombuffer(data or b"", np.uint8)[bounds[0] : bounds[-1]], bounds - bounds[0]


def count_words(texts: pa.LargeStringArray) -> np.ndarray:
    """Return int64 [num_texts]: the words of each text, which white space separates."""
    data, bounds = text_bytes(texts)
    spaces = _spaces(data)
    starts = ~spaces
    starts[1:] &= spaces[:-1]
    # A text's first byte follows another text's last, which separates them too.
    first = bounds[:-1][np.diff(bounds) > 0]
    starts[first] = ~spaces[first]
    return np.diff(np.searchsorted(np.flatnonzero(starts), bounds))


def _spaces(data: np.ndarray) -> np.ndarray:
    """Return bool [num_bytes]: does the byte belong to white space?"""
    classes = np.frombuffer(data.tobytes().translate(_CLASSES), np.uint8)
    spaces = classes == _SPACE
    at = np.flatnonzero(classes == _LEAD)
    if at.size:
        codes = data[at].astype(np.uint32) << 8 | data[at + 1]
        two = at[np.isin(codes, _TWO)]
        spaces[two] = spaces[two + 1] = True
        # The lead bytes of three are above those of two.
        longer = data[at] >= 0xE0
        at = at[longer]
        codes = codes[longer] << 8 | data[at + 2]
        three = at[np.isin(codes, _THREE)]
        spaces[three] = spaces[three + 1] = spaces[three + 2] = True
    return spaces
