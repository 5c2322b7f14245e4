"""The shape of an encoder, and what tells one layout from another."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cloze.errors import ClozeError

POSITION_EMBEDDING_TYPES = ("absolute", "relative_key")
GLOBAL, LOCAL = "full_attention", "sliding_attention"


@dataclass(frozen=True)
class Layout:
    """What sets a layout apart, beyond the sizes in `EncoderConfig`.

    `model_types`: the names that its models have in `config.json`, the layout's own first.
    `is_pre_norm`: norms before the sublayers, rotary positions, GeGLU (Warner et al. 2024); else
    norms after them, learned positions, GELU and biases (Devlin et al. 2019).
    `type_vocab_size`: token types of a new encoder; 0: the layout has none at all.
    `reads_token_types`: whether the second text of a pair is told from the first.
    `skips_padding_positions`: the first token's position is pad_token_id + 1, as in fairseq.
    `pooler_activation`: between the two layers of the head on a whole text.
    """

    model_types: tuple[str, ...]
    is_pre_norm: bool = False
    type_vocab_size: int = 0
    reads_token_types: bool = False
    skips_padding_positions: bool = False
    pooler_activation: Callable[[Tensor], Tensor] = torch.tanh


LAYOUTS = {
    "bert": Layout(("bert",), type_vocab_size=2, reads_token_types=True),
    "modernbert": Layout(("modernbert",), is_pre_norm=True, pooler_activation=F.gelu),
    "roberta": Layout(
        ("roberta", "xlm-roberta", "camembert"), type_vocab_size=1, skips_padding_positions=True
    ),
    "distilbert": Layout(("distilbert",), pooler_activation=F.relu),
    "electra": Layout(
        ("electra",), type_vocab_size=2, reads_token_types=True, pooler_activation=F.gelu
    ),
}


@dataclass(frozen=True)
class EncoderConfig:
    """An encoder's shape; names as in Hugging Face's configurations.

    `model_type`, `type_vocab_size` and `embedding_size`, left out, are the layout's own name,
    its number of token types, and `hidden_size`. `position_embedding_type` is a choice of
    `bert`, `embedding_size` one of `electra`; what speaks of rotary bases, windows and biases is
    for `modernbert`. A layer in `global_attn_every_n_layers`, the first among them, attends to
    the whole text and the others to `local_attention // 2` tokens on each side; `layer_types`
    says it layer by layer. Raises `ClozeError` for a shape that cannot be.
    """

    vocab_size: int
    layout: str = "bert"
    hidden_size: int = 256
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    max_position_embeddings: int = 512
    position_embedding_type: str = "absolute"
    type_vocab_size: int | None = None
    layer_norm_eps: float = 1e-12
    rope_theta: float = 10_000.0
    initializer_range: float = 0.02
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    pad_token_id: int = 0
    model_type: str | None = None
    embedding_size: int | None = None
    global_attn_every_n_layers: int = 1
    layer_types: tuple[str, ...] | None = None
    local_attention: int = 128
    local_rope_theta: float = 10_000.0
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    classifier_bias: bool = False

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ClozeError(f"layout: {self.layout!r} is unknown; use one of {', '.join(LAYOUTS)}")
        for name, value in (
            ("type_vocab_size", self.facts.type_vocab_size),
            ("model_type", self.layout),
            ("embedding_size", self.hidden_size),
        ):
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if self.hidden_size % self.num_attention_heads:
            raise ClozeError(
                f"num_attention_heads: {self.num_attention_heads} does not divide "
                f"hidden_size {self.hidden_size}; choose a divisor"
            )
        self._check_positions()
        if self.layout != "electra" and self.embedding_size != self.hidden_size:
            raise ClozeError(
                f"embedding_size: {self.embedding_size} is for layout electra; token vectors of "
                f"{self.layout} have hidden_size {self.hidden_size}, so leave it out"
            )
        if self.layout == "distilbert" and self.layer_norm_eps != 1e-12:
            raise ClozeError(
                f"layer_norm_eps: {self.layer_norm_eps} cannot be said of distilbert, which "
                "transformers computes with 1e-12; use that"
            )
        if not self.facts.is_pre_norm and self.global_attn_every_n_layers != 1:
            raise ClozeError(
                f"global_attn_every_n_layers: {self.global_attn_every_n_layers} is for layout "
                f"modernbert; all layers of {self.layout} attend to the whole text, so use 1"
            )

    def _check_positions(self) -> None:
        if self.facts.is_pre_norm and self.head_size % 2:
            raise ClozeError(
                f"hidden_size / num_attention_heads is {self.head_size}; "
                "rotary positions need an even number"
            )
        if self.position_embedding_type not in POSITION_EMBEDDING_TYPES:
            raise ClozeError(
                f"position_embedding_type: {self.position_embedding_type!r} is unknown; "
                f"use one of {', '.join(POSITION_EMBEDDING_TYPES)}"
            )
        if self.layout != "bert" and self.has_relative_positions:
            kind = "rotary" if self.facts.is_pre_norm else "absolute"
            raise ClozeError(
                "position_embedding_type: relative_key needs layout bert; "
                f"{self.layout} has {kind} positions, so leave it at absolute"
            )
        if self.max_length < 1:
            raise ClozeError(
                f"max_position_embeddings: {self.max_position_embeddings} leaves no position for a "
                f"token, since {self.layout} keeps the first {self.first_position} free; raise it"
            )

    @property
    def facts(self) -> Layout:
        """What sets the layout apart."""
        return LAYOUTS[self.layout]

    @property
    def head_size(self) -> int:
        """Features of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def first_position(self) -> int:
        """The position of a text's first token."""
        return self.pad_token_id + 1 if self.facts.skips_padding_positions else 0

    @property
    def max_length(self) -> int:
        """How many tokens of a text can be read."""
        return self.max_position_embeddings - self.first_position

    @property
    def has_relative_positions(self) -> bool:
        """Whether attention adds what Shaw et al. 2018 add to its keys."""
        return self.position_embedding_type == "relative_key"

    @property
    def reads_token_types(self) -> bool:
        """Whether the second text of a pair is told from the first."""
        return self.facts.reads_token_types and self.type_vocab_size != 1

    @property
    def are_global(self) -> tuple[bool, ...]:
        """Of each layer whether it attends to the whole text, not to a window alone."""
        if self.layer_types is not None:
            return tuple(kind == GLOBAL for kind in self.layer_types)
        every = self.global_attn_every_n_layers
        return tuple(number % every == 0 for number in range(self.num_hidden_layers))

    @property
    def window(self) -> int:
        """How many tokens on each side a local layer attends to."""
        return self.local_attention // 2

    def with_dropout(self, probability: float) -> "EncoderConfig":
        """Return the same shape with this dropout on hidden states and attention."""
        return replace(
            self, hidden_dropout_prob=probability, attention_probs_dropout_prob=probability
        )
