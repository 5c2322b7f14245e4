"""Self-attention within each sample of a packed row.

Shape suffixes: B rows, L tokens a row, M positions a row, D hidden size, H heads, K head
size; Q queries a row, L or M.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from cloze.model.config import EncoderConfig
from cloze.model.dropout import dropout
from cloze.model.packed_batch import PackedBatch, states_at
from cloze.model.positions import (
    relative_distances,
    relative_scores,
    rotary_angles,
    rotate,
)
from cloze.model.varlen import Segments, attend_segments, packed_segments, varlen_is_possible

_LONGEST_PLAIN_ROW = 256


@dataclass(frozen=True)
class AttentionContext:
    """What the attention of every layer shares, computed once a batch.

    Samples are kept apart either by `mask`, as `PackedBatch.attention_mask`, or by
    `segments`. `rotary` as `rotary_angles`; `distances` as `relative_distances`.
    """

    sample_ids: Tensor
    mask: Tensor | None
    segments: Segments | None
    rotary: Tensor | None
    distances: Tensor | None

    @property
    def lets_few_ask(self) -> bool:
        """Whether `at` is possible: distances do not know of single queries."""
        return self.distances is None

    def at(self, positions_BM: Tensor) -> "AttentionContext":
        """Return what queries at these positions of each row need, in the place of all.

        Always a mask: the kernel for segments wants as many queries as keys.
        """
        samples_BM = self.sample_ids.gather(1, positions_BM)
        mask = samples_BM[:, None, :, None] == self.sample_ids[:, None, None, :]
        if self.rotary is None:
            return replace(self, mask=mask, segments=None)
        rotary = self.rotary.take_along_dim(positions_BM[None, :, None, :, None], dim=3)
        return replace(self, mask=mask, segments=None, rotary=rotary)


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
        sample_ids=batch.sample_ids,
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
        asked_BM = positions_BM if context.lets_few_ask else None
        asking = context if asked_BM is None else context.at(asked_BM)
        query, key, value = self._heads(hidden_BLD, asked_BM)
        if context.rotary is not None and asking.rotary is not None:
            query, key = rotate(query, asking.rotary), rotate(key, context.rotary)
        attended_BQD = self._attend(query, key, value, asking).transpose(1, 2).flatten(2)
        if positions_BM is not None and asked_BM is None:
            attended_BQD = states_at(attended_BQD, positions_BM)
        return self.output(attended_BQD)

    def _heads(self, hidden_BLD: Tensor, positions_BM: Tensor | None) -> tuple[Tensor, ...]:
        """Return query [B, H, Q, K], key and value [B, H, L, K]."""
        if positions_BM is None:
            return self._split(self.qkv(hidden_BLD))
        sizes = [hidden_BLD.shape[-1], 2 * hidden_BLD.shape[-1]]
        weights = self.qkv.weight.split(sizes)
        biases = (None, None) if self.qkv.bias is None else self.qkv.bias.split(sizes)
        query_BMD = F.linear(states_at(hidden_BLD, positions_BM), weights[0], biases[0])
        return *self._split(query_BMD), *self._split(F.linear(hidden_BLD, weights[1], biases[1]))

    def _split(self, projected: Tensor) -> tuple[Tensor, ...]:
        """Return each of the tensors [B, H, Q, K] that lie beside each other, [B, Q, n·D]."""
        size = self.qkv.in_features
        parts = projected.unflatten(-1, (-1, self.num_heads, size // self.num_heads))
        return parts.permute(2, 0, 3, 1, 4).unbind(0)

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
    """Return softmax(QKᵀ/√K + relative)·V (Vaswani et al. 2017, eq. 1), [B, H, Q, K].

    query: [B, H, Q, K]; key, value: [B, H, L, K]; mask: bool, broadcasts to [B, H, Q, L].

    On a CPU the fused kernel's backward takes a quarter of a small encoder's step; three
    plain products that the compiler fuses with the softmax make the step 1.3 times
    faster. Their scores take B·H·Q·L floats, so long rows keep the fused kernel.
    """
    scores_a_head = query.shape[-2] * key.shape[-2]
    if query.device.type != "cpu" or scores_a_head > _LONGEST_PLAIN_ROW**2:
        if relative_BHLL is not None:
            mask = relative_BHLL.masked_fill(~mask, -torch.inf).to(query.dtype)
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropout_prob
        )
    scores_BHQL = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if relative_BHLL is not None:
        scores_BHQL = scores_BHQL + relative_BHLL
    weights_BHQL = scores_BHQL.float().masked_fill(~mask, -torch.inf).softmax(dim=-1)
    return dropout(weights_BHQL, dropout_prob).to(value.dtype) @ value
