"""Text to token ids with the ids of `tokenizers`, several times faster: each word is encoded once.

WordPiece, BPE and Unigram never look across the white space that their pre-tokenizer
splits at, so the ids of a text are those of its words, one after the other. Words are
found with NumPy, looked up in a table of those seen before, and only new ones go
through the tokenizer. Where a tokenizer's configuration breaks the rule, or is not known to
keep it, whole lines take the place of words.
"""

import string
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from cloze.tokens.piece_encoding import ENCODERS, EncodedPieces
from cloze.tokens.splitting import Splitting, lowercases, splitting_of
from cloze.tokens.word_table import MAX_WORD_BYTES, WordTable, distinct, words_of

TABLE_CAPACITY = 1 << 19
# The arrays made of a slice take some 20 times its size, a multiple of it if all words are new.
_SLICE_BYTES = 1 << 18
# Bounds what the tokenizer holds at a time: its encodings take some 50 bytes a character.
_BATCH_BYTES = 1 << 18
_NEW_LINE, _SPACE = 0x0A, 0x20
_IS_WORD_BYTE = ~np.isin(np.arange(256), list(b"\t\n\r "))
_IS_PUNCTUATION = np.isin(np.arange(256), list(string.punctuation.encode()))
_LOWERCASED = np.frombuffer(bytes(range(256)).lower(), np.uint8)
_WORD_START = np.uint32(1 << 31)
_ID = np.uint32((1 << 31) - 1)


@dataclass(frozen=True)
class EncodedText:
    """Tokens of a text without special tokens.

    `input_ids`: uint32 [num_tokens]; `word_starts`, `line_starts`: bool [num_tokens], True
    where a token is the first of a word (as the pre-tokenizer has it), of a line;
    `document_offsets`: int64 [num_documents + 1], token offsets.
    """

    input_ids: np.ndarray
    word_starts: np.ndarray
    line_starts: np.ndarray
    document_offsets: np.ndarray


def concatenate(first: EncodedText, second: EncodedText) -> EncodedText:
    """Return the documents of one text, then those of the other."""
    shift = len(first.input_ids)
    return EncodedText(
        input_ids=np.concatenate([first.input_ids, second.input_ids]),
        word_starts=np.concatenate([first.word_starts, second.word_starts]),
        line_starts=np.concatenate([first.line_starts, second.line_starts]),
        document_offsets=np.concatenate(
            [first.document_offsets, second.document_offsets[1:] + shift]
        ),
    )


class TextEncoder:
    """Encodes batches of documents; remembers up to `TABLE_CAPACITY` words between them."""

    def __init__(self, tokenizer: Tokenizer, capacity: int = TABLE_CAPACITY) -> None:
        self._tokenizer = tokenizer
        self.splitting = splitting_of(tokenizer)
        self._encode_strings = ENCODERS[self.splitting]
        self._lowercases = self.splitting is Splitting.AT_PUNCTUATION and lowercases(tokenizer)
        self._table = WordTable(capacity)
        self._store = _TokenStore()

    def encode(self, text: np.ndarray, document_offsets: np.ndarray) -> EncodedText:
        r"""Encode documents line by line; a line end (`\n`) and ASCII-blank lines give no token.

        `text`: uint8, UTF-8 of all documents, one right after the other;
        `document_offsets`: int64 [num_documents + 1], where each starts in `text`.
        """
        bounds = _line_bounds(text, document_offsets)
        tokens = [np.empty(0, np.uint32)]
        counts = [np.empty(0, np.int64)]
        for lines in _slices(bounds):
            piece_tokens, line_tokens = self._encode_lines(text[lines[0] : lines[-1]], lines)
            tokens.append(piece_tokens)
            counts.append(np.diff(line_tokens))
        line_offsets = np.zeros(len(bounds), np.int64)
        np.cumsum(np.concatenate(counts), out=line_offsets[1:])
        joined = np.concatenate(tokens)
        line_starts = np.zeros(len(joined), np.bool_)
        line_starts[line_offsets[:-1][np.diff(line_offsets) > 0]] = True
        return EncodedText(
            input_ids=joined & _ID,
            word_starts=joined >= _WORD_START,
            line_starts=line_starts,
            document_offsets=line_offsets[np.searchsorted(bounds, document_offsets)],
        )

    def _encode_lines(self, text: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of some lines as the store has them, and how many precede each bound.

        `bounds`: int64 [num_lines + 1], where each line starts, and the last one's end.
        """
        bounds = bounds - bounds[0]
        padded = np.zeros(len(text) + MAX_WORD_BYTES, np.uint8)
        padded[: len(text)] = _LOWERCASED[text] if self._lowercases else text
        starts, ends = self._pieces(padded[: len(text)], bounds)
        numbers = self._numbers(padded, starts, ends - starts)
        counts = self._store.counts[numbers]
        offsets = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        shifts = self._store.offsets[numbers] - offsets[:-1]
        tokens = self._store.tokens[np.arange(offsets[-1]) + np.repeat(shifts, counts)]
        return tokens, offsets[np.searchsorted(starts, bounds)]

    def _pieces(self, text: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where each piece that is encoded by itself starts and ends."""
        is_cut = np.zeros(len(text) + 1, np.bool_)
        is_cut[bounds] = True
        in_piece = np.zeros(len(text) + 1, np.bool_)
        if self.splitting in (Splitting.AT_PUNCTUATION, Splitting.AT_WHITE_SPACE):
            in_piece[:-1] = _IS_WORD_BYTE[text]
        else:
            in_piece[:-1] = text != _NEW_LINE
        if self.splitting is Splitting.AT_PUNCTUATION:
            is_mark = _IS_PUNCTUATION[text]
            is_cut[:-1] |= is_mark
            is_cut[1:] |= is_mark
        if self.splitting is Splitting.BEFORE_SPACES:
            is_cut[_spaces_after_words(text)] = True
        after_piece = np.zeros(len(text) + 1, np.bool_)
        after_piece[1:] = in_piece[:-1]
        starts = np.flatnonzero(in_piece & (is_cut | ~after_piece))
        ends = np.flatnonzero(after_piece & (is_cut | ~in_piece))
        if self.splitting in (Splitting.BEFORE_SPACES, Splitting.AT_LINES):
            kept = ~_are_blank(text, starts, ends, bounds)
            starts, ends = starts[kept], ends[kept]
        return starts, ends

    def _numbers(self, padded: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return where in the store each piece's tokens are, int64 [num_pieces]; adds new ones."""
        if len(self._table) > 3 * self._table.capacity // 4:
            self._table.clear()
        self._store.truncate(len(self._table))
        numbers = np.empty(len(starts), np.int64)
        short = np.flatnonzero(lengths <= MAX_WORD_BYTES)
        words = words_of(padded, starts[short], lengths[short])
        numbers[short] = self._table.find(words)
        new = np.flatnonzero(numbers[short] < 0)
        first, inverse = distinct(words.take(new))
        numbers[short[new]] = len(self._store) + inverse
        # What finds no room in the table, and long pieces, stay in the store for this call.
        fitting = first[: self._table.capacity - len(self._table)]
        self._table.insert(words.take(new[fitting]))
        long = np.flatnonzero(lengths > MAX_WORD_BYTES)
        numbers[long] = len(self._store) + len(first) + np.arange(len(long))
        unseen = np.concatenate([short[new[first]], long])
        self._encode_pieces(padded, starts[unseen], lengths[unseen])
        return numbers

    def _encode_pieces(self, text: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> None:
        batch: list[str] = []
        held = 0
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            batch.append(str(text[start : start + length].data, "utf-8"))
            held += length
            if held >= _BATCH_BYTES:
                self._store.append(self._encode_strings(self._tokenizer, batch))
                batch, held = [], 0
        if batch:
            self._store.append(self._encode_strings(self._tokenizer, batch))


class _TokenStore:
    """The tokens of pieces, by number: `tokens[offsets[n] : offsets[n] + counts[n]]`.

    A token is its id, and the highest bit where a word starts.
    """

    def __init__(self) -> None:
        self.tokens = np.empty(1 << 16, np.uint32)
        self.offsets = np.empty(1 << 14, np.int64)
        self.counts = np.empty(1 << 14, np.int64)
        self._num_pieces = self._num_tokens = 0

    def __len__(self) -> int:
        return self._num_pieces

    def truncate(self, num_pieces: int) -> None:
        """Keep only the first pieces."""
        if num_pieces < self._num_pieces:
            self._num_pieces, self._num_tokens = num_pieces, int(self.offsets[num_pieces])

    def append(self, encoded: EncodedPieces) -> None:
        """Add the tokens of further pieces."""
        counts = encoded.counts
        tokens = slice(self._num_tokens, self._num_tokens + len(encoded.input_ids))
        pieces = slice(self._num_pieces, self._num_pieces + len(counts))
        self.tokens = _with_room(self.tokens, tokens.stop)
        self.offsets = _with_room(self.offsets, pieces.stop)
        self.counts = _with_room(self.counts, pieces.stop)
        starts = np.where(encoded.word_starts, _WORD_START, np.uint32(0))
        self.tokens[tokens] = encoded.input_ids | starts
        self.offsets[pieces] = self._num_tokens + np.cumsum(counts) - counts
        self.counts[pieces] = counts
        self._num_pieces, self._num_tokens = pieces.stop, tokens.stop


def _with_room(array: np.ndarray, size: int) -> np.ndarray:
    if size <= len(array):
        return array
    larger = np.empty(max(size, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger


def _line_bounds(text: np.ndarray, document_offsets: np.ndarray) -> np.ndarray:
    """Return where lines start, and where the last one ends."""
    return np.union1d(np.flatnonzero(text == _NEW_LINE) + 1, document_offsets)


def _slices(bounds: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the bounds of whole lines that together have `_SLICE_BYTES`, or of one long line."""
    first, last = 0, len(bounds) - 1
    while first < last:
        reach = int(np.searchsorted(bounds, bounds[first] + _SLICE_BYTES, side="right")) - 1
        stop = max(reach, first + 1)
        yield bounds[first : stop + 1]
        first = stop


def _spaces_after_words(text: np.ndarray) -> np.ndarray:
    """Return the spaces before which a cut is safe: those that follow no white space.

    A run of white space is matched as a whole by byte-level BPE's expression, which looks
    one character ahead, so no cut may fall within it.
    """
    spaces = np.flatnonzero(text[1:] == _SPACE) + 1
    before = text[spaces - 1]
    is_word = (before > _SPACE) & (before < 0x7F)
    wide = np.flatnonzero(before >= 0x80)
    is_word[wide] = ~_ends_white_space(text, spaces[wide])
    return spaces[is_word]


def _ends_white_space(text: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return whether the character before each of `ends` is white space beyond ASCII."""
    last = text[ends - 1]
    middle = text[np.maximum(ends - 2, 0)]
    leading = text[np.maximum(ends - 3, 0)]
    of_two = (middle == 0xC2) & np.isin(last, (0x85, 0xA0))
    of_three = np.isin(leading, (0xE1, 0xE2, 0xE3)) & np.isin(middle, (0x80, 0x81, 0x9A))
    return of_two | of_three


def _are_blank(
    text: np.ndarray, starts: np.ndarray, ends: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    """Return which pieces are lines of ASCII white space alone."""
    blank = np.zeros(len(starts), np.bool_)
    at_line_start = np.zeros(len(text) + 1, np.bool_)
    at_line_start[bounds] = True
    for index in np.flatnonzero(at_line_start[starts] & (text[starts] <= _SPACE)).tolist():
        blank[index] = not text[starts[index] : ends[index]].tobytes().strip(b"\t\r ")
    return blank
