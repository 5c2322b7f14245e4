"""Rows of several texts: what an encoder reads.

Shape suffixes: B rows, L tokens a row.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PackedBatch:
    """Rows of whole samples, one after the other, that do not see each other.

    `input_ids` [B, L] int64; `position_ids` [B, L] int64, 0 at the first token of each
    sample and one more at each of the next; `sample_ids` [B, L] int64, 1, 2, … within a
    row and 0 on the padding at its end.

    `token_type_ids` [B, L] int64: 0 in a sample's first text, 1 in its second (Devlin et
    al. 2019, §3); None, where no sample has a second one, costs nothing.

    `max_samples_per_row`: no row of the data set holds more. Shapes on a GPU follow from
    it, so it must not change from batch to batch. None: as many as fit, where each has
    a [CLS] and a [SEP].
    """

    input_ids: Tensor
    position_ids: Tensor
    sample_ids: Tensor
    token_type_ids: Tensor | None = None
    max_samples_per_row: int | None = None

    def to(self, device: torch.device) -> "PackedBatch":
        """Return the batch on `device`."""
        types = self.token_type_ids
        return PackedBatch(
            self.input_ids.to(device, non_blocking=True),
            self.position_ids.to(device, non_blocking=True),
            self.sample_ids.to(device, non_blocking=True),
            None if types is None else types.to(device, non_blocking=True),
            self.max_samples_per_row,
        )

    def attention_mask(self) -> Tensor:
        """Return the block-diagonal mask, bool [B, 1, L, L], True where attention is allowed."""
        return (self.sample_ids[:, None, :, None] == self.sample_ids[:, None, None, :]).detach()

    def first_tokens(self) -> Tensor:
        """Return bool [B, L], True at the first token ([CLS]) of every sample."""
        return (self.position_ids == 0) & (self.sample_ids > 0)

    def first_positions(self, num_samples: int) -> Tensor:
        """Return where each of the first N samples of every row starts, int64 [B, N].

        0 where a row has fewer.
        """
        numbers_N = torch.arange(1, num_samples + 1, device=self.sample_ids.device)
        starts_BNL = (self.sample_ids[:, None, :] == numbers_N[:, None]) & (self.position_ids == 0)[
            :, None, :
        ]
        return starts_BNL.int().argmax(dim=-1)


def states_at(states_BLD: Tensor, positions: Tensor) -> Tensor:
    """Return what stands at some positions (int64 [B, M]) of each row, [B, M, D]."""
    index = positions[:, :, None].expand(-1, -1, states_BLD.shape[-1])
    return states_BLD.gather(1, index)
