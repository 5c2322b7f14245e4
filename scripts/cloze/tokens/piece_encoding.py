"""Many short texts through the tokenizer at once, at a fraction of the price of `encode_batch`.

A call of the library costs more than a word takes, so words are joined into one text
wherever the tokenizer is known to part them again.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from tokenizers import Encoding, Tokenizer

from cloze.tokens.splitting import Splitting


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
