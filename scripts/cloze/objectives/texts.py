"""Labelled texts as packed batches: tokenised once, then put into rows without padding waste."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from tokenizers import Tokenizer

from cloze.cli import progress
from cloze.errors import ClozeError
from cloze.model.encoder import PackedBatch
from cloze.tokens.packing import pack_best_fit
from cloze.tokens.tokenizer import SpecialIds, special_ids
from cloze.tokens.tokenizer import vocab_size as tokenizer_size

# Rows as long as this hold a handful of sentences each: long enough to waste little on
# padding, short enough that attention over a row stays cheap. Longer texts get rows of a
# multiple, so there are few shapes to compile and to plan matrix products for.
ROW_TOKENS = 64
_TEXTS_AT_ONCE = 1024
_PLACES = 8
# Sun et al. 2019, §5.3.1: of 510 tokens the first 128 and the last 382.
_HEAD_SHARE = 128 / 510
MIN_MAX_LENGTH = 4


@dataclass(frozen=True)
class EncodedTexts:
    """Texts as `[CLS] … [SEP]`, pairs as `[CLS] … [SEP] … [SEP]`, one after the other.

    `input_ids` int32 [num_tokens]; `offsets` int64 [num_texts + 1]; `truncated`: how many
    texts or pairs lost something to `max_length`. `first_lengths` int64 [num_texts]:
    tokens of a pair up to its first [SEP] and with it; None where texts stand alone.
    `rows` int64 [num_texts], increasing: the row of a split that each text is of, where a long
    row is several; None where each is a row.
    """

    input_ids: np.ndarray
    offsets: np.ndarray
    truncated: int
    special: SpecialIds
    first_lengths: np.ndarray | None = None
    rows: np.ndarray | None = None

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text, int64 [num_texts]."""
        return np.diff(self.offsets)

    def texts_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the numbers of the texts that rows of the split are, int64."""
        return rows if self.rows is None else np.flatnonzero(np.isin(self.rows, rows))

    def row_of(self, texts: np.ndarray) -> np.ndarray:
        """Return the rows of the split that texts are of, int64."""
        return texts if self.rows is None else self.rows[texts]

    def take(self, texts: np.ndarray) -> Self:
        """Return the texts with these numbers, those of a whole row together.

        Rows are numbered anew.
        """
        lengths = self.lengths[texts]
        rows = None if self.rows is None else np.unique(self.rows[texts], return_inverse=True)[1]
        firsts = None if self.first_lengths is None else self.first_lengths[texts]
        return dataclasses.replace(
            self,
            input_ids=self.input_ids[self.tokens_of(texts)],
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            first_lengths=firsts,
            rows=rows,
        )

    def tokens_of(self, texts: np.ndarray) -> np.ndarray:
        """Return where the tokens of texts stand in `input_ids`, text after text, int64."""
        lengths = self.lengths[texts]
        starts = np.cumsum(lengths) - lengths
        return np.arange(lengths.sum()) + np.repeat(self.offsets[texts] - starts, lengths)


def encode_texts(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    max_length: int,
    vocab_size: int,
    *,
    pairs: Sequence[str] | None = None,
    truncation: str = "head",
) -> EncodedTexts:
    """Tokenise `texts`, each with its second text if `pairs` are given.

    What is longer than `max_length` tokens, the special ones among them, loses what
    `truncation` says (see `truncate`); of a pair the longer text first. Raises
    `ClozeError` if the tokenizer has more entries than the encoder's `vocab_size`.
    """
    require_tokenizer(tokenizer, vocab_size)
    special = special_ids(tokenizer)
    pieces: list[list[int]] = []
    first_lengths: list[int] = []
    truncated = 0
    with progress(total=len(texts), unit=" texts", description="tokenise") as bar:
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            chunk = slice(start, start + _TEXTS_AT_ONCE)
            firsts = _ids(tokenizer, texts[chunk])
            if pairs is None:
                room = max_length - 2
                truncated += sum(len(ids) > room for ids in firsts)
                kept = (truncate(ids, room, truncation) for ids in firsts)
                pieces += ([special.cls, *ids, special.sep] for ids in kept)
            else:
                between = [special.sep] * special.separators
                room = max_length - 2 - len(between)
                for first, second in zip(firsts, _ids(tokenizer, pairs[chunk]), strict=True):
                    truncated += len(first) + len(second) > room
                    one, two = truncate_pair(first, second, room, truncation)
                    pieces.append([special.cls, *one, *between, *two, special.sep])
                    first_lengths.append(len(one) + 2)
            bar.update(len(firsts))
    offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    flat = np.fromiter((token for piece in pieces for token in piece), np.int32, int(offsets[-1]))
    bounds = None if pairs is None else np.array(first_lengths, dtype=np.int64)
    return EncodedTexts(flat, offsets, truncated, special, bounds)


def require_tokenizer(tokenizer: Tokenizer, vocab_size: int) -> None:
    """Raise `ClozeError` if the tokenizer has more entries than the encoder's `vocab_size`."""
    entries = tokenizer_size(tokenizer)
    if entries > vocab_size:
        raise ClozeError(
            f"tokenizer.json: has {entries} entries, the encoder {vocab_size}; "
            "this is not the tokenizer it was trained with"
        )


def _ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [
        encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)
    ]


def pack_texts(
    encoded: EncodedTexts, texts: np.ndarray, multiple: int = ROW_TOKENS
) -> tuple[PackedBatch, np.ndarray]:
    """Return the texts with these numbers as one batch, and the order they have in it.

    The classifier's logits [S, num_labels] of the batch belong to the texts that the
    second array, int64 [S], names. multiple: as for `row_tokens`.
    """
    rows = pack_best_fit(encoded.lengths[texts], row_tokens(encoded.lengths[texts], multiple))
    return _to_batch(encoded, texts, rows, multiple)


def packed_batches(
    encoded: EncodedTexts,
    rows_per_batch: int,
    texts: np.ndarray | None = None,
    multiple: int = ROW_TOKENS,
) -> Iterator[tuple[PackedBatch, np.ndarray]]:
    """Yield each text once, as `pack_texts` does, in batches of this many full rows.

    texts: int64 numbers of those that count, all by default; multiple: what the length of
    a batch's rows is rounded up to where none is full.
    """
    texts = np.arange(len(encoded.lengths)) if texts is None else texts
    rows = pack_best_fit(encoded.lengths[texts], row_tokens(encoded.lengths[texts]))
    for start in range(0, len(rows), rows_per_batch):
        yield _to_batch(encoded, texts, rows[start : start + rows_per_batch], multiple)


def row_tokens(lengths: np.ndarray, multiple: int = ROW_TOKENS) -> int:
    """Return the length of rows for texts of these lengths: the longest's, rounded up."""
    return -(-int(lengths.max()) // multiple) * multiple


def slot_values(
    batch: PackedBatch, order: np.ndarray, values: np.ndarray, num_samples: int, empty: int = 0
) -> np.ndarray:
    """Return each text's value at its place among the first N samples of its row, [B, N, …].

    order: as `pack_texts` returns it; values: [num_texts, …] of any type, indexed by it;
    `empty` fills the places of rows that have fewer samples.
    """
    counts = batch.sample_ids.amax(dim=1).numpy()
    filled = np.arange(num_samples) < counts[:, None]
    slots = np.full((*filled.shape, *values.shape[1:]), empty, dtype=values.dtype)
    slots[filled] = values[order]
    return slots


def rounded_places(count: int) -> int:
    """Return how many places a batch has for up to `count` texts or words of a row.

    oneDNN keeps a plan of every product it meets, up to a megabyte each, for every shape.
    """
    return max(1, -(-count // _PLACES)) * _PLACES


def token_values(
    encoded: EncodedTexts, batch: PackedBatch, order: np.ndarray, values: np.ndarray, empty: int
) -> np.ndarray:
    """Return each token's value at its place in the rows of a batch, [B, L].

    order: as `pack_texts` returns it; values: of every token of `encoded`, [num_tokens] of any
    type; `empty` stands where a row has no token.
    """
    filled = batch.sample_ids.numpy() > 0
    grid = np.full(filled.shape, empty, dtype=values.dtype)
    # Samples fill a row from its start, one after the other, so row-major order is theirs.
    grid[filled] = values[encoded.tokens_of(order)]
    return grid


def _to_batch(
    encoded: EncodedTexts,
    texts: np.ndarray,
    rows: Sequence[Sequence[int]],
    multiple: int = ROW_TOKENS,
) -> tuple[PackedBatch, np.ndarray]:
    """Put texts into rows; no loop runs over them. `rows` number the entries of `texts`."""
    samples_per_row = np.array([len(row) for row in rows])
    order = texts[np.concatenate([np.asarray(row) for row in rows])]
    lengths = encoded.lengths[order]
    row_of = np.repeat(np.arange(len(rows)), samples_per_row)
    starts = np.cumsum(lengths) - lengths
    first_of_row = np.cumsum(samples_per_row) - samples_per_row
    columns = starts - starts[first_of_row][row_of]
    numbers = np.arange(len(order)) - first_of_row[row_of] + 1
    width = row_tokens((columns + lengths)[np.cumsum(samples_per_row) - 1], multiple)

    positions = np.arange(lengths.sum()) - np.repeat(starts, lengths)
    places = np.repeat(row_of * width + columns, lengths) + positions
    tokens = encoded.input_ids[np.repeat(encoded.offsets[order], lengths) + positions]

    def rows_of(values: np.ndarray, padding: int = 0) -> torch.Tensor:
        grid = np.full(len(rows) * width, padding, dtype=np.int64)
        grid[places] = values
        return torch.from_numpy(grid.reshape(len(rows), width))

    token_types = None
    if encoded.first_lengths is not None:
        token_types = rows_of(positions >= np.repeat(encoded.first_lengths[order], lengths))
    batch = PackedBatch(
        rows_of(tokens, encoded.special.pad),
        rows_of(positions),
        rows_of(np.repeat(numbers, lengths)),
        token_types,
    )
    return batch, order


def check_max_length(max_length: int, max_position_embeddings: int) -> None:
    """Raise `ClozeError` if the encoder cannot read texts of `max_length` tokens."""
    if max_length < MIN_MAX_LENGTH:
        raise ClozeError(
            f"--max-length {max_length}: leaves no room for a text beside [CLS] and [SEP]; "
            f"use {MIN_MAX_LENGTH} or more"
        )
    if max_length > max_position_embeddings:
        raise ClozeError(
            f"--max-length {max_length}: the encoder has {max_position_embeddings} positions; "
            "use that many or fewer"
        )


def truncate(ids: list[int], room: int, truncation: str) -> list[int]:
    """Return at most `room` tokens of a text.

    truncation: `head` keeps its start, `tail` its end, `head+tail` a quarter from its
    start and the rest from its end (Sun et al. 2019, §5.3.1).
    """
    if len(ids) <= room:
        return ids
    head = {"head": room, "tail": 0, "head+tail": round(room * _HEAD_SHARE)}[truncation]
    return ids[:head] + ids[len(ids) - (room - head) :]


def truncate_pair(
    first: list[int], second: list[int], room: int, truncation: str
) -> tuple[list[int], list[int]]:
    """Return two texts that have at most `room` tokens together.

    The longer one is cut until both are equally long, then both (`longest_first` in Hugging
    Face); an odd token is the first one's. Each is cut as `truncate` says.
    """
    second_room = max(room // 2, room - len(first))
    second = truncate(second, second_room, truncation)
    return truncate(first, room - len(second), truncation), second
