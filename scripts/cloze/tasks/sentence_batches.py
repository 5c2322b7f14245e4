"""Labelled texts as packed batches: tokenised once, then put into rows without padding waste."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer

from cloze.cli import progress
from cloze.data.packing import pack_best_fit
from cloze.data.tokenizer import SpecialIds, special_ids
from cloze.data.tokenizer import vocab_size as tokenizer_size
from cloze.encoder.packed_batch import PackedBatch
from cloze.errors import ClozeError

# Rows as long as this hold a handful of sentences each: long enough to waste little on
# padding, short enough that attention over a row stays cheap.
ROW_TOKENS = 64
_TEXTS_AT_ONCE = 1024


@dataclass(frozen=True)
class EncodedTexts:
    """Texts as `[CLS] … [SEP]`, one after the other.

    `input_ids` int32 [num_tokens]; `offsets` int64 [num_texts + 1]; `truncated`: how many
    texts lost their end to `max_length`.
    """

    input_ids: np.ndarray
    offsets: np.ndarray
    truncated: int
    special: SpecialIds

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text, int64 [num_texts]."""
        return np.diff(self.offsets)


def encode_texts(
    tokenizer: Tokenizer, texts: Sequence[str], max_length: int, vocab_size: int
) -> EncodedTexts:
    """Tokenise `texts`; each keeps its first `max_length` tokens, [CLS] and [SEP] among them.

    Raises `ClozeError` if the tokenizer has more entries than the encoder's `vocab_size`.
    """
    entries = tokenizer_size(tokenizer)
    if entries > vocab_size:
        raise ClozeError(
            f"tokenizer.json: has {entries} entries, the encoder {vocab_size}; "
            "this is not the tokenizer it was trained with"
        )
    special = special_ids(tokenizer)
    pieces: list[list[int]] = []
    truncated = 0
    with progress(total=len(texts), unit=" texts", description="tokenise") as bar:
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            batch = list(texts[start : start + _TEXTS_AT_ONCE])
            for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
                truncated += len(encoding.ids) > max_length - 2
                pieces.append([special.cls, *encoding.ids[: max_length - 2], special.sep])
            bar.update(len(batch))
    offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    flat = np.fromiter((token for piece in pieces for token in piece), np.int32, int(offsets[-1]))
    return EncodedTexts(flat, offsets, truncated, special)


def pack_texts(encoded: EncodedTexts, texts: np.ndarray) -> tuple[PackedBatch, np.ndarray]:
    """Return the texts with these numbers as one batch, and the order they have in it.

    The classifier's logits [S, num_labels] of the batch belong to the texts that the
    second array, int64 [S], names.
    """
    lengths = encoded.lengths[texts]
    return _to_batch(encoded, _pack_rows(texts, lengths))


def packed_batches(
    encoded: EncodedTexts, rows_per_batch: int
) -> Iterator[tuple[PackedBatch, np.ndarray]]:
    """Yield every text once, as `pack_texts` does, in batches of this many full rows."""
    rows = _pack_rows(np.arange(len(encoded.lengths)), encoded.lengths)
    for start in range(0, len(rows), rows_per_batch):
        yield _to_batch(encoded, rows[start : start + rows_per_batch])


def _pack_rows(texts: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Text numbers of each row."""
    row_tokens = max(ROW_TOKENS, int(lengths.max()))
    return [texts[row] for row in pack_best_fit(lengths, row_tokens)]


def _to_batch(encoded: EncodedTexts, rows: list[np.ndarray]) -> tuple[PackedBatch, np.ndarray]:
    width = max(int(encoded.lengths[row].sum()) for row in rows)
    input_ids = np.full((len(rows), width), encoded.special.pad, dtype=np.int64)
    position_ids = np.zeros((len(rows), width), dtype=np.int64)
    sample_ids = np.zeros((len(rows), width), dtype=np.int64)
    for index, row in enumerate(rows):
        column = 0
        for sample, text in enumerate(row, start=1):
            first, last = encoded.offsets[text : text + 2]
            span = slice(column, column + int(last - first))
            input_ids[index, span] = encoded.input_ids[first:last]
            position_ids[index, span] = np.arange(last - first)
            sample_ids[index, span] = sample
            column = span.stop
    batch = PackedBatch(
        torch.from_numpy(input_ids), torch.from_numpy(position_ids), torch.from_numpy(sample_ids)
    )
    return batch, np.concatenate(rows)
