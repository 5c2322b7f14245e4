"""Texts as streams of words in NumPy arrays, some fifty megabytes a second.

Two texts have the same words where they differ in nothing but case, white space,
punctuation and symbols. A word is a run of letters, digits, underscores and the marks on
them; in scripts written without spaces each character is one. The `n` of `don't` begins a
word, so that running text and Penn Treebank tokens (`do n't`) have the same words. Where
punctuation counts, each character of it, or symbol, is a word too.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloze.errors import ClozeError

_UNSPACED = (
    range(0x0E00, 0x0F00), range(0x1000, 0x10A0), range(0x1780, 0x1800), range(0x3040, 0x3100),
    range(0x3400, 0x4DC0), range(0x4E00, 0xA000), range(0xF900, 0xFB00),
)  # fmt: skip
# What a character is, above the 21 bits of its folded code point.
_CODE_POINT = np.uint32((1 << 24) - 1)
_GAP, _LETTER, _WORD, _EXPANDS, _PUNCTUATION = range(5)
_KIND_SHIFT = 24
_NUM_CODE_POINTS = 0x110000
# No character from here on has case or belongs to a script with spaces.
_NUM_LISTED = 0x20000
_UNSPACED_PLANES = slice(0x20000, 0x40000)
_APOSTROPHES = np.array([0x27, 0x2019], np.uint32) | np.uint32(_PUNCTUATION << _KIND_SHIFT)
_MULTIPLIER = 0x9E3779B97F4A7C15
_INVERSE = pow(_MULTIPLIER, -1, 1 << 64)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_MOST_CHARACTERS = 2_000_000_000
_SPACE = re.compile(r"\s")


@dataclass(frozen=True)
class WordStream:
    """The words of some texts, one after the other.

    `codes`: unsigned [num_characters], folded code points of all texts, gaps included.
    `starts`, `ends`: int32 [num_words], where each word stands in `codes`.
    `keys`: uint64 [num_words], equal for equal words, and for hardly any others.
    `text_offsets`: int64 [num_texts + 1], the words at which the texts start.
    """

    codes: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    keys: np.ndarray
    text_offsets: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """How many words each text has: int64 [num_texts]."""
        return np.diff(self.text_offsets)

    def text_of(self, words: np.ndarray) -> np.ndarray:
        """Return the text that each word, given by its place in the stream, belongs to."""
        return np.searchsorted(self.text_offsets, words, side="right") - 1


def word_stream(texts: Sequence[str], *, punctuation: bool = False) -> WordStream:
    """Return the words of `texts`, punctuation among them or left out.

    Takes some 50 bytes a character while it works.
    """
    values = _values("\n".join(texts))
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    kinds = (values >> np.uint32(_KIND_SHIFT)).astype(np.uint8)
    if (kinds == _EXPANDS).any():
        # Folding "ß" to "ss" moves all that follows, so Python does it.
        folded = [text.casefold() for text in texts]
        values = _values("\n".join(folded))
        sizes = np.fromiter(map(len, folded), np.int64, len(texts))
        kinds = (values >> np.uint32(_KIND_SHIFT)).astype(np.uint8)
    starts, ends = _bounds(values, kinds, punctuation)
    text_starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(sizes + 1, out=text_starts[1:])
    return WordStream(
        codes=values & _CODE_POINT,
        starts=starts.astype(np.int32),
        ends=ends.astype(np.int32),
        keys=_keys(values, starts, ends),
        text_offsets=np.searchsorted(starts, text_starts),
    )


def compact_word_stream(
    batches: Iterable[Sequence[str]], *, punctuation: bool = False
) -> WordStream:
    """Return the words of all texts in one stream, its code points in the smallest type.

    Works through one batch at a time, so that it takes some five bytes a character.
    Raises `ClozeError` if the texts have two thousand million characters or more.
    """
    codes, starts, ends = _Buffer(np.uint8), _Buffer(np.int32), _Buffer(np.int32)
    keys, text_ends = _Buffer(np.uint64), _Buffer(np.int64)
    text_ends.append(np.zeros(1, np.int64))
    for batch in batches:
        stream = word_stream(batch, punctuation=punctuation)
        if codes.size + len(stream.codes) > _MOST_CHARACTERS:
            raise ClozeError(
                f"these texts have more than {_MOST_CHARACTERS:,} characters; "
                "look for fewer of them at a time"
            )
        starts.append(stream.starts + codes.size)
        ends.append(stream.ends + codes.size)
        text_ends.append(stream.text_offsets[1:] + keys.size)
        keys.append(stream.keys)
        codes.widen(np.min_scalar_type(int(stream.codes.max(initial=0))))
        codes.append(stream.codes)
    return WordStream(*(part.values for part in (codes, starts, ends, keys, text_ends)))


class _Buffer:
    """An array that grows where it lies: lists of arrays hold everything twice when joined."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._array = np.empty(1 << 16, dtype)
        self.size = 0

    @property
    def values(self) -> np.ndarray:
        """What was appended."""
        return self._array[: self.size]

    def widen(self, dtype: np.dtype) -> None:
        """Let the array hold numbers of this type too."""
        self._array = self._array.astype(np.promote_types(self._array.dtype, dtype), copy=False)

    def append(self, values: np.ndarray) -> None:
        """Add numbers at the end."""
        end = self.size + len(values)
        if end > len(self._array):
            self._array.resize(max(end, len(self._array) * 5 // 4), refcheck=False)
        self._array[self.size : end] = values
        self.size = end


def pieces(text: str, size: int, overlap: int) -> Iterator[str]:
    """Yield a text in pieces of `size` characters or a little more, cut at white space.

    Each piece repeats the last `overlap` words of the one before it, so whatever
    is no longer than that stands whole in one of them.
    """
    start, cut = 0, 0
    while cut < len(text):
        found = _SPACE.search(text, cut + size)
        cut = found.start() if found else len(text)
        yield text[start:cut]
        start = _last_words(text, cut, overlap)


def _last_words(text: str, end: int, count: int) -> int:
    """Return where the last `count` pieces between white space before `end` begin."""
    reach = 16 * (count + 1)
    while True:
        begin = max(0, end - reach)
        parts = text[begin:end].rsplit(None, count)
        if len(parts) > count:
            return begin + len(parts[0])
        if begin == 0:
            return 0
        reach *= 2


def same_words(
    left: WordStream,
    left_first: np.ndarray,
    right: WordStream,
    right_first: np.ndarray,
    counts: np.ndarray,
) -> np.ndarray:
    """Compare runs of words, character by character where their keys agree.

    Run i is `counts[i]` words, at least one, from word `left_first[i]` and `right_first[i]`
    on. Returns bool [num_runs]. Takes some 100 bytes a word of the runs.
    """
    same = np.zeros(len(counts), np.bool_)
    if not len(counts):
        return same
    left_words, right_words = ranges(left_first, counts), ranges(right_first, counts)
    lengths = left.ends[left_words] - left.starts[left_words]
    equal = left.keys[left_words] == right.keys[right_words]
    equal &= lengths == right.ends[right_words] - right.starts[right_words]
    same[:] = _all_of_each(equal, counts)
    alive = np.repeat(same, counts)
    if not alive.any():
        return same
    lengths = lengths[alive]
    left_codes = left.codes[ranges(left.starts[left_words[alive]], lengths)]
    right_codes = right.codes[ranges(right.starts[right_words[alive]], lengths)]
    words_equal = _all_of_each(left_codes == right_codes, lengths)
    same[same] = _all_of_each(words_equal, counts[same])
    return same


def ranges(first: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return `first[i], first[i] + 1, …` (`counts[i]` numbers) for each i, one after the other."""
    ends = np.cumsum(counts, dtype=np.int64)
    return np.repeat(first - ends + counts, counts) + np.arange(ends[-1] if len(ends) else 0)


def _all_of_each(truths: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Reduce consecutive groups of `counts[i]` >= 1 truth values to whether all are true."""
    return np.logical_and.reduceat(truths, np.cumsum(counts, dtype=np.int64) - counts)


def _values(text: str) -> np.ndarray:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    return _table()[codes]


@functools.cache
def _table() -> np.ndarray:
    """Folded code point and kind of every character: uint32 [num_code_points]."""
    values = np.arange(_NUM_CODE_POINTS, dtype=np.uint32)
    unspaced = {code for script in _UNSPACED for code in script}
    for code in range(_NUM_LISTED):
        folded = chr(code).casefold()
        if len(folded) > 1:
            values[code] = code | _EXPANDS << _KIND_SHIFT
        elif folded == "_" or unicodedata.category(folded)[0] in "LNM":
            kind = _WORD if code in unspaced else _LETTER
            values[code] = ord(folded) | kind << _KIND_SHIFT
        elif not folded.isspace():
            values[code] = ord(folded) | _PUNCTUATION << _KIND_SHIFT
    values[_UNSPACED_PLANES] |= np.uint32(_WORD << _KIND_SHIFT)
    return values


def _bounds(
    values: np.ndarray, kinds: np.ndarray, punctuation: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return where words start and end."""
    in_word = kinds != _GAP
    if not punctuation:
        in_word &= kinds != _PUNCTUATION
    joined = kinds == _LETTER
    joined = joined[1:] & joined[:-1]
    joined[_contractions(values, joined) - 1] = False
    begins, finishes = in_word.copy(), in_word
    begins[1:] &= ~joined
    finishes[:-1] &= ~joined
    return np.flatnonzero(begins), np.flatnonzero(finishes) + 1


def _contractions(values: np.ndarray, joined: np.ndarray) -> np.ndarray:
    """Return where an `n` stands before `'t` at the end of a word, and after a letter."""
    letter_n, letter_t = (ord(letter) | _LETTER << _KIND_SHIFT for letter in "nt")
    marks = np.flatnonzero((values == _APOSTROPHES[0]) | (values == _APOSTROPHES[1]))
    marks = marks[(marks >= 2) & (marks + 1 < len(values))]
    marks = marks[(values[marks - 1] == letter_n) & (values[marks + 1] == letter_t)]
    last = marks + 1 == len(joined)
    ends_word = last | ~joined[np.where(last, 0, marks + 1)]
    return marks[ends_word & joined[marks - 2]] - 1


def _keys(values: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Polynomial fingerprints of words (Karp and Rabin 1987) from prefix sums modulo 2**64."""
    powers, inverse_powers = _powers(len(values).bit_length())
    prefix = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values * powers[: len(values)], out=prefix[1:])
    keys = (prefix[ends] - prefix[starts]) * inverse_powers[starts]
    # Windows of words are polynomials too; without this they would be those of their letters.
    keys ^= keys >> np.uint64(32)
    keys *= _MIX
    return keys


@functools.lru_cache(maxsize=2)
def _powers(bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Powers of the multiplier and of its inverse: uint64 [2**bits] each."""
    powers, inverse_powers = (
        np.full(1 << bits, base, np.uint64) for base in (_MULTIPLIER, _INVERSE)
    )
    powers[0] = inverse_powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64), np.cumprod(inverse_powers, dtype=np.uint64)
