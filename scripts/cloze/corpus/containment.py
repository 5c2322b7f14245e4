"""Texts that stand inside other texts.

Texts are compared as sequences of words: case is folded, white space only separates,
punctuation marks are words, and in scripts written without spaces each letter is one.
"""

import re
from collections.abc import Iterable, Sequence
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
