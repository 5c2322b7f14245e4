"""One layer of each layout: attention, then a feed-forward network.

Both read all tokens of a row; where only the states at some positions are wanted, those alone
ask and are computed further.

Shape suffixes: B rows, L tokens a row, M positions a row, D hidden size.
"""

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from cloze.model.attention import AttentionContext, SelfAttention
from cloze.model.config import EncoderConfig
from cloze.model.dropout import Dropout
from cloze.model.packed_batch import states_at


class PostNormLayer(nn.Module):
    """A layer of the original BERT: sublayer, dropout, residual sum, then LayerNorm."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.layer_norm_eps
        self.attention = SelfAttention(config, bias=True)
        self.attention_norm = nn.LayerNorm(size, eps=eps)
        self.up = nn.Linear(size, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, size)
        self.mlp_norm = nn.LayerNorm(size, eps=eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(
        self, hidden_BLD: Tensor, context: AttentionContext, positions_BM: Tensor | None = None
    ) -> Tensor:
        """Return the next hidden states [B, L, D], or those at `positions_BM` alone [B, M, D]."""
        attended = self.dropout(self.attention(hidden_BLD, context, positions_BM))
        hidden = self.attention_norm(_at(hidden_BLD, positions_BM) + attended)
        transformed = self.dropout(self.down(F.gelu(self.up(hidden))))
        return self.mlp_norm(hidden + transformed)


class PreNormLayer(nn.Module):
    """A layer of ModernBERT: LayerNorm, sublayer, residual sum; GeGLU (Shazeer 2020)."""

    def __init__(self, config: EncoderConfig, first: bool) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.layer_norm_eps
        # The embeddings are normalised already, so the first layer has no norm of its own.
        self.attention_norm = nn.Identity() if first else nn.LayerNorm(size, eps=eps, bias=False)
        self.attention = SelfAttention(config, bias=False)
        self.mlp_norm = nn.LayerNorm(size, eps=eps, bias=False)
        self.up = nn.Linear(size, 2 * config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, size, bias=False)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(
        self, hidden_BLD: Tensor, context: AttentionContext, positions_BM: Tensor | None = None
    ) -> Tensor:
        """Return the next hidden states [B, L, D], or those at `positions_BM` alone [B, M, D]."""
        attended = self.attention(self.attention_norm(hidden_BLD), context, positions_BM)
        hidden = _at(hidden_BLD, positions_BM) + self.dropout(attended)
        value, gate = self.up(self.mlp_norm(hidden)).chunk(2, dim=-1)
        return hidden + self.dropout(self.down(F.gelu(value) * gate))


def _at(hidden_BLD: Tensor, positions_BM: Tensor | None) -> Tensor:
    return hidden_BLD if positions_BM is None else states_at(hidden_BLD, positions_BM)
