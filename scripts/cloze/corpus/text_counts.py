"""Count words in many texts at once, as `str.split` separates them."""

import numpy as np
import pyarrow as pa

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
