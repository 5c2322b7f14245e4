"""The encoder, top to bottom, in the two layouts that the rest of the world can load.

`bert` is Devlin et al. 2019 (post-norm, learned absolute positions, token types,
biases, GELU); its outputs equal those of Hugging Face's `BertForMaskedLM`.
`modernbert` is Warner et al. 2024 with global attention in every layer (pre-norm, no
biases, rotary positions, GeGLU); its outputs equal those of `ModernBertForMaskedLM`.

Shape suffixes: B rows, L tokens a row, D hidden size, H heads, K head size,
S samples, M predicted positions, V vocabulary.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from cloze.errors import ClozeError

LAYOUTS = ("bert", "modernbert")
_LONGEST_PLAIN_ROW = 256


@dataclass(frozen=True)
class EncoderConfig:
    """What fixes an encoder's shape; names as in Hugging Face's configurations."""

    vocab_size: int
    layout: str = "bert"
    hidden_size: int = 256
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    rope_theta: float = 10_000.0
    initializer_range: float = 0.02
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    pad_token_id: int = 0

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ClozeError(f"layout: {self.layout!r} is unknown; use one of {', '.join(LAYOUTS)}")
        if self.hidden_size % self.num_attention_heads:
            raise ClozeError(
                f"num_attention_heads: {self.num_attention_heads} does not divide "
                f"hidden_size {self.hidden_size}; choose a divisor"
            )
        if self.layout == "modernbert" and self.head_size % 2:
            raise ClozeError(
                f"hidden_size / num_attention_heads is {self.head_size}; "
                "rotary positions need an even number"
            )

    @property
    def head_size(self) -> int:
        """Features of one attention head."""
        return self.hidden_size // self.num_attention_heads

    def with_dropout(self, probability: float) -> "EncoderConfig":
        """Return the same shape with this dropout on hidden states and attention."""
        return replace(
            self, hidden_dropout_prob=probability, attention_probs_dropout_prob=probability
        )


@dataclass(frozen=True)
class PackedBatch:
    """Rows of whole samples, one after the other, that do not see each other.

    `input_ids` [B, L] int64; `position_ids` [B, L] int64, 0 at the first token of
    each sample; `sample_ids` [B, L] int64, 1, 2, … within a row and 0 on padding.
    """

    input_ids: Tensor
    position_ids: Tensor
    sample_ids: Tensor

    def to(self, device: torch.device) -> "PackedBatch":
        """Return the batch on `device`."""
        return PackedBatch(
            self.input_ids.to(device, non_blocking=True),
            self.position_ids.to(device, non_blocking=True),
            self.sample_ids.to(device, non_blocking=True),
        )

    def attention_mask(self) -> Tensor:
        """Return the block-diagonal mask, bool [B, 1, L, L], True where attention is allowed."""
        return (self.sample_ids[:, None, :, None] == self.sample_ids[:, None, None, :]).detach()

    def first_tokens(self) -> Tensor:
        """Return bool [B, L], True at the first token ([CLS]) of every sample."""
        return (self.position_ids == 0) & (self.sample_ids > 0)


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, §3.2) within each sample."""

    def __init__(self, config: EncoderConfig, bias: bool) -> None:
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.dropout_prob = config.attention_probs_dropout_prob
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=bias)
        self.output = nn.Linear(config.hidden_size, config.hidden_size, bias=bias)

    def forward(self, hidden_BLD: Tensor, mask: Tensor, rotary: Tensor | None) -> Tensor:
        """Return what each token gathers [B, L, D]; `mask` as `PackedBatch.attention_mask`."""
        batch_size, length, hidden_size = hidden_BLD.shape
        qkv = self.qkv(hidden_BLD).view(batch_size, length, 3, self.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if rotary is not None:
            query, key = rotate(query, rotary), rotate(key, rotary)
        attended_BHLK = attend(query, key, value, mask, self.dropout_prob if self.training else 0.0)
        return self.output(attended_BHLK.transpose(1, 2).reshape(batch_size, length, hidden_size))


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, dropout_prob: float) -> Tensor:
    """Return softmax(QKᵀ/√K)·V (Vaswani et al. 2017, eq. 1), all [B, H, L, K].

    On a CPU the fused kernel's backward takes a quarter of a small encoder's step; three
    plain products that the compiler fuses with the softmax make the step 1.3 times
    faster. Their scores take B·H·L² floats, so long rows keep the fused kernel.
    """
    if query.device.type != "cpu" or query.shape[-2] > _LONGEST_PLAIN_ROW:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropout_prob
        )
    scores_BHLL = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    weights_BHLL = scores_BHLL.float().masked_fill(~mask, -torch.inf).softmax(dim=-1)
    return F.dropout(weights_BHLL, dropout_prob).to(value.dtype) @ value


def rotary_angles(position_ids: Tensor, config: EncoderConfig) -> Tensor:
    """Return cosine and sine of every angle (Su et al. 2021, §3.2), float32 [2, B, 1, L, K]."""
    features = torch.arange(0, config.head_size, 2, device=position_ids.device).float()
    inverse_frequency = 1.0 / (config.rope_theta ** (features / config.head_size))
    angles = position_ids[:, None, :, None].float() * inverse_frequency
    angles = torch.cat((angles, angles), dim=-1)
    return torch.stack((angles.cos(), angles.sin()))


def rotate(states_BHLK: Tensor, rotary: Tensor) -> Tensor:
    """Apply rotary position embeddings to queries or keys; keeps shape and dtype."""
    cosine, sine = rotary
    states = states_BHLK.float()
    first, second = states.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return (states * cosine + turned * sine).to(states_BHLK.dtype)


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
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_BLD: Tensor, mask: Tensor, rotary: Tensor | None) -> Tensor:
        """Return the next hidden states [B, L, D]."""
        attended = self.dropout(self.attention(hidden_BLD, mask, rotary))
        hidden_BLD = self.attention_norm(hidden_BLD + attended)
        transformed = self.dropout(self.down(F.gelu(self.up(hidden_BLD))))
        return self.mlp_norm(hidden_BLD + transformed)


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
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_BLD: Tensor, mask: Tensor, rotary: Tensor | None) -> Tensor:
        """Return the next hidden states [B, L, D]."""
        attended = self.attention(self.attention_norm(hidden_BLD), mask, rotary)
        hidden_BLD = hidden_BLD + self.dropout(attended)
        value, gate = self.up(self.mlp_norm(hidden_BLD)).chunk(2, dim=-1)
        return hidden_BLD + self.dropout(self.down(F.gelu(value) * gate))


class Encoder(nn.Module):
    """Embeddings and a stack of layers: token ids in, one vector a token out."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        size, is_bert = config.hidden_size, config.layout == "bert"
        self.token_embedding = nn.Embedding(config.vocab_size, size)
        if is_bert:
            self.position_embedding = nn.Embedding(config.max_position_embeddings, size)
            self.token_type_embedding = nn.Embedding(config.type_vocab_size, size)
        self.embedding_norm = nn.LayerNorm(size, eps=config.layer_norm_eps, bias=is_bert)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.layers = nn.ModuleList(
            PostNormLayer(config) if is_bert else PreNormLayer(config, first=index == 0)
            for index in range(config.num_hidden_layers)
        )
        self.final_norm = (
            nn.Identity() if is_bert else nn.LayerNorm(size, eps=config.layer_norm_eps, bias=False)
        )

    def forward(self, batch: PackedBatch) -> Tensor:
        """Return the last layer's hidden states [B, L, D]."""
        hidden_BLD = self.dropout(self.embedding_norm(self._embed(batch)))
        mask, rotary = batch.attention_mask(), None
        if self.config.layout == "modernbert":
            rotary = rotary_angles(batch.position_ids, self.config)
        for layer in self.layers:
            hidden_BLD = layer(hidden_BLD, mask, rotary)
        return self.final_norm(hidden_BLD)

    def _embed(self, batch: PackedBatch) -> Tensor:
        embedded = self.token_embedding(batch.input_ids)
        if self.config.layout == "bert":
            # Every token is of type 0 until pairs of texts arrive.
            embedded = embedded + self.position_embedding(batch.position_ids)
            embedded = embedded + self.token_type_embedding.weight[0]
        return embedded


class MaskedLM(nn.Module):
    """The encoder with the masked-language-modelling head, tied to the token embeddings.

    The head runs at the predicted positions only: for a small encoder the product with
    the vocabulary is most of the step, and 85 % of its rows would be thrown away.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        is_bert = config.layout == "bert"
        self.encoder = Encoder(config)
        self.head_dense = nn.Linear(config.hidden_size, config.hidden_size, bias=is_bert)
        self.head_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, bias=is_bert)
        self.decoder_bias = nn.Parameter(torch.zeros(config.vocab_size))
        initialize_weights(self, config)

    def forward(self, batch: PackedBatch, positions_BM: Tensor) -> Tensor:
        """Return logits [B, M, V] at the token positions `positions_BM` (int64) of each row."""
        hidden_BLD = self.encoder(batch)
        index = positions_BM[:, :, None].expand(-1, -1, hidden_BLD.shape[-1])
        predicted = self.head_norm(F.gelu(self.head_dense(hidden_BLD.gather(1, index))))
        return F.linear(predicted, self.encoder.token_embedding.weight, self.decoder_bias)


class SequenceClassifier(nn.Module):
    """The encoder with a classification head on each sample's first token.

    `bert` pools as the original does (dense + tanh, then dropout); `modernbert` with
    dense + GELU + LayerNorm. Both are what `transformers` loads by those names.
    """

    def __init__(
        self, config: EncoderConfig, num_labels: int, classifier_dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.config, self.num_labels = config, num_labels
        size, is_bert = config.hidden_size, config.layout == "bert"
        self.encoder = Encoder(config)
        self.pooler_dense = nn.Linear(size, size, bias=is_bert)
        self.pooler_norm = (
            nn.Identity() if is_bert else nn.LayerNorm(size, eps=config.layer_norm_eps, bias=False)
        )
        self.dropout = nn.Dropout(classifier_dropout)
        self.classifier = nn.Linear(size, num_labels)
        initialize_weights(self, config)

    def forward(self, batch: PackedBatch) -> Tensor:
        """Return logits [S, num_labels], samples in the order of the rows."""
        first_SD = self.encoder(batch)[batch.first_tokens()]
        activation = torch.tanh if self.config.layout == "bert" else F.gelu
        pooled_SD = self.pooler_norm(activation(self.pooler_dense(first_SD)))
        return self.classifier(self.dropout(pooled_SD))


def initialize_weights(model: nn.Module, config: EncoderConfig) -> None:
    """Draw weights as BERT does: normal with `initializer_range`, biases 0, norms 1.

    In the pre-norm layout the projections back into the residual stream are scaled by
    1/sqrt(2 · layers) (Radford et al. 2019, §2.3), so its variance stays bounded.
    """
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            is_norm_scale = name.endswith("norm.weight")
            nn.init.constant_(parameter, 1.0 if is_norm_scale else 0.0)
            continue
        std = config.initializer_range
        if config.layout == "modernbert" and name.endswith(("output.weight", "down.weight")):
            std /= (2 * config.num_hidden_layers) ** 0.5
        nn.init.normal_(parameter, std=std)
