"""What fixes an encoder's shape."""

from dataclasses import dataclass, replace

from cloze.errors import ClozeError
from cloze.settings.encoders import LAYOUTS, POSITION_EMBEDDING_TYPES


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
