"""Text to token ids with the ids of `tokenizers`, several times faster: each word is encoded once.

WordPiece, BPE and Unigram never look across the white space that their pre-tokenizer
splits at, so the ids of a text are those of its words, one after the other. Words are
found with NumPy, looked up in a table of those seen before, and only new ones go
through the tokenizer, many joined into one text, since a call costs more than a word takes.
Where a tokenizer's configuration breaks the rule, or is not known to keep it, whole lines
take the place of words.
"""

import enum
import functools
import json
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

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
# Normalizers that give a text what they give its words, white space between them.
_LOCAL_NORMALIZERS = {"BertNormalizer", "Lowercase", "StripAccents", "NFC", "NFD", "NFKC", "NFKD"}
_DROP_WHITE_SPACE = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}


class Splitting(enum.Enum):
    """Where a text may be cut so that the pieces' ids add up to the text's."""

    AT_PUNCTUATION = "white space belongs to no token, punctuation marks are words of their own"
    AT_WHITE_SPACE = "white space belongs to no token"
    BEFORE_SPACES = "a space belongs to the word after it"
    AT_LINES = "only lines are known to be independent"


def splitting_of(tokenizer: Tokenizer) -> Splitting:
    """Decide where texts may be cut from the tokenizer's own description of itself."""
    parts = json.loads(tokenizer.to_str())
    if not _is_local(parts["normalizer"]) or parts["model"].get("dropout"):
        return Splitting.AT_LINES
    if any(not token["special"] for token in parts["added_tokens"]):
        # They are found in the raw text, before any rule about white space.
        return Splitting.AT_LINES
    kind = (parts["pre_tokenizer"] or {}).get("type")
    if kind == "BertPreTokenizer" and _never_composes(parts["normalizer"]):
        return Splitting.AT_PUNCTUATION
    if kind in _DROP_WHITE_SPACE:
        return Splitting.AT_WHITE_SPACE
    if (kind == "ByteLevel" and parts["pre_tokenizer"]["use_regex"]) or (
        kind == "Metaspace" and parts["pre_tokenizer"]["split"]
    ):
        return Splitting.BEFORE_SPACES
    return Splitting.AT_LINES


def _is_local(normalizer: dict[str, Any] | None) -> bool:
    if normalizer is None:
        return True
    if normalizer["type"] == "Sequence":
        return all(map(_is_local, normalizer["normalizers"]))
    return normalizer["type"] in _LOCAL_NORMALIZERS


def lowercases(tokenizer: Tokenizer) -> bool:
    """Return whether BERT's normalizer lowercases; any other, or none, does not."""
    normalizer = json.loads(tokenizer.to_str())["normalizer"]
    return normalizer is not None and normalizer["lowercase"]


def _never_composes(normalizer: dict[str, Any] | None) -> bool:
    """Whether a mark after punctuation stays one: NFC makes `=` and U+0338 one letter."""
    return normalizer is None or normalizer["type"] == "BertNormalizer"


@dataclass(frozen=True)
class EncodedPieces:
    """Tokens of several texts, one after the other.

    `input_ids`: uint32 [num_tokens]; `word_starts`: bool [num_tokens], True where the
    pre-tokenizer starts a word; `counts`: int64 [num_pieces], tokens of each text.
    """

    input_ids: np.ndarray
    word_starts: np.ndarray
    counts: np.ndarray


Encode = Callable[[Tokenizer, list[str]], EncodedPieces]


def encode_each(tokenizer: Tokenizer, pieces: list[str]) -> EncodedPieces:
    """Encode each piece by itself."""
    encodings = tokenizer.encode_batch(pieces, add_special_tokens=False)
    counts = np.fromiter(map(len, encodings), np.int64, len(encodings))
    ends = np.cumsum(counts)
    words = _flat((e.word_ids for e in encodings), ends[-1])
    # Word ids begin anew in each piece, so two neighbours may share one.
    starts = np.zeros(len(words) + 1, np.bool_)
    starts[ends - counts] = True
    starts[1:-1] |= words[1:] != words[:-1]
    ids = _flat((e.ids for e in encodings), ends[-1]).astype(np.uint32)
    return EncodedPieces(ids, starts[:-1], counts)


def encode_joined(tokenizer: Tokenizer, pieces: list[str], separator: str) -> EncodedPieces:
    """Encode pieces as one text; a token belongs to the piece that it starts in."""
    encoding = tokenizer.encode(separator.join(pieces), add_special_tokens=False)
    steps = np.fromiter(map(len, pieces), np.int64, len(pieces)) + len(separator)
    token_starts = np.fromiter((start for start, _ in encoding.offsets), np.int64, len(encoding))
    piece = np.searchsorted(np.cumsum(steps) - steps, token_starts, side="right") - 1
    return _parted(encoding, piece, len(pieces))


def encode_words(tokenizer: Tokenizer, pieces: list[str]) -> EncodedPieces:
    """Encode pieces each of which is known to be exactly one word of the pre-tokenizer."""
    encoding = tokenizer.encode(" ".join(pieces), add_special_tokens=False)
    return _parted(encoding, np.array(encoding.word_ids, np.int64), len(pieces))


def _parted(encoding: Encoding, piece_of_token: np.ndarray, num_pieces: int) -> EncodedPieces:
    words = np.array(encoding.word_ids, np.int64)
    return EncodedPieces(
        input_ids=np.array(encoding.ids, np.uint32),
        word_starts=np.diff(words, prepend=-1) != 0,
        counts=np.bincount(piece_of_token, minlength=num_pieces),
    )


def _flat(lists: Iterable[Sequence[int | None]], count: int) -> np.ndarray:
    return np.fromiter(chain.from_iterable(lists), np.int64, count)


def encode_in_groups(
    tokenizer: Tokenizer,
    pieces: list[str],
    is_easy: Callable[[str], bool],
    easy: Encode,
    hard: Encode,
) -> EncodedPieces:
    """Encode pieces in one of two ways each; the result keeps their order."""
    chosen = np.fromiter(map(is_easy, pieces), np.bool_, len(pieces))
    groups = [(np.flatnonzero(chosen), easy), (np.flatnonzero(~chosen), hard)]
    encoded = [
        (indices, encode(tokenizer, [pieces[index] for index in indices.tolist()]))
        for indices, encode in groups
        if len(indices)
    ]
    counts = np.empty(len(pieces), np.int64)
    for indices, group in encoded:
        counts[indices] = group.counts
    starts = np.cumsum(counts) - counts
    merged = EncodedPieces(
        np.empty(counts.sum(), np.uint32), np.empty(counts.sum(), np.bool_), counts
    )
    for indices, group in encoded:
        shifts = starts[indices] - (np.cumsum(group.counts) - group.counts)
        places = np.arange(len(group.input_ids)) + np.repeat(shifts, group.counts)
        merged.input_ids[places] = group.input_ids
        merged.word_starts[places] = group.word_starts
    return merged


def _is_ascii_word(piece: str) -> bool:
    """Whether BERT's pipeline makes one word of a piece that holds no punctuation."""
    return piece.isascii() and piece.isprintable()


def _ends_where_it_should(piece: str) -> bool:
    """Whether pieces that start with a space may stand before and after this one."""
    return piece[0] == " " and not piece[-1].isspace()


_joined_by_spaces = functools.partial(encode_joined, separator=" ")
ENCODERS: dict[Splitting, Encode] = {
    Splitting.AT_PUNCTUATION: functools.partial(
        encode_in_groups, is_easy=_is_ascii_word, easy=encode_words, hard=_joined_by_spaces
    ),
    Splitting.AT_WHITE_SPACE: _joined_by_spaces,
    Splitting.BEFORE_SPACES: functools.partial(
        encode_in_groups,
        is_easy=_ends_where_it_should,
        easy=functools.partial(encode_joined, separator=""),
        hard=encode_each,
    ),
    Splitting.AT_LINES: encode_each,
}


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
