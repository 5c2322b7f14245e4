"""Evaluation rows found in other texts: whole, or by thirteen words in a row.

Thirteen words are the n-gram by which GPT-3 (Brown et al. 2020, appendix C) and most
since looked for their test sets. Rows and texts are compared as `cloze.corpus.word_stream`
says: case and white space do not count, nor does punctuation unless it is asked for, and in
scripts written without spaces each letter is a word. Windows of words are looked up by 64-bit
fingerprints, and what is found is compared character by character.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from cloze.corpus.word_stream import (
    WordStream,
    compact_word_stream,
    pieces,
    ranges,
    same_words,
    word_stream,
)

NGRAM_WORDS = 13
# Shorter rows stand in any large text by chance.
MIN_ROW_WORDS = 8
_ANCHOR_WORDS = 8
# Of as many consecutive windows of 13 words, one begins at an anchor that lies within it.
_STRIDE = NGRAM_WORDS - _ANCHOR_WORDS + 1
_REACH = NGRAM_WORDS - _ANCHOR_WORDS
_CHARACTERS_AT_ONCE = 1 << 17
_WORDS_AT_ONCE = 1 << 18
# The table of fingerprints has this many places for each, so that few are taken.
_TABLE_PLACES = 16
_MULTIPLIER = 0xC2B2AE3D27D4EB4F
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]")
# Bounds what is found at a time: a word that is a row by itself stands in very many texts.
_TEXTS_AT_ONCE = 1 << 13


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


@dataclass(frozen=True)
class Matches:
    """Which rows were found in which texts: each pair once, sorted by text, then by row.

    `texts`, `rows`: int64 [num_matches], places in what was given. `exact`: bool
    [num_matches], the whole row stands in the text. `ngram`: bool [num_matches], they
    share 13 words in a row. At least one of the two is true.
    """

    texts: np.ndarray
    rows: np.ndarray
    exact: np.ndarray
    ngram: np.ndarray


class ContaminationIndex:
    """Finds evaluation rows in texts, in memory bounded by the rows and the longest text.

    `lengths`: int64 [num_rows], words of each row; a row without words is never found,
    and one of fewer than `min_words` is not looked for. With `punctuation` its characters
    are words; without `ngrams` only whole rows are looked for.
    """

    def __init__(
        self,
        rows: Iterable[str],
        min_words: int = 1,
        *,
        punctuation: bool = False,
        ngrams: bool = True,
    ) -> None:
        places: list[int] = []
        distinct = _without_repeats(rows, places)
        self._punctuation, self._ngrams = punctuation, ngrams
        self._rows = compact_word_stream(_batches(distinct), punctuation=punctuation)
        self._copies = Groups(np.array(places, np.int64), len(self._rows.lengths))
        lengths = self._rows.lengths
        self.lengths = lengths[places]
        self._overlap = int(lengths.max(initial=0))
        self._size = max(_CHARACTERS_AT_ONCE, 64 * self._overlap)
        self._anchors = dict(self._make_anchors(max(min_words, 1)))

    def find(self, texts: Iterable[str]) -> Matches:
        """Return the rows that stand, whole or by 13 words, in each of `texts`."""
        found = [_NO_MATCHES, *(self._find_batch(*batch) for batch in self._text_batches(texts))]
        pairs, exact, ngram = (np.concatenate(parts) for parts in zip(*found, strict=True))
        pairs, exact, ngram = _merge(pairs, exact, ngram)
        num_rows = len(self._rows.lengths)
        counts, copies = self._copies.expand(pairs % max(num_rows, 1))
        matches = Matches(
            texts=np.repeat(pairs // max(num_rows, 1), counts),
            rows=copies,
            exact=np.repeat(exact, counts),
            ngram=np.repeat(ngram, counts),
        )
        order = np.lexsort((matches.rows, matches.texts))
        return Matches(*(array[order] for array in vars(matches).values()))

    def _make_anchors(self, min_words: int) -> Iterator[tuple[int, Anchors]]:
        """Yield for 1, 2, 4 and 8 words the places in the rows where a search begins.

        Rows of eight words or more have one at their start and, as far as runs of
        thirteen words need it, at every sixth word; shorter ones at their start.
        """
        first, lengths = self._rows.text_offsets[:-1], self._rows.lengths
        for words in (1, 2, 4, _ANCHOR_WORDS):
            longest = 2 * words - 1 if words < _ANCHOR_WORDS else self._overlap
            chosen = (lengths >= max(words, min_words)) & (lengths <= longest)
            if words == _ANCHOR_WORDS and self._ngrams:
                per_row = (lengths[chosen] - words) // _STRIDE + 1
                steps = ranges(np.zeros(len(per_row), np.int64), per_row)
                places = np.repeat(first[chosen], per_row) + _STRIDE * steps
            else:
                places = first[chosen]
            if len(places):
                yield words, Anchors(places, fingerprints_at(self._rows.keys, places, words))

    def _text_batches(self, texts: Iterable[str]) -> Iterator[tuple[list[str], list[int]]]:
        """Yield pieces of texts, and the text that each is of, in batches of about one size."""
        batch: list[str] = []
        numbers: list[int] = []
        characters = 0
        for number, text in enumerate(texts):
            for piece in pieces(text, self._size, self._overlap):
                batch.append(piece)
                numbers.append(number)
                characters += len(piece)
                if characters >= self._size:
                    yield batch, numbers
                    batch, numbers, characters = [], [], 0
        yield batch, numbers

    def _find_batch(
        self, batch: list[str], numbers: list[int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return `text * num_rows + row` of each find, and whether it is exact, by n-gram."""
        stream = word_stream(batch, punctuation=self._punctuation)
        found = []
        for words, anchors in self._anchors.items():
            for places, positions in anchors.find(fingerprints(stream.keys, words)):
                row, text = self._rows.text_of(places), stream.text_of(positions)
                exact = self._are_whole_rows(stream, places, positions, row, text)
                ngram = np.zeros(len(places), np.bool_)
                if words == _ANCHOR_WORDS and self._ngrams:
                    ngram = self._are_in_runs(stream, places, positions, row, text)
                either = exact | ngram
                pairs = np.array(numbers, np.int64)[text] * len(self._rows.lengths) + row
                found.append(_merge(pairs[either], exact[either], ngram[either]))
        parts = zip(*found, strict=True) if found else _NO_MATCHES
        return _merge(*(np.concatenate(part) for part in parts)) if found else _NO_MATCHES

    def _are_whole_rows(
        self,
        stream: WordStream,
        places: np.ndarray,
        positions: np.ndarray,
        row: np.ndarray,
        text: np.ndarray,
    ) -> np.ndarray:
        """Decide which anchors are the beginning of a row that goes on as the text does."""
        whole = places == self._rows.text_offsets[row]
        lengths = self._rows.lengths[row]
        whole &= positions + lengths <= stream.text_offsets[text + 1]
        return _checked(whole, self._rows, places, stream, positions, lengths)

    def _are_in_runs(
        self,
        stream: WordStream,
        places: np.ndarray,
        positions: np.ndarray,
        row: np.ndarray,
        text: np.ndarray,
    ) -> np.ndarray:
        """Decide which anchors lie in a run of 13 words that row and text share."""

        def extent(step: int, start: int) -> np.ndarray:
            """Count the equal words before (step -1) or after (1) the anchor, up to five."""
            counts = np.zeros(len(places), np.int64)
            going = np.ones(len(places), np.bool_)
            for reach in range(start, start + step * _REACH, step):
                left, right = places + reach, positions + reach
                going &= (left >= row_start) & (left < row_end)
                going &= (right >= text_start) & (right < text_end)
                going[going] = self._rows.keys[left[going]] == stream.keys[right[going]]
                counts += going
            return counts

        row_start, row_end = self._rows.text_offsets[row], self._rows.text_offsets[row + 1]
        text_start, text_end = stream.text_offsets[text], stream.text_offsets[text + 1]
        before, after = extent(-1, -1), extent(1, _ANCHOR_WORDS)
        long_enough = before + _ANCHOR_WORDS + after >= NGRAM_WORDS
        # The last windows of a text go on in the next one.
        long_enough &= positions + _ANCHOR_WORDS <= text_end
        lengths = np.full(len(places), NGRAM_WORDS)
        return _checked(
            long_enough, self._rows, places - before, stream, positions - before, lengths
        )


def _checked(
    candidates: np.ndarray,
    rows: WordStream,
    places: np.ndarray,
    stream: WordStream,
    positions: np.ndarray,
    counts: np.ndarray,
) -> np.ndarray:
    """Return `candidates`, bool [num_pairs], without those whose words differ after all."""
    checked = np.zeros(len(candidates), np.bool_)
    chosen = np.flatnonzero(candidates)
    for part in slices(counts[chosen]):
        pairs = chosen[part]
        checked[pairs] = same_words(rows, places[pairs], stream, positions[pairs], counts[pairs])
    return checked


_NO_MATCHES = (np.empty(0, np.int64), np.empty(0, np.bool_), np.empty(0, np.bool_))


def _merge(
    pairs: np.ndarray, exact: np.ndarray, ngram: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each pair once, sorted, with what any of its finds was."""
    distinct, places = np.unique(pairs, return_inverse=True)
    size = len(distinct)
    return (
        distinct,
        np.bincount(places[exact], minlength=size) > 0,
        np.bincount(places[ngram], minlength=size) > 0,
    )


def _without_repeats(texts: Iterable[str], places: list[int]) -> Iterator[str]:
    """Yield texts that differ by more than white space and case; append each text's place."""
    numbers: dict[bytes, int] = {}
    for text in texts:
        folded = " ".join(text.casefold().split()).encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(folded).digest()
        if digest not in numbers:
            numbers[digest] = len(numbers)
            yield text
        places.append(numbers[digest])


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if characters >= _CHARACTERS_AT_ONCE:
            yield batch
            batch, characters = [], 0
    yield batch


def normalized_words(text: str) -> list[str]:
    """Return the case-folded words of a text."""
    return _WORD.findall(text.casefold())


class ContainmentIndex:
    """Finds which of some rows stand inside texts: their words are a contiguous part of its words.

    Rows without a word are never found. `lengths`: int64 [num_rows], words of each row.
    """

    def __init__(self, rows: Sequence[str]) -> None:
        self._rows = rows
        self._index = ContaminationIndex(rows, punctuation=True, ngrams=False)
        self.lengths = self._index.lengths

    def find(self, texts: Iterable[str]) -> np.ndarray:
        """Return bool [num_rows]: does the row stand inside one of `texts`?"""
        return self._find(texts, proper=False)

    def find_parts(self) -> np.ndarray:
        """Return bool [num_rows]: does the row stand inside another row that has more words?"""
        return self._find(self._rows, proper=True)

    def _find(self, texts: Iterable[str], proper: bool) -> np.ndarray:
        found = np.zeros(len(self.lengths), np.bool_)
        rest, first = iter(texts), 0
        while some := list(islice(rest, _TEXTS_AT_ONCE)):
            matches = self._index.find(some)
            counts = matches.exact
            if proper:
                counts = counts & (self.lengths[matches.rows] < self.lengths[first + matches.texts])
            found[matches.rows[counts]] = True
            first += len(some)
        return found
