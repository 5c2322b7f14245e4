"""Texts that stand inside other texts, and hold-outs that such texts cannot leak into.

Texts are compared as sequences of words: case is folded, white space only separates,
punctuation marks are words, and in scripts written without spaces each letter is one.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]")
_ANCHOR_WORDS = 8
_MULTIPLIER = 0x9E3779B97F4A7C15
_INVERSE = pow(_MULTIPLIER, -1, 1 << 64)


def words_of(text: str) -> list[str]:
    """Return the case-folded words of a text."""
    return _WORD.findall(text.casefold())


class ContainmentIndex:
    """Finds which of some rows stand inside texts that are shown to it one batch at a time.

    A row stands inside a text if its words are a contiguous part of the text's words.
    Windows of words are compared by 64-bit polynomial fingerprints over random word
    values (Karp and Rabin 1987), so one search costs a few passes over the text however
    many rows there are: rows of up to 8 words are looked up at every position, longer
    ones only where their first 8 words occur. Rows without a word are never found.
    """

    def __init__(self, rows: Sequence[str]) -> None:
        self._vocabulary: dict[str, int] = {}
        sequences = [
            [self._vocabulary.setdefault(word, len(self._vocabulary) + 1) for word in words_of(row)]
            for row in rows
        ]
        # Word 0 stands for every word that no row holds.
        self._values = np.random.default_rng(0).integers(
            1, 1 << 64, size=len(self._vocabulary) + 1, dtype=np.uint64
        )
        self.lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        ends = np.cumsum(self.lengths)
        prints = _Fingerprints(self._values[_flatten(sequences)])
        starts = ends - self.lengths
        self._row_prints = prints.windows(starts, self.lengths)
        anchor_lengths = np.minimum(self.lengths, _ANCHOR_WORDS)
        anchors = prints.windows(starts, anchor_lengths)
        self._groups = _group_anchors(anchors, anchor_lengths, self.lengths)

    def find(self, texts: Iterable[str], *, proper: bool = False) -> np.ndarray:
        """Return bool [num_rows]: does the row stand inside one of `texts`?

        With `proper`, a text that is the row itself, word for word, does not count.
        """
        known = self._vocabulary.get
        sequences = [[known(word, 0) for word in words_of(text)] for text in texts]
        ends_of_texts = np.cumsum([len(sequence) for sequence in sequences], dtype=np.int64)
        flat = _flatten(sequences)
        prints = _Fingerprints(self._values[flat])
        sizes = np.diff(ends_of_texts, prepend=0)
        end_of = np.repeat(ends_of_texts, sizes)
        start_of = np.repeat(ends_of_texts - sizes, sizes)
        found = np.zeros(len(self._row_prints), dtype=bool)
        for anchor_length, group in self._groups.items():
            positions = np.flatnonzero(np.arange(flat.size) + anchor_length <= end_of)
            hits, starts = group.match(prints.windows(positions, anchor_length), positions)
            lengths = group.row_lengths[hits]
            fits = starts + lengths <= end_of[starts]
            if proper:
                fits &= lengths < end_of[starts] - start_of[starts]
            seen = np.unique(prints.windows(starts[fits], lengths[fits]))
            rows_here = np.minimum(self.lengths, _ANCHOR_WORDS) == anchor_length
            found |= rows_here & np.isin(self._row_prints, seen)
        return found


def _flatten(sequences: list[list[int]]) -> np.ndarray:
    return np.fromiter((word for sequence in sequences for word in sequence), dtype=np.int64)


class _Fingerprints:
    """Fingerprints of every window of a sequence, from prefix sums modulo 2**64."""

    def __init__(self, values: np.ndarray) -> None:
        powers = _powers(_MULTIPLIER, values.size + 1)
        self._inverse_powers = _powers(_INVERSE, values.size + 1)
        self._prefix = np.zeros(values.size + 1, dtype=np.uint64)
        np.cumsum(values * powers[:-1], out=self._prefix[1:])

    def windows(self, starts: np.ndarray, lengths: np.ndarray | int) -> np.ndarray:
        """Fingerprint of each window: uint64, equal for equal words wherever they stand."""
        sums = self._prefix[starts + lengths] - self._prefix[starts]
        return sums * self._inverse_powers[starts]


def _powers(base: int, count: int) -> np.ndarray:
    factors = np.full(count, base, dtype=np.uint64)
    factors[0] = 1
    return np.cumprod(factors, dtype=np.uint64)


@dataclass(frozen=True)
class _AnchorGroup:
    """The distinct anchors of one length and, for each, the row lengths that begin with it."""

    anchors: np.ndarray
    first: np.ndarray
    row_lengths: np.ndarray

    def match(self, windows: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (index into row_lengths, position) of each row that may begin there."""
        index = np.searchsorted(self.anchors, windows)
        index[index == self.anchors.size] = 0
        same = self.anchors[index] == windows
        index, positions = index[same], positions[same]
        counts = self.first[index + 1] - self.first[index]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(self.first[index], counts) + within, np.repeat(positions, counts)


def _group_anchors(
    anchors: np.ndarray, anchor_lengths: np.ndarray, row_lengths: np.ndarray
) -> dict[int, _AnchorGroup]:
    groups = {}
    for length in np.unique(anchor_lengths[anchor_lengths > 0]):
        here = anchor_lengths == length
        pairs = sorted(set(zip(anchors[here].tolist(), row_lengths[here].tolist(), strict=True)))
        distinct, first = np.unique(
            np.array([anchor for anchor, _ in pairs], dtype=np.uint64), return_index=True
        )
        groups[int(length)] = _AnchorGroup(
            distinct,
            np.append(first, len(pairs)),
            np.array([row_length for _, row_length in pairs], dtype=np.int64),
        )
    return groups


@dataclass(frozen=True)
class HoldOut:
    """Row numbers, int64, increasing: kept for training, held out, and in neither part."""

    train: np.ndarray
    held_out: np.ndarray
    removed: np.ndarray


def grouped_hold_out(texts: Sequence[str], fraction: float, seed: int) -> HoldOut:
    """Hold out a part of `texts` that shares no row, and no part of a row, with the rest.

    A `fraction` (0..1) of the distinct texts that stand inside no other text is drawn;
    these are a task's sentences where its rows are sentences and their phrases. A row
    equal to a held-out one is held out with it if its text is the same word for word;
    every other row that stands inside a held-out one goes to neither part. Then no
    held-out row stands inside a training row, nor the other way round.
    """
    keys = [" ".join(words_of(text)) for text in texts]
    distinct = sorted(set(keys))
    number = {key: index for index, key in enumerate(distinct)}
    group = np.array([number[key] for key in keys], dtype=np.int64)
    index = ContainmentIndex(distinct)
    candidates = np.flatnonzero(~index.find(distinct, proper=True) & (index.lengths > 0))
    count = round(fraction * candidates.size)
    chosen = np.random.default_rng(seed).permutation(candidates)[:count]
    is_chosen = np.zeros(len(distinct), dtype=bool)
    is_chosen[chosen] = True
    touched = index.find(distinct[row] for row in chosen) & ~is_chosen
    return HoldOut(
        train=np.flatnonzero(~is_chosen[group] & ~touched[group]),
        held_out=np.flatnonzero(is_chosen[group]),
        removed=np.flatnonzero(touched[group]),
    )
