"""From rows of a data set to batches: order, padding, positions, masks.

Everything is found from (seed, step) alone, so a resumed run replays nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cloze.data.shards import Rows
from cloze.encoder.model import PackedBatch
from cloze.pretraining.masking import MaskedTokens, Masker, counter_generator


@dataclass(frozen=True)
class MaskedBatch:
    """A packed batch with its predictions.

    `positions` int64, `labels` int64 and `weights` float32, each [B, M]; see `MaskedTokens`.
    """

    packed: PackedBatch
    positions: Tensor
    labels: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> "MaskedBatch":
        """Return the batch on `device`."""
        return MaskedBatch(
            self.packed.to(device),
            self.positions.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
            self.weights.to(device, non_blocking=True),
        )


class RowBatches:
    """Random access to the batches of a data set, in memory or mapped."""

    def __init__(self, rows: Rows, masker: Masker, pad_token_id: int) -> None:
        self._rows, self._masker, self._pad_token_id = rows, masker, pad_token_id
        self._permutation: tuple[int, int, np.ndarray] | None = None

    @property
    def num_rows(self) -> int:
        """Rows of one epoch."""
        return len(self._rows.row_offsets) - 1

    def training_batch(self, seed: int, step: int, batch_size: int) -> MaskedBatch:
        """Return the batch of optimizer step `step`, from 0; each epoch is a seeded permutation."""
        first = step * batch_size
        indices = np.empty(batch_size, dtype=np.int64)
        filled = 0
        while filled < batch_size:
            epoch, start = divmod(first + filled, self.num_rows)
            chunk = self._row_order(seed, epoch)[start : start + batch_size - filled]
            indices[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
        return self._collate(indices, step)

    def evaluation_batches(self, batch_size: int) -> Iterator[MaskedBatch]:
        """Yield every row once, in order, with masks that never change."""
        for step, start in enumerate(range(0, self.num_rows, batch_size)):
            yield self._collate(np.arange(start, min(start + batch_size, self.num_rows)), step)

    def _row_order(self, seed: int, epoch: int) -> np.ndarray:
        if self._permutation is None or self._permutation[:2] != (seed, epoch):
            # The high bit keeps this stream apart from the masks', which count steps.
            generator = counter_generator(seed, (1 << 63) | epoch)
            self._permutation = (seed, epoch, generator.permutation(self.num_rows))
        return self._permutation[2]

    def _collate(self, indices: np.ndarray, step: int) -> MaskedBatch:
        starts = self._rows.row_offsets[indices]
        lengths = self._rows.row_offsets[indices + 1] - starts
        column = np.arange(self._rows.row_length)
        valid = column[None, :] < lengths[:, None]
        token = np.where(valid, starts[:, None] + column[None, :], 0)
        input_ids = np.where(valid, self._rows.input_ids[token], self._pad_token_id)
        sample = np.searchsorted(self._rows.sample_offsets, token, side="right") - 1
        position_ids = np.where(valid, token - self._rows.sample_offsets[sample], 0)
        sample_ids = np.where(valid, sample - sample[:, :1] + 1, 0)
        return _to_tensors(self._masker.mask(input_ids, valid, step), position_ids, sample_ids)


def _to_tensors(
    masked: MaskedTokens, position_ids: np.ndarray, sample_ids: np.ndarray
) -> MaskedBatch:
    packed = PackedBatch(
        torch.from_numpy(masked.input_ids),
        torch.from_numpy(position_ids),
        torch.from_numpy(sample_ids),
    )
    return MaskedBatch(
        packed,
        torch.from_numpy(masked.positions),
        torch.from_numpy(masked.labels),
        torch.from_numpy(masked.weights),
    )
