"""From rows of a data set to batches: order, padding, positions, masks.

Everything is found from (seed, step) alone, so a resumed run replays nothing and every
process finds its own rows of a global batch.
"""

import copy
import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cloze.model.encoder import PackedBatch
from cloze.objectives.masking import MaskedTokens, Masker, counter_generator
from cloze.objectives.objective import map_tensors, moved
from cloze.tokens.shards import Rows


@dataclass(frozen=True)
class PairsOfTexts:
    """What next-sentence prediction needs of B rows of up to N samples.

    `first_positions` int64 [B, N], where each sample starts; `labels` int64 [B, N], 0
    where the second text follows the first and 1 where it does not, as in Hugging Face;
    `weights` float32 [B, N], as those of `MaskedBatch`, 0 where a row has no such sample.
    """

    first_positions: Tensor
    labels: Tensor
    weights: Tensor


@dataclass(frozen=True)
class MaskedBatch:
    """A packed batch with its predictions.

    `positions` int64 and `labels` int64, each [B, M], as in `MaskedTokens`. `weights`
    float32 [B, M] is what a prediction's loss counts: 0 for filling, else 1, or in a
    training batch one over the predictions of the whole global batch, so that the parts
    of a batch, wherever they are computed, add up to its mean. `pairs` is None unless the
    batch is for next-sentence prediction too.
    """

    packed: PackedBatch
    positions: Tensor
    labels: Tensor
    weights: Tensor
    pairs: PairsOfTexts | None = None

    @property
    def num_rows(self) -> int:
        """Rows of this batch."""
        return self.positions.shape[0]

    def to(self, device: torch.device) -> "MaskedBatch":
        """Return the batch on `device`; the copy to a GPU does not wait for its work."""
        return map_tensors(self, lambda tensor: moved(tensor, device))

    def rows(self, start: int, stop: int) -> "MaskedBatch":
        """Return rows `start` to `stop`, which share the memory of this batch."""
        return map_tensors(self, lambda tensor: tensor[start:stop])

    def weighted(self, factor: float, pairs_factor: float | None = None) -> "MaskedBatch":
        """Return the batch with its weights times `factor`, those of pairs perhaps another."""
        if pairs_factor is None:
            pairs_factor = factor
        return dataclasses.replace(
            self,
            weights=self.weights * factor,
            pairs=self.pairs
            and dataclasses.replace(self.pairs, weights=self.pairs.weights * pairs_factor),
        )


class RowBatches:
    """Random access to the batches of a data set, in memory or mapped.

    Where samples are pairs of texts the batches tell the second texts apart, and for
    `next_sentence` hold what that objective predicts.
    """

    def __init__(
        self, rows: Rows, masker: Masker, pad_token_id: int, next_sentence: bool = False
    ) -> None:
        self._rows, self._masker, self._pad_token_id = rows, masker, pad_token_id
        self._next_sentence = next_sentence
        self._has_pairs = has_pairs(rows)
        self._permutation: tuple[int, int, np.ndarray] | None = None
        self._max_samples_per_row = _max_samples_per_row(rows)
        self.num_rows = self._most_rows = rows.num_rows

    @property
    def row_length(self) -> int:
        """Tokens of a row with its padding."""
        return self._rows.row_length

    @property
    def tokens_per_row(self) -> float:
        """Mean number of tokens of a row, padding apart."""
        return self._rows.num_tokens / self._rows.num_rows

    def first_rows(self, num_rows: int) -> "RowBatches":
        """Return only the first `num_rows` rows, or all where there are fewer."""
        other = copy.copy(self)
        other.num_rows = other._most_rows = min(num_rows, self.num_rows)
        return other

    def spread_rows(self, num_rows: int) -> "RowBatches":
        """Return at least `num_rows` rows spread over all, in runs as long as a batch is."""
        other = copy.copy(self)
        other._most_rows = min(num_rows, self.num_rows)
        return other

    def with_mlm_probability(self, mlm_probability: float) -> "RowBatches":
        """Return the same rows masked at another rate."""
        other = copy.copy(self)
        other._masker = self._masker.with_probability(mlm_probability)
        return other

    def row_numbers(self, seed: int, step: int, batch_size: int) -> np.ndarray:
        """Return which rows optimizer step `step`, from 0, sees: int64 [batch_size].

        Each epoch is a seeded permutation of all rows; a batch may span two.
        """
        first = step * batch_size
        numbers = np.empty(batch_size, dtype=np.int64)
        filled = 0
        while filled < batch_size:
            epoch, start = divmod(first + filled, self.num_rows)
            chunk = self._row_order(seed, epoch)[start : start + batch_size - filled]
            numbers[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
        return numbers

    def training_batch(
        self, seed: int, step: int, batch_size: int, share: tuple[int, int] | None = None
    ) -> MaskedBatch:
        """Return the global batch of optimizer step `step`, or its rows `share` (start, stop)."""
        numbers = self.row_numbers(seed, step, batch_size)
        start, stop = share or (0, batch_size)
        batch = self._collate(numbers[start:stop], step, start)
        predictions, pairs = float(batch.weights.sum()), 0
        if share is not None:
            input_ids, valid, token, _ = self._tokens(numbers)
            word_starts = self._word_starts(token)
            counts = self._masker.num_predictions(input_ids, valid, step, 0, word_starts)
            predictions = float(counts.sum())
        if self._next_sentence:
            pairs = int((self._rows.second_lengths[self._samples(numbers).sample] > 0).sum())
        return batch.weighted(1.0 / max(1.0, predictions), 1.0 / max(1, pairs))

    def evaluation_batches(self, batch_size: int) -> Iterator[MaskedBatch]:
        """Yield every row once, in order, with masks that never change with anything."""
        batches = -(-self.num_rows // batch_size)
        fewer = min(batches, -(-self._most_rows // batch_size))
        for number in range(fewer):
            start = number * batches // fewer * batch_size
            stop = min(start + batch_size, self.num_rows)
            yield self._collate(np.arange(start, stop), 0, start)

    def _row_order(self, seed: int, epoch: int) -> np.ndarray:
        if self._permutation is None or self._permutation[:2] != (seed, epoch):
            # The high bit keeps this stream apart from the masks', which count steps.
            generator = counter_generator(seed, (1 << 63) | epoch)
            self._permutation = (seed, epoch, generator.permutation(self.num_rows))
        return self._permutation[2]

    def _tokens(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return ids [B, L], which are no padding, their tokens' numbers, rows' first tokens."""
        starts = self._rows.row_offsets[numbers]
        lengths = self._rows.row_offsets[numbers + 1] - starts
        column = np.arange(self._rows.row_length)
        valid = column[None, :] < lengths[:, None]
        token = np.where(valid, starts[:, None] + column[None, :], 0)
        input_ids = np.where(valid, self._rows.input_ids[token], self._pad_token_id)
        return input_ids.astype(np.int64), valid, token, starts

    def _word_starts(self, token: np.ndarray) -> np.ndarray | None:
        return self._rows.word_starts[token] if self._masker.whole_words else None

    def _collate(self, numbers: np.ndarray, step: int, first_row: int) -> MaskedBatch:
        input_ids, valid, token, starts = self._tokens(numbers)
        samples = self._samples(numbers)
        column = np.arange(valid.shape[1])
        is_first = np.zeros(valid.shape, dtype=bool)
        firsts = self._rows.sample_offsets[samples.sample] - starts[samples.row]
        is_first[samples.row, firsts] = True
        first_column = np.maximum.accumulate(np.where(is_first, column, 0), axis=1)
        packed = PackedBatch(
            input_ids=torch.from_numpy(input_ids),
            position_ids=torch.from_numpy(np.where(valid, column - first_column, 0)),
            sample_ids=torch.from_numpy(np.where(valid, is_first.cumsum(axis=1), 0)),
            token_type_ids=self._second_texts(samples, starts, valid.shape),
            max_samples_per_row=self._max_samples_per_row,
        )
        word_starts = self._word_starts(token)
        masked = self._masker.mask(input_ids, valid, step, first_row, word_starts)
        pairs = self._pairs(samples, firsts, len(numbers)) if self._next_sentence else None
        return _masked_batch(packed, masked, pairs)

    def _samples(self, numbers: np.ndarray) -> "_Samples":
        rows = self._rows
        bounds = (rows.row_offsets[numbers], rows.row_offsets[numbers + 1])
        first, last = np.searchsorted(rows.sample_offsets, bounds)
        counts = last - first
        row = np.repeat(np.arange(len(numbers)), counts)
        nth = np.arange(len(row)) - np.repeat(counts.cumsum() - counts, counts)
        return _Samples(first[row] + nth, row, nth)

    def _second_texts(
        self, samples: "_Samples", starts: np.ndarray, shape: tuple[int, ...]
    ) -> Tensor | None:
        """Return int64 [B, L], 1 in the second text of each pair; None without pairs."""
        if not self._has_pairs:
            return None
        ends = self._rows.sample_offsets[samples.sample + 1] - starts[samples.row]
        lengths = self._rows.second_lengths[samples.sample].astype(np.int64)
        edges = np.zeros((shape[0], shape[1] + 1), dtype=np.int64)
        # The second text of one sample may end where another starts: add, do not set.
        np.add.at(edges, (samples.row, ends - lengths), 1)
        np.add.at(edges, (samples.row, ends), -1)
        return torch.from_numpy(edges.cumsum(axis=1)[:, :-1].copy())

    def _pairs(self, samples: "_Samples", firsts: np.ndarray, num_rows: int) -> PairsOfTexts:
        shape = (num_rows, self._max_samples_per_row)
        positions, labels = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        weights = np.zeros(shape, dtype=np.float32)
        place = (samples.row, samples.nth)
        positions[place] = firsts
        labels[place] = ~self._rows.is_next[samples.sample]
        weights[place] = self._rows.second_lengths[samples.sample] > 0
        return PairsOfTexts(*map(torch.from_numpy, (positions, labels, weights)))


@dataclass(frozen=True)
class _Samples:
    """The samples of some rows, int64 [samples] each: number, row of the batch, nth of the row."""

    sample: np.ndarray
    row: np.ndarray
    nth: np.ndarray


def has_pairs(rows: Rows) -> bool:
    """Return whether samples are pairs of texts, as a data set with next_sentence has them."""
    return bool(rows.second_lengths.any())


def _max_samples_per_row(rows: Rows) -> int:
    samples = np.searchsorted(rows.sample_offsets, rows.row_offsets)
    return int(np.diff(samples).max(initial=1))


def _masked_batch(
    packed: PackedBatch, masked: MaskedTokens, pairs: PairsOfTexts | None
) -> MaskedBatch:
    return MaskedBatch(
        dataclasses.replace(packed, input_ids=torch.from_numpy(masked.input_ids)),
        torch.from_numpy(masked.positions),
        torch.from_numpy(masked.labels),
        torch.from_numpy(masked.weights),
        pairs,
    )


def describe_rows(numbers: np.ndarray) -> str:
    """Name the rows of a batch in a few words: how many, a digest, the first ones."""
    digest = hashlib.sha256(np.ascontiguousarray(numbers, dtype="<i8").tobytes()).hexdigest()[:12]
    shown = ", ".join(map(str, numbers[:8].tolist())) + (", …" if len(numbers) > 8 else "")
    return f"{len(numbers)} rows, digest {digest}: {shown}"
