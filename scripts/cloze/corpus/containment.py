"""Texts that stand inside other texts, and hold-outs that such texts cannot leak into.

Texts are compared as sequences of words: case is folded, white space only separates,
punctuation marks are words, and in scripts written without spaces each letter is one.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from cloze.corpus.contamination import ContaminationIndex

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]")
# Bounds what is found at a time: a word that is a row by itself stands in very many texts.
_TEXTS_AT_ONCE = 1 << 13


def words_of(text: str) -> list[str]:
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
    candidates = np.flatnonzero(~index.find_parts() & (index.lengths > 0))
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
