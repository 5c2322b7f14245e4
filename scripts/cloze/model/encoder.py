"""The encoder, top to bottom, in the layouts that the rest of the world can load.

`bert` is Devlin et al. 2019 (post-norm, learned absolute positions, token types, biases, GELU).
`roberta` (Liu et al. 2019, also XLM-R and CamemBERT), `distilbert` (Sanh et al. 2019) and
`electra` (Clark et al. 2020) are the same but for what `config.LAYOUTS` lists. `modernbert` is
Warner et al. 2024 (pre-norm, rotary positions, GeGLU, attention to the whole text in some
layers and to a window in others). The outputs of each equal those of Hugging Face's class.

What reads the last hidden states is in `heads`; what is there to be fast, in `kernels`.

Shape suffixes: B rows, L tokens a row, D hidden size, H heads, K head size; M query
positions a row; Q queries a row, M or L; N samples a row.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cloze.model.config import EncoderConfig
from cloze.model.kernels import (
    Dropout,
    Segments,
    attend,
    attend_blocks,
    attend_segments,
    block_mask,
    embed,
    is_worth_blocks,
    packed_segments,
    varlen_has_window,
    varlen_is_possible,
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

    def attention_mask(
        self, query_positions: Tensor | None = None, window: int | None = None
    ) -> Tensor:
        """Return the block-diagonal mask, bool [B, 1, Q, L], True where attention is allowed.

        With `query_positions`, int64 [B, M], its rows are those of these tokens. With a
        `window`, no token sees one that is more than so many away.
        """
        samples_BQ = at_positions(self.sample_ids, query_positions)
        mask = samples_BQ[:, None, :, None] == self.sample_ids[:, None, None, :]
        if window is not None:
            columns = torch.arange(self.sample_ids.shape[1], device=mask.device)
            of_queries = columns[None] if query_positions is None else query_positions
            mask = mask & ((of_queries[:, None, :, None] - columns).abs() <= window)
        return mask.detach()

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


def rotary_angles(position_ids: Tensor, config: EncoderConfig, theta: float) -> Tensor:
    """Return cosine and sine of every angle (Su et al. 2021, §3.2), float32 [2, B, 1, L, K].

    `theta`: the base, of which a higher one turns slower.
    """
    features = torch.arange(0, config.head_size, 2, device=position_ids.device).float()
    inverse_frequency = 1.0 / (theta ** (features / config.head_size))
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
    """What attention reads besides hidden states: the same for all layers of a kind.

    `query_positions` int64 [B, M]: the tokens of each row whose next states are wanted;
    None: all. Samples are kept apart by `mask`, as `PackedBatch.attention_mask`, by `segments`,
    or by `blocks`, as `kernels.block_mask`. `window`: how many tokens on each side are seen;
    None: all. `rotary`: the `rotary_angles` of the queries and of the keys. `distances`: as
    `relative_distances`.
    """

    query_positions: Tensor | None
    mask: Tensor | None
    segments: Segments | None
    rotary: tuple[Tensor, Tensor] | None
    distances: Tensor | None
    blocks: Tensor | None = None
    window: int | None = None

    @property
    def computed_positions(self) -> Tensor | None:
        """The tokens that attention has as queries; of those not wanted the rest is left out."""
        everywhere = self.distances is not None or self.blocks is not None
        return None if everywhere else self.query_positions


def attention_context(
    batch: PackedBatch,
    config: EncoderConfig,
    dtype: torch.dtype,
    dropout_prob: float,
    query_positions: Tensor | None = None,
    is_global: bool = True,
) -> AttentionContext:
    """Return the context for queries of `dtype`, at some positions of each row or at all.

    The kernel for segments has neither dropout nor relative positions, and wants as many
    queries as keys; that for blocks wants as many, too.
    """
    relative, device = config.has_relative_positions, batch.input_ids.device
    window = None if is_global else config.window
    segments = mask = rotary = distances = blocks = None
    if (
        query_positions is None
        and varlen_is_possible(device, dtype, config.head_size)
        and dropout_prob == 0
        and not relative
        and (is_global or varlen_has_window())
    ):
        segments = packed_segments(batch.sample_ids, batch.max_samples_per_row)
    elif window is not None and is_worth_blocks(batch.input_ids.shape[1], window):
        blocks = block_mask(batch.sample_ids, window)
    else:
        # Distances are those of all pairs of tokens, so there each token stays a query.
        mask = batch.attention_mask(None if relative else query_positions, window)
    if config.facts.is_pre_norm:
        theta = config.rope_theta if is_global else config.local_rope_theta
        of_queries = of_keys = rotary_angles(batch.position_ids, config, theta)
        if query_positions is not None and blocks is None:
            some_positions = at_positions(batch.position_ids, query_positions)
            of_queries = rotary_angles(some_positions, config, theta)
        rotary = (of_queries, of_keys)
    if relative:
        length, farthest = batch.input_ids.shape[1], config.max_position_embeddings
        distances = relative_distances(length, farthest, device)
    return AttentionContext(query_positions, mask, segments, rotary, distances, blocks, window)


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
        wanted, computed = context.query_positions, context.computed_positions
        query, key, value = self._project(hidden_BLD, computed)
        if context.rotary is not None:
            of_queries, of_keys = context.rotary
            query, key = rotate(query, of_queries), rotate(key, of_keys)
        attended_BQD = self._attend(query, key, value, context).transpose(1, 2).flatten(2)
        return self.output(at_positions(attended_BQD, wanted if computed is None else None))

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
        dropout_prob = self.dropout_prob if self.training else 0.0
        if context.segments is not None:
            return attend_segments(query, key, value, context.segments, context.window)
        if context.blocks is not None:
            return attend_blocks(query, key, value, context.blocks, dropout_prob)
        assert context.mask is not None
        relative = None
        if context.distances is not None:
            # q_i · a_ij, the second term of Shaw et al. 2018, eq. 5.
            scaled = query * query.shape[-1] ** -0.5
            embedding_LLK = self.distance_embedding(context.distances)
            relative = torch.einsum("bhik,ijk->bhij", scaled, embedding_LLK)
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
        norm_bias, mlp_bias = config.norm_bias, config.mlp_bias
        self.attention_norm = (
            nn.Identity() if first else nn.LayerNorm(size, eps=eps, bias=norm_bias)
        )
        self.attention = SelfAttention(config, bias=config.attention_bias)
        self.mlp_norm = nn.LayerNorm(size, eps=eps, bias=norm_bias)
        self.up = nn.Linear(size, 2 * config.intermediate_size, bias=mlp_bias)
        self.down = nn.Linear(config.intermediate_size, size, bias=mlp_bias)
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
        is_pre_norm, eps = config.facts.is_pre_norm, config.layer_norm_eps
        size = config.embedding_size
        assert size is not None
        self.token_embedding = nn.Embedding(config.vocab_size, size)
        if not is_pre_norm and not config.has_relative_positions:
            self.position_embedding = nn.Embedding(config.max_position_embeddings, size)
        if config.facts.type_vocab_size:
            self.token_type_embedding = nn.Embedding(config.type_vocab_size or 0, size)
        self.embedding_norm = nn.LayerNorm(
            size, eps=eps, bias=config.norm_bias if is_pre_norm else True
        )
        self.dropout = Dropout(config.hidden_dropout_prob)
        if size != config.hidden_size:
            self.embedding_projection = nn.Linear(size, config.hidden_size)
        self.layers = nn.ModuleList(
            PreNormLayer(config, first=index == 0) if is_pre_norm else PostNormLayer(config)
            for index in range(config.num_hidden_layers)
        )
        self.final_norm = (
            nn.LayerNorm(config.hidden_size, eps=eps, bias=config.norm_bias)
            if is_pre_norm
            else nn.Identity()
        )

    def forward(self, batch: PackedBatch, query_positions: Tensor | None = None) -> Tensor:
        """Return the last layer's hidden states [B, L, D].

        With `query_positions`, int64 [B, M], those at these positions of each row alone
        [B, M, D]: the last layer then leaves out most of its work for all other tokens.
        """
        hidden_BLD = self.dropout(self.embedding_norm(self._embed(batch)))
        if self.config.embedding_size != self.config.hidden_size:
            hidden_BLD = self.embedding_projection(hidden_BLD)
        dropout_prob = self.config.attention_probs_dropout_prob if self.training else 0.0
        shared = (batch, self.config, self._product_dtype(), dropout_prob)
        are_global = self.config.are_global
        of_kind = {kind: attention_context(*shared, None, kind) for kind in set(are_global)}
        contexts = [of_kind[kind] for kind in are_global]
        if query_positions is not None:
            contexts[-1] = attention_context(*shared, query_positions, are_global[-1])
        for layer, context in zip(self.layers, contexts, strict=True):
            if self.gradient_checkpointing and self.training:
                hidden_BLD = checkpoint(layer, hidden_BLD, context, use_reentrant=False)
            else:
                hidden_BLD = layer(hidden_BLD, context)
        return self.final_norm(hidden_BLD)

    def _embed(self, batch: PackedBatch) -> Tensor:
        """Return the sum of the embeddings of token, position and token type, [B, L, E]."""
        config, embedded = self.config, embed(self.token_embedding.weight, batch.input_ids)
        if config.facts.is_pre_norm:
            return embedded
        if not config.has_relative_positions:
            positions = batch.position_ids
            if config.first_position:
                positions = positions + config.first_position
            embedded = embedded + embed(self.position_embedding.weight, positions)
        if not config.facts.type_vocab_size:
            return embedded
        if batch.token_type_ids is None or not config.reads_token_types:
            return embedded + self.token_type_embedding.weight[0]
        return embedded + embed(self.token_type_embedding.weight, batch.token_type_ids)

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
        if config.facts.is_pre_norm and name.endswith(("output.weight", "down.weight")):
            std /= (2 * config.num_hidden_layers) ** 0.5
        nn.init.normal_(parameter, std=std)
