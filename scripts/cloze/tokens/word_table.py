"""A hash table of words in NumPy: look up a million words in a tenth of a second.

A word is a piece of at most `MAX_WORD_BYTES` bytes of a buffer. Its key is exact, its
bytes in four 64-bit numbers and its length, so no two words are ever taken for one.
"""

from dataclasses import dataclass

import numpy as np

MAX_WORD_BYTES = 32
_CHUNK = 8
_CHUNKS = MAX_WORD_BYTES // _CHUNK
_MULTIPLIERS = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64
)
_FINAL_MULTIPLIER = np.uint64(0xFF51AFD7ED558CCD)
# A table more than half full is slow, and its words are kept beside it.
_SLOTS_PER_WORD = 2
# The mask that keeps the first n bytes of a little-endian 64-bit number.
_KEEP = np.array([(1 << (8 * n)) - 1 for n in range(_CHUNK + 1)], np.uint64)


@dataclass(frozen=True)
class Words:
    """Pieces of a buffer as keys: `chunks` uint64 [4, N], `lengths` uint8 [N] in bytes.

    Different texts differ in chunks or, where one ends in zero bytes, in length.
    `hashes` uint64 [N] say where in a table to look, no more.
    """

    chunks: np.ndarray
    lengths: np.ndarray
    hashes: np.ndarray

    def take(self, indices: np.ndarray) -> "Words":
        """Return the words at these indices."""
        return Words(self.chunks[:, indices], self.lengths[indices], self.hashes[indices])


def words_of(buffer: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Words:
    """Return the keys of pieces of `buffer`, uint8, which must go on for 32 bytes after the last.

    `starts` and `lengths`: int64 [N], lengths from 1 to `MAX_WORD_BYTES`.
    """
    unaligned = np.ndarray((len(buffer) - _CHUNK + 1,), "<u8", buffer, strides=(1,))
    chunks = np.zeros((_CHUNKS, len(starts)), np.uint64)
    chunks[0] = unaligned[starts] & _KEEP[np.minimum(lengths, _CHUNK)]
    hashes = chunks[0] * _MULTIPLIERS[0]
    longer = np.flatnonzero(lengths > _CHUNK)
    for number in range(1, _CHUNKS):
        rest = lengths[longer] - _CHUNK * number
        values = unaligned[starts[longer] + _CHUNK * number] & _KEEP[np.minimum(rest, _CHUNK)]
        chunks[number, longer] = values
        hashes[longer] ^= (values + np.uint64(number)) * _MULTIPLIERS[number]
        longer = longer[rest > _CHUNK]
    small = lengths.astype(np.uint8)
    hashes += small
    hashes ^= hashes >> np.uint64(29)
    hashes *= _FINAL_MULTIPLIER
    return Words(chunks, small, hashes)


class WordTable:
    """Gives every word a number, 0, 1, 2, … in the order of insertion; bounded by `capacity`."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        bits = (capacity * _SLOTS_PER_WORD - 1).bit_length()
        self._shift = np.uint64(64 - bits)
        self._mask = (1 << bits) - 1
        self._chunks = np.zeros((_CHUNKS, capacity), np.uint64)
        self._lengths = np.zeros(capacity, np.uint8)
        self.clear()

    def __len__(self) -> int:
        return self._size

    def clear(self) -> None:
        """Forget every word."""
        self._slots = np.full(self._mask + 1, -1, np.int32)
        self._size = 0

    def find(self, words: Words) -> np.ndarray:
        """Return the number of each word, int32 [N], -1 for a word that is not in the table."""
        slots = (words.hashes >> self._shift).astype(np.int64)
        found = self._slots[slots]
        pending = np.flatnonzero((found >= 0) & ~self._equal(words, found))
        while len(pending):
            slots[pending] = (slots[pending] + 1) & self._mask
            found[pending] = self._slots[slots[pending]]
            other = found[pending]
            wrong = (other >= 0) & ~self._equal(words.take(pending), other)
            pending = pending[wrong]
        return found

    def insert(self, words: Words) -> None:
        """Add words, which must differ from one another and from those in the table.

        Raises `ValueError` if they are more than the table has room for.
        """
        count = len(words.hashes)
        if self._size + count > self.capacity:
            raise ValueError(f"{count} more words than the table's {self.capacity}")
        numbers = np.arange(self._size, self._size + count, dtype=np.int32)
        self._chunks[:, numbers] = words.chunks
        self._lengths[numbers] = words.lengths
        slots = (words.hashes >> self._shift).astype(np.int64)
        while len(numbers):
            free = self._slots[slots] < 0
            self._slots[slots[free]] = numbers[free]
            # Of several words that wanted one slot the last has it; the others go on.
            homeless = self._slots[slots] != numbers
            numbers, slots = numbers[homeless], (slots[homeless] + 1) & self._mask
        self._size += count

    def _equal(self, words: Words, numbers: np.ndarray) -> np.ndarray:
        equal = words.lengths == self._lengths[numbers]
        equal &= words.chunks[0] == self._chunks[0][numbers]
        longer = np.flatnonzero(equal & (words.lengths > _CHUNK))
        for number in range(1, _CHUNKS):
            longer = longer[words.lengths[longer] > _CHUNK * number]
            same = words.chunks[number, longer] == self._chunks[number][numbers[longer]]
            equal[longer] &= same
        return equal


def distinct(words: Words) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of one of each distinct word, ascending, and each word's place among them.

    Both int64: `first` [M] and `inverse` [N] with `words[i] == words[first[inverse[i]]]`.
    """
    table = WordTable(max(1, len(words.hashes)))
    pending = np.arange(len(words.hashes))
    firsts: list[np.ndarray] = []
    while len(pending):
        _, some = np.unique(words.hashes[pending], return_index=True)
        chosen = np.sort(pending[some])
        table.insert(words.take(chosen))
        firsts.append(chosen)
        # Words whose hash is another's too wait for the next round.
        pending = pending[table.find(words.take(pending)) < 0]
    first = np.concatenate(firsts) if firsts else np.empty(0, np.int64)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(first), np.int64)
    place[order] = np.arange(len(first))
    return first[order], place[table.find(words)]
