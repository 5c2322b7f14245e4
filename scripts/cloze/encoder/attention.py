"""Self-attention within each sample of a packed row.

Shape suffixes: B rows, L tokens a row, D hidden size, H heads, K head size.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from cloze.encoder.config import EncoderConfig
from cloze.encoder.dropout import dropout
from cloze.encoder.packed_batch import PackedBatch, states_at
from cloze.encoder.positions import (
    relative_distances,
    relative_scores,
    rotary_angles,
    rotate,
)
from cloze.encoder.varlen import Segments, attend_segments, packed_segments, varlen_is_possible

_LONGEST_PLAIN_ROW = 256


@dataclass(frozen=True)
class AttentionContext:
    """What the attention of every layer shares, computed once a batch.

    Samples are kept apart either by `mask`, as `PackedBatch.attention_mask`, or by
    `segments`. `rotary` as `rotary_angles`; `distances` as `relative_distances`.
    """

    mask: Tensor | None
    segments: Segments | None
    rotary: Tensor | None
    distances: Tensor | None


def attention_context(
    batch: PackedBatch, config: EncoderConfig, dtype: torch.dtype, dropout_prob: float
) -> AttentionContext:
    """Return the context for queries of `dtype`.

    The kernel that needs no mask has neither dropout nor a place for relative positions.
    """
    device = batch.input_ids.device
    relative = config.has_relative_positions
    by_segments = (
        varlen_is_possible(device, dtype, config.head_size) and dropout_prob == 0 and not relative
    )
    length, farthest = batch.input_ids.shape[1], config.max_position_embeddings
    return AttentionContext(
        mask=None if by_segments else batch.attention_mask(),
        segments=packed_segments(batch) if by_segments else None,
        rotary=rotary_angles(batch.position_ids, config) if config.layout != "bert" else None,
        distances=relative_distances(length, farthest, device) if relative else None,
    )


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, §3.2) within each sample."""

    def __init__(self, config: EncoderConfig, bias: bool) -> None:
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.dropout_prob = config.attention_probs_dropout_prob
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=bias)
        self.output = nn.Linear(config.hidden_size, config.hidden_size, bias=bias)
        if config.has_relative_positions:
            distances = 2 * config.max_position_embeddings - 1
            self.distance_embedding = nn.Embedding(distances, config.head_size)

    def forward(
        self, hidden_BLD: Tensor, context: AttentionContext, positions_BM: Tensor | None = None
    ) -> Tensor:
        """Return what each token gathers [B, L, D], or those at `positions_BM` alone [B, M, D]."""
        batch_size, length, hidden_size = hidden_BLD.shape
        qkv = self.qkv(hidden_BLD).view(batch_size, length, 3, self.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if context.rotary is not None:
            query, key = rotate(query, context.rotary), rotate(key, context.rotary)
        attended_BHLK = self._attend(query, key, value, context)
        attended_BLD = attended_BHLK.transpose(1, 2).reshape(batch_size, length, hidden_size)
        if positions_BM is not None:
            attended_BLD = states_at(attended_BLD, positions_BM)
        return self.output(attended_BLD)

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, context: AttentionContext
    ) -> Tensor:
        if context.segments is not None:
            return attend_segments(query, key, value, context.segments)
        assert context.mask is not None
        relative = None
        if context.distances is not None:
            scaled = query * query.shape[-1] ** -0.5
            relative = relative_scores(scaled, self.distance_embedding(context.distances))
        dropout_prob = self.dropout_prob if self.training else 0.0
        return attend(query, key, value, context.mask, dropout_prob, relative)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    dropout_prob: float,
    relative_BHLL: Tensor | None = None,
) -> Tensor:
    """Return softmax(QKᵀ/√K + relative)·V (Vaswani et al. 2017, eq. 1), all [B, H, L, K].

    On a CPU the fused kernel's backward takes a quarter of a small encoder's step; three
    plain products that the compiler fuses with the softmax make the step 1.3 times
    faster. Their scores take B·H·L² floats, so long rows keep the fused kernel.
    """
    if query.device.type != "cpu" or query.shape[-2] > _LONGEST_PLAIN_ROW:
        if relative_BHLL is not None:
            mask = relative_BHLL.masked_fill(~mask, -torch.inf).to(query.dtype)
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropout_prob
        )
    scores_BHLL = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if relative_BHLL is not None:
        scores_BHLL = scores_BHLL + relative_BHLL
    weights_BHLL = scores_BHLL.float().masked_fill(~mask, -torch.inf).softmax(dim=-1)
    return dropout(weights_BHLL, dropout_prob).to(value.dtype) @ value
