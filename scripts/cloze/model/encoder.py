"""The encoder, top to bottom, in the two layouts that the rest of the world can load.

`bert` is Devlin et al. 2019 (post-norm, learned absolute positions, token types,
biases, GELU); its outputs equal those of Hugging Face's BERT. `modernbert` is Warner et
al. 2024 with global attention in every layer (pre-norm, no biases, rotary positions,
GeGLU); its outputs equal those of Hugging Face's ModernBERT.

What reads the last hidden states is in `heads`; what is there to be fast, in `kernels`.

Shape suffixes: B rows, L tokens a row, D hidden size, H heads, K head size; M query
positions a row; Q queries a row, M or L; N samples a row.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cloze.errors import ClozeError
from cloze.model.kernels import (
    Dropout,
    Segments,
    attend,
    attend_segments,
    embed,
    packed_segments,
    varlen_is_possible,
)

LAYOUTS = ("bert", "modernbert")
POSITION_EMBEDDING_TYPES = ("absolute", "relative_key")


@dataclass(frozen=True)
class EncoderConfig:
    """An encoder's shape; names as in Hugging Face's configurations.

    `position_embedding_type` is a choice of the `bert` layout; `modernbert` has rotary
    positions. Raises `ClozeError` for a shape that cannot be.
    """

    vocab_size: int
    layout: str = "bert"
    hidden_size: int = 256
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    max_position_embeddings: int = 512
    position_embedding_type: str = "absolute"
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
        if self.position_embedding_type not in POSITION_EMBEDDING_TYPES:
            raise ClozeError(
                f"position_embedding_type: {self.position_embedding_type!r} is unknown; "
                f"use one of {', '.join(POSITION_EMBEDDING_TYPES)}"
            )
        if self.layout == "modernbert" and self.has_relative_positions:
            raise ClozeError(
                "position_embedding_type: relative_key needs layout bert; "
                "modernbert has rotary positions, so leave it at absolute"
            )

    @property
    def head_size(self) -> int:
        """Features of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def has_relative_positions(self) -> bool:
        """Whether attention adds what Shaw et al. 2018 add to its keys."""
        return self.position_embedding_type == "relative_key"

    def with_dropout(self, probability: float) -> "EncoderConfig":
        """Return the same shape with this dropout on hidden states and attention."""
        return replace(
            self, hidden_dropout_prob=probability, attention_probs_dropout_prob=probability
        )


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

    def attention_mask(self, query_positions: Tensor | None = None) -> Tensor:
        """Return the block-diagonal mask, bool [B, 1, Q, L], True where attention is allowed.

        With `query_positions`, int64 [B, M], its rows are those of these tokens.
        """
        samples_BQ = at_positions(self.sample_ids, query_positions)
        return (samples_BQ[:, None, :, None] == self.sample_ids[:, None, None, :]).detach()

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


def at_positions(values: Tensor, positions_BM: Tensor | None) -> Tensor:
    """Return what stands at some positions of each row: [B, L, …] gives [B, M, …].

    None: at all of them.
    """
    if positions_BM is None:
        return values
    index = positions_BM.reshape(*positions_BM.shape, *[1] * (values.dim() - 2))
    return values.gather(1, index.expand(-1, -1, *values.shape[2:]))


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


def relative_distances(length: int, max_position_embeddings: int, device: torch.device) -> Tensor:
    """Return which distance embedding each pair of tokens takes, int64 [L, L].

    Query i and key j take number i - j + max_position_embeddings - 1, as in Hugging Face's
    BERT. In a packed row the difference of two columns is that of their positions where
    both belong to one sample; where they do not, the mask hides whatever stands there.
    """
    column = torch.arange(length, device=device)
    farthest = max_position_embeddings - 1
    return (column[:, None] - column[None, :]).clamp(-farthest, farthest) + farthest


@dataclass(frozen=True)
class AttentionContext:
    """What attention reads besides hidden states: the same for all layers with these queries.

    `query_positions` int64 [B, M]: the tokens of each row whose next states are wanted;
    None: all. Samples are kept apart either by `mask`, as `PackedBatch.attention_mask`, or
    by `segments`. `rotary`: the `rotary_angles` of the queries and of the keys.
    `distances`: as `relative_distances`.
    """

    query_positions: Tensor | None
    mask: Tensor | None
    segments: Segments | None
    rotary: tuple[Tensor, Tensor] | None
    distances: Tensor | None


def attention_context(
    batch: PackedBatch,
    config: EncoderConfig,
    dtype: torch.dtype,
    dropout_prob: float,
    query_positions: Tensor | None = None,
) -> AttentionContext:
    """Return the context for queries of `dtype`, at some positions of each row or at all.

    The kernel for segments has neither dropout nor relative positions, and wants as many
    queries as keys.
    """
    relative, device = config.has_relative_positions, batch.input_ids.device
    segments = mask = rotary = distances = None
    if (
        query_positions is None
        and varlen_is_possible(device, dtype, config.head_size)
        and dropout_prob == 0
        and not relative
    ):
        segments = packed_segments(batch.sample_ids, batch.max_samples_per_row)
    else:
        # Distances are those of all pairs of tokens, so there each token stays a query.
        mask = batch.attention_mask(None if relative else query_positions)
    if config.layout == "modernbert":
        of_queries = of_keys = rotary_angles(batch.position_ids, config)
        if query_positions is not None:
            of_queries = rotary_angles(at_positions(batch.position_ids, query_positions), config)
        rotary = (of_queries, of_keys)
    if relative:
        length, farthest = batch.input_ids.shape[1], config.max_position_embeddings
        distances = relative_distances(length, farthest, device)
    return AttentionContext(query_positions, mask, segments, rotary, distances)


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

    def forward(self, hidden_BLD: Tensor, context: AttentionContext) -> Tensor:
        """Return what each query gathers from the tokens of its sample, [B, Q, D]."""
        positions, relative = context.query_positions, context.distances is not None
        query, key, value = self._project(hidden_BLD, None if relative else positions)
        if context.rotary is not None:
            of_queries, of_keys = context.rotary
            query, key = rotate(query, of_queries), rotate(key, of_keys)
        attended_BQD = self._attend(query, key, value, context).transpose(1, 2).flatten(2)
        return self.output(at_positions(attended_BQD, positions) if relative else attended_BQD)

    def _project(self, hidden_BLD: Tensor, query_positions: Tensor | None) -> tuple[Tensor, ...]:
        """Return query [B, H, Q, K], key and value [B, H, L, K]."""
        if query_positions is None:
            return self._split_heads(self.qkv(hidden_BLD))
        sizes = [hidden_BLD.shape[-1], 2 * hidden_BLD.shape[-1]]
        weights = self.qkv.weight.split(sizes)
        biases = (None, None) if self.qkv.bias is None else self.qkv.bias.split(sizes)
        query_BMD = F.linear(at_positions(hidden_BLD, query_positions), weights[0], biases[0])
        key_and_value = self._split_heads(F.linear(hidden_BLD, weights[1], biases[1]))
        return *self._split_heads(query_BMD), *key_and_value

    def _split_heads(self, projected: Tensor) -> tuple[Tensor, ...]:
        """Return each of the tensors [B, H, Q, K] that lie beside each other, [B, Q, n·D]."""
        size = self.qkv.in_features
        parts = projected.unflatten(-1, (-1, self.num_heads, size // self.num_heads))
        return parts.permute(2, 0, 3, 1, 4).unbind(0)

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, context: AttentionContext
    ) -> Tensor:
        """Return what the queries gather, [B, H, Q, K]."""
        if context.segments is not None:
            return attend_segments(query, key, value, context.segments)
        assert context.mask is not None
        relative = None
        if context.distances is not None:
            # q_i · a_ij, the second term of Shaw et al. 2018, eq. 5.
            scaled = query * query.shape[-1] ** -0.5
            embedding_LLK = self.distance_embedding(context.distances)
            relative = torch.einsum("bhik,ijk->bhij", scaled, embedding_LLK)
        dropout_prob = self.dropout_prob if self.training else 0.0
        return attend(query, key, value, context.mask, dropout_prob, relative)


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

    def forward(self, hidden_BLD: Tensor, context: AttentionContext) -> Tensor:
        """Return the next hidden states of the queries, [B, Q, D]."""
        attended = self.dropout(self.attention(hidden_BLD, context))
        hidden = self.attention_norm(at_positions(hidden_BLD, context.query_positions) + attended)
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

    def forward(self, hidden_BLD: Tensor, context: AttentionContext) -> Tensor:
        """Return the next hidden states of the queries, [B, Q, D]."""
        attended = self.attention(self.attention_norm(hidden_BLD), context)
        hidden = at_positions(hidden_BLD, context.query_positions) + self.dropout(attended)
        value, gate = self.up(self.mlp_norm(hidden)).chunk(2, dim=-1)
        return hidden + self.dropout(self.down(F.gelu(value) * gate))


class Encoder(nn.Module):
    """Embeddings and a stack of layers: token ids in, one vector a token out.

    `gradient_checkpointing`: in training, keep only each layer's input and compute the
    rest again in the backward pass (Chen et al. 2016): less memory for a third more time.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False
        size, is_bert = config.hidden_size, config.layout == "bert"
        self.token_embedding = nn.Embedding(config.vocab_size, size)
        if is_bert:
            if not config.has_relative_positions:
                self.position_embedding = nn.Embedding(config.max_position_embeddings, size)
            self.token_type_embedding = nn.Embedding(config.type_vocab_size, size)
        self.embedding_norm = nn.LayerNorm(size, eps=config.layer_norm_eps, bias=is_bert)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.layers = nn.ModuleList(
            PostNormLayer(config) if is_bert else PreNormLayer(config, first=index == 0)
            for index in range(config.num_hidden_layers)
        )
        self.final_norm = (
            nn.Identity() if is_bert else nn.LayerNorm(size, eps=config.layer_norm_eps, bias=False)
        )

    def forward(self, batch: PackedBatch, query_positions: Tensor | None = None) -> Tensor:
        """Return the last layer's hidden states [B, L, D]; `modernbert` reads no token types.

        With `query_positions`, int64 [B, M], those at these positions of each row alone
        [B, M, D]: the last layer then leaves out most of its work for all other tokens.
        """
        hidden_BLD = self.dropout(self.embedding_norm(self._embed(batch)))
        dropout_prob = self.config.attention_probs_dropout_prob if self.training else 0.0
        shared = (batch, self.config, self._product_dtype(), dropout_prob)
        contexts = [attention_context(*shared)] * len(self.layers)
        if query_positions is not None:
            contexts[-1] = attention_context(*shared, query_positions)
        for layer, context in zip(self.layers, contexts, strict=True):
            if self.gradient_checkpointing and self.training:
                hidden_BLD = checkpoint(layer, hidden_BLD, context, use_reentrant=False)
            else:
                hidden_BLD = layer(hidden_BLD, context)
        return self.final_norm(hidden_BLD)

    def _embed(self, batch: PackedBatch) -> Tensor:
        embedded = embed(self.token_embedding.weight, batch.input_ids)
        if self.config.layout == "bert":
            if not self.config.has_relative_positions:
                embedded = embedded + embed(self.position_embedding.weight, batch.position_ids)
            if batch.token_type_ids is None:
                return embedded + self.token_type_embedding.weight[0]
            embedded = embedded + embed(self.token_type_embedding.weight, batch.token_type_ids)
        return embedded

    def _product_dtype(self) -> torch.dtype:
        """In what a matrix product of these weights computes here."""
        weight = self.token_embedding.weight
        if torch.is_autocast_enabled(weight.device.type):
            return torch.get_autocast_dtype(weight.device.type)
        return weight.dtype


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
