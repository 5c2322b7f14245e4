"""Places in a stream of words, looked up by 64-bit fingerprints of the words that begin there."""

from collections.abc import Iterator

import numpy as np

from cloze.corpus.word_stream import ranges

_WORDS_AT_ONCE = 1 << 18
# The table of fingerprints has this many places for each, so that few are taken.
_TABLE_PLACES = 16
_MULTIPLIER = 0xC2B2AE3D27D4EB4F


class Groups:
    """Numbers by what they were given for: the places of each of `num_groups` values."""

    def __init__(self, values: np.ndarray, num_groups: int) -> None:
        self._order = np.argsort(values, kind="stable")
        self._counts = np.bincount(values, minlength=num_groups)
        self._first = np.cumsum(self._counts) - self._counts

    def counts(self, groups: np.ndarray) -> np.ndarray:
        """Return how many places each of these groups has."""
        return self._counts[groups]

    def expand(self, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how many places each of these groups has, and all of them, one after another."""
        counts = self._counts[groups]
        return counts, self._order[ranges(self._first[groups], counts)]


class Anchors:
    """Places in the rows, int64 [N], by the fingerprints of what begins there, uint64 [N]."""

    def __init__(self, places: np.ndarray, prints: np.ndarray) -> None:
        self._places = places
        self._distinct, values = np.unique(prints, return_inverse=True)
        self._groups = Groups(values, len(self._distinct))
        bits = max(16, (_TABLE_PLACES * len(self._distinct) - 1).bit_length())
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, np.bool_)
        self._table[self._distinct >> self._shift] = True

    def find(self, prints: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (place in the rows, index into `prints`) of equal fingerprints, some at a time."""
        positions = np.flatnonzero(self._table[prints >> self._shift])
        groups = np.searchsorted(self._distinct, prints[positions])
        groups[groups == len(self._distinct)] = 0
        equal = self._distinct[groups] == prints[positions]
        positions, groups = positions[equal], groups[equal]
        for part in slices(self._groups.counts(groups)):
            counts, found = self._groups.expand(groups[part])
            yield self._places[found], np.repeat(positions[part], counts)


def fingerprints(keys: np.ndarray, words: int) -> np.ndarray:
    """Return a fingerprint of each `words` keys in a row, a power of two.

    `keys`: uint64 [num_words]; returns uint64 [num_words - words + 1].
    """
    prints, width, factor = keys, 1, _MULTIPLIER
    while width < words:
        prints = prints[:-width] * np.uint64(factor) + prints[width:]
        width, factor = 2 * width, factor * factor % (1 << 64)
    return prints


def fingerprints_at(keys: np.ndarray, places: np.ndarray, words: int) -> np.ndarray:
    """Return what `fingerprints` has at these places, in memory bounded by the places."""
    prints = keys[places]
    for word in range(1, words):
        prints = prints * np.uint64(_MULTIPLIER) + keys[places + word]
    return prints


def slices(counts: np.ndarray) -> Iterator[slice]:
    """Yield slices of items, int64 [N], whose counts add up to some 262,144, or of one item."""
    ends = np.cumsum(counts, dtype=np.int64)
    start = 0
    while start < len(counts):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _WORDS_AT_ONCE, side="right")))
        yield slice(start, stop)
        start = stop
